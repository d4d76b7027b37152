//! One segment: a base offset, a length, three files that are opened when first needed; and what only the active
//! segment, the last one, has besides.

use super::index::{Entry, SparseIndex};
use super::names;
use bytes::BytesMut;
use millrace_proto::batch::{Header, NO_TIMESTAMP};
use millrace_proto::files::{OffsetIndexEntry, TimeIndexEntry};
use std::collections::VecDeque;
use std::path::{Path, PathBuf};

/// A segment's files and what is known about them.
pub(super) struct Segment<F> {
    /// The first offset it may hold; its name.
    pub(super) base: i64,
    /// Bytes written. `None` until the file's length has been asked for; never `None` in the active segment.
    pub(super) size: Option<u64>,
    /// The open `.log`; `None` until it is needed.
    pub(super) file: Option<F>,
    pub(super) offsets: SparseIndex<OffsetIndexEntry, F>,
    pub(super) times: SparseIndex<TimeIndexEntry, F>,
    /// Its files have other names than they should, so they stay open.
    pub(super) pinned: bool,
}

impl<F> Segment<F> {
    /// A segment that was found in the directory and not looked at.
    pub(super) fn unopened(base: i64) -> Self {
        Segment {
            base,
            size: None,
            file: None,
            offsets: SparseIndex::unopened(),
            times: SparseIndex::unopened(),
            pinned: false,
        }
    }

    /// Drops file handles and memory; everything can be had again from the files.
    pub(super) fn shrink(&mut self) {
        self.file = None;
        self.offsets.shrink();
        self.times.shrink();
        self.offsets.file = None;
        self.times.file = None;
    }

    pub(super) fn relative(&self, offset: i64) -> u32 {
        u32::try_from(offset - self.base).unwrap_or(u32::MAX)
    }
}

/// The path of one of a segment's files.
pub(super) fn path(dir: &Path, base: i64, suffix: &str) -> PathBuf {
    dir.join(names::file(base, suffix))
}

/// How many of the newest batch boundaries are remembered: readers that wait at the end of the log ask for these.
const BOUNDARIES: usize = 128;
/// Bytes behind which what was appended no longer counts as recent.
const RECENT: u64 = 16 << 20;

/// What an append changes in the active segment besides its files.
pub(super) struct Active {
    /// Length of the segment with everything appended, written or not.
    pub(super) appended: u64,
    /// Bytes that were reserved and not appended yet.
    pub(super) reserved: u64,
    /// Disk space is there up to this position.
    pub(super) allocated: u64,
    /// Disk space is there for indexes of a log up to this position.
    pub(super) index_allocated: u64,
    /// How much is allocated next.
    pub(super) chunk: u64,
    /// `max_timestamp` of the first batch; `None` if there is none yet, or it has not been looked up.
    pub(super) first_timestamp: Option<i64>,
    /// Taken off `segment.ms`.
    pub(super) jitter: i64,
    /// Largest timestamp so far and the last offset of the first batch that has it.
    pub(super) max_timestamp: Option<TimeIndexEntry>,
    /// The last entry of the time index, for "strictly increasing".
    pub(super) last_indexed_timestamp: Option<i64>,
    since_index: u64,
    /// What lies before was there when the log was opened.
    fresh_from: u64,
    /// Base offset and position of the newest batches, ascending.
    boundaries: VecDeque<(i64, u64)>,
}

/// First allocation of a segment; each further one is twice as large, up to [`LARGEST_CHUNK`]: an idle log holds
/// little, a busy one asks seldom.
pub(super) const FIRST_CHUNK: u64 = 64 << 10;
pub(super) const LARGEST_CHUNK: u64 = 16 << 20;

impl Active {
    /// A segment that holds `size` bytes already.
    pub(super) fn new(size: u64, jitter: i64) -> Self {
        Active {
            appended: size,
            reserved: 0,
            allocated: size,
            index_allocated: 0,
            chunk: FIRST_CHUNK,
            first_timestamp: None,
            jitter,
            max_timestamp: None,
            last_indexed_timestamp: None,
            since_index: 0,
            fresh_from: size,
            boundaries: VecDeque::new(),
        }
    }

