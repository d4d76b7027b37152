//! Which record must be at which offset. Several invariants are ledgers that differ in what they enter.

use crate::judge::Partition;
use std::collections::BTreeMap;

#[derive(Default)]
pub(super) struct Ledger {
    entries: BTreeMap<(Partition, i64), u64>,
}

impl Ledger {
    /// From now on this record is there.
    pub(super) fn enter(&mut self, partition: Partition, offset: i64, number: u64) -> Result<(), String> {
        self.compare(partition, offset, number)?;
        self.entries.insert((partition, offset), number);
        Ok(())
    }

    /// This record was found there.
    pub(super) fn compare(&self, partition: Partition, offset: i64, number: u64) -> Result<(), String> {
        match self.entries.get(&(partition, offset)) {
            Some(&known) if known != number => {
                Err(format!("{partition} offset {offset}: record {known} was there, now it is {number}"))
            }
            _ => Ok(()),
        }
    }

    /// The partition was read up to `end`: every entry must be below.
    pub(super) fn ends_at(&self, partition: Partition, end: i64) -> Result<(), String> {
        match self.entries.range((partition, end)..=(partition, i64::MAX)).next() {
            Some(((_, offset), number)) => {
                Err(format!("{partition} ends at {end}, but record {number} was at offset {offset}"))
            }
            None => Ok(()),
        }
    }

    /// Nothing is certain any more.
    pub(super) fn clear(&mut self) {
        self.entries.clear();
    }
}
