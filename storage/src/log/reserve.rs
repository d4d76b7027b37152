//! Space before anything is written: room in the active segment, blocks on the disk, a new segment when it is time.
//!
//! A full disk is found here. Whatever was begun is taken back then, and the log goes on as it was.

use super::create::jitter;
use super::index::SparseIndex;
use super::names;
use super::recover::remove_segment;
use super::segment::{self, Active, FIRST_CHUNK, LARGEST_CHUNK, Segment};
use super::state::{Inner, State};
use super::types::{LogEvent, LogFailure, MaintainError, ReserveError};
use crate::disk;
use millrace_io::{Io, Open};
use millrace_proto::batch::{Header, NO_TIMESTAMP};
use std::io::Error;
use std::path::Path;
use std::rc::Rc;

/// Relative offsets are 31 bits wide; a segment ends at half of that, so that whatever was reserved still fits.
const MAX_RELATIVE: i64 = 1 << 30;
/// Least size of a record batch on disk: how many index entries a number of bytes can need at most.
const LEAST_BATCH: u64 = Header::SIZE as u64;

impl<F: Clone> State<F> {
    /// Takes `bytes` if they are there.
    fn take_space(&mut self, bytes: u64, max_timestamp: i64) -> bool {
        let ready = self.failure.is_none() && self.last().file.is_some();
        let fits = ready
            && !self.must_roll(bytes, max_timestamp)
            && self.needed(bytes) <= self.active.allocated.min(self.active.index_allocated);
        if fits {
            self.active.reserved += bytes;
        }
        fits
    }

    /// Up to where space is needed for what was reserved before and `bytes` more.
    fn needed(&self, bytes: u64) -> u64 {
        self.active.appended + self.active.reserved + bytes
    }

    /// Kafka's reasons for a new segment. One without any batch stays, as a successor would have the same name.
    fn must_roll(&self, bytes: u64, max_timestamp: i64) -> bool {
        if self.active.appended == 0 {
            return false;
        }
        let (last, config) = (self.last(), &self.config);
        let full = self.needed(bytes) > u64::from(config.segment_bytes);
        let waited = |first: i64| max_timestamp.saturating_sub(first);
        let old = self.active.first_timestamp.is_some_and(|first| {
            first >= 0 && waited(first) > config.segment_ms.saturating_sub(self.active.jitter)
        });
        let index_full = last.offsets.bytes_for(1) > u64::from(config.segment_index_bytes)
            || last.times.bytes_for(1) > u64::from(config.segment_index_bytes);
        full || old || index_full || self.end - last.base > MAX_RELATIVE
    }

    /// How many index entries `bytes` of log can need.
    fn index_entries(&self, bytes: u64) -> u64 {
        bytes / u64::from(self.config.index_interval_bytes).max(LEAST_BATCH) + 2
    }
}

/// The right to roll, allocate, close or delete: one task at a time has it.
pub(super) struct Turn<'a, I: Io>(&'a Inner<I>);

impl<I: Io> Drop for Turn<'_, I> {
    fn drop(&mut self) {
        self.0.state.borrow_mut().busy = false;
        self.0.changed.notify();
    }
}

/// A new segment's files, before they are part of the log.
struct Prepared<F> {
    segment: Segment<F>,
    active: Active,
}

impl<I: Io> Inner<I> {
    /// Takes space that is there, unless someone is just making some.
    pub(super) fn try_reserve(&self, bytes: u64, max_timestamp: i64) -> bool {
        let mut state = self.state.borrow_mut();
        !state.busy && state.take_space(bytes, max_timestamp)
    }

    pub(super) fn release(&self, bytes: u64) {
        let mut state = self.state.borrow_mut();
        state.active.reserved = state.active.reserved.saturating_sub(bytes);
    }

