//! One partition's log: the face. Each role has its own file; they all work on [`state::State`].
//!
//! ```text
//!   log_start        synced            durable            written              end
//!   |----------------|-----------------|------------------|--------------------|
//!    survives in the    survives in the    a read finds it   appended, in memory
//!    segments           journal                              or on its way
//! ```
//! `log_start <= synced <= durable <= written <= end`, each of them exclusive as an upper bound. At a roll all four meet: a new
//! segment begins only when its predecessor is synced, so only the last segment ever holds anything that is not.

mod append;
mod compact;
mod create;
mod cut;
mod epochs;
mod index;
mod maintain;
mod names;
mod quarantine;
mod read;
mod recover;
mod rescan;
mod reserve;
mod scan;
mod segment;
mod signal;
mod snapshot;
mod state;
mod survey;
mod timestamps;
mod types;

pub use compact::{CompactError, Compacted, Compaction};
pub use maintain::put_aside;
pub use types::*;

pub(crate) use names::is_deleted_log;
pub(crate) use signal::Lock;

use crate::journal::Journal;
use bytes::{Bytes, BytesMut};
use millrace_io::Io;
use millrace_proto::batch::Header;
use millrace_proto::files::{JournalEntry, LeaderEpoch};
use state::Inner;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use uuid::Uuid;

/// One partition's log. Lives on the core that opened it; a clone is another handle on the same log.
///
/// No background task runs while nothing is appended, and files are opened when first needed.
pub struct Log<I: Io>(Rc<Inner<I>>);

impl<I: Io> Clone for Log<I> {
    fn clone(&self) -> Self {
        Log(self.0.clone())
    }
}

impl<I: Io> Log<I> {
    /// Creates the log in `dir` (`…/<topic>-<partition>`) with an empty first segment at offset 0. All of it is durable
    /// when this returns. `on_event` is called on this core, from the log's own tasks.
    /// # Errors
    /// [`CreateError::Exists`] if `dir` holds a segment already.
    pub async fn create(
        io: I,
        dir: &Path,
        topic_id: Uuid,
        config: LogConfig,
        on_event: Rc<dyn Fn(LogEvent)>,
    ) -> Result<Log<I>, CreateError> {
        create::create(io, dir, topic_id, config, on_event).await.map(Log)
    }

    /// Opens the log in `dir` and makes it whole again: what `recovery.checkpoint` covers is kept whatever it looks
    /// like, what lies above is kept up to the first batch that does not check out. The rest is put aside and reported.
    /// Everything that is left is durable when this returns.
    /// # Errors
    /// [`OpenError::NotCreated`] if nothing was ever written there.
    pub async fn open(
        io: I,
        dir: &Path,
        config: LogConfig,
        recovery: RecoveryPoint,
        on_event: Rc<dyn Fn(LogEvent)>,
    ) -> Result<(Log<I>, Recovery), OpenError> {
        Self::restore(io, dir, config, recovery, &[], on_event).await
    }

    /// [`open`](Self::open) for a log of which a journal holds something: what lies behind the log's end is appended first.
    /// # Errors
    /// As [`open`](Self::open).
    pub async fn restore(
        io: I,
        dir: &Path,
        config: LogConfig,
        recovery: RecoveryPoint,
        journaled: &[JournalEntry],
        on_event: Rc<dyn Fn(LogEvent)>,
    ) -> Result<(Log<I>, Recovery), OpenError> {
        let opened = recover::open(io, dir, config, (recovery, journaled), on_event).await;
        opened.map(|(inner, found)| (Log(inner), found))
    }

    /// From now on the log makes what is appended durable through `journal` where that is cheaper and as long as that is there.
    /// `partition` is the log's number in the topic.
    pub fn join(&self, journal: &Journal<I>, partition: i32) {
        *self.0.journal.borrow_mut() = Some((journal.downgrade(), (self.0.topic_id, partition)));
    }

    /// The log's directory.
    pub fn dir(&self) -> PathBuf {
        self.0.dir.borrow().clone()
    }

    /// The topic's id, as `partition.metadata` has it.
    pub fn topic_id(&self) -> Uuid {
        self.0.topic_id
    }

    /// Where the log begins.
    pub fn log_start(&self) -> i64 {
        self.0.state.borrow().log_start
    }

