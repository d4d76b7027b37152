//! What a log knows while it is open, and what every role asks of it.
//!
//! Lives on one core. No borrow of [`State`] is held across an await: each step borrows, decides, lets go, and looks
//! again afterwards.

use super::epochs::Epochs;
use super::quarantine::Quarantine;
use super::segment::{self, Active, Segment};
use super::signal::{Gate, Lock, Signal};
use super::types::{LogConfig, LogEvent, LogFailure, ReadError, SegmentSize};
use super::{append::Gather, names};
use crate::journal::{LogKey, WeakJournal};
use millrace_io::{Io, Open};
use std::cell::RefCell;
use std::collections::VecDeque;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use uuid::Uuid;

/// How many positions at which reads ended are remembered: a reader that goes on sequentially begins there.
const BOOKMARKS: usize = 16;

/// Where a read ended: a batch with this base offset begins there, if it exists.
#[derive(Clone, Copy)]
pub(super) struct Bookmark {
    pub(super) segment: i64,
    pub(super) offset: i64,
    pub(super) position: u64,
}

/// How many older segments keep their files open, per log.
const OPEN_SEGMENTS: usize = 4;

pub(super) struct Inner<I: Io> {
    pub(super) io: I,
    /// Changes once, when the log is deleted.
    pub(super) dir: RefCell<PathBuf>,
    pub(super) topic_id: Uuid,
    pub(super) on_event: Rc<dyn Fn(LogEvent)>,
    /// Where what must be durable goes first, as long as there is one, and who this log is there.
    pub(super) journal: RefCell<Option<(WeakJournal<I>, LogKey)>>,
    pub(super) state: RefCell<State<I::File>>,
    /// Notified whenever something moved that somebody may wait for.
    pub(super) changed: Signal,
    /// The right to rename or delete segments' files; taken before [`turn`](Self::turn).
    pub(super) names: Lock,
    /// Compaction is one at a time.
    pub(super) compacting: Lock,
    /// Whoever looks something up in a segment is inside; a segment is replaced while nobody is.
    pub(super) readers: Gate,
}

pub(super) struct State<F> {
    pub(super) config: LogConfig,
    /// Ascending; the last one is active.
    pub(super) segments: Vec<Segment<F>>,
    pub(super) active: Active,
    /// Appended and not handed to the machine yet.
    pub(super) gather: Gather,
    pub(super) log_start: i64,
    /// Survives a power cut: in the segments, or in the journal.
    pub(super) durable: i64,
    /// Survives a power cut in the segments alone.
    pub(super) synced: i64,
    /// In the journal, all of it from `durable` on.
    pub(super) journaled: i64,
    /// Durable, or handed to the journal and not heard of.
    pub(super) handed: i64,
    pub(super) written: i64,
    pub(super) end: i64,
    pub(super) epochs: Epochs,
    pub(super) quarantine: Quarantine,
    /// A segment that was rolled and whose indexes are not durable yet: the checkpoint must not pass it.
    pub(super) unsettled: Option<i64>,
    /// Someone wants everything below to be durable in the segments, whatever `write.caching` says.
    pub(super) sync_wanted: i64,
    /// A task waits to sync what `flush.ms` does not leave to the page cache.
    pub(super) flush_timer: bool,
    pub(super) writing: bool,
    pub(super) syncing: bool,
    /// One task at a time rolls, allocates, closes or deletes.
    pub(super) busy: bool,
    pub(super) failure: Option<LogFailure>,
    /// The log is none any more: nobody misses what it held.
    pub(super) deleted: bool,
    /// Older segments whose files are open, longest untouched first.
    open_segments: VecDeque<i64>,
    bookmarks: VecDeque<Bookmark>,
    /// Offsets of the producer snapshots in the directory, ascending.
    pub(super) snapshots: Vec<i64>,
}

impl<F: Clone> State<F> {
    /// A log whose last segment is `segments.last()`, ending at `end`; everything in it is durable.
    pub(super) fn new(config: LogConfig, segments: Vec<Segment<F>>, active: Active, end: i64) -> Self {
        State {
            config,
            segments,
            active,
            gather: Gather::default(),
            log_start: 0,
            durable: end,
            synced: end,
            journaled: end,
            handed: end,
            written: end,
            end,
            epochs: Epochs::default(),
            quarantine: Quarantine::default(),
            unsettled: None,
            sync_wanted: 0,
            flush_timer: false,
            writing: false,
            syncing: false,
            busy: false,
            failure: None,
            deleted: false,
            open_segments: VecDeque::new(),
            bookmarks: VecDeque::new(),
            snapshots: Vec::new(),
        }
    }

