//! Batches by offset: appended in order, durable when it says so, readable as extents, recoverable after any crash.
//!
//! A [`Log`] is one partition's directory in Kafka's own formats. It lives on one core and knows no request, group or
//! producer: it is told what to append and says, by [`LogEvent`], how far that was written and how far it is durable.
//! A [`DataDir`] is a directory that holds many: its lock, identity, format version and checkpoints. A broker has one or
//! more of them, on as many disks: [`DataDirs`].
//!
//! Architecture invariant: nothing here holds state on disk that cannot be rebuilt from the segments, except the
//! checkpoints, and a checkpoint only ever claims what a completed sync has proven.

mod data_dir;
mod data_dirs;
mod disk;
mod journal;
mod log;

pub use data_dir::{CleanStart, DataDir, DataDirError, Identity, LogDirectory, PartitionOffsets};
pub use data_dirs::{DataDirs, DirectoryInUse, DirectoryOffline};
pub use disk::{read_file, write_file};
pub use journal::{Journal, found::Journaled};
pub use log::{
    CompactError, Compacted, Compaction, CreateError, Cut, DeleteError, Extent, Log, LogConfig, LogEvent,
    LogFailure, MaintainError, Mutation, OpenError, ProducerSnapshot, ReadError, Recovery, RecoveryPoint,
    ReserveError, SegmentSize, TimestampedOffset, put_aside,
};
pub use millrace_proto::files::{JournalEntry, LeaderEpoch};