    /// Waits for the turn.
    pub(super) async fn turn(&self) -> Turn<'_, I> {
        let free = || !std::mem::replace(&mut self.state.borrow_mut().busy, true);
        self.changed.until(free).await;
        Turn(self)
    }

    pub(super) async fn reserve(self: &Rc<Self>, bytes: u64, max_timestamp: i64) -> Result<(), ReserveError> {
        let _turn = self.turn().await;
        self.online()?;
        if self.state.borrow_mut().take_space(bytes, max_timestamp) {
            return Ok(());
        }
        self.make_ready().await?;
        if self.state.borrow().must_roll(bytes, max_timestamp) {
            self.roll(bytes).await?;
        }
        self.grow(bytes).await?;
        self.online()?;
        self.state.borrow_mut().active.reserved += bytes;
        Ok(())
    }

    /// Rolls, unless the active segment is empty.
    pub(super) async fn roll_now(self: &Rc<Self>) -> Result<(), ReserveError> {
        let _turn = self.turn().await;
        self.online()?;
        self.make_ready().await?;
        let empty = self.state.borrow().active.appended == 0;
        if empty { Ok(()) } else { self.roll(0).await }
    }

    /// Opens the active segment's files and learns what only its content says.
    async fn make_ready(self: &Rc<Self>) -> Result<(), ReserveError> {
        let unsettled = self.state.borrow().unsettled;
        if let Some(base) = unsettled {
            self.leave(base).await?;
        }
        let base = self.state.borrow().last().base;
        let result = async {
            let opened = self.open_segment(base).await?;
            self.open_offsets(base).await?;
            self.open_times(base).await?;
            let unknown = self.state.borrow().active.first_timestamp.is_none() && opened.size > 0;
            if unknown {
                let head = self.io.read_at(&opened.file, 0, Header::SIZE).await?;
                // A damaged first batch only means that time is no reason to roll.
                let first = Header::parse(&head).map_or(NO_TIMESTAMP, |header| header.max_timestamp);
                self.state.borrow_mut().active.first_timestamp = Some(first);
            }
            Ok(())
        };
        result.await.map_err(|e| self.refuse("opening the active segment", e))
    }

    /// A full disk is a reason to ask again later; anything else takes the log offline.
    fn refuse(&self, operation: &'static str, error: Error) -> ReserveError {
        match disk::is_full(&error) {
            true => ReserveError::NoSpace(self.dir.borrow().clone()),
            false => ReserveError::Offline(self.fail(operation, error)),
        }
    }

    /// Allocates ahead, so that `bytes` more fit.
    async fn grow(&self, bytes: u64) -> Result<(), ReserveError> {
        let (file, from, least, wanted) = {
            let state = self.state.borrow();
            let (least, active) = (state.needed(bytes), &state.active);
            let ahead = (active.allocated + active.chunk).min(u64::from(state.config.segment_bytes));
            (state.last().file.clone(), active.allocated, least, ahead.max(least))
        };
        let Some(file) = file else { return Ok(()) };
        if least > from {
            let reached = self.allocate(&file, from, least, wanted).await?;
            let active = &mut self.state.borrow_mut().active;
            active.allocated = reached;
            active.chunk = (active.chunk * 2).min(LARGEST_CHUNK);
        }
        self.grow_indexes().await
    }

    /// Allocates from `from` on: up to `wanted`, or if the disk has not as much, up to `least`.
    async fn allocate(
        &self,
        file: &I::File,
        from: u64,
        least: u64,
        wanted: u64,
    ) -> Result<u64, ReserveError> {
        let result = match self.io.allocate(file, from, wanted - from).await {
            Err(e) if disk::is_full(&e) && wanted > least => {
                self.io.allocate(file, from, least - from).await.map(|()| least)
            }
            other => other.map(|()| wanted),
        };
        result.map_err(|e| self.refuse("allocating space", e))
    }

    /// Keeps space for the index entries of everything that is allocated.
    async fn grow_indexes(&self) -> Result<(), ReserveError> {
        let (offsets, times, upto, lengths) = {
            let state = self.state.borrow();
            let (last, upto) = (state.last(), state.active.allocated);
            if state.active.index_allocated >= upto {
                return Ok(());
            }
            let entries = state.index_entries(upto - state.active.appended.min(upto));
            let lengths = (last.offsets.bytes_for(entries), last.times.bytes_for(entries));
            (last.offsets.file.clone(), last.times.file.clone(), upto, lengths)
        };
        for (file, len) in [(offsets, lengths.0), (times, lengths.1)] {
            let Some(file) = file else { continue };
            self.io.allocate(&file, 0, len).await.map_err(|e| self.refuse("allocating space", e))?;
        }
        self.state.borrow_mut().active.index_allocated = upto;
        Ok(())
    }

    /// Begins a new segment at the end of the log, with space for what was reserved and `bytes` more.
    ///
    /// First everything before is made durable: only the last segment ever holds anything that is not.
    async fn roll(self: &Rc<Self>, bytes: u64) -> Result<(), ReserveError> {
        let (old, base) = loop {
            self.settle().await.map_err(ReserveError::from)?;
            let base = self.state.borrow().end;
            let prepared = self.prepare(base, bytes).await;
            // Space that was reserved earlier may have been appended to the old segment meanwhile.
            let stale = self.state.borrow().end != base || !self.state.borrow().settled();
            match prepared {
                Ok(prepared) if !stale => break (self.switch(prepared), base),
                Ok(_) => self.discard(base).await?,
                Err(e) => {
                    self.discard(base).await?;
                    return Err(self.refuse("creating a segment", e));
                }
            }
        };
        self.tell(LogEvent::Rolled { base });
        self.leave(old).await
    }

    /// Creates a segment's files, durably, with space in them.
    async fn prepare(&self, base: i64, bytes: u64) -> std::io::Result<Prepared<I::File>> {
        let dir = self.dir.borrow().clone();
        let (space, jitter, entries) = {
            let state = self.state.borrow();
            let whole =
                if state.config.preallocate { u64::from(state.config.segment_bytes) } else { FIRST_CHUNK };
            let space = (state.active.reserved + bytes).max(whole);
            (space, jitter(&self.io, state.config.segment_jitter_ms), state.index_entries(space))
        };
        let mut segment = create_files(&self.io, &dir, base).await?;
        let mut active = Active::new(0, jitter);
        if let Some(file) = &segment.file {
            self.io.allocate(file, 0, space).await?;
        }
        for (file, len) in [
            (segment.offsets.file.as_ref(), segment.offsets.bytes_for(entries)),
            (segment.times.file.as_ref(), segment.times.bytes_for(entries)),
        ] {
            if let Some(file) = file {
                self.io.allocate(file, 0, len).await?;
            }
        }
        self.io.sync_dir(&dir).await?;
        segment.size = Some(0);
        (active.allocated, active.index_allocated, active.chunk) = (space, space, FIRST_CHUNK * 2);
        Ok(Prepared { segment, active })
    }

    /// Removes the files of a segment that did not come to be, durably: the next start would take them for a part of
    /// the log.
    async fn discard(&self, base: i64) -> Result<(), ReserveError> {
        let dir = self.dir.borrow().clone();
        let result = match remove_segment(&self.io, &dir, base).await {
            Ok(()) => self.io.sync_dir(&dir).await,
            Err(e) => Err(e),
        };
        result.map_err(|e| ReserveError::Offline(self.fail("removing an unused segment", e)))
    }

    /// Makes a prepared segment the active one; says which one that was before.
    fn switch(&self, prepared: Prepared<I::File>) -> i64 {
        let mut state = self.state.borrow_mut();
        let old = state.last().base;
        let (last, active) = state.last_mut();
        active.index_time(last);
        let reserved = std::mem::replace(active, prepared.active).reserved;
        state.active.reserved = reserved;
        state.segments.push(prepared.segment);
        state.unsettled = Some(old);
        old
    }

    /// Writes what a segment's indexes still lack, makes them durable and cuts the files to their real size. Until
    /// then the recovery point does not pass the segment.
    async fn leave(&self, base: i64) -> Result<(), ReserveError> {
        self.finish(base).await.map_err(|e| ReserveError::Offline(self.fail("leaving a segment", e)))?;
        let mut state = self.state.borrow_mut();
        if let Some(segment) = state.segment_mut(base) {
            segment.shrink();
        }
        state.unsettled = None;
        Ok(())
    }

    /// The part of [`leave`](Self::leave) that closing a log shares.
    pub(super) async fn finish(&self, base: i64) -> std::io::Result<()> {
        self.flush_indexes_of(base, true).await?;
        let opened = self.open_segment(base).await?;
        for (file, len) in self.index_files(base).await? {
            self.io.truncate(&file, len).await?;
            self.io.sync(&file).await?;
        }
        self.io.truncate(&opened.file, opened.size).await
    }

    async fn index_files(&self, base: i64) -> std::io::Result<Vec<(I::File, u64)>> {
        let (offsets, times) = (self.open_offsets(base).await?, self.open_times(base).await?);
        let mut state = self.state.borrow_mut();
        let Some(segment) = state.segment_mut(base) else { return Ok(Vec::new()) };
        let lengths = [segment.offsets.bytes_for(0), segment.times.bytes_for(0)];
        Ok([offsets, times].into_iter().flatten().zip(lengths).collect())
    }
}

