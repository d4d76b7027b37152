//! Compaction: of the records of a key, the last one stays. Kafka's rules; offsets, order and timestamps never change.
//!
//! One pass reads the part of the log that was not compacted yet and notes where each key was written last ([`keys`]). Then it goes
//! through everything up to there and leaves out what was written again later ([`rewrite`]), segment by segment, small ones
//! together; each result takes the place of what it was made from at once ([`swap`]). The active segment is never touched.
//!
//! Unlike Kafka's, a compacted log has no gaps: where nothing stays, one batch without records stands for the offsets. So recovery can
//! still tell what is missing from what is not there any more, and a read still knows that it found what it looked for.

mod keys;
mod rewrite;
mod swap;

pub(super) use swap::complete;

use super::scan::{Found, Walker};
use super::state::Inner;
use super::types::{LogFailure, Mutation, ReadError, SegmentSize};
use crate::disk;
use bytes::Bytes;
use keys::LatestOffsets;
use millrace_io::Io;
use millrace_proto::batch::{Header, Record, Retain, Retained, emptied, records, verify};
use millrace_proto::compression::Caps;
use rewrite::{Outcome, Rewrite};
use std::collections::HashMap;
use std::io::Error;
use std::path::PathBuf;
use std::time::Duration;

/// Bytes after which other tasks have their turn.
const SLICE: u64 = 128 << 10;
/// A segment's offsets are relative to its base, in 31 bits; half of that, as where a segment is rolled.
const MAX_RANGE: i64 = 1 << 30;

/// What to compact, and how.
#[derive(Clone, Debug)]
pub struct Compaction {
    /// Everything below was compacted before: its keys are different, but for those that were written again since.
    pub dirty_from: i64,
    /// Up to where keys are looked at; whatever lies behind stays.
    pub upto: i64,
    /// The present, in milliseconds since 1970.
    pub now_ms: i64,
    /// `delete.retention.ms`: how long a tombstone stays after the pass that first saw it.
    pub delete_retention_ms: i64,
    /// Bytes of memory for the keys, 24 for each.
    pub memory: usize,
    /// How full that memory may get, more than 0 and less than 1: the fuller, the slower.
    pub load: f64,
    /// Bytes that are read at once.
    pub window: usize,
    /// How many bytes may be read and written in a second; `None` for as many as other work leaves time for.
    pub bytes_per_second: Option<u64>,
    /// By producer id, the offset from which on a producer's batches stay, if need be without records, so that its sequence numbers
    /// are not forgotten.
    pub producers: HashMap<i64, i64>,
}

/// What a pass did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Compacted {
    /// Everything below is compacted now. Less than was asked for if the keys did not fit into the memory.
    pub upto: i64,
    /// Bytes of the segments that were looked at, before.
    pub bytes_before: u64,
    /// Their bytes now.
    pub bytes_after: u64,
    /// Records that went.
    pub removed: u64,
}

/// Why a log could not be compacted. What was compacted before that stays so.
#[derive(Debug, thiserror::Error)]
pub enum CompactError {
    /// The log is offline, closed or deleted.
    #[error(transparent)]
    Offline(#[from] LogFailure),
    /// A segment could not be opened.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// The disk is full.
    #[error("no space left on the disk that holds {dir}: compaction needs room for one more segment", dir = .0.display())]
    NoSpace(PathBuf),
    /// Compacting around damage would hide it.
    #[error(
        "offset {offset} cannot be compacted: {reason}; the log is left as it is, `millrace log verify` tells more"
    )]
    Damaged {
        /// Where.
        offset: i64,
        /// What is wrong there.
        reason: String,
    },
    /// Not even one batch's keys fit.
    #[error(
        "{memory} bytes do not hold the keys of one batch at offset {offset}; raise log.cleaner.dedupe.buffer.size"
    )]
    Memory {
        /// Bytes there are.
        memory: usize,
        /// Where the batch begins.
        offset: i64,
    },
    /// The machine refused.
    #[error("cannot compact {dir}: {reason}", dir = .dir.display())]
    Io {
        /// The log's directory.
        dir: PathBuf,
        /// What the machine said.
        reason: String,
    },
}

type Result<T> = std::result::Result<T, CompactError>;

