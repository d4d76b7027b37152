//! A record that was acknowledged with acks=1 survives the end of the process, but perhaps not the end of the machine's
//! power, nor that of a process whose syncs failed.

use super::Invariant;
use super::ledger::Ledger;
use crate::judge::{Fact, Promise};

#[derive(Default)]
pub(super) struct WrittenRecordsSurviveAKill(Ledger);

impl Invariant for WrittenRecordsSurviveAKill {
    fn name(&self) -> &'static str {
        "written_records_survive_a_kill"
    }

    fn observe(&mut self, fact: &Fact) -> Result<(), String> {
        match *fact {
            Fact::Acked { number, partition, offset, promise: Promise::Written } => {
                self.0.enter(partition, offset, number)
            }
            Fact::Crashed { keeps_written: false } => {
                self.0.clear();
                Ok(())
            }
            Fact::Read { partition, offset, number, .. } => self.0.compare(partition, offset, number),
            Fact::ReadWhole { partition, end } => self.0.ends_at(partition, end),
            _ => Ok(()),
        }
    }
}
