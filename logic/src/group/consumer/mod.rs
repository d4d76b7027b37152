//! A group of the new protocol (KIP-848): members say what they subscribe to, and the coordinator assigns.
//!
//! Three epochs chase each other. The group's rises when members come, go or change what they subscribe to, and when topics do. The target is
//! what each member is to have; it is computed for an epoch of the group. A member's epoch says for which target it has given up whatever
//! that one does not give it. No member gets a partition before the one that has it gave it up, so there is no barrier: each goes at its pace.
//!
//! ```text
//!            the target gives it less            it says that it has given up
//!   Stable ───────────────────────▶ Unrevoked ────────────────────────────────┐
//!     ▲  └──────────────────────────────────────────────────────────────────┐ │  others still have
//!     └─── others gave up ─────────── Unreleased ◀──────────────────────────┴─┘  some of its target
//! ```
//!
//! Split by role: [`member`] a member, `heartbeat` the request, `checks` what is checked of it, `subscribe` what is subscribed to, `assign` who gets what, `target` when that
//! is computed, `reconcile` the steps of a member towards it, `leaving` how members go, `records` all of it as bytes; `classic_member` members
//! that speak the classic protocol, [`own`] settings of one group, `migrate` how groups come to have them and become theirs, `policy` whether they may.

mod assign;
mod checks;
mod classic_member;
mod heartbeat;
mod leaving;
mod member;
mod migrate;
pub mod own;
mod policy;
mod reconcile;
mod records;
pub mod request;
mod subscribe;
mod target;

pub use assign::Assignor;
pub(super) use member::{AWAY, Classic, Held, Member, Partitions};
pub use policy::MigrationPolicy;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use uuid::Uuid;

use super::{GroupRecord, Now, Settings, Timer, Timers};
use crate::meta::Image;
use subscribe::Pattern;

/// How consumer groups are kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ConsumerSettings {
    /// `group.consumer.session.timeout.ms`: how long a member may be silent.
    pub session: Duration,
    /// `group.consumer.heartbeat.interval.ms`: how often members are to come.
    pub heartbeat: Duration,
    /// `group.consumer.max.size`: the most members of a group.
    pub max_size: usize,
    /// `group.consumer.assignors`: those that members may choose, the first of them for groups whose members choose none.
    pub assignors: [Option<Assignor>; 2],
    /// `group.consumer.assignment.interval.ms`: the least time between two targets of a group.
    pub assignment_interval: Duration,
    /// `group.consumer.migration.policy`: whether groups that have members change their protocol.
    pub migration: MigrationPolicy,
}

impl Default for ConsumerSettings {
    /// Kafka's defaults.
    fn default() -> Self {
        Self {
            session: Duration::from_secs(45),
            heartbeat: Duration::from_secs(5),
            max_size: i32::MAX as usize,
            assignors: [Some(Assignor::Uniform), Some(Assignor::Range)],
            assignment_interval: Duration::from_secs(1),
            migration: MigrationPolicy::Bidirectional,
        }
    }
}

/// What a step of a consumer group needs besides the group, and what it wants appended.
pub(super) struct Step<'a> {
    pub(super) now: Now,
    pub(super) settings: &'a Settings,
    pub(super) timers: &'a mut Timers,
    /// The topics now.
    pub(super) image: &'a Image,
    /// Rises with the image.
    pub(super) version: u64,
    pub(super) records: &'a mut Vec<GroupRecord>,
}

