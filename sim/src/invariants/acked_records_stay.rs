//! A record that was acknowledged with acks=all is at its offset for ever, whatever crash follows. Readers that find
//! something else there, or an end before it, prove that it was lost or moved.

use super::Invariant;
use super::ledger::Ledger;
use crate::judge::{Fact, Promise};

#[derive(Default)]
pub(super) struct AckedRecordsStay(Ledger);

impl Invariant for AckedRecordsStay {
    fn name(&self) -> &'static str {
        "acked_records_stay"
    }

    fn observe(&mut self, fact: &Fact) -> Result<(), String> {
        match *fact {
            Fact::Acked { number, partition, offset, promise: Promise::Durable } => {
                self.0.enter(partition, offset, number)
            }
            Fact::Read { partition, offset, number, .. } => self.0.compare(partition, offset, number),
            Fact::ReadWhole { partition, end } => self.0.ends_at(partition, end),
            _ => Ok(()),
        }
    }
}
