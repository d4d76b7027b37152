//! A commit that is accepted leads beyond whatever was known to be committed when it was sent. The owner of a partition goes on where the
//! last one ended; so a step back is the commit of somebody who does not own it any more, and should have been fenced.

use super::Invariant;
use crate::judge::{Fact, GroupId, Partition};
use std::collections::BTreeMap;

#[derive(Default)]
pub(super) struct CommitsGoForward {
    /// How far each group is known to have come.
    reached: BTreeMap<(GroupId, Partition), i64>,
    /// How far it was when a commit was sent.
    before: BTreeMap<u64, i64>,
}

impl Invariant for CommitsGoForward {
    fn name(&self) -> &'static str {
        "commits_go_forward"
    }

    fn observe(&mut self, fact: &Fact) -> Result<(), String> {
        let (place, offset) = match *fact {
            Fact::CommitSent(commit) => {
                let reached = self.reached.get(&(commit.group, commit.partition)).copied();
                self.before.insert(commit.number, reached.unwrap_or_default());
                return Ok(());
            }
            Fact::CommitAccepted(commit) => {
                let before = self.before.get(&commit.number).copied().unwrap_or_default();
                if commit.offset <= before {
                    return Err(format!("{commit:?} was accepted, when the group had come to {before}"));
                }
                ((commit.group, commit.partition), commit.offset)
            }
            Fact::OffsetFound { group, partition, found: Some((offset, _)), .. } => {
                ((group, partition), offset)
            }
            _ => return Ok(()),
        };
        let reached = self.reached.entry(place).or_default();
        *reached = offset.max(*reached);
        Ok(())
    }
}
