//! A rewritten segment in the place of those it was made from, so that a crash leaves either the one or the others.
//!
//! 1. Its log is renamed from `….log.cleaned` to `….log.swap`, durably: from here on it counts, whatever else is there.
//! 2. Readers are led to it; those that are under way finish first.
//! 3. The others' files are deleted, its indexes take their names; durably.
//! 4. `….log.swap` becomes `….log`.
//!
//! A start that finds a `….log.swap` does the rest; its indexes, of which it is not known which they belong to, are made anew.

use super::super::names;
use super::super::recover::remove_segment;
use super::super::scan::{LARGE_WINDOW, Walker};
use super::super::segment::{self, Segment};
use super::super::state::Inner;
use super::CompactError;
use super::rewrite::{cleaned, named};
use crate::disk;
use millrace_io::{Io, Open};
use std::io::Result;
use std::path::{Path, PathBuf};

impl<I: Io> Inner<I> {
    /// Puts `new` in the place of the segments `old`, ascending, the first of which has the same base. `false` if one of them was
    /// deleted meanwhile: then nothing has changed.
    pub(super) async fn put_in_place(
        &self,
        old: &[i64],
        new: Segment<I::File>,
    ) -> std::result::Result<bool, CompactError> {
        let _names = self.names.lock().await;
        self.online()?;
        let (base, dir) = (new.base, self.dir.borrow().clone());
        let all_there = old.iter().all(|base| self.state.borrow_mut().segment_mut(*base).is_some());
        if !all_there {
            return Ok(false);
        }
        let swap = swap_path(&dir, base);
        // Nothing has happened yet if this fails.
        self.io.rename(&cleaned(&dir, base, names::LOG), &swap).await.map_err(|e| self.compact_error(e))?;
        let finished = async {
            self.io.sync_dir(&dir).await?;
            self.lead_readers_to(old, new).await;
            self.finish_swap(&dir, &swap, old).await
        };
        // Neither the old nor the new is surely there after a power cut; the next start finds out.
        finished.await.map_err(|e| CompactError::Offline(self.fail("replacing a segment", e)))?;
        Ok(true)
    }

    async fn lead_readers_to(&self, old: &[i64], mut new: Segment<I::File>) {
        let _alone = self.readers.alone().await;
        new.pinned = true;
        let mut state = self.state.borrow_mut();
        state.forget_positions(old);
        state.segments.retain(|segment| !old.contains(&segment.base));
        let at = state.segments.partition_point(|segment| segment.base < new.base);
        state.segments.insert(at, new);
    }

    async fn finish_swap(&self, dir: &Path, swap: &Path, old: &[i64]) -> Result<()> {
        let Some((&base, others)) = old.split_first() else { return Ok(()) };
        for other in others {
            self.rename_segment(*other).await?;
        }
        for suffix in [names::INDEX, names::TIME_INDEX] {
            self.io.rename(&cleaned(dir, base, suffix), &segment::path(dir, base, suffix)).await?;
        }
        // Not before the others are surely gone: two segments with the same offsets would be damage.
        self.io.sync_dir(dir).await?;
        self.io.rename(swap, &segment::path(dir, base, names::LOG)).await?;
        self.state.borrow_mut().unpin(base);
        let delay = self.state.borrow().config.file_delete_delay;
        self.remove_deleted_later(others, delay);
        Ok(())
    }
}

/// Where a rewritten log is once it counts.
fn swap_path(dir: &Path, base: i64) -> PathBuf {
    named(segment::path(dir, base, names::LOG), names::SWAP)
}

/// Finishes what was begun before a crash: the segment with this base is in the place of all that it covers, of which `bases` may
/// be left. Gives those that are there no more.
pub(in super::super) async fn complete<I: Io>(
    io: &I,
    dir: &Path,
    base: i64,
    bases: &[i64],
) -> Result<Vec<i64>> {
    let swap = swap_path(dir, base);
    let end = end_of(io, &swap, base).await?;
    let covered: Vec<i64> = bases.iter().copied().filter(|other| *other > base && *other < end).collect();
    for other in &covered {
        remove_segment(io, dir, *other).await?;
    }
    for suffix in [names::INDEX, names::TIME_INDEX] {
        disk::remove_file(io, &segment::path(dir, base, suffix)).await?;
    }
    io.sync_dir(dir).await?;
    io.rename(&swap, &segment::path(dir, base, names::LOG)).await?;
    tracing::info!(dir = %dir.display(), segment = base, "a compacted segment was put in place after a crash");
    Ok(covered)
}

/// Behind the last batch that can be read.
async fn end_of<I: Io>(io: &I, swap: &Path, base: i64) -> Result<i64> {
    let file = io.open(swap, Open::Read).await?;
    let len = io.len(&file).await?;
    let mut walker = Walker::new(io.clone(), file, base..i64::MAX, len, LARGE_WINDOW);
    let mut end = base;
    loop {
        while let Some((_, header)) = walker.next().await? {
            end = header.next_offset();
        }
        if walker.position >= len {
            return Ok(end);
        }
        // It was whole when it was named so; what is damaged since does not end it.
        walker.position += 1;
        walker.find_batch(|header| header.base_offset >= end).await?;
    }
}
