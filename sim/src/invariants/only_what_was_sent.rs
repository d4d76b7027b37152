//! Every record that is read or acknowledged was sent before, to that partition.

use super::Invariant;
use crate::judge::{Fact, Partition};
use std::collections::BTreeMap;

#[derive(Default)]
pub(super) struct OnlyWhatWasSent(BTreeMap<u64, Partition>);

impl Invariant for OnlyWhatWasSent {
    fn name(&self) -> &'static str {
        "only_what_was_sent"
    }

    fn observe(&mut self, fact: &Fact) -> Result<(), String> {
        match *fact {
            Fact::Sent { number, partition, .. } => {
                self.0.insert(number, partition);
                Ok(())
            }
            Fact::Acked { number, partition, offset, .. } | Fact::Read { number, partition, offset, .. } => {
                match self.0.get(&number) {
                    Some(sent) if *sent == partition => Ok(()),
                    Some(sent) => {
                        Err(format!("record {number} at {partition} offset {offset} was sent to {sent}"))
                    }
                    None => Err(format!("record {number} at {partition} offset {offset} was never sent")),
                }
            }
            _ => Ok(()),
        }
    }
}