impl<I: Io> Inner<I> {
    pub(super) async fn compact(&self, wanted: &Compaction) -> Result<Compacted> {
        let _only = self.compacting.lock().await;
        let segments = self.compactable(wanted.upto).await?;
        let mut pass = Pass { log: self, wanted, pace: Pace::new(&self.io, wanted.bytes_per_second) };
        let (keys, upto) = pass.read_keys(&segments).await?;
        let mut done = Compacted { upto, ..Compacted::default() };
        let below: Vec<SegmentSize> = segments.into_iter().filter(|segment| segment.base < upto).collect();
        for group in pass.groups(&below) {
            pass.clean(group, &keys, &mut done).await?;
        }
        Ok(done)
    }

    /// The segments that a pass up to `upto` may look at: none that is appended to, nor one that was just left.
    async fn compactable(&self, upto: i64) -> Result<Vec<SegmentSize>> {
        self.online()?;
        // Looked at first: what is active now may have a successor by the time that its size is known.
        let (limit, hole) = {
            let state = self.state.borrow();
            let limit = state.unsettled.unwrap_or(state.last().base);
            (limit, state.quarantine.ranges().into_iter().find(|range| range.start < upto))
        };
        if let Some(hole) = hole {
            let reason = format!("offsets {}..{} are damaged on disk", hole.start, hole.end);
            return Err(CompactError::Damaged { offset: hole.start, reason });
        }
        let segments = self.segments().await?;
        Ok(segments.into_iter().take_while(|segment| segment.base < limit).collect())
    }

    fn compact_error(&self, error: Error) -> CompactError {
        // A log that was deleted meanwhile has its files elsewhere.
        if let Err(failure) = self.online() {
            return failure.into();
        }
        let dir = self.dir.borrow().clone();
        match disk::is_full(&error) {
            true => CompactError::NoSpace(dir),
            false => CompactError::Io { dir, reason: error.to_string() },
        }
    }
}

struct Pass<'a, I: Io> {
    log: &'a Inner<I>,
    wanted: &'a Compaction,
    pace: Pace<I>,
}

impl<'a, I: Io> Pass<'a, I> {
    /// Where each key of what is not compacted yet was written last, and up to where the memory lasted.
    async fn read_keys(&mut self, segments: &[SegmentSize]) -> Result<(LatestOffsets, i64)> {
        let Compaction { dirty_from, upto, memory, load, .. } = *self.wanted;
        let end = segments.last().map_or(dirty_from, |segment| segment.end).min(upto);
        let most = u64::try_from(end - dirty_from).unwrap_or(0);
        let mut keys = LatestOffsets::new(most, memory, load, self.log.io.random());
        let mut scratch = Vec::new();
        let mut reached = dirty_from;
        for segment in segments.iter().filter(|segment| segment.end > dirty_from && segment.base < end) {
            let Some(mut batches) = self.batches(segment).await? else { continue };
            while let Some((header, batch)) = batches.next().await? {
                self.spend(batch.len()).await?;
                if header.next_offset() > end {
                    return Ok((keys, reached));
                }
                if header.last_offset() < dirty_from {
                    continue;
                }
                let room = note_keys(&mut keys, &header, &batch, &mut scratch, dirty_from);
                if !room && reached == dirty_from {
                    return Err(CompactError::Memory { memory, offset: header.base_offset });
                }
                if !room {
                    return Ok((keys, reached));
                }
                reached = header.next_offset();
            }
        }
        Ok((keys, reached))
    }

