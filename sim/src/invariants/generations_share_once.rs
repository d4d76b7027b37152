//! In the classic protocol no partition is owned by two members of one generation, whatever crash lies between: what a member is told
//! of its share is durable.

use super::Invariant;
use crate::judge::{Fact, GroupId, Partition};
use std::collections::BTreeMap;

#[derive(Default)]
pub(super) struct GenerationsShareOnce(BTreeMap<(GroupId, i32, Partition), String>);

impl Invariant for GenerationsShareOnce {
    fn name(&self) -> &'static str {
        "generations_share_once"
    }

    fn observe(&mut self, fact: &Fact) -> Result<(), String> {
        let Fact::Shared { group, generation, member, partitions } = fact else { return Ok(()) };
        for partition in partitions {
            let place = (*group, *generation, *partition);
            let owner = self.0.entry(place).or_insert_with(|| member.clone());
            if owner != member {
                return Err(format!(
                    "{group} generation {generation}: {partition} is {owner}'s, and {member}'s as well"
                ));
            }
        }
        Ok(())
    }
}
