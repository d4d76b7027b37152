//! Whoever asks how far a group has come is told of a commit that was sent, and of none that is older than one that was accepted, or that
//! somebody was told of, before it asked. Both are durable, so that holds whatever crash lies between.

use super::Invariant;
use crate::judge::{Commit, Fact, GroupId, Partition};
use std::collections::BTreeMap;

type Place = (GroupId, Partition);

#[derive(Default)]
pub(super) struct CommittedOffsetsStay {
    sent: BTreeMap<u64, Commit>,
    /// How far each group has certainly come.
    reached: BTreeMap<Place, i64>,
    /// How far it certainly had when a member asked.
    asked: BTreeMap<u64, BTreeMap<Place, i64>>,
}

impl CommittedOffsetsStay {
    fn reach(&mut self, place: Place, offset: i64) {
        let reached = self.reached.entry(place).or_insert(offset);
        *reached = offset.max(*reached);
    }

    fn found(&mut self, member: u64, place: Place, found: Option<(i64, u64)>) -> Result<(), String> {
        let (group, partition) = place;
        let least = self.asked.get(&member).and_then(|asked| asked.get(&place));
        let Some((offset, number)) = found else {
            return match least {
                Some(least) => {
                    Err(format!("{group} had come to {least} in {partition}, and has nothing now"))
                }
                None => Ok(()),
            };
        };
        let found = Commit { number, group, partition, offset };
        if self.sent.get(&number) != Some(&found) {
            return Err(format!("{found:?} was found; sent was {:?}", self.sent.get(&number)));
        }
        if let Some(least) = least.filter(|least| **least > offset) {
            return Err(format!("{group} had come to {least} in {partition}, and is at {offset} now"));
        }
        self.reach(place, offset);
        Ok(())
    }
}

impl Invariant for CommittedOffsetsStay {
    fn name(&self) -> &'static str {
        "committed_offsets_stay"
    }

    fn observe(&mut self, fact: &Fact) -> Result<(), String> {
        match *fact {
            Fact::CommitSent(commit) => {
                self.sent.insert(commit.number, commit);
            }
            Fact::CommitAccepted(commit) => self.reach((commit.group, commit.partition), commit.offset),
            Fact::OffsetsAsked { member, group } => {
                let of_group = self.reached.iter().filter(|((of, _), _)| *of == group);
                self.asked.insert(member, of_group.map(|(place, offset)| (*place, *offset)).collect());
            }
            Fact::OffsetFound { member, group, partition, found } => {
                return self.found(member, (group, partition), found);
            }
            _ => {}
        }
        Ok(())
    }
}
