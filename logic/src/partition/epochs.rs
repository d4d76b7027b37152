//! Who led when: the first offset of each leader epoch, as Kafka's `leader-epoch-checkpoint` holds it (KIP-101, KIP-279).

use std::fmt;

use super::bounds::EpochEnd;
use crate::offset::{LogEnd, LogStart, Offset};

/// The number of a leadership; rises with each new leader.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LeaderEpoch(i32);

impl LeaderEpoch {
    /// Takes a raw epoch; negative ones mean "none" on the wire, see [`LeaderEpoch::from_wire`].
    pub const fn new(raw: i32) -> Self {
        Self(raw)
    }

    /// Reads the wire's number, where -1 says that the client knows none.
    pub fn from_wire(raw: i32) -> Option<Self> {
        (raw >= 0).then_some(Self(raw))
    }

    /// The raw number.
    pub const fn get(self) -> i32 {
        self.0
    }
}

impl fmt::Display for LeaderEpoch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// An epoch and its first offset.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EpochEntry {
    /// The epoch.
    pub epoch: LeaderEpoch,
    /// Offset of its first record.
    pub start: Offset,
}

/// The epochs of one log; epochs rise strictly, offsets never fall.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Epochs {
    entries: Vec<EpochEntry>,
}

impl Epochs {
    /// Takes the entries of a checkpoint, in order; those that contradict an earlier one win, as later assignments do.
    pub fn restore(entries: impl IntoIterator<Item = EpochEntry>) -> Self {
        let mut epochs = Self::default();
        for entry in entries {
            epochs.assign(entry.epoch, entry.start);
        }
        epochs
    }

    /// Notes that `epoch` begins at `start`; says whether anything changed (then the checkpoint must be written).
    ///
    /// Entries at or above either are dropped: they were of a history that did not last.
    pub fn assign(&mut self, epoch: LeaderEpoch, start: Offset) -> bool {
        if let Some(last) = self.entries.last()
            && last.epoch == epoch
            && last.start <= start
        {
            return false;
        }
        let kept = self.entries.partition_point(|entry| entry.epoch < epoch && entry.start < start);
        self.entries.truncate(kept);
        self.entries.push(EpochEntry { epoch, start });
        true
    }

    /// Drops what begins at or after the end of a log that was cut.
    pub fn truncate_end(&mut self, end: LogEnd) {
        let kept = self.entries.partition_point(|entry| entry.start < end.offset());
        self.entries.truncate(kept);
    }

    /// Drops what ended before the log's start; the epoch that holds the start now begins there.
    pub fn truncate_start(&mut self, log_start: LogStart) {
        let above = self.entries.partition_point(|entry| entry.start <= log_start.offset());
        if above > 0 {
            self.entries.drain(..above - 1);
            self.entries[0].start = log_start.offset();
        }
    }

    /// The epoch of the record at `offset`.
    pub fn epoch_of(&self, offset: Offset) -> Option<LeaderEpoch> {
        let above = self.entries.partition_point(|entry| entry.start <= offset);
        above.checked_sub(1).map(|index| self.entries[index].epoch)
    }

    /// The latest epoch.
    pub fn latest(&self) -> Option<LeaderEpoch> {
        self.entries.last().map(|entry| entry.epoch)
    }

    /// The entries, oldest first, for the checkpoint.
    pub fn entries(&self) -> &[EpochEntry] {
        &self.entries
    }

    /// Where `epoch` ended in a log that ends at `end`: the largest epoch known here that is not above it, and the first offset after that
    /// epoch. `None` when the epoch is above all known ones or nothing is known.
    pub fn end_of(&self, epoch: LeaderEpoch, end: LogEnd) -> Option<EpochEnd> {
        let latest = self.entries.last()?;
        if epoch == latest.epoch {
            return Some(EpochEnd { epoch, end: end.offset() });
        }
        let above = self.entries.partition_point(|entry| entry.epoch <= epoch);
        let next = self.entries.get(above)?;
        let found = above.checked_sub(1).map_or(epoch, |index| self.entries[index].epoch);
        Some(EpochEnd { epoch: found, end: next.start })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn epochs(entries: &[(i32, i64)]) -> Epochs {
        Epochs::restore(
            entries
                .iter()
                .map(|&(epoch, start)| EpochEntry { epoch: LeaderEpoch(epoch), start: Offset::new(start) }),
        )
    }

    fn entries(epochs: &Epochs) -> Vec<(i32, i64)> {
        epochs.entries().iter().map(|entry| (entry.epoch.get(), entry.start.get())).collect()
    }

    fn end_of(epochs: &Epochs, epoch: i32) -> Option<(i32, i64)> {
        let end = LogEnd::at(Offset::new(100));
        epochs.end_of(LeaderEpoch(epoch), end).map(|found| (found.epoch.get(), found.end.get()))
    }

    #[test]
    fn ends_of_epochs_follow_kafka() {
        let epochs = epochs(&[(2, 10), (4, 30), (5, 60)]);
        assert_eq!(end_of(&epochs, 5), Some((5, 100)));
        assert_eq!(end_of(&epochs, 4), Some((4, 60)));
        assert_eq!(end_of(&epochs, 3), Some((2, 30)));
        assert_eq!(end_of(&epochs, 1), Some((1, 10)));
        assert_eq!(end_of(&epochs, 6), None);
        assert_eq!(end_of(&Epochs::default(), 0), None);
    }

    #[test]
    fn an_assignment_drops_the_history_it_contradicts() {
        let mut epochs = epochs(&[(1, 0), (2, 10), (3, 20)]);
        assert!(!epochs.assign(LeaderEpoch(3), Offset::new(25)), "the epoch is known and began earlier");
        assert!(epochs.assign(LeaderEpoch(4), Offset::new(20)), "an epoch without records is replaced");
        assert_eq!(entries(&epochs), [(1, 0), (2, 10), (4, 20)]);
        assert!(epochs.assign(LeaderEpoch(2), Offset::new(5)));
        assert_eq!(entries(&epochs), [(1, 0), (2, 5)]);
    }

    #[test]
    fn truncation_keeps_what_the_log_still_holds() {
        let mut kept = epochs(&[(1, 0), (2, 10), (3, 20)]);
        kept.truncate_start(LogStart::at(Offset::new(15)));
        assert_eq!(entries(&kept), [(2, 15), (3, 20)]);
        kept.truncate_end(LogEnd::at(Offset::new(20)));
        assert_eq!(entries(&kept), [(2, 15)]);
        assert_eq!(kept.epoch_of(Offset::new(14)), None);
        assert_eq!(kept.epoch_of(Offset::new(15)), Some(LeaderEpoch(2)));
        let mut ahead = epochs(&[(2, 10)]);
        ahead.truncate_start(LogStart::at(Offset::new(5)));
        assert_eq!(entries(&ahead), [(2, 10)]);
    }
}