/// A consumer group.
#[derive(Debug)]
pub(super) struct ConsumerGroup {
    pub(super) id: Arc<str>,
    pub(super) epoch: i32,
    /// Stands for the topics that are subscribed to and their partitions: when it changes, so does the epoch.
    metadata_hash: i64,
    /// The image that it was computed from.
    seen: u64,
    /// The epoch that the targets are for.
    pub(super) assignment_epoch: i32,
    /// When they were computed; unknown after a start.
    assigned_at: Option<Duration>,
    /// When they are to be computed, if that has to wait.
    assign_by: Option<Duration>,
    pub(super) members: BTreeMap<Arc<str>, Member>,
    /// The ids of static members, by name.
    pub(super) instances: BTreeMap<Arc<str>, Arc<str>>,
    /// Who has which partition, those to be given up included.
    owners: BTreeMap<Uuid, BTreeMap<i32, Arc<str>>>,
    /// The topics that are subscribed to, and by how many members and expressions.
    subscribed: BTreeMap<Arc<str>, usize>,
    patterns: BTreeMap<Arc<str>, Pattern>,
    /// Bytes of what the members say of themselves.
    bytes: usize,
    /// How many members speak the classic protocol.
    classics: usize,
    /// What it goes by, if it was given settings of its own; and the image that they were looked up in.
    own: Option<ConsumerSettings>,
    own_seen: u64,
}

impl ConsumerGroup {
    pub(super) fn new(id: Arc<str>) -> Self {
        Self {
            id,
            // As in Kafka: no member is ever in epoch 0, which says that one joins.
            epoch: 1,
            metadata_hash: 0,
            seen: 0,
            assignment_epoch: 1,
            assigned_at: None,
            assign_by: None,
            members: BTreeMap::new(),
            instances: BTreeMap::new(),
            owners: BTreeMap::new(),
            subscribed: BTreeMap::new(),
            patterns: BTreeMap::new(),
            bytes: 0,
            classics: 0,
            own: None,
            own_seen: 0,
        }
    }

    /// Its state, as Kafka names it.
    pub(super) fn state(&self) -> &'static str {
        match () {
            () if self.members.is_empty() => "Empty",
            () if self.epoch > self.assignment_epoch => "Assigning",
            () if self.members.values().all(|member| member.is_settled_in(self.assignment_epoch)) => "Stable",
            () => "Reconciling",
        }
    }

    /// Whether members subscribe to this topic.
    pub(super) fn reads(&self, topic: &str) -> bool {
        self.subscribed.contains_key(topic)
    }

    /// All records were replayed: what follows from them is computed, and members have their timeouts from now on.
    pub(super) fn loaded(&mut self, now: Now, settings: &Settings, timers: &mut Timers) {
        let members = std::mem::take(&mut self.members);
        for (id, member) in members {
            if let Some(instance) = &member.instance {
                self.instances.insert(instance.clone(), id.clone());
            }
            for held in [&member.assigned, &member.revoking] {
                let all =
                    held.iter().flat_map(|(topic, numbers)| numbers.keys().map(|number| (*topic, *number)));
                all.for_each(|(topic, number)| self.own(topic, number, &id));
            }
            self.count_in(&member);
            self.members.insert(id, member);
        }
        self.drop_unused_patterns();
        let ids: Vec<_> = self.members.keys().cloned().collect();
        for id in ids {
            self.rest(&id, now.mono, settings, timers);
            self.watch_revocation(&id, true, now.mono, timers);
        }
    }

    fn own(&mut self, topic: Uuid, number: i32, id: &Arc<str>) {
        self.owners.entry(topic).or_default().insert(number, id.clone());
    }

    fn disown(&mut self, held: &Held) {
        for (topic, numbers) in held {
            let Some(owners) = self.owners.get_mut(topic) else { continue };
            numbers.keys().for_each(|number| drop(owners.remove(number)));
            if owners.is_empty() {
                self.owners.remove(topic);
            }
        }
    }

    /// A member has been heard of: it may be silent for the session timeout.
    fn rest(&mut self, id: &str, now: Duration, settings: &Settings, timers: &mut Timers) {
        let session = self.settings(settings).session;
        let Some(member) = self.members.get_mut(id) else { return };
        let session = member.classic.as_ref().map_or(session, |classic| classic.session);
        member.deadline = now + session;
        if member.armed.is_none_or(|armed| armed > member.deadline) {
            member.armed = Some(member.deadline);
            timers.insert((member.deadline, self.id.clone(), Timer::Member(member.id.clone())));
        }
    }

    /// The next epoch.
    fn bump(&mut self, step: &mut Step<'_>) {
        self.epoch = self.epoch.wrapping_add(1).max(1);
        step.records.push(GroupRecord::consumer_group(self));
    }
}
