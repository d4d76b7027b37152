//! Consumer groups as a workload: how many, of how many members, and what each member does.

use crate::error::{Error, Result};
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// The most members of all groups together: each has a connection of its own, as every client has.
const MOST_MEMBERS: u64 = 50_000;

/// Groups of the classic protocol, all alike.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Groups {
    /// Groups.
    pub groups: u32,
    /// Members of each.
    pub members: u32,
    /// Partitions that each group shares out among its members, and commits.
    pub partitions: u32,
    /// Milliseconds from one heartbeat of a member to its next.
    pub every_ms: u32,
}

impl Groups {
    /// Whether it can be done at all.
    pub fn check(self) -> Result<()> {
        let wrong = |what: &str| Err(Error::Usage(what.to_owned()));
        if self.groups == 0 || self.members == 0 || self.partitions == 0 || self.every_ms == 0 {
            return wrong("groups, members and partitions are at least 1");
        }
        if self.partitions < self.members {
            return wrong(
                "a member without a partition has nothing to commit: more partitions, or fewer members",
            );
        }
        match self.everybody() > MOST_MEMBERS {
            true => wrong("more than 50,000 members are more connections than one address has ports for"),
            false => Ok(()),
        }
    }

    /// Members of all groups.
    pub fn everybody(self) -> u64 {
        u64::from(self.groups) * u64::from(self.members)
    }

    /// From one heartbeat of a member to its next.
    pub fn every(self) -> Duration {
        Duration::from_millis(u64::from(self.every_ms))
    }

    /// A line for people.
    pub fn describe(self) -> String {
        let (groups, members, partitions) = (self.groups, self.members, self.partitions);
        let all = u64::from(groups) * u64::from(partitions);
        let every = self.every().as_secs_f64();
        format!(
            "{groups} groups of {members} members, a connection for each; {partitions} partitions a group, {all} in all; \
             heartbeats every {every} s"
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SOME: Groups = Groups { groups: 10, members: 3, partitions: 10, every_ms: 1000 };

    #[test]
    fn what_cannot_be_done_is_refused() {
        assert!(SOME.check().is_ok());
        for none in [
            Groups { groups: 0, ..SOME },
            Groups { members: 0, ..SOME },
            Groups { partitions: 0, ..SOME },
            Groups { every_ms: 0, ..SOME },
            Groups { partitions: 2, ..SOME },
            Groups { groups: 20_000, ..SOME },
        ] {
            assert!(none.check().is_err(), "{none:?}");
        }
    }

    #[test]
    fn it_says_what_is_done_in_all() {
        assert_eq!(SOME.everybody(), 30);
        let told = SOME.describe();
        assert!(told.contains("10 groups of 3 members") && told.contains("100 in all"), "{told}");
        assert!(told.contains("every 1 s"), "{told}");
    }
}
