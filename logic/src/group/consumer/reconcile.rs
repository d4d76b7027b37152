//! The steps of a member towards what it is to have: it gives up first, and gets only what nobody has.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use super::member::Progress;
use super::{ConsumerGroup, Held, Partitions, Step};
use crate::group::{GroupRecord, Timer, Timers};

impl ConsumerGroup {
    /// Takes a member one step on, if there is one. `owned`: what it says it has, if it says so. `anew`: what it subscribes to has changed,
    /// or it comes again. Whether it has other partitions to keep than before.
    pub(super) fn reconcile(
        &mut self,
        id: &str,
        owned: Option<&Partitions>,
        anew: bool,
        step: &mut Step<'_>,
    ) -> bool {
        let target_epoch = self.assignment_epoch;
        let Some(member) = self.members.get_mut(id) else { return false };
        match member.progress {
            Progress::Stable if member.epoch == target_epoch && !anew => return false,
            Progress::Unrevoked if has_any(owned, &member.revoking) => return false,
            Progress::Stable | Progress::Unreleased | Progress::Unrevoked => {}
        }
        let before = (member.epoch, member.progress, member.assigned.clone(), member.revoking.clone());
        let from = match member.progress {
            Progress::Stable | Progress::Unreleased => member.epoch,
            Progress::Unrevoked => {
                let released = std::mem::take(&mut member.revoking);
                // What it has given up is an epoch of its own, but never one that is still to come.
                let next = member.epoch.wrapping_add(1).min(target_epoch);
                self.disown(&released);
                next
            }
        };
        self.advance(id, from, owned, step);
        let Some(member) = self.members.get(id) else { return false };
        let others = !same_partitions(&member.assigned, &before.2);
        if (member.epoch, member.progress, &member.assigned, &member.revoking)
            != (before.0, before.1, &before.2, &before.3)
        {
            step.records.push(GroupRecord::consumer_current(&self.id, member));
            let again = member.epoch != before.0 || member.progress != before.1;
            self.watch_revocation(id, again, step.now.mono, step.timers);
        }
        others
    }

    fn advance(&mut self, id: &str, from: i32, owned: Option<&Partitions>, step: &Step<'_>) {
        let target_epoch = self.assignment_epoch;
        let Some(mut member) = self.members.remove(id) else { return };
        // A target that lags behind may give it what it does not subscribe to any more.
        let lags = self.epoch > target_epoch;
        let wants = |topic: &uuid::Uuid| {
            let name = step.image.topic_by_id(*topic).map(|topic| &topic.name);
            !lags || name.is_some_and(|name| self.subscribes(&member, name))
        };
        let mut gains: Vec<(uuid::Uuid, i32)> = Vec::new();
        let mut lacks = false;
        for (topic, numbers) in member.target.iter().filter(|(topic, _)| wants(topic)) {
            let (has, owners) = (member.assigned.get(topic), self.owners.get(topic));
            for number in numbers.iter().filter(|number| !has.is_some_and(|has| has.contains_key(number))) {
                match owners.is_some_and(|owners| owners.contains_key(number)) {
                    true => lacks = true,
                    false => gains.push((*topic, *number)),
                }
            }
        }
        let (mut kept, mut lost) = (Held::new(), Held::new());
        for (topic, numbers) in &member.assigned {
            let target = member.target.get(topic).filter(|_| wants(topic));
            for (number, since) in numbers {
                let keeps = target.is_some_and(|target| target.contains(number));
                let into = if keeps { &mut kept } else { &mut lost };
                into.entry(*topic).or_insert_with(BTreeMap::new).insert(*number, *since);
            }
        }
        member.previous_epoch = member.epoch;
        member.assigned = kept;
        if !lost.is_empty() && has_any(owned, &lost) {
            (member.epoch, member.progress, member.revoking) = (from, Progress::Unrevoked, lost);
        } else {
            self.disown(&lost);
            let id: Arc<str> = member.id.clone();
            for (topic, number) in gains {
                member.assigned.entry(topic).or_default().insert(number, target_epoch);
                self.own(topic, number, &id);
            }
            let progress = if lacks { Progress::Unreleased } else { Progress::Stable };
            (member.epoch, member.progress, member.revoking) = (target_epoch, progress, Held::new());
        }
        self.members.insert(member.id.clone(), member);
    }

    /// A member that is to give partitions up has its rebalance timeout for that. `again`: since now.
    pub(super) fn watch_revocation(&mut self, id: &str, again: bool, now: Duration, timers: &mut Timers) {
        let Some(member) = self.members.get_mut(id) else { return };
        if member.progress != Progress::Unrevoked {
            member.revoke_by = None;
        } else if again || member.revoke_by.is_none() {
            let due = now + member.rebalance;
            member.revoke_by = Some(due);
            timers.insert((due, self.id.clone(), Timer::Revoke(member.id.clone())));
        }
    }
}

fn same_partitions(a: &Held, b: &Held) -> bool {
    a.len() == b.len()
        && a.iter().zip(b).all(|((topic, a), (other, b))| topic == other && a.keys().eq(b.keys()))
}

/// Whether a member has any of these, as far as it says: who does not say has them.
fn has_any(owned: Option<&Partitions>, held: &Held) -> bool {
    owned.is_none_or(|owned| {
        owned.iter().any(|(topic, numbers)| {
            let held = held.get(topic);
            numbers.iter().any(|number| held.is_some_and(|held| held.contains_key(number)))
        })
    })
}