    /// Segments that become one: as many in a row as fit into one.
    fn groups<'b>(&self, segments: &'b [SegmentSize]) -> Vec<&'b [SegmentSize]> {
        let (most, index, interval) = {
            let config = &self.log.state.borrow().config;
            (config.segment_bytes, config.segment_index_bytes, config.index_interval_bytes)
        };
        let fits = |group: &[SegmentSize]| {
            let bytes: u64 = group.iter().map(|segment| segment.bytes).sum();
            // The larger of the two indexes, which may have an entry for each interval.
            let indexed = (bytes / u64::from(interval.max(1)) + 1) * 12;
            let range = group.last().map_or(0, |last| last.end - group[0].base);
            bytes <= u64::from(most) && indexed <= u64::from(index) && range <= MAX_RANGE
        };
        let (mut groups, mut from) = (Vec::new(), 0);
        for upto in 1..=segments.len() {
            if upto == segments.len() || !fits(&segments[from..=upto]) {
                groups.push(&segments[from..upto]);
                from = upto;
            }
        }
        groups
    }

    /// Rewrites a group, if anything in it changes: what retention leaves of it meanwhile.
    async fn clean(
        &mut self,
        mut group: &[SegmentSize],
        keys: &LatestOffsets,
        done: &mut Compacted,
    ) -> Result<()> {
        while !group.is_empty() && !self.try_clean(group, keys, done).await? {
            let state = self.log.state.borrow();
            let first = state.segments.first().map_or(0, |segment| segment.base);
            // Retention takes the oldest.
            let gone = group.partition_point(|segment| segment.base < first).max(1);
            group = &group[gone..];
        }
        Ok(())
    }

    /// `false` if one of the segments is deleted.
    async fn try_clean(
        &mut self,
        group: &[SegmentSize],
        keys: &LatestOffsets,
        done: &mut Compacted,
    ) -> Result<bool> {
        let log = self.log;
        let upto = done.upto;
        let mut filter = Filter { keys, wanted: self.wanted, upto, retain: Retain::default(), removed: 0 };
        let Some(rewrite) = self.rewrite(group, &mut filter).await? else { return Ok(false) };
        let before: u64 = group.iter().map(|segment| segment.bytes).sum();
        let after = match rewrite.finish().await.map_err(|e| log.compact_error(e))? {
            Outcome::Unchanged => before,
            Outcome::Rewritten(segment) => {
                let (old, size): (Vec<i64>, _) = (group.iter().map(|s| s.base).collect(), segment.size);
                if !log.put_in_place(&old, segment).await? {
                    return Ok(false);
                }
                size.unwrap_or(0)
            }
        };
        done.bytes_before += before;
        done.bytes_after += after;
        done.removed += filter.removed;
        Ok(true)
    }

    /// Goes through a group's batches; `None` if one of the segments is deleted.
    async fn rewrite(
        &mut self,
        group: &[SegmentSize],
        filter: &mut Filter<'_>,
    ) -> Result<Option<Rewrite<I>>> {
        let (log, dir) = (self.log, self.log.dir.borrow().clone());
        let source = match group {
            [only] => self.open(only).await?,
            _ => None,
        };
        let mut rewrite = {
            let config = &log.state.borrow().config;
            let unsynced = config.mutation == Mutation::SwapUnsynced;
            let (base, interval) = (group[0].base, config.index_interval_bytes);
            Rewrite::new(log.io.clone(), &dir, base, interval, source, unsynced)
        };
        for segment in group {
            let Some(mut batches) = self.batches(segment).await? else { return Ok(None) };
            while let Some((header, batch)) = batches.next().await? {
                self.spend(batch.len()).await?;
                let written = match filter.look(&header, &batch) {
                    Verdict::Keep => rewrite.keep(&header, batch).await,
                    Verdict::Replace(left) => {
                        let header = Header::parse(&left).expect("a batch made here");
                        rewrite.replace(&header, left).await
                    }
                    Verdict::Remove => rewrite.remove(&header, batch).await,
                };
                written.map_err(|e| log.compact_error(e))?;
            }
        }
        Ok(Some(rewrite))
    }

    /// The segment's file; `None` if retention has deleted it since.
    async fn open(&self, segment: &SegmentSize) -> Result<Option<I::File>> {
        match self.log.open_segment(segment.base).await {
            Ok(opened) => Ok(Some(opened.file)),
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(e) => Err(self.log.compact_error(e)),
        }
    }

    async fn batches(&self, segment: &SegmentSize) -> Result<Option<Batches<'a, I>>> {
        let Some(file) = self.open(segment).await? else { return Ok(None) };
        let offsets = segment.base..segment.end;
        let walker = Walker::new(self.log.io.clone(), file, offsets, segment.bytes, self.wanted.window);
        Ok(Some(Batches { log: self.log, walker, due: segment.base, end: segment.end }))
    }

    /// So much was done; others may want to do something, too.
    async fn spend(&mut self, bytes: usize) -> Result<()> {
        if self.pace.spend(bytes as u64).await {
            self.log.online()?;
        }
        Ok(())
    }
}

/// Notes the keys of a batch; `false` if they do not all fit. What has no keys that can be read is left alone later.
fn note_keys(
    keys: &mut LatestOffsets,
    header: &Header,
    batch: &Bytes,
    scratch: &mut Vec<u8>,
    from: i64,
) -> bool {
    if header.is_control() || header.record_count == 0 {
        return true;
    }
    let Ok(records) = records(batch, scratch, &Caps::default()) else { return true };
    for record in records.map_while(std::result::Result::ok).filter(|record| record.offset >= from) {
        if record.key.is_some_and(|key| !keys.insert(key, record.offset)) {
            return false;
        }
    }
    true
}

/// What becomes of a batch.
enum Verdict {
    Keep,
    Replace(Bytes),
    Remove,
}