    /// One past the last offset written: a read finds everything below.
    pub fn written(&self) -> i64 {
        self.0.state.borrow().written
    }

    /// One past the last offset that survives a power cut.
    pub fn durable(&self) -> i64 {
        self.0.state.borrow().durable
    }

    /// The next offset: one past the last offset appended.
    pub fn end(&self) -> i64 {
        self.0.state.borrow().end
    }

    /// What the checkpoint may claim: at most [`durable`](Self::durable), and everything below can be opened without
    /// being scanned.
    pub fn recovery_point(&self) -> i64 {
        self.0.state.borrow().recovery_point()
    }

    /// Every segment, oldest first.
    pub async fn segments(&self) -> Result<Vec<SegmentSize>, ReadError> {
        let _inside = self.0.readers.enter().await;
        self.0.segments().await
    }

    /// The largest timestamp in the segment with this base, in milliseconds; `None` if no record has one.
    pub async fn largest_timestamp(&self, base: i64) -> Result<Option<i64>, ReadError> {
        let _inside = self.0.readers.enter().await;
        Ok(self.0.largest_timestamp(base).await?.map(|entry| entry.timestamp))
    }

    /// The largest timestamp of the first batch in the segment with this base, in milliseconds; `None` if it has none, or no record any more.
    pub async fn first_timestamp(&self, base: i64) -> Result<Option<i64>, ReadError> {
        let _inside = self.0.readers.enter().await;
        self.0.first_timestamp(base).await
    }

    /// Leaves out of the log what was written again later: see [`Compaction`]. Everything below `upto` must be committed. Runs beside everything
    /// else, a little at a time; appends and reads go on.
    /// # Errors
    /// What was compacted before an error stays so.
    pub async fn compact(&self, wanted: &Compaction) -> Result<Compacted, CompactError> {
        self.0.compact(wanted).await
    }

    /// Begins a new segment at the end of the log, unless the active one is empty: so that retention may take all of it.
    /// # Errors
    /// As [`reserve`](Self::reserve).
    pub async fn roll(&self) -> Result<(), ReserveError> {
        self.0.roll_now().await
    }

    /// Bytes in all segments.
    pub async fn size(&self) -> Result<u64, ReadError> {
        let _inside = self.0.readers.enter().await;
        self.0.size().await
    }

    /// Why the log is offline, if it is.
    pub fn failure(&self) -> Option<LogFailure> {
        self.0.state.borrow().failure.clone()
    }

    /// Takes `bytes` out of the space that is already there, if that is enough and the active segment is to go on;
    /// `false` means: ask [`reserve`](Self::reserve). Each success must be followed by [`append`](Self::append)s of as
    /// many bytes, or [`release`](Self::release).
    pub fn try_reserve(&self, bytes: usize, max_timestamp: i64) -> bool {
        self.0.try_reserve(bytes as u64, max_timestamp)
    }

    /// Reserves space for `bytes`, rolling to a new segment or allocating on disk as needed. A full disk is found
    /// here, before anything is half done. `max_timestamp` (milliseconds) is that of the batches to come, for
    /// `segment.ms`. Success obliges as [`try_reserve`](Self::try_reserve).
    /// # Errors
    /// [`ReserveError::NoSpace`] now, and perhaps not the next time; [`ReserveError::Offline`] for ever.
    pub async fn reserve(&self, bytes: usize, max_timestamp: i64) -> Result<(), ReserveError> {
        self.0.reserve(bytes as u64, max_timestamp).await
    }

    /// Gives reserved bytes back that will not be appended.
    pub fn release(&self, bytes: usize) {
        self.0.release(bytes as u64);
    }

    /// Appends one batch, already stamped with its base offset (not below [`end`](Self::end)) and leader epoch; `header`
    /// is its header as stamped. Infallible after a reservation: what goes wrong later is a [`LogEvent::Failed`].
    /// The batch leaves with the next vectored write; small ones are copied, large ones moved.
    pub fn append(&self, batch: BytesMut, header: &Header) {
        self.0.append(batch, header);
    }

