//! No partition is with two members, whatever protocol they speak: who gets one gets it after the other has begun to say that it gave it
//! up, or when nothing can have been heard of that for its session. In the classic protocol: after it has begun to come back for a
//! rebalance, or its time for that is over.

use super::Invariant;
use crate::judge::{Fact, GroupId, Partition};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

#[derive(Default)]
pub(super) struct AssignmentsNeverOverlap {
    /// What each member has, and until when at least.
    held: BTreeMap<(GroupId, u64), (BTreeSet<Partition>, Duration)>,
}

impl Invariant for AssignmentsNeverOverlap {
    fn name(&self) -> &'static str {
        "assignments_never_overlap"
    }

    fn observe(&mut self, fact: &Fact) -> Result<(), String> {
        let Fact::Holds { group, member, partitions, now, until } = fact else { return Ok(()) };
        self.held.insert((*group, *member), (partitions.clone(), *until));
        // Who hears so late of what it got that its session is over may have lost it again.
        if until <= now {
            return Ok(());
        }
        let of_group = self.held.range((*group, 0)..=(*group, u64::MAX));
        for ((_, other), (theirs, until)) in of_group.filter(|((_, other), _)| other != member) {
            if until > now
                && let Some(partition) = theirs.intersection(partitions).next()
            {
                return Err(format!(
                    "{group}: {partition} is with member {member}, and with {other} until {:.3} s at least",
                    until.as_secs_f64()
                ));
            }
        }
        Ok(())
    }
}