struct Filter<'a> {
    keys: &'a LatestOffsets,
    wanted: &'a Compaction,
    upto: i64,
    retain: Retain,
    removed: u64,
}

impl Filter<'_> {
    fn look(&mut self, header: &Header, batch: &Bytes) -> Verdict {
        if header.base_offset >= self.upto || header.is_control() {
            return Verdict::Keep;
        }
        let now = self.wanted.now_ms;
        let rule = Rule {
            keys: self.keys,
            upto: self.upto,
            drop_tombstones: header.delete_horizon().is_some_and(|horizon| now >= horizon),
        };
        let horizon = now.saturating_add(self.wanted.delete_retention_ms);
        let left = self.retain.records(batch, &Caps::default(), horizon, |record| rule.keeps(record));
        let (verdict, left) = match left {
            Ok(Retained::All) => (Verdict::Keep, header.record_count),
            Ok(Retained::Some(left)) => {
                let count = Header::parse(&left).map_or(0, |left| left.record_count);
                (Verdict::Replace(left), count)
            }
            Ok(Retained::None) if self.tells_of_its_producer(header) => match header.record_count {
                0 => (Verdict::Keep, 0),
                _ => (Verdict::Replace(emptied(header)), 0),
            },
            Ok(Retained::None) => (Verdict::Remove, 0),
            // Its checksum matches, so it is what was sent: records that nobody can read, neither we nor its readers.
            Err(_) => (Verdict::Keep, header.record_count),
        };
        self.removed += u64::try_from(header.record_count - left).unwrap_or(0);
        verdict
    }

    fn tells_of_its_producer(&self, header: &Header) -> bool {
        let from = self.wanted.producers.get(&header.producer_id);
        header.has_producer_id() && from.is_some_and(|from| header.last_offset() >= *from)
    }
}

/// Which records stay.
struct Rule<'a> {
    keys: &'a LatestOffsets,
    upto: i64,
    drop_tombstones: bool,
}

impl Rule<'_> {
    fn keeps(&self, record: &Record<'_>) -> bool {
        if record.offset >= self.upto {
            return true;
        }
        // What has no key has no place in a compacted log: it came before the log was one.
        let Some(key) = record.key else { return false };
        let is_last = self.keys.latest(key).is_none_or(|latest| record.offset >= latest);
        is_last && (record.value.is_some() || !self.drop_tombstones)
    }
}

/// The batches of one segment, whole and checked.
struct Batches<'a, I: Io> {
    log: &'a Inner<I>,
    walker: Walker<I>,
    due: i64,
    end: i64,
}

impl<I: Io> Batches<'_, I> {
    async fn next(&mut self) -> Result<Option<(Header, Bytes)>> {
        let found = self.walker.look().await.map_err(|e| self.log.compact_error(e))?;
        let header = match found {
            Found::Batch(header) if header.base_offset == self.due => header,
            Found::Batch(header) => {
                return Err(self.damaged(format!("offset {} follows", header.base_offset)));
            }
            Found::End if self.due == self.end => return Ok(None),
            Found::End => return Err(self.damaged("the segment ends here".into())),
            Found::Bad(why) => return Err(self.damaged(why)),
        };
        let batch = self.walker.batch(&header).await.map_err(|e| self.log.compact_error(e))?;
        if let Err(e) = verify(&batch) {
            return Err(self.damaged(e.to_string()));
        }
        self.walker.skip(&header);
        self.due = header.next_offset();
        Ok(Some((header, batch)))
    }

    fn damaged(&self, reason: String) -> CompactError {
        CompactError::Damaged { offset: self.due, reason }
    }
}

/// Holds work back so that others get on.
struct Pace<I: Io> {
    io: I,
    rate: Option<u64>,
    began: Duration,
    spent: u64,
    since_pause: u64,
}

impl<I: Io> Pace<I> {
    fn new(io: &I, rate: Option<u64>) -> Self {
        Pace { io: io.clone(), rate, began: io.now(), spent: 0, since_pause: 0 }
    }

    /// Notes work, and pauses when it is time; whether it did.
    async fn spend(&mut self, bytes: u64) -> bool {
        self.spent += bytes;
        self.since_pause += bytes;
        if self.since_pause < SLICE {
            return false;
        }
        self.since_pause = 0;
        let due = self
            .rate
            .map(|rate| self.began + Duration::from_secs_f64(self.spent as f64 / rate.max(1) as f64));
        match due.filter(|due| *due > self.io.now()) {
            Some(due) => self.io.sleep_until(due).await,
            None => self.io.yield_now().await,
        }
        true
    }
}
