//! What any consumer has read stays: nobody ever reads another record at that offset, and the log never ends before it.
//! (Consumers read below the high watermark, and that is durable.)

use super::Invariant;
use super::ledger::Ledger;
use crate::judge::Fact;

#[derive(Default)]
pub(super) struct ReadsAreFinal(Ledger);

impl Invariant for ReadsAreFinal {
    fn name(&self) -> &'static str {
        "reads_are_final"
    }

    fn observe(&mut self, fact: &Fact) -> Result<(), String> {
        match *fact {
            Fact::Read { partition, offset, number, .. } => self.0.enter(partition, offset, number),
            Fact::ReadWhole { partition, end } => self.0.ends_at(partition, end),
            _ => Ok(()),
        }
    }
}