    /// Finds whole batches from the one that holds `offset` on, below `upto` (exclusive; what is not written yet is
    /// never included) and at most `max_bytes`, as extents of one or more segments. With `at_least_one`, the first
    /// batch is included however large it is. Empty if there is nothing (yet).
    ///
    /// A range that ends before a quarantined one ends there; asking for an offset within it is an error.
    pub async fn read(
        &self,
        offset: i64,
        upto: i64,
        max_bytes: u64,
        at_least_one: bool,
    ) -> Result<Vec<Extent<I::File>>, ReadError> {
        let _inside = self.0.readers.enter().await;
        self.0.read(offset, upto, max_bytes, at_least_one).await
    }

    /// The bytes of an extent.
    pub async fn read_bytes(&self, extent: &Extent<I::File>) -> Result<Bytes, ReadError> {
        self.0.read_bytes(extent).await
    }

    /// Calls `on_batch` with the header of every batch from `from` on (the first one may begin lower), up to what has
    /// been written; quarantined ranges are skipped. For producer state, from the snapshot's offset on.
    pub async fn replay(&self, from: i64, on_batch: &mut dyn FnMut(&Header)) -> Result<(), ReadError> {
        let _inside = self.0.readers.enter().await;
        self.0.replay(from, on_batch).await
    }

    /// The first record below `upto` whose timestamp is at least `timestamp`, if there is one.
    pub async fn offset_for_timestamp(
        &self,
        timestamp: i64,
        upto: i64,
    ) -> Result<Option<TimestampedOffset>, ReadError> {
        let _inside = self.0.readers.enter().await;
        self.0.offset_for_timestamp(timestamp, upto).await
    }

    /// The first record below `upto` that has the largest timestamp, if there is any record.
    pub async fn max_timestamp_offset(&self, upto: i64) -> Result<Option<TimestampedOffset>, ReadError> {
        let _inside = self.0.readers.enter().await;
        self.0.max_timestamp_offset(upto).await
    }

    /// Leader epochs and where they begin, ascending.
    pub fn leader_epochs(&self) -> Vec<LeaderEpoch> {
        self.0.state.borrow().epochs.all().to_vec()
    }

    /// Notes that `epoch` begins at the end of the log. It is on disk before anything of it is durable.
    pub fn begin_epoch(&self, epoch: i32) {
        self.0.begin_epoch(epoch);
    }

    /// Moves the start of the log forward, never back; nothing is deleted. Persisted by the data directory's
    /// checkpoint.
    pub fn set_log_start(&self, offset: i64) {
        let mut state = self.0.state.borrow_mut();
        state.log_start = state.log_start.max(offset.min(state.written));
    }

    /// Deletes segments that lie wholly below `offset` and [`log_start`](Self::log_start): they are renamed to
    /// `….deleted` at once and removed after `file.delete.delay.ms`. Returns how many went. Oldest first, each durably, so that a
    /// crash leaves a log without holes. If the log starts within a segment, persist that first: segments say only where they begin.
    pub async fn delete_segments_below(&self, offset: i64) -> Result<usize, MaintainError> {
        self.0.delete_segments_below(offset).await
    }

    /// Changes the configuration; sizes and times hold from the next roll decision on. Where `write.caching` ends, what was written is
    /// synced.
    pub fn update_config(&self, config: LogConfig) {
        self.0.update_config(config);
    }

    /// Writes the producer state as of `offset`: Kafka's `.snapshot` and our companion. Durable when this returns;
    /// older snapshots are removed (the two newest stay).
    pub async fn write_producer_snapshot(
        &self,
        offset: i64,
        bytes: Bytes,
        companion: Bytes,
    ) -> Result<(), MaintainError> {
        self.0.write_producer_snapshot(offset, bytes, companion).await
    }

    /// Waits until everything appended so far is durable in the log's own files, even with `write.caching`.
    pub async fn flush(&self) -> Result<(), MaintainError> {
        self.0.flush().await
    }

    /// Writes and syncs everything, cuts files to their real size and refuses what comes later. Only if every log says
    /// `Ok` may the clean-shutdown marker be written.
    pub async fn close(&self) -> Result<(), MaintainError> {
        self.0.close().await
    }

    /// Renames the log's directory to `<topic>-<partition>.<32 hex>-delete`, durably, and refuses what comes later;
    /// extents that are out stay readable. The files go after `file.delete.delay.ms`, or at the next start.
    /// Call [`crate::DataDir::forget`] before the name is used again.
    pub async fn delete(&self) -> Result<(), DeleteError> {
        self.0.delete().await
    }
}
