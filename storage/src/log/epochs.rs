//! Which leader epoch wrote from which offset on: in memory, and in Kafka's `leader-epoch-checkpoint`.

use millrace_proto::files::LeaderEpoch;

/// The epochs of a log, ascending in epoch and offset.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Epochs {
    entries: Vec<LeaderEpoch>,
    /// The first of the entries that are not in the file yet.
    unsaved_from: Option<i64>,
    changes: u64,
}

impl Epochs {
    /// What the file says; entries that do not ascend are dropped.
    pub(super) fn from_file(entries: Vec<LeaderEpoch>) -> Self {
        let mut epochs = Epochs::default();
        entries.into_iter().for_each(|e| epochs.begin(e.epoch, e.start_offset));
        epochs.unsaved_from = None;
        epochs
    }

    pub(super) fn all(&self) -> &[LeaderEpoch] {
        &self.entries
    }

    /// Notes that `epoch` begins at `start_offset`; nothing happens unless it is later than all others.
    pub(super) fn begin(&mut self, epoch: i32, start_offset: i64) {
        let last = self.entries.last();
        if epoch < 0 || last.is_some_and(|l| epoch <= l.epoch || start_offset < l.start_offset) {
            return;
        }
        // An epoch that ends where it began wrote nothing.
        if last.is_some_and(|l| l.start_offset == start_offset) {
            self.entries.pop();
        }
        self.entries.push(LeaderEpoch { epoch, start_offset });
        self.unsaved_from.get_or_insert(start_offset);
        self.changes += 1;
    }

    /// Forgets epochs that begin at or behind the end of the log.
    pub(super) fn truncate(&mut self, end: i64) {
        let before = self.entries.len();
        self.entries.retain(|e| e.start_offset < end);
        if self.entries.len() != before {
            self.unsaved_from.get_or_insert(end);
            self.changes += 1;
        }
    }

    /// From where on the file does not know the epochs.
    pub(super) fn unsaved_from(&self) -> Option<i64> {
        self.unsaved_from
    }

    /// A number that changes with the entries; for [`saved`](Self::saved).
    pub(super) fn changes(&self) -> u64 {
        self.changes
    }

    /// The file now holds what was there at `changes`.
    pub(super) fn saved(&mut self, changes: u64) {
        if self.changes == changes {
            self.unsaved_from = None;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn starts(epochs: &Epochs) -> Vec<(i32, i64)> {
        epochs.all().iter().map(|e| (e.epoch, e.start_offset)).collect()
    }

    #[test]
    fn only_later_epochs_count() {
        let mut epochs = Epochs::default();
        for (epoch, start) in [(0, 0), (0, 5), (2, 9), (1, 12), (-1, 20), (3, 9), (4, 30)] {
            epochs.begin(epoch, start);
        }
        assert_eq!(starts(&epochs), [(0, 0), (3, 9), (4, 30)]);
        assert_eq!(epochs.unsaved_from(), Some(0));
        let changes = epochs.changes();
        epochs.begin(5, 31);
        epochs.saved(changes);
        assert!(epochs.unsaved_from().is_some(), "the file lacks what came meanwhile");
        epochs.truncate(31);
        epochs.saved(epochs.changes());
        assert_eq!(starts(&epochs), [(0, 0), (3, 9), (4, 30)]);
        assert_eq!(epochs.unsaved_from(), None);
    }
}