    pub(super) fn recovery_point(&self) -> i64 {
        // Up to the end of a segment that was just left, no further: recovery looks at it again if the checkpoint ends there. To
        // go back to its beginning would take back what an earlier checkpoint said is durable.
        let left = self.unsettled.map(|_| self.last().base);
        let limits = [Some(self.synced), left, self.epochs.unsaved_from()];
        limits.into_iter().flatten().min().unwrap_or(0)
    }

    /// Nothing is on its way to the disk, and everything appended is durable in the segments.
    pub(super) fn settled(&self) -> bool {
        !self.writing && !self.syncing && self.synced == self.end
    }

    /// The active segment.
    ///
    /// A log always has one; every constructor makes sure of it.
    pub(super) fn last(&self) -> &Segment<F> {
        self.segments.last().expect("a log has a segment")
    }

    /// The active segment and what belongs to it alone.
    pub(super) fn last_mut(&mut self) -> (&mut Segment<F>, &mut Active) {
        (self.segments.last_mut().expect("a log has a segment"), &mut self.active)
    }

    /// The index of the segment that `offset` belongs to.
    pub(super) fn segment_for(&self, offset: i64) -> Option<usize> {
        self.segments.partition_point(|s| s.base <= offset).checked_sub(1)
    }

    /// The segment with this base, if it is still there.
    pub(super) fn segment_mut(&mut self, base: i64) -> Option<&mut Segment<F>> {
        let at = self.segments.binary_search_by_key(&base, |s| s.base).ok()?;
        self.segments.get_mut(at)
    }

    /// Remembers where a read ended.
    pub(super) fn remember(&mut self, bookmark: Bookmark) {
        if self.bookmark(bookmark.segment, bookmark.offset).is_some() {
            return;
        }
        if self.bookmarks.len() == BOOKMARKS {
            self.bookmarks.pop_front();
        }
        self.bookmarks.push_back(bookmark);
    }

    /// Where the batch that begins with `offset` begins, if a read ended there.
    pub(super) fn bookmark(&self, segment: i64, offset: i64) -> Option<u64> {
        let same = |b: &&Bookmark| b.segment == segment && b.offset == offset;
        self.bookmarks.iter().rev().find(same).map(|b| b.position)
    }

    /// Forgets where reads of these segments ended.
    pub(super) fn forget_positions(&mut self, bases: &[i64]) {
        self.bookmarks.retain(|bookmark| !bases.contains(&bookmark.segment));
        self.open_segments.retain(|base| !bases.contains(base));
    }

    /// The segment's files have their names: it is one as any other.
    pub(super) fn unpin(&mut self, base: i64) {
        if let Some(segment) = self.segment_mut(base) {
            segment.pinned = false;
            self.touch(base);
        }
    }

    /// Notes that an older segment's files are in use, and closes those that were not for longest.
    fn touch(&mut self, base: i64) {
        if self.last().base == base || self.segment_mut(base).is_some_and(|segment| segment.pinned) {
            return;
        }
        self.open_segments.retain(|b| *b != base);
        self.open_segments.push_back(base);
        while self.open_segments.len() > OPEN_SEGMENTS {
            let oldest = self.open_segments.pop_front();
            let active = self.last().base;
            if let Some(segment) = oldest.filter(|b| *b != active).and_then(|b| self.segment_mut(b)) {
                segment.shrink();
            }
        }
    }
}

/// A segment's log file, and how much of it has been written.
pub(super) struct Opened<F> {
    pub(super) base: i64,
    pub(super) file: F,
    pub(super) size: u64,
}

impl<I: Io> Inner<I> {
    /// `Err` once the log is offline, closed or deleted.
    pub(super) fn online(&self) -> Result<(), LogFailure> {
        self.state.borrow().failure.clone().map_or(Ok(()), Err)
    }

    /// Takes the log offline, for good. What was appended and not written is dropped.
    pub(super) fn fail(&self, operation: &'static str, reason: impl ToString) -> LogFailure {
        let failure = LogFailure { dir: self.dir.borrow().clone(), operation, reason: reason.to_string() };
        let first = {
            let mut state = self.state.borrow_mut();
            state.gather = Gather::default();
            state.failure.replace(failure.clone()).is_none()
        };
        if first {
            tracing::error!(dir = %failure.dir.display(), operation, reason = failure.reason, "log is offline until restart");
            (self.on_event)(LogEvent::Failed(failure.clone()));
        }
        self.changed.notify();
        failure
    }

    pub(super) fn tell(&self, event: LogEvent) {
        (self.on_event)(event);
        self.changed.notify();
    }

