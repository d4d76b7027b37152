//! Record batches (message format v2): read, checked as a leader checks them, stamped in place, and built.
//!
//! The same bytes travel on the wire and rest in a segment file, so there is one view of them. A batch is a
//! 61-byte [`Header`] and the records behind it, which may be compressed as one block. Nothing here allocates
//! per record, and nothing trusts a length before it was compared with the bytes that are left.
//!
//! | who | calls |
//! |---|---|
//! | a leader, about a batch that a client sent | [`validate`], then [`stamp`] |
//! | recovery, about a batch on disk | [`verify`] |
//! | whoever wants the records | [`records`]; [`inflate`] and [`RecordCursor`] where the batch is kept |
//! | whoever makes a batch | [`Builder`], [`end_txn_marker`] |
//! | a leader whose topic has a codec of its own | [`recompress`] |
//! | compaction | [`Retain`], [`emptied`], [`placeholder`] |

mod builder;
mod control;
mod error;
mod header;
mod recompress;
mod records;
mod retain;
mod stamp;
mod validate;
mod varint;
mod walk;

pub use builder::{BuildError, Builder, Options, Producer};
pub use control::{ControlError, ControlType, EndTxn, EndTxnMarker, end_txn_marker};
pub use error::{BatchError, MAX_RECORD_ERRORS, RecordError, RecordFault, RecordReason, RejectedRecords};
pub use header::{Attributes, Header, TimestampType, last_sequence};
pub use recompress::{Recompress, recompress};
pub use records::{Record, RecordCursor, RecordHeader, RecordHeaders, RecordIter, inflate, records};
pub use retain::{Retain, Retained, emptied, placeholder};
pub use stamp::{stamp, stamp_log_append_time, stamp_max_timestamp, stamp_producer};
pub use validate::{Checked, Limits, validate, verify};

/// The timestamp of a record or batch that has none.
pub const NO_TIMESTAMP: i64 = -1;
/// The producer id of a batch whose producer is not idempotent.
pub const NO_PRODUCER_ID: i64 = -1;
/// The producer epoch beside [`NO_PRODUCER_ID`].
pub const NO_PRODUCER_EPOCH: i16 = -1;
/// The base sequence of a batch without sequence numbers; control batches always carry it.
pub const NO_SEQUENCE: i32 = -1;
/// The leader epoch of a batch that no leader has stamped yet.
pub const NO_LEADER_EPOCH: i32 = -1;