    /// Notes a batch at the end of the segment: timestamps, boundaries, and index entries where Kafka makes them.
    pub(super) fn note<F>(&mut self, segment: &mut Segment<F>, header: &Header, len: u64, interval: u32) {
        let (position, relative) = (self.appended, segment.relative(header.last_offset()));
        if position == 0 {
            self.first_timestamp = Some(header.max_timestamp);
        }
        self.note_timestamp(header.newest(), relative);
        if self.since_index > u64::from(interval) {
            // A position beyond 4 GiB cannot be indexed; readers then walk from the last entry.
            if let Ok(position) = u32::try_from(position) {
                segment.offsets.push(OffsetIndexEntry { relative_offset: relative, position });
            }
            self.index_time(segment);
            self.since_index = 0;
        }
        self.since_index += len;
        self.appended += len;
        if self.boundaries.len() == BOUNDARIES {
            self.boundaries.pop_front();
        }
        self.boundaries.push_back((header.base_offset, position));
    }

    /// Notes a batch's largest timestamp.
    pub(super) fn note_timestamp(&mut self, timestamp: Option<i64>, relative: u32) {
        let Some(timestamp) = timestamp else { return };
        if timestamp > self.max_timestamp.map_or(NO_TIMESTAMP, |max| max.timestamp) {
            self.max_timestamp = Some(TimeIndexEntry { timestamp, relative_offset: relative });
        }
    }

    /// Adds an entry to the time index, unless the largest timestamp is in it already.
    pub(super) fn index_time<F>(&mut self, segment: &mut Segment<F>) {
        let Some(entry) = self.max_timestamp else { return };
        if entry.timestamp > self.last_indexed_timestamp.unwrap_or(NO_TIMESTAMP) {
            segment.times.push(entry);
            self.last_indexed_timestamp = Some(entry.timestamp);
        }
    }

    /// Goes on from a time index that ends with `latest`.
    pub(super) fn resume(&mut self, latest: Option<TimeIndexEntry>) {
        self.max_timestamp = latest;
        self.last_indexed_timestamp = latest.map(|entry| entry.timestamp);
    }

    /// So many bytes lie behind the last entry of the index. Counted anew at each start, they would grow with every one, and so would what a
    /// start and a fetch walk over.
    pub(super) fn note_unindexed(&mut self, bytes: u64) {
        self.since_index = bytes;
    }

    /// Goes on at the end of a segment of `size` bytes that was scanned.
    pub(super) fn continue_at(&mut self, size: u64) {
        (self.appended, self.allocated, self.fresh_from) = (size, size, size);
    }

    /// Where the batch with exactly this base offset begins, if it was appended lately.
    pub(super) fn boundary(&self, base_offset: i64) -> Option<u64> {
        let at = self.boundaries.binary_search_by_key(&base_offset, |b| b.0).ok()?;
        Some(self.boundaries[at].1)
    }

    /// Whether what begins at `position` was appended lately enough to be surely in memory.
    pub(super) fn is_recent(&self, position: u64) -> bool {
        position >= self.fresh_from.max(self.appended.saturating_sub(RECENT))
    }
}

impl Entry for OffsetIndexEntry {
    const SIZE: usize = OffsetIndexEntry::SIZE;

    fn put(&self, into: &mut BytesMut) {
        into.extend_from_slice(&self.encode());
    }

    fn all(bytes: &[u8]) -> Vec<Self> {
        OffsetIndexEntry::all(bytes).collect()
    }
}

impl Entry for TimeIndexEntry {
    const SIZE: usize = TimeIndexEntry::SIZE;

    fn put(&self, into: &mut BytesMut) {
        into.extend_from_slice(&self.encode());
    }

    fn all(bytes: &[u8]) -> Vec<Self> {
        TimeIndexEntry::all(bytes).collect()
    }
}
