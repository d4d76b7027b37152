//! Every file of a data directory that is not a segment, byte for byte: Kafka's own formats, and two of ours.
//!
//! | file | here |
//! |---|---|
//! | `.index`, `.timeindex` | [`OffsetIndexEntry`], [`TimeIndexEntry`] |
//! | `leader-epoch-checkpoint` | [`encode_leader_epochs`], [`parse_leader_epochs`] |
//! | `recovery-point-`, `replication-`, `log-start-`, `cleaner-offset-checkpoint` | [`encode_offsets`], [`parse_offsets`] |
//! | `partition.metadata` | [`PartitionMetadata`] |
//! | `meta.properties` | [`MetaProperties`] |
//! | `.kafka_cleanshutdown` | [`CleanShutdown`] |
//! | `<offset>.snapshot` | [`encode_producer_snapshot`], [`parse_producer_snapshot`] |
//! | `<offset>.batches` (ours) | [`encode_recent_batches`], [`parse_recent_batches`] |
//! | `millrace.journal-<number>-<shard>` (ours) | [`encode_journal_frame`], [`parse_journal_frame`] |
//! | `millrace.format` (ours) | [`DataFormat`] |
//!
//! Parsing never panics, and what it allocates is proportional to the bytes that it was given.

mod checkpoint;
mod clean_shutdown;
mod index;
mod journal;
mod names;
mod producer_snapshot;
mod properties;
mod reader;
mod recent_batches;
mod uuid_text;

pub use checkpoint::{
    LeaderEpoch, PartitionOffset, encode_leader_epochs, encode_offsets, parse_leader_epochs, parse_offsets,
};
pub use clean_shutdown::CleanShutdown;
pub use index::{OffsetIndexEntry, TimeIndexEntry};
pub use journal::{
    JOURNAL_BLOCK, JournalEntry, JournalFrame, JournalPlace, encode_journal_frame, journal_frame_len,
    parse_journal_frame,
};
pub use names::*;
pub use producer_snapshot::{ProducerEntry, encode_producer_snapshot, parse_producer_snapshot};
pub use properties::{DataFormat, MetaProperties, PartitionMetadata};
pub use recent_batches::{
    RECENT_BATCHES, RecentBatch, RecentBatches, encode_recent_batches, parse_recent_batches,
};
pub use uuid_text::{decode_uuid, encode_uuid};

/// Why a file's bytes cannot be read. The reader of the file adds its path.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FormatError {
    /// The file ends too early.
    #[error("the file ends too early")]
    Truncated,
    /// There are bytes behind the last entry.
    #[error("{0} bytes follow the last entry")]
    Trailing(usize),
    /// Not UTF-8.
    #[error("the file is not text")]
    NotText,
    /// Not this kind of file.
    #[error("the file does not begin with its mark")]
    Mark,
    /// A format version that this program does not know.
    #[error(
        "the file has version {found}, and this program reads up to {supported}; was it written by a newer one?"
    )]
    Version {
        /// The version in the file.
        found: i64,
        /// The newest version that can be read.
        supported: i64,
    },
    /// The checksum does not match.
    #[error("the file's CRC-32C is {computed:#010x} but it carries {stored:#010x}")]
    Crc {
        /// The CRC in the file.
        stored: u32,
        /// The CRC of its bytes.
        computed: u32,
    },
    /// A key is not there.
    #[error("'{0}' is missing")]
    Missing(&'static str),
    /// A value is there but makes no sense.
    #[error("the value of '{0}' is malformed")]
    Value(&'static str),
    /// A line is malformed.
    #[error("line {0} is malformed")]
    Line(usize),
    /// The file declares another number of entries than it has.
    #[error("the file declares {declared} entries but has {found}")]
    Count {
        /// Declared entries.
        declared: i64,
        /// Entries that are there.
        found: usize,
    },
}
