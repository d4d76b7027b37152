//! The way of an appended batch to the disk: gathered while a write is in flight, written as one vector, synced as a
//! group.
//!
//! Two tasks at most per log, both started on demand and gone when there is nothing to do: one writes, one syncs. A
//! sync covers exactly what had been written when it was submitted.

use super::state::{Inner, State};
use super::types::{LogEvent, MaintainError, Mutation};
use crate::disk;
use crate::journal::Member;
use bytes::{Bytes, BytesMut};
use millrace_io::Io;
use millrace_proto::batch::Header;
use millrace_proto::files::{LEADER_EPOCHS, encode_leader_epochs};
use std::collections::VecDeque;
use std::future::Future;
use std::io::Result;
use std::pin::Pin;
use std::rc::Rc;

/// Batches from this size on are moved into the write; smaller ones are copied, so that a 200-byte batch never pins
/// the buffer it was received in.
const MOVE_FROM: usize = 8 << 10;
/// At most so many buffers in one write (`IOV_MAX`), and about so many bytes: the next write should not have to wait
/// for long.
const MAX_BUFFERS: usize = 1024;
const MAX_WRITE: usize = 16 << 20;

/// Batches that were appended and not handed to the machine yet.
#[derive(Default)]
pub(super) struct Gather {
    /// Each with the log's end behind it.
    chunks: VecDeque<(Bytes, i64)>,
    /// Small batches, copied one behind the other; they follow the chunks.
    arena: BytesMut,
    arena_end: i64,
}

impl Gather {
    fn add(&mut self, batch: BytesMut, end: i64) {
        if batch.len() < MOVE_FROM {
            self.arena.extend_from_slice(&batch);
            self.arena_end = end;
        } else {
            self.seal_arena();
            self.chunks.push_back((batch.freeze(), end));
        }
    }

    fn seal_arena(&mut self) {
        if !self.arena.is_empty() {
            self.chunks.push_back((self.arena.split().freeze(), self.arena_end));
        }
    }

    /// The next write's buffers, their bytes, and the log's end behind them.
    fn take(&mut self) -> Option<(Vec<Bytes>, u64, i64)> {
        self.seal_arena();
        let (mut bufs, mut bytes, mut end) = (Vec::new(), 0, 0);
        while bufs.len() < MAX_BUFFERS && bytes < MAX_WRITE {
            let Some((chunk, chunk_end)) = self.chunks.pop_front() else { break };
            bytes += chunk.len();
            end = chunk_end;
            bufs.push(chunk);
        }
        if bufs.is_empty() {
            // Idle logs keep no buffers.
            *self = Gather::default();
            return None;
        }
        Some((bufs, bytes as u64, end))
    }
}

/// One vectored write.
struct Write<F> {
    file: F,
    position: u64,
    bufs: Vec<Bytes>,
    bytes: u64,
    /// Where the log's bytes before end, and these.
    offsets: (i64, i64),
}

/// One sync, and what it will have made durable.
struct Sync<F> {
    file: F,
    target: i64,
}

impl<F: Clone> State<F> {
    fn next_write(&mut self) -> Option<Write<F>> {
        let next = if self.failure.is_some() { None } else { self.gather.take() };
        let Some((bufs, bytes, end)) = next else {
            self.writing = false;
            return None;
        };
        let last = self.last();
        let file = last.file.clone().expect("reserving has opened the file");
        Some(Write { file, position: last.size.unwrap_or(0), bufs, bytes, offsets: (self.written, end) })
    }

    fn wants_sync(&self) -> bool {
        let behind = match self.config.write_caching {
            true => self.written - self.durable >= self.config.flush_messages,
            // What the journal has been given need not be synced as well.
            false => self.handed < self.written,
        };
        let wanted = self.synced < self.sync_wanted || (behind && self.durable < self.written);
        self.failure.is_none() && self.synced < self.written && wanted
    }

    /// Whether the journal may have a write that begins here: it must hold everything from what is durable on.
    fn may_hand_over(&self, base: i64) -> bool {
        !self.config.write_caching && self.handed.max(self.durable) >= base
    }

    /// Takes over what is known to survive; whether that is more than before.
    fn advance_durable(&mut self) -> bool {
        let before = self.durable;
        self.durable = before.max(self.synced).max(self.journaled.min(self.written));
        self.durable > before
    }

    fn next_sync(&mut self) -> Option<Sync<F>> {
        if !self.wants_sync() {
            self.syncing = false;
            return None;
        }
        let file = self.last().file.clone().expect("something was written to the file");
        Some(Sync { file, target: self.written })
    }
}

