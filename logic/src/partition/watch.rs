//! Fetches that wait: woken by the watermark, never by polling.

use std::collections::{BTreeMap, VecDeque};

use super::{Bounds, Effect, FetchError, Health, Partition, pop_front_if};
use crate::offset::{HighWatermark, LogStart, Offset};

/// Why a wait ended without data.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum WatchError {
    /// The log no longer holds the offset waited behind: fetch again and learn so. `OFFSET_OUT_OF_RANGE` (1).
    #[error("the records waited for were deleted: the log now starts at {log_start}")]
    OutOfRange {
        /// First offset in the log.
        log_start: LogStart,
    },
    /// Storage failed. `KAFKA_STORAGE_ERROR` (56).
    #[error(
        "the log is offline after a storage failure: see the broker's log, repair the disk and restart the broker"
    )]
    StorageFailed,
    /// The topic was deleted. `UNKNOWN_TOPIC_OR_PARTITION` (3).
    #[error("the topic was deleted")]
    Deleted,
}

/// What became of a wish to wait.
#[must_use]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Watching {
    /// It waits.
    Parked,
    /// More became readable since the read: read again instead of waiting.
    Moved,
}

impl<P, W: Ord + Clone> Partition<P, W> {
    /// Waits for more than a read found. `from` is where the fetch starts, `seen` the bounds the read was cut at.
    ///
    /// From now on [`Effect::Available`] reports the bytes that become readable behind `from`, until [`Partition::unwatch`].
    /// A watcher that waits already is replaced.
    pub fn watch(&mut self, watcher: W, from: Offset, seen: &Bounds) -> Result<Watching, FetchError> {
        self.serving()?;
        if self.high_watermark > seen.high_watermark || self.stable() > seen.stable {
            return Ok(Watching::Moved);
        }
        if from < self.log_start.offset() {
            return Err(self.out_of_range(from));
        }
        self.watchers.parked.insert(watcher, from);
        Ok(Watching::Parked)
    }

    /// Stops waiting; says whether it did wait.
    pub fn unwatch(&mut self, watcher: &W) -> bool {
        self.watchers.parked.remove(watcher).is_some()
    }

    /// Refuses when the partition no longer serves.
    pub(super) fn serving(&self) -> Result<(), FetchError> {
        match self.health {
            Health::Serving => Ok(()),
            Health::StorageFailed => Err(FetchError::StorageFailed),
            Health::Deleted => Err(FetchError::Deleted),
        }
    }
}

/// Sizes of the batches above the watermark, oldest first: at most what is in flight.
#[derive(Debug, Default)]
pub(super) struct Unread {
    batches: VecDeque<(Offset, u64)>,
    /// Those that just became readable; kept for its memory.
    moved: Vec<(Offset, u64)>,
}

impl Unread {
    pub(super) fn push(&mut self, end: Offset, size: u64) {
        self.batches.push_back((end, size));
    }

    /// Takes the batches below the watermark: (end, size) of each.
    fn take_below(&mut self, watermark: HighWatermark) -> &[(Offset, u64)] {
        self.moved.clear();
        while let Some(batch) = pop_front_if(&mut self.batches, |(end, _)| *end <= watermark.offset()) {
            self.moved.push(batch);
        }
        &self.moved
    }
}

/// The fetches that wait, each with the offset it waits behind.
#[derive(Debug)]
pub(super) struct Watchers<W> {
    parked: BTreeMap<W, Offset>,
}

impl<W> Default for Watchers<W> {
    fn default() -> Self {
        Self { parked: BTreeMap::new() }
    }
}

impl<W: Ord + Clone> Watchers<W> {
    /// The watermark moved from `before` to `reached`: tells everybody how many bytes that opened.
    pub(super) fn advance<P>(
        &self,
        unread: &mut Unread,
        before: HighWatermark,
        reached: HighWatermark,
        out: &mut Vec<Effect<P, W>>,
    ) {
        let moved = unread.take_below(reached);
        let total: u64 = moved.iter().map(|&(_, size)| size).sum();
        for (watcher, &from) in &self.parked {
            // Whoever waits ahead of the old watermark is not helped by what lies before its offset.
            let bytes = match from <= before.offset() {
                true => total,
                false => moved.iter().filter(|(end, _)| *end > from).map(|&(_, size)| size).sum(),
            };
            if bytes > 0 {
                out.push(Effect::Available { watcher: watcher.clone(), bytes });
            }
        }
    }

    pub(super) fn fail_below<P>(&mut self, log_start: LogStart, out: &mut Vec<Effect<P, W>>) {
        self.parked.retain(|watcher, from| {
            let reachable = *from >= log_start.offset();
            if !reachable {
                out.push(Effect::WatchFailed {
                    watcher: watcher.clone(),
                    why: WatchError::OutOfRange { log_start },
                });
            }
            reachable
        });
    }

    pub(super) fn fail_all<P>(&mut self, why: WatchError, out: &mut Vec<Effect<P, W>>) {
        let parked = std::mem::take(&mut self.parked);
        out.extend(parked.into_keys().map(|watcher| Effect::WatchFailed { watcher, why }));
    }

    pub(super) fn len(&self) -> usize {
        self.parked.len()
    }
}