    pub(super) fn path(&self, base: i64, suffix: &str) -> PathBuf {
        segment::path(&self.dir.borrow(), base, suffix)
    }

    pub(super) fn read_error(&self, base: i64, suffix: &str, reason: impl ToString) -> ReadError {
        ReadError::Io { file: self.path(base, suffix), reason: reason.to_string() }
    }

    /// The log file of the segment with this base. `NotFound` once the segment is deleted.
    pub(super) async fn open_segment(&self, base: i64) -> std::io::Result<Opened<I::File>> {
        let known = self.state.borrow_mut().segment_mut(base).map(|s| (s.file.clone(), s.size));
        let (file, size) = known.ok_or(std::io::ErrorKind::NotFound)?;
        let file = match file {
            Some(file) => file,
            None => self.io.open(&self.path(base, names::LOG), Open::Write).await?,
        };
        let measured = match size {
            Some(size) => size,
            None => self.io.len(&file).await?,
        };
        let mut state = self.state.borrow_mut();
        let segment = state.segment_mut(base).ok_or(std::io::ErrorKind::NotFound)?;
        segment.file = Some(file.clone());
        let size = *segment.size.get_or_insert(measured);
        state.touch(base);
        Ok(Opened { base, file, size })
    }

    /// Opens a segment's offset index, if it is not open, so that look-ups and flushes know its length.
    pub(super) async fn open_offsets(&self, base: i64) -> std::io::Result<Option<I::File>> {
        let pick = |s: &mut Segment<I::File>| (s.offsets.file.clone(), s.offsets.stored);
        let Some((file, stored)) = self.open_index(base, names::INDEX, 8, pick).await? else {
            return Ok(None);
        };
        if let Some(segment) = self.state.borrow_mut().segment_mut(base) {
            segment.offsets.file = Some(file.clone());
            segment.offsets.stored.get_or_insert(stored);
        }
        Ok(Some(file))
    }

    /// The same for the time index.
    pub(super) async fn open_times(&self, base: i64) -> std::io::Result<Option<I::File>> {
        let pick = |s: &mut Segment<I::File>| (s.times.file.clone(), s.times.stored);
        let Some((file, stored)) = self.open_index(base, names::TIME_INDEX, 12, pick).await? else {
            return Ok(None);
        };
        if let Some(segment) = self.state.borrow_mut().segment_mut(base) {
            segment.times.file = Some(file.clone());
            segment.times.stored.get_or_insert(stored);
        }
        Ok(Some(file))
    }

    async fn open_index(
        &self,
        base: i64,
        suffix: &str,
        entry: u64,
        pick: impl FnOnce(&mut Segment<I::File>) -> (Option<I::File>, Option<u32>),
    ) -> std::io::Result<Option<(I::File, u32)>> {
        let Some((file, stored)) = self.state.borrow_mut().segment_mut(base).map(pick) else {
            return Ok(None);
        };
        let file = match file {
            Some(file) => file,
            None => self.io.open(&self.path(base, suffix), Open::Create).await?,
        };
        let stored = match stored {
            Some(stored) => stored,
            None => u32::try_from(self.io.len(&file).await? / entry).unwrap_or(u32::MAX),
        };
        Ok(Some((file, stored)))
    }

    /// Every segment, oldest first, with its size. Files whose length is not known yet are opened for it, once.
    pub(super) async fn segments(&self) -> Result<Vec<SegmentSize>, ReadError> {
        let mut segments = self.sizes();
        for (base, size) in segments.iter_mut().filter(|(_, size)| size.is_none()) {
            let opened = self.open_segment(*base).await;
            *size = Some(opened.map_err(|e| self.read_error(*base, names::LOG, e))?.size);
        }
        let end = self.state.borrow().written;
        let ends = segments.iter().skip(1).map(|(base, _)| *base).chain([end]);
        let sized = segments.iter().zip(ends);
        Ok(sized
            .map(|((base, size), end)| SegmentSize { base: *base, end, bytes: size.unwrap_or(0) })
            .collect())
    }

    fn sizes(&self) -> Vec<(i64, Option<u64>)> {
        self.state.borrow().segments.iter().map(|segment| (segment.base, segment.size)).collect()
    }

    /// Bytes in all segments.
    pub(super) async fn size(&self) -> Result<u64, ReadError> {
        Ok(self.segments().await?.iter().map(|segment| segment.bytes).sum())
    }
}

/// The name a directory has in its parent.
pub(super) fn dir_name(dir: &Path) -> String {
    dir.file_name().map(|n| n.to_string_lossy().into_owned()).unwrap_or_default()
}