impl<I: Io> Inner<I> {
    /// Appends a stamped batch. Space for it has been reserved.
    pub(super) fn append(self: &Rc<Self>, batch: BytesMut, header: &Header) {
        let mut state = self.state.borrow_mut();
        if state.failure.is_some() {
            return;
        }
        debug_assert!(header.base_offset >= state.end, "offsets ascend");
        debug_assert!(state.active.reserved >= batch.len() as u64, "space was reserved");
        let (len, interval) = (batch.len() as u64, state.config.index_interval_bytes);
        state.active.reserved = state.active.reserved.saturating_sub(len);
        let (last, active) = state.last_mut();
        active.note(last, header, len, interval);
        state.epochs.begin(header.leader_epoch, header.base_offset);
        state.end = header.next_offset();
        let end = state.end;
        state.gather.add(batch, end);
        if !std::mem::replace(&mut state.writing, true) {
            self.io.spawn(self.clone().write_all());
        }
    }

    /// Notes that a leader epoch begins here.
    pub(super) fn begin_epoch(&self, epoch: i32) {
        let mut state = self.state.borrow_mut();
        let end = state.end;
        state.epochs.begin(epoch, end);
    }

    /// Writes until nothing is left to write.
    async fn write_all(self: Rc<Self>) {
        loop {
            let next = self.state.borrow_mut().next_write();
            let Some(write) = next else { break };
            let Write { file, position, bufs, bytes, offsets } = write;
            if self.hand_over(offsets, &bufs) {
                // The disk takes longer than the copy into the page cache, so it should begin first: one turn for the journal to make
                // its frame, one for the core to submit it.
                for _ in 0..2 {
                    self.io.yield_now().await;
                }
            }
            if let Err(e) = self.io.write_at(&file, position, bufs).await {
                self.stop_writing("write", e);
                break;
            }
            self.on_written(bytes, offsets.1);
            if let Err(e) = self.flush_indexes(false).await {
                self.stop_writing("write of an index", e);
                break;
            }
        }
        self.changed.notify();
    }

    /// Gives the journal what is written now, where there is one and it takes it. Whether it did.
    fn hand_over(self: &Rc<Self>, offsets: (i64, i64), bufs: &[Bytes]) -> bool {
        let journal = self.journal.borrow();
        let Some((journal, key)) = &*journal else { return false };
        let Some(journal) = journal.upgrade() else { return false };
        let member: Rc<dyn Member> = self.clone();
        let taken = self.state.borrow().may_hand_over(offsets.0) && journal.add(&member, *key, offsets, bufs);
        if taken {
            self.state.borrow_mut().handed = offsets.1;
        }
        taken
    }

    fn stop_writing(&self, operation: &'static str, reason: std::io::Error) {
        self.state.borrow_mut().writing = false;
        self.fail(operation, reason);
    }

    fn on_written(self: &Rc<Self>, bytes: u64, end: i64) {
        let (durable, sync) = {
            let mut state = self.state.borrow_mut();
            let (last, _) = state.last_mut();
            last.size = Some(last.size.unwrap_or(0) + bytes);
            state.written = end;
            if state.config.mutation == Mutation::AcknowledgeBeforeSync {
                state.journaled = end;
            }
            (state.advance_durable().then_some(state.durable), state.failure.is_none())
        };
        if sync {
            self.tell(LogEvent::Written { end });
            if let Some(end) = durable {
                self.tell(LogEvent::Durable { end });
            }
            self.start_sync();
            self.start_flush_timer();
        }
    }

    /// Sees to it that what was written is synced after `flush.ms`, where nothing else does it sooner.
    fn start_flush_timer(self: &Rc<Self>) {
        let mut state = self.state.borrow_mut();
        let wanted = state.config.flush_after.filter(|_| state.config.write_caching && !state.syncing);
        if let Some(after) = wanted
            && !std::mem::replace(&mut state.flush_timer, true)
        {
            let log = self.clone();
            self.io.spawn(async move {
                log.io.sleep(after).await;
                log.state.borrow_mut().flush_timer = false;
                // What goes wrong takes the log offline, and is told then.
                let _ = log.flush().await;
            });
        }
    }

    /// Starts a sync if one is due and none is in flight.
    fn start_sync(self: &Rc<Self>) {
        let mut state = self.state.borrow_mut();
        if state.wants_sync() && !std::mem::replace(&mut state.syncing, true) {
            self.io.spawn(self.clone().sync_all());
        }
    }

    /// Syncs until what should be durable is.
    async fn sync_all(self: Rc<Self>) {
        loop {
            if let Err(e) = self.save_epochs().await {
                self.stop_syncing("write of the leader epochs", e);
                break;
            }
            // Taken now, not earlier and not later: the sync covers what is written when it is submitted.
            let next = self.state.borrow_mut().next_sync();
            let Some(Sync { file, target }) = next else { break };
            if let Err(e) = self.io.sync(&file).await {
                self.stop_syncing("sync", e);
                break;
            }
            self.on_synced(target);
        }
        self.changed.notify();
    }

    fn stop_syncing(&self, operation: &'static str, reason: std::io::Error) {
        self.state.borrow_mut().syncing = false;
        self.fail(operation, reason);
    }

