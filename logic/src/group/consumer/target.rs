//! When and how it is computed what each member is to have.
//!
//! Not more often than every `group.consumer.assignment.interval.ms` (KIP-1263): a hundred members that come at once are one change.

use std::collections::BTreeMap;

use uuid::Uuid;

use super::assign::Subject;
use super::{Assignor, ConsumerGroup, Step};
use crate::group::{GroupRecord, Settings, Timer};

impl ConsumerGroup {
    /// Computes what is due, or lets a timer do it when its time has come.
    pub(super) fn assign_if_due(&mut self, step: &mut Step<'_>) {
        if self.epoch <= self.assignment_epoch || self.members.is_empty() {
            return;
        }
        let interval = self.settings(step.settings).assignment_interval;
        let due = self.assigned_at.map_or(step.now.mono, |at| at + interval);
        if due <= step.now.mono {
            return self.assign(step);
        }
        if self.assign_by != Some(due) {
            self.assign_by = Some(due);
            step.timers.insert((due, self.id.clone(), Timer::Assign));
        }
    }

    /// The timer fired.
    pub(in crate::group) fn assign_is_due(&mut self, due: std::time::Duration, step: &mut Step<'_>) {
        if self.assign_by == Some(due) {
            self.assign_by = None;
            self.assign_if_due(step);
        }
    }

    /// How partitions are assigned: as most members would, of those that say.
    pub(in crate::group) fn assignor(&self, settings: &Settings) -> Assignor {
        let mut votes: BTreeMap<Assignor, usize> = BTreeMap::new();
        for assignor in self.members.values().filter_map(|member| member.assignor) {
            *votes.entry(assignor).or_default() += 1;
        }
        let offered = || settings.consumer.assignors.iter().flatten().copied();
        let most = votes.values().max();
        let chosen = offered().find(|assignor| votes.get(assignor).is_some_and(|count| Some(count) == most));
        chosen.or_else(|| offered().next()).unwrap_or(Assignor::Uniform)
    }

    fn assign(&mut self, step: &mut Step<'_>) {
        let assignor = self.assignor(step.settings);
        let subjects: Vec<Subject<'_>> = self
            .members
            .values()
            .map(|member| Subject {
                id: &member.id,
                instance: member.instance.as_deref(),
                topics: self.topics_of(member, step.image),
                current: &member.target,
            })
            .collect();
        let mut counts: BTreeMap<Uuid, i32> = BTreeMap::new();
        for topic in self.subscribed.keys().filter_map(|name| step.image.topic(name)) {
            counts.insert(topic.id, i32::try_from(topic.partitions.len()).unwrap_or(i32::MAX));
        }
        let given = assignor.assign(&subjects, &counts);
        for (member, target) in self.members.values_mut().zip(given) {
            if member.target != target {
                member.target = target;
                step.records.push(GroupRecord::consumer_target(&self.id, member));
            }
        }
        self.assignment_epoch = self.epoch;
        self.assigned_at = Some(step.now.mono);
        step.records.push(GroupRecord::consumer_target_epoch(self, step.now.wall_ms));
    }
}
