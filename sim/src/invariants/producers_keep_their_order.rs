//! Records of one connection, or of one idempotent producer, lie in a partition in the order in which they were sent.

use super::Invariant;
use crate::judge::{Fact, Partition, Stream};
use std::collections::BTreeMap;

#[derive(Default)]
pub(super) struct ProducersKeepTheirOrder {
    streams: BTreeMap<u64, Stream>,
    found: BTreeMap<(Partition, Stream), BTreeMap<i64, u64>>,
}

impl Invariant for ProducersKeepTheirOrder {
    fn name(&self) -> &'static str {
        "producers_keep_their_order"
    }

    fn observe(&mut self, fact: &Fact) -> Result<(), String> {
        match *fact {
            Fact::Sent { number, stream, .. } => {
                self.streams.insert(number, stream);
            }
            Fact::Read { partition, offset, number, .. } => {
                let Some(stream) = self.streams.get(&number) else { return Ok(()) };
                let found = self.found.entry((partition, *stream)).or_default();
                found.insert(offset, number);
                let before = found.range(..offset).next_back();
                let after = found.range(offset + 1..).next();
                let early = before.filter(|(_, earlier)| **earlier > number);
                if let Some((at, other)) = early.or(after.filter(|(_, later)| **later < number)) {
                    return Err(format!(
                        "{partition}: record {number} at offset {offset} is on the wrong side of record {other} at {at}"
                    ));
                }
            }
            _ => {}
        }
        Ok(())
    }
}
