//! The gRPC port: `millrace.v1`, health and reflection, served on the shard that accepted the connection, by `h2` and
//! a small layer of ours. No runtime, nothing `Send`.
//!
//! | file | promise |
//! |---|---|
//! | `transport` | a connection's halves as the byte stream that `h2` wants |
//! | `server` | one connection: HTTP/2, limits, pings, graceful end; one task per call |
//! | `call`, `framing`, `status` | one call without HTTP: requests in, responses out, an end |
//! | `services` | which path is served by whom |
//! | `produce`, `batches`, `partitioner` | records in |
//! | `consume`, `assignment`, `reading` | records out |
//! | `member`, `membership`, `handled`, `commits` | a consuming call as a member of a group |
//! | `groups`, `group_reset` | who reads together, and how far they have come |
//! | `topics`, `cluster`, `health`, `reflection`, `pages` | the rest |
//! | `backend`, `group_backend` | what the services need of the broker |

mod assignment;
pub mod backend;
mod batches;
mod call;
mod cluster;
mod commits;
mod consume;
mod framing;
pub mod group_backend;
mod group_reset;
mod groups;
mod handled;
mod health;
mod limits;
mod member;
mod membership;
mod pages;
mod partitioner;
mod produce;
mod reading;
mod reflection;
mod server;
mod services;
mod status;
mod topics;
mod transport;

pub use backend::{Backend, Error};
pub use group_backend::{GroupBackend, MemberBackend};
pub use health::Health;
pub use limits::Limits;
pub use server::{ConnectionError, Server};
pub use status::{Code, Status};

#[cfg(test)]
mod tests;
