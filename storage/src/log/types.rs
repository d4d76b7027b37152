//! What a log says and is told: configuration, events, extents, recovery reports, and one error per operation.

use crate::disk;
use bytes::Bytes;
use millrace_proto::files::LeaderEpoch;
use std::io;
use std::ops::Range;
use std::path::PathBuf;
use std::time::Duration;
use uuid::Uuid;

/// How a log behaves. Names and meaning are those of Kafka's topic settings.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogConfig {
    /// `segment.bytes`: a segment never grows beyond this (a single larger batch has a segment of its own).
    pub segment_bytes: u32,
    /// `segment.ms`: a batch whose timestamp is this much later than the segment's first batch starts a new segment.
    pub segment_ms: i64,
    /// `segment.jitter.ms`: up to this much is taken off `segment.ms`, drawn anew for each segment.
    pub segment_jitter_ms: i64,
    /// `segment.index.bytes`: the offset index never grows beyond this.
    pub segment_index_bytes: u32,
    /// `index.interval.bytes`: about one index entry for this many bytes.
    pub index_interval_bytes: u32,
    /// `write.caching`: do not sync after writes (only at roll, at close, and as the next two say). Durable then lags behind.
    pub write_caching: bool,
    /// `flush.messages`: with `write.caching`, sync when this many offsets are not durable yet.
    pub flush_messages: i64,
    /// `flush.ms`: with `write.caching`, sync what is not durable after this time; `None` leaves it to roll and close.
    pub flush_after: Option<Duration>,
    /// `preallocate`: give a new segment all of its space at once.
    pub preallocate: bool,
    /// `file.delete.delay.ms`: how long deleted files stay on disk under another name.
    pub file_delete_delay: Duration,
    /// Deliberate faults, for tests that prove that tests would notice.
    #[doc(hidden)]
    pub mutation: Mutation,
}

impl Default for LogConfig {
    fn default() -> Self {
        LogConfig {
            segment_bytes: 1 << 30,
            segment_ms: 7 * 24 * 3600 * 1000,
            segment_jitter_ms: 0,
            segment_index_bytes: 10 << 20,
            index_interval_bytes: 4096,
            write_caching: false,
            flush_messages: i64::MAX,
            flush_after: None,
            preallocate: false,
            file_delete_delay: Duration::from_secs(60),
            mutation: Mutation::None,
        }
    }
}

/// A deliberate fault. The crash test must catch every one of them.
#[doc(hidden)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Mutation {
    /// The log as it should be.
    #[default]
    None,
    /// Says durable as soon as a write has completed.
    AcknowledgeBeforeSync,
    /// Lets a sync cover a write that completed only after the sync was submitted.
    SyncCoversLaterWrites,
    /// Recovery cuts at the first damage, durable or not.
    CutBelowCheckpoint,
    /// A compacted segment takes its place before it is on the disk.
    SwapUnsynced,
    /// Recovery does not look into the journal.
    ForgetJournal,
}

/// What happened to a log, told as soon as it is known. The listener must not call back into `reserve` synchronously;
/// everything that does not await is fine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LogEvent {
    /// Every batch below `end` has been written: a read finds it, a power cut may take it back.
    Written {
        /// Exclusive.
        end: i64,
    },
    /// Every batch below `end` survives a power cut.
    Durable {
        /// Exclusive.
        end: i64,
    },
    /// A new segment begins at `base`: the moment to take a producer snapshot (all state up to `base`, nothing behind
    /// it), so that replay after a crash stays within one segment.
    Rolled {
        /// The new segment's first offset; the end of the log at this moment.
        base: i64,
    },
    /// The log is offline until the process restarts. Said once; nothing follows.
    Failed(LogFailure),
}

/// Why a log went offline.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("log {dir} is offline until restart: {operation} failed: {reason}", dir = .dir.display())]
pub struct LogFailure {
    /// The log's directory.
    pub dir: PathBuf,
    /// What failed: `write`, `sync`, ….
    pub operation: &'static str,
    /// What the machine said.
    pub reason: String,
}

/// A byte range of a segment that holds whole batches, with a lease on the file: the bytes stay readable while the
/// extent lives, even if the segment is deleted. `Send`, so that another core can send it.
#[derive(Clone, Debug)]
pub struct Extent<F> {
    /// The segment's file.
    pub file: F,
    /// Where the first batch begins, in bytes.
    pub position: u64,
    /// Length in bytes; never 0.
    pub len: u64,
    /// Appended lately, so surely in memory.
    pub recent: bool,
    /// The first batch's base offset. May be lower than the offset asked for, as a batch is never divided.
    pub base_offset: i64,
    /// One past the last batch's last offset.
    pub end_offset: i64,
}

/// One segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SegmentSize {
    /// Its first offset; its name.
    pub base: i64,
    /// One past its last offset: where the next one begins, or the log ends.
    pub end: i64,
    /// Its bytes.
    pub bytes: u64,
}

/// A record found by timestamp.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TimestampedOffset {
    /// The record's offset.
    pub offset: i64,
    /// The record's timestamp, milliseconds since the Unix epoch.
    pub timestamp: i64,
}

