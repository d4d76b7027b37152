//! What is in a log's directory, and how a segment ends, without reading all of it.

use super::compact;
use super::index::SparseIndex;
use super::names;
use super::recover::remove_segment;
use super::scan::{SMALL_WINDOW, Walker};
use super::segment::{self, Active, Segment};
use crate::disk;
use millrace_io::{Io, Open};
use millrace_proto::files::{OffsetIndexEntry, TimeIndexEntry};
use std::collections::BTreeSet;
use std::io::{ErrorKind, Result};
use std::path::Path;

/// A log's directory, sorted by kind.
#[derive(Default)]
pub(super) struct Listing {
    /// Base offsets of the segments, ascending.
    pub(super) bases: Vec<i64>,
    /// Offsets of the producer snapshots, ascending.
    pub(super) snapshots: Vec<i64>,
    offset_indexes: BTreeSet<i64>,
    time_indexes: BTreeSet<i64>,
    /// Base offsets of rewritten segments that are not in their place yet.
    swaps: Vec<i64>,
    /// Files that mean nothing any more.
    leftovers: Vec<String>,
}

/// Lists a log's directory; `None` if there is none.
pub(super) async fn list<I: Io>(io: &I, dir: &Path) -> Result<Option<Listing>> {
    let entries = match io.read_dir(dir).await {
        Ok(entries) => entries,
        Err(e) if e.kind() == ErrorKind::NotFound => return Ok(None),
        Err(e) => return Err(e),
    };
    let mut listing = Listing::default();
    for entry in entries.into_iter().filter(|entry| !entry.is_dir) {
        listing.sort(entry.name);
    }
    listing.bases.sort_unstable();
    listing.snapshots.sort_unstable();
    Ok(Some(listing))
}

impl Listing {
    fn sort(&mut self, name: String) {
        if let Some(base) = names::base_of(&name, names::LOG) {
            self.bases.push(base);
        } else if let Some(base) = names::base_of(&name, names::INDEX) {
            self.offset_indexes.insert(base);
        } else if let Some(base) = names::base_of(&name, names::TIME_INDEX) {
            self.time_indexes.insert(base);
        } else if let Some(offset) = names::base_of(&name, names::SNAPSHOT) {
            self.snapshots.push(offset);
        } else if let Some(base) = name.strip_suffix(names::SWAP).and_then(|n| names::base_of(n, names::LOG))
        {
            self.swaps.push(base);
        } else if [names::DELETED, names::CLEANED, disk::TEMPORARY].iter().any(|end| name.ends_with(end)) {
            self.leftovers.push(name);
        }
    }

    /// Finishes what was begun: compacted segments get their place, deleted files go, and temporary ones, and indexes without a segment, and segments that
    /// lie wholly below the start of the log.
    pub(super) async fn tidy<I: Io>(mut self, io: &I, dir: &Path, log_start: i64) -> Result<Self> {
        for name in self.leftovers.drain(..) {
            disk::remove_file(io, &dir.join(name)).await?;
        }
        for base in std::mem::take(&mut self.swaps) {
            let covered = compact::complete(io, dir, base, &self.bases).await?;
            self.bases.retain(|other| !covered.contains(other));
            if let Err(at) = self.bases.binary_search(&base) {
                self.bases.insert(at, base);
            }
            for gone in covered.iter().chain([&base]) {
                self.offset_indexes.remove(gone);
                self.time_indexes.remove(gone);
            }
        }
        while self.bases.get(1).is_some_and(|next| *next <= log_start) {
            remove_segment(io, dir, self.bases.remove(0)).await?;
        }
        let indexes = self.offset_indexes.union(&self.time_indexes);
        let orphans: Vec<i64> =
            indexes.filter(|base| self.bases.binary_search(base).is_err()).copied().collect();
        for base in orphans {
            remove_segment(io, dir, base).await?;
        }
        Ok(self)
    }

    pub(super) fn lacks_index(&self, base: i64) -> bool {
        !self.offset_indexes.contains(&base) || !self.time_indexes.contains(&base)
    }

    pub(super) fn indexes_complete(&self) -> bool {
        self.bases.iter().all(|base| !self.lacks_index(*base))
    }
}

/// How a segment ends.
pub(super) struct Tail<F> {
    pub(super) segment: Segment<F>,
    pub(super) active: Active,
    /// Behind the last batch.
    pub(super) end: i64,
    /// Where the last batch ends; short of `len` if something else follows.
    pub(super) position: u64,
    /// The file's length.
    pub(super) len: u64,
}

/// Reads a segment's last headers, from where its index ends.
pub(super) async fn tail<I: Io>(io: &I, dir: &Path, base: i64) -> Result<Tail<I::File>> {
    let file = io.open(&segment::path(dir, base, names::LOG), Open::Read).await?;
    let len = io.len(&file).await?;
    let (offsets, indexed) = last_entry::<I, OffsetIndexEntry>(io, dir, base, names::INDEX).await?;
    let (times, latest) = last_entry::<I, TimeIndexEntry>(io, dir, base, names::TIME_INDEX).await?;
    let start = indexed.map(|entry| u64::from(entry.position)).filter(|at| *at < len).unwrap_or(0);
    let mut walker = Walker::new(io.clone(), file, base..i64::MAX, len, SMALL_WINDOW).at(start);
    let mut active = Active::new(len, 0);
    active.resume(latest);
    let mut segment = Segment::unopened(base);
    (segment.offsets, segment.times) = (offsets, times);
    segment.size = Some(len);
    let mut end = base;
    while let Some((_, header)) = walker.next().await? {
        active.note_timestamp(header.newest(), segment.relative(header.last_offset()));
        end = header.next_offset();
    }
    active.note_unindexed(walker.position - start);
    Ok(Tail { segment, active, end, position: walker.position, len })
}

/// An index as it is on disk, and its last entry.
async fn last_entry<I: Io, E: super::index::Entry>(
    io: &I,
    dir: &Path,
    base: i64,
    suffix: &str,
) -> Result<(SparseIndex<E, I::File>, Option<E>)> {
    let file = match io.open(&segment::path(dir, base, suffix), Open::Read).await {
        Ok(file) => file,
        Err(e) if e.kind() == ErrorKind::NotFound => return Ok((SparseIndex::unopened(), None)),
        Err(e) => return Err(e),
    };
    let count = io.len(&file).await? / E::SIZE as u64;
    let last = match count.checked_sub(1) {
        Some(last) => io.read_at(&file, last * E::SIZE as u64, E::SIZE).await?,
        None => bytes::Bytes::new(),
    };
    let stored = u32::try_from(count).unwrap_or(u32::MAX);
    Ok((SparseIndex::with_stored(None, stored), E::all(&last).first().copied()))
}
