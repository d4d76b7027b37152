//! A broker that is asked to stop, and whose disk is well, stops in time, leaves the clean-shutdown marker, and its next
//! start scans no log.

use super::Invariant;
use crate::judge::Fact;

/// A clean start looks at what lies behind a log's last index entry; it never walks the log.
const MOST_READS: u64 = 2;

#[derive(Default)]
pub(super) struct CleanStopsAreClean;

impl Invariant for CleanStopsAreClean {
    fn name(&self) -> &'static str {
        "clean_stops_are_clean"
    }

    fn observe(&mut self, fact: &Fact) -> Result<(), String> {
        match *fact {
            Fact::Stopped { clean: false } => Err("the broker did not stop cleanly".to_owned()),
            Fact::StartedClean { log_reads } if log_reads > MOST_READS => {
                Err(format!("a start after a clean stop read a log {log_reads} times"))
            }
            _ => Ok(()),
        }
    }
}