/// What the data directory's checkpoints say about one log.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RecoveryPoint {
    /// Everything below was durable. 0 when unknown.
    pub checkpoint: i64,
    /// Where the log begins. 0 when unknown.
    pub log_start: i64,
    /// Up to where it was compacted; 0 when unknown. For whoever compacts it: opening it does not need to know.
    pub cleaned: i64,
    /// Whether the last process closed everything: then nothing is scanned.
    pub clean: bool,
}

/// The producer state that was saved last, which holds everything below an offset; batches from there on are to be replayed over it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProducerSnapshot {
    /// The snapshot holds everything below this offset.
    pub offset: i64,
    /// Kafka's `.snapshot` file.
    pub bytes: Bytes,
    /// Our companion file with up to five batches per producer, if it is there.
    pub companion: Option<Bytes>,
}

/// What opening a log found.
#[derive(Clone, Debug)]
pub struct Recovery {
    /// From `partition.metadata`; nil if the file is missing or unreadable.
    pub topic_id: Uuid,
    /// Where the log begins.
    pub log_start: i64,
    /// Where the log ends: the next offset.
    pub end: i64,
    /// What was cut above the checkpoint, if anything.
    pub cut: Option<Cut>,
    /// Offsets that were durable and are damaged or gone. Reads of them fail with [`ReadError::Quarantined`].
    pub quarantined: Vec<Range<i64>>,
    /// Leader epochs and where they begin, ascending.
    pub leader_epochs: Vec<LeaderEpoch>,
    /// The newest usable producer snapshot; batches from its offset on are to be replayed ([`super::Log::replay`]).
    pub producer_snapshot: Option<ProducerSnapshot>,
    /// Bytes that were read and checked batch by batch.
    pub scanned_bytes: u64,
    /// Offsets that the segments lacked and a journal had.
    pub restored: i64,
}

/// Bytes that were cut off above the checkpoint, because they did not check out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cut {
    /// The log now ends here.
    pub offset: i64,
    /// How many bytes were cut (a tail of zeros, which holds nothing, included).
    pub bytes: u64,
    /// Why the first batch behind `offset` did not check out.
    pub reason: String,
    /// Where they were put aside: files `<segment>.log.cut-<offset>`. Empty if there was nothing but zeros.
    pub kept: Vec<PathBuf>,
}

/// Why a log could not be created.
#[derive(Debug, thiserror::Error)]
pub enum CreateError {
    /// There is one already.
    #[error("{dir} already holds a log; open it, or delete it first", dir = .0.display())]
    Exists(PathBuf),
    /// The machine refused.
    #[error("cannot create log {dir}: {source}", dir = .dir.display())]
    Io {
        /// The log's directory.
        dir: PathBuf,
        /// What the machine said.
        source: io::Error,
    },
}

impl CreateError {
    /// Whether it is only that the disk is full.
    pub fn found_no_room(&self) -> bool {
        matches!(self, Self::Io { source, .. } if disk::is_full(source))
    }
}

/// Why a log could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The directory is missing, or its creation never got as far as a first segment. Nothing was ever written
    /// there: [`super::Log::create`] may be called on it.
    #[error("{dir} holds no log", dir = .0.display())]
    NotCreated(PathBuf),
    /// The machine refused.
    #[error("cannot open log {dir}: {source}", dir = .dir.display())]
    Io {
        /// The log's directory.
        dir: PathBuf,
        /// What the machine said.
        source: io::Error,
    },
}

impl OpenError {
    /// Whether it is only that the disk is full.
    pub fn found_no_room(&self) -> bool {
        matches!(self, Self::Io { source, .. } if disk::is_full(source))
    }
}

/// Why no space could be reserved.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ReserveError {
    /// The disk is full. Try again later: reserving succeeds again when space returns.
    #[error("no space left on the disk that holds {dir}", dir = .0.display())]
    NoSpace(PathBuf),
    /// The log is offline or closed.
    #[error(transparent)]
    Offline(#[from] LogFailure),
}

/// Why a read failed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ReadError {
    /// The offset is not in the log.
    #[error("offset {offset} is not within {start}..={end}")]
    OutOfRange {
        /// The offset asked for.
        offset: i64,
        /// Where the log begins.
        start: i64,
        /// Where what has been written ends.
        end: i64,
    },
    /// The offsets were durable once and are damaged or gone. What lies behind them is readable.
    #[error("offsets {start}..{end} are damaged on disk and quarantined; read on from {end}", start = .0.start, end = .0.end)]
    Quarantined(Range<i64>),
    /// The log is offline or closed.
    #[error(transparent)]
    Offline(#[from] LogFailure),
    /// The machine refused.
    #[error("cannot read {file}: {reason}", file = .file.display())]
    Io {
        /// The file.
        file: PathBuf,
        /// What the machine said.
        reason: String,
    },
}

/// Why a log could not be closed, or one of its side files not be written.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MaintainError {
    /// The log is offline or closed.
    #[error(transparent)]
    Offline(#[from] LogFailure),
    /// The machine refused; the log itself goes on.
    #[error("cannot write {file}: {reason}", file = .file.display())]
    Io {
        /// The file.
        file: PathBuf,
        /// What the machine said.
        reason: String,
    },
}

/// Why a log could not be deleted.
#[derive(Debug, thiserror::Error)]
#[error("cannot delete log {dir}: {source}", dir = .dir.display())]
pub struct DeleteError {
    /// The log's directory.
    pub dir: PathBuf,
    /// What the machine said.
    pub source: io::Error,
}
