//! No record is at two offsets. Clients send a record again only as idempotent producers, with the same sequence
//! number; so whether it was acknowledged or not, it is there once at most.

use super::Invariant;
use crate::judge::{Fact, Partition};
use std::collections::BTreeMap;

#[derive(Default)]
pub(super) struct RecordsAppearOnce(BTreeMap<u64, (Partition, i64)>);

impl Invariant for RecordsAppearOnce {
    fn name(&self) -> &'static str {
        "records_appear_once"
    }

    fn observe(&mut self, fact: &Fact) -> Result<(), String> {
        let Fact::Read { partition, offset, number, .. } = *fact else { return Ok(()) };
        let known = *self.0.entry(number).or_insert((partition, offset));
        if known != (partition, offset) {
            return Err(format!(
                "record {number} is at {} offset {} and at {partition} offset {offset}",
                known.0, known.1
            ));
        }
        Ok(())
    }
}
