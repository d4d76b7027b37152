//! A broker that is asked to stop, and whose disk is well, stops in time, leaves the clean-shutdown marker, and its next
//! start scans no log.

use super::Invariant;
use crate::judge::Fact;

/// A clean start may look at the last batch of a log; it never walks it.
const READS_PER_PARTITION: u64 = 2;

#[derive(Default)]
pub(super) struct CleanStopsAreClean;

impl Invariant for CleanStopsAreClean {
    fn name(&self) -> &'static str {
        "clean_stops_are_clean"
    }

    fn observe(&mut self, fact: &Fact) -> Result<(), String> {
        match *fact {
            Fact::Stopped { clean: false } => Err("the broker did not stop cleanly".to_owned()),
            Fact::StartedClean { log_reads, partitions } if log_reads > READS_PER_PARTITION * partitions => {
                Err(format!("a start after a clean stop read {log_reads} times from {partitions} logs"))
            }
            _ => Ok(()),
        }
    }
}