    fn on_synced(&self, target: i64) {
        {
            let mut state = self.state.borrow_mut();
            // After a failed write nothing more is promised.
            if state.failure.is_some() {
                return;
            }
            let later = state.config.mutation == Mutation::SyncCoversLaterWrites;
            state.synced = state.synced.max(if later { state.written } else { target });
        }
        self.tell_durable();
    }

    /// Says how far the log is durable, if that is farther than before.
    fn tell_durable(&self) {
        let durable = {
            let mut state = self.state.borrow_mut();
            state.advance_durable().then_some(state.durable)
        };
        match durable {
            Some(end) => self.tell(LogEvent::Durable { end }),
            None => self.changed.notify(),
        }
    }

    /// Writes the leader epochs if the file lacks some. A full disk is no failure: the recovery point then stays below
    /// the epochs that the file lacks, and the next sync tries again.
    pub(super) async fn save_epochs(&self) -> Result<()> {
        let (entries, changes) = {
            let state = self.state.borrow();
            if state.epochs.unsaved_from().is_none() {
                return Ok(());
            }
            (encode_leader_epochs(state.epochs.all()), state.epochs.changes())
        };
        let dir = self.dir.borrow().clone();
        match disk::write_file(&self.io, &dir, LEADER_EPOCHS, entries.into()).await {
            Ok(()) => self.state.borrow_mut().epochs.saved(changes),
            Err(e) if disk::is_full(&e) => {}
            Err(e) => return Err(e),
        }
        Ok(())
    }

    /// Writes index entries of the active segment: those that have gathered, or all.
    pub(super) async fn flush_indexes(&self, all: bool) -> Result<()> {
        let base = self.state.borrow().last().base;
        self.flush_indexes_of(base, all).await
    }

    /// The same for any segment.
    pub(super) async fn flush_indexes_of(&self, base: i64, all: bool) -> Result<()> {
        if self.has_unflushed(base, all) {
            let offsets = self.open_offsets(base).await?;
            let flush = self.state.borrow_mut().segment_mut(base).and_then(|s| s.offsets.start_flush(all));
            if let (Some(file), Some(flush)) = (offsets, flush) {
                self.io.write_at(&file, flush.position, vec![flush.bytes.clone()]).await?;
                if let Some(segment) = self.state.borrow_mut().segment_mut(base) {
                    segment.offsets.finish_flush(&flush);
                }
            }
            let times = self.open_times(base).await?;
            let flush = self.state.borrow_mut().segment_mut(base).and_then(|s| s.times.start_flush(all));
            if let (Some(file), Some(flush)) = (times, flush) {
                self.io.write_at(&file, flush.position, vec![flush.bytes.clone()]).await?;
                if let Some(segment) = self.state.borrow_mut().segment_mut(base) {
                    segment.times.finish_flush(&flush);
                }
            }
        }
        Ok(())
    }

    fn has_unflushed(&self, base: i64, all: bool) -> bool {
        let mut state = self.state.borrow_mut();
        state.segment_mut(base).is_some_and(|s| s.offsets.is_due(all) || s.times.is_due(all))
    }

    /// Waits until everything appended before this call is durable in the segments.
    pub(super) async fn flush(self: &Rc<Self>) -> std::result::Result<(), MaintainError> {
        let target = self.state.borrow().end;
        {
            let mut state = self.state.borrow_mut();
            state.sync_wanted = state.sync_wanted.max(target);
        }
        self.start_sync();
        let reached = || {
            let state = self.state.borrow();
            state.synced >= target || state.failure.is_some()
        };
        self.changed.until(reached).await;
        if self.state.borrow().synced < target { Ok(self.online()?) } else { Ok(()) }
    }

    /// Waits until everything is durable and nothing is in flight: the moment at which a segment can be left.
    pub(super) async fn settle(self: &Rc<Self>) -> std::result::Result<(), MaintainError> {
        loop {
            self.flush().await?;
            self.changed.until(|| self.is_quiet()).await;
            self.online()?;
            if self.state.borrow().settled() {
                return Ok(());
            }
        }
    }

    /// Neither task runs.
    pub(super) fn is_quiet(&self) -> bool {
        let state = self.state.borrow();
        !state.writing && !state.syncing
    }
}

impl<I: Io> Member for Inner<I> {
    fn journaled(&self, (base, end): (i64, i64)) {
        {
            let mut state = self.state.borrow_mut();
            // Where something before is neither there nor in the segments, this is of no use yet: it will be synced.
            if state.failure.is_some() || base > state.journaled.max(state.durable) {
                return;
            }
            state.journaled = state.journaled.max(end);
        }
        self.tell_durable();
    }

    fn not_journaled(self: Rc<Self>) {
        {
            let mut state = self.state.borrow_mut();
            state.handed = state.journaled.max(state.durable);
        }
        self.start_sync();
    }

    fn settle(self: Rc<Self>, end: i64) -> Pin<Box<dyn Future<Output = bool>>> {
        Box::pin(async move {
            // What was handed over may still be on its way to the segment.
            let _ = self.flush().await;
            let state = self.state.borrow();
            state.deleted || state.synced >= end
        })
    }
}
