//! Producer ids: given out in blocks, never twice.
//!
//! The record that ends a block is durable before the first id of the block is used, so a crash can lose ids, but never give one twice.

/// How many ids a block holds: what one write of the metadata log is good for.
pub const BLOCK_SIZE: i64 = 1000;

/// Ids that one broker may give out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ProducerIdBlock {
    /// The first.
    pub first: i64,
    /// The first that is not of this block.
    pub end: i64,
}

/// All ids are used up. `UNKNOWN_SERVER_ERROR` (-1).
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("no producer ids are left: the next would be {next}")]
pub struct ProducerIdsExhausted {
    /// The next id, had there been enough.
    pub next: i64,
}

/// The ids that a broker holds and has not given out yet.
#[derive(Debug, Default)]
pub struct ProducerIds {
    next: i64,
    end: i64,
}

impl ProducerIds {
    /// The next id, or `None` when a block must be asked for.
    pub fn take(&mut self) -> Option<i64> {
        let id = (self.next < self.end).then_some(self.next)?;
        self.next += 1;
        Some(id)
    }

    /// How many are left: ask for the next block before it is none.
    pub fn left(&self) -> i64 {
        self.end - self.next
    }

    /// Takes a block whose record is durable. What is left of an older block is not used any more.
    pub fn refill(&mut self, block: ProducerIdBlock) {
        assert!(block.first >= self.end, "producer ids from {} were held already", block.first);
        (self.next, self.end) = (block.first, block.end);
    }
}
