//! One sparse index of one segment: entries in ascending order, the newest in memory, all of them in a file.
//!
//! The file is Kafka's `.index` or `.timeindex`. What was added lately stays in memory, so that readers near the end of
//! the log need no I/O; older entries are found by a search over 4 KiB blocks of the file, never by mapping it.

use bytes::{Bytes, BytesMut};
use millrace_io::Io;
use std::collections::VecDeque;

/// One entry of an index.
pub(super) trait Entry: Copy + 'static {
    /// Bytes of an entry in the file.
    const SIZE: usize;
    /// Appends the entry's bytes.
    fn put(&self, into: &mut BytesMut);
    /// The whole entries in `bytes`.
    fn all(bytes: &[u8]) -> Vec<Self>;
}

/// Entries kept in memory: 16 KiB of the offset index cover 8 MiB of log. A multiple of [`WRITE_AT`].
const KEEP: usize = 2048;
/// As many entries are written to the file at once.
const WRITE_AT: usize = 512;
/// Bytes read at once in a search.
const BLOCK: usize = 4096;

/// An index. `F` is the machine's file type.
pub(super) struct SparseIndex<E, F> {
    /// The open file; `None` until it is needed.
    pub(super) file: Option<F>,
    /// Entries in the file. `None` until its length has been read.
    pub(super) stored: Option<u32>,
    /// The newest entries. The last `unstored` of them are not in the file yet.
    tail: VecDeque<E>,
    unstored: usize,
}

/// Where to look for an entry.
pub(super) enum Lookup<E> {
    /// It is this one, or there is none.
    Known(Option<E>),
    /// Among the file's first `count` entries.
    InFile { count: u32 },
}

/// Entries on their way to the file.
pub(super) struct Flush {
    pub(super) position: u64,
    pub(super) bytes: Bytes,
    entries: usize,
}

impl<E: Entry, F> SparseIndex<E, F> {
    /// An index whose file is not known yet.
    pub(super) fn unopened() -> Self {
        SparseIndex { file: None, stored: None, tail: VecDeque::new(), unstored: 0 }
    }

    /// An index with `stored` entries in its file.
    pub(super) fn with_stored(file: Option<F>, stored: u32) -> Self {
        SparseIndex { file, stored: Some(stored), tail: VecDeque::new(), unstored: 0 }
    }

    /// Entries in all, once the file's length is known.
    pub(super) fn len(&self) -> u32 {
        self.stored.unwrap_or(0) + self.unstored as u32
    }

    /// The entries in memory.
    pub(super) fn entries(&self) -> impl Iterator<Item = &E> {
        self.tail.iter()
    }

    /// Adds an entry behind all others.
    pub(super) fn push(&mut self, entry: E) {
        self.tail.push_back(entry);
        self.unstored += 1;
    }

    /// The last entry whose key is at most `target`.
    pub(super) fn floor(&self, key: impl Fn(&E) -> i64, target: i64) -> Lookup<E> {
        if self.tail.front().is_some_and(|first| key(first) <= target) {
            let above = self.tail.partition_point(|e| key(e) <= target);
            return Lookup::Known(self.tail.get(above - 1).copied());
        }
        match self.older() {
            0 => Lookup::Known(None),
            count => Lookup::InFile { count },
        }
    }

    /// Entries that are only in the file.
    fn older(&self) -> u32 {
        self.stored.unwrap_or(0) - (self.tail.len() - self.unstored) as u32
    }

    /// Whether entries should go to the file now: not before enough have gathered, unless `all`.
    pub(super) fn is_due(&self, all: bool) -> bool {
        self.unstored > 0 && (all || self.unstored >= WRITE_AT)
    }

    /// The entries that should go to the file now. Its length must be known.
    pub(super) fn start_flush(&self, all: bool) -> Option<Flush> {
        let stored = self.stored.filter(|_| self.is_due(all))?;
        let mut bytes = BytesMut::with_capacity(self.unstored * E::SIZE);
        self.tail.range(self.tail.len() - self.unstored..).for_each(|e| e.put(&mut bytes));
        let position = u64::from(stored) * E::SIZE as u64;
        Some(Flush { position, bytes: bytes.freeze(), entries: self.unstored })
    }

    /// That flush is in the file.
    pub(super) fn finish_flush(&mut self, flush: &Flush) {
        self.unstored -= flush.entries;
        self.stored = self.stored.map(|n| n + flush.entries as u32);
        if self.tail.len() > KEEP {
            self.tail.drain(..(self.tail.len() - KEEP / 2).min(self.tail.len() - self.unstored));
        }
    }

    /// Lets go of memory that the file can stand in for.
    pub(super) fn shrink(&mut self) {
        let stored = self.tail.len() - self.unstored;
        self.tail.drain(..stored);
        self.tail.shrink_to_fit();
    }

    /// Bytes that the file will need for `entries` more entries, in all.
    pub(super) fn bytes_for(&self, entries: u64) -> u64 {
        (u64::from(self.len()) + entries) * E::SIZE as u64
    }
}

/// Finds the last of the file's first `count` entries whose key is at most `target`. `guess` is where it probably is,
/// as a fraction: keys of most indexes grow evenly, so the first block read is usually the right one.
pub(super) async fn search_file<I: Io, E: Entry>(
    io: &I,
    file: &I::File,
    count: u32,
    key: impl Fn(&E) -> i64,
    target: i64,
    guess: f64,
) -> std::io::Result<Option<E>> {
    let per_block = (BLOCK / E::SIZE) as u32;
    let (mut low, mut high) = (0, count.div_ceil(per_block));
    let mut probe = (f64::from(high) * guess.clamp(0.0, 1.0)) as u32;
    let (mut stride, mut best) = (1, None);
    while low < high {
        let block = probe.clamp(low, high - 1);
        let entries = read_block::<I, E>(io, file, count, block).await?;
        let (Some(first), Some(last)) = (entries.first(), entries.last()) else { break };
        if key(first) > target {
            high = block;
            probe = block.saturating_sub(stride);
        } else if key(last) <= target {
            best = Some(*last);
            low = block + 1;
            probe = block.saturating_add(stride);
        } else {
            return Ok(entries[..entries.partition_point(|e| key(e) <= target)].last().copied());
        }
        stride = stride.saturating_mul(4);
        // Galloping past the end means that halving what is left is quicker.
        if probe < low || probe >= high {
            probe = low + (high - low) / 2;
        }
    }
    Ok(best)
}

async fn read_block<I: Io, E: Entry>(
    io: &I,
    file: &I::File,
    count: u32,
    block: u32,
) -> std::io::Result<Vec<E>> {
    let per_block = (BLOCK / E::SIZE) as u32;
    let first = block * per_block;
    let entries = per_block.min(count - first) as usize;
    let bytes = io.read_at(file, u64::from(first) * E::SIZE as u64, entries * E::SIZE).await?;
    Ok(E::all(&bytes))
}