impl From<MaintainError> for ReserveError {
    fn from(error: MaintainError) -> Self {
        match error {
            MaintainError::Offline(failure) => ReserveError::Offline(failure),
            MaintainError::Io { file, reason } => {
                ReserveError::Offline(LogFailure { dir: disk::parent(&file), operation: "write", reason })
            }
        }
    }
}

/// Creates a segment's three files, empty, whatever may have been left under their names. Their names are not durable
/// yet.
pub(super) async fn create_files<I: Io>(io: &I, dir: &Path, base: i64) -> std::io::Result<Segment<I::File>> {
    let mut segment = Segment::unopened(base);
    segment.file = Some(create_empty(io, dir, base, names::LOG).await?);
    let (offsets, times) = create_index_files(io, dir, base).await?;
    segment.offsets = SparseIndex::with_stored(Some(offsets), 0);
    segment.times = SparseIndex::with_stored(Some(times), 0);
    segment.size = Some(0);
    Ok(segment)
}

/// Creates a segment's index files, empty.
pub(super) async fn create_index_files<I: Io>(
    io: &I,
    dir: &Path,
    base: i64,
) -> std::io::Result<(I::File, I::File)> {
    let offsets = create_empty(io, dir, base, names::INDEX).await?;
    Ok((offsets, create_empty(io, dir, base, names::TIME_INDEX).await?))
}

async fn create_empty<I: Io>(io: &I, dir: &Path, base: i64, suffix: &str) -> std::io::Result<I::File> {
    let file = io.open(&segment::path(dir, base, suffix), Open::Create).await?;
    io.truncate(&file, 0).await?;
    Ok(file)
}
