//! Kafka's wire protocol: frames, headers, and one declaration per message for all its versions.
//!
//! A request travels `frame` (how long is it) → `header` (what is it) → `messages` (what does it say); a response
//! goes the other way. `wire` has the primitive types both are made of, `message` the macro that turns a
//! declaration into a codec, `api` the table of what is served, `error` Kafka's error codes, and `records` the
//! KRaft metadata records, which are declared in the same language.
//!
//! Decoding borrows from the frame, checks every length against the bytes that are left before it reserves
//! memory, and never panics. To serve another API: declare its two messages in a file of `messages`, and add its
//! line to the table in `api`.

#[macro_use]
mod message;

pub mod api;
pub mod error;
pub mod frame;
pub mod group_records;
pub mod header;
pub mod messages;
pub mod partition;
pub mod records;
pub mod wire;

#[cfg(feature = "arbitrary")]
pub mod arbitrary;

pub use message::{Message, UnsupportedVersion};
