//! Which partition a record goes to when it names none: as Kafka's default partitioner has it, so that a key has one
//! partition whichever protocol it comes by.

use std::cell::Cell;

/// Partitions for keys, and for batches without keys.
pub(super) struct Partitioner {
    next: Cell<u64>,
}

impl Partitioner {
    /// `seed` decides where records without a key begin.
    pub(super) fn new(seed: u64) -> Self {
        Self { next: Cell::new(seed) }
    }

    /// One partition for the records of a batch that have no key, in turn. `count` is positive.
    pub(super) fn of_batch(&self, count: i32) -> i32 {
        let turn = self.next.get();
        self.next.set(turn.wrapping_add(1));
        (turn % count.max(1) as u64) as i32
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn batches_take_turns() {
        let partitioner = Partitioner::new(u64::MAX);
        let turns: Vec<_> = (0..4).map(|_| partitioner.of_batch(3)).collect();
        assert_eq!(turns, [0, 0, 1, 2]);
    }
}
