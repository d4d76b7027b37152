//! A reader is given every offset from where it began, in order, each once.

use super::Invariant;
use crate::judge::{Fact, Partition};
use std::collections::BTreeMap;

#[derive(Default)]
pub(super) struct OffsetsHaveNoGaps(BTreeMap<(u64, Partition), i64>);

impl Invariant for OffsetsHaveNoGaps {
    fn name(&self) -> &'static str {
        "offsets_have_no_gaps"
    }

    fn observe(&mut self, fact: &Fact) -> Result<(), String> {
        match *fact {
            Fact::Seek { reader, partition, offset } => {
                self.0.insert((reader, partition), offset);
            }
            Fact::Read { reader, partition, offset, .. } => {
                let next = self.0.entry((reader, partition)).or_default();
                if *next != offset {
                    return Err(format!(
                        "reader {reader} of {partition} expects offset {next} and is given {offset}"
                    ));
                }
                *next += 1;
            }
            _ => {}
        }
        Ok(())
    }
}
