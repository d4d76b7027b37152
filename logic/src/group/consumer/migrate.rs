//! Groups that have members change their protocol, if they may: a classic group of consumers when somebody joins by the new protocol, and back
//! when nobody is left who speaks that. Members stay with what they have, and hear by and by that they are to come again.
//!
//! Both ways nothing that a member may still work on is given to another before it has come back: what it has is what it was assigned last and
//! what it said it had, whichever the group knew before.

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use millrace_proto::kafka::error::ErrorCode;
use uuid::Uuid;

use super::classic_member::{named, subscription_of};
use super::{Classic, ConsumerGroup, Held, Member, Step};
use crate::group::classic::{self, CONSUMER, Group, State, new_member};
use crate::group::consumer_protocol::{self, ByTopic, Given, Subscription};
use crate::group::joining::Cx;
use crate::group::request::Refusal;
use crate::group::{Coordinator, Effect, GroupRecord, Now, Settings};
use crate::meta::Image;

/// Assignors of which nothing is lost when members do not hear from them any more. Others, such as that of Kafka Streams, tell members what
/// they cannot do without.
const KNOWN_ASSIGNORS: [&str; 4] = ["range", "roundrobin", "sticky", "cooperative-sticky"];

impl<T> Coordinator<T> {
    /// Does something in a consumer group, whatever follows from it included; `None` if there is no such group.
    pub(in crate::group) fn in_consumer_group<R>(
        &mut self,
        now: Now,
        id: &str,
        out: &mut Vec<Effect<T>>,
        act: impl FnOnce(&mut ConsumerGroup, &mut Step<'_>) -> R,
    ) -> Option<R> {
        let group = self.groups.get_mut(id)?;
        let consumer = group.consumer.as_deref_mut()?;
        consumer.look_up_settings(&self.settings, &self.image, self.image_version);
        let target = consumer.assignment_epoch;
        let mut records = Vec::new();
        let (settings, timers, version) = (&self.settings, &mut self.timers, self.image_version);
        let mut step = Step { now, settings, timers, image: &self.image, version, records: &mut records };
        let outcome = act(consumer, &mut step);
        if consumer.assignment_epoch != target {
            out.push(Effect::Rebalance);
        }
        out.extend(records.into_iter().map(Effect::Append));
        group.downgrade_if_left(
            &self.image,
            &mut Cx { now, settings: &self.settings, timers: &mut self.timers, out },
        );
        Some(outcome)
    }

    /// There is a consumer group of this name from now on, made of the classic one if there is that. Its id.
    pub(super) fn found_consumers(
        &mut self,
        now: Now,
        id: &str,
        upgraded: Option<ConsumerGroup>,
        out: &mut Vec<Effect<T>>,
    ) -> Arc<str> {
        let id: Arc<str> = id.into();
        let group = self.groups.entry(id.clone()).or_insert_with(|| Group::new(id.clone()));
        let mut records = Vec::new();
        let (settings, timers, version) = (&self.settings, &mut self.timers, self.image_version);
        let mut step = Step { now, settings, timers, image: &self.image, version, records: &mut records };
        group.become_consumers(upgraded, &mut step, out);
        out.extend(records.into_iter().map(Effect::Append));
        id
    }
}

impl<T> Group<T> {
    /// What this classic group is to become as somebody joins it by the new protocol. Nothing changes yet.
    pub(super) fn upgraded(&self, settings: &Settings, image: &Image) -> Result<ConsumerGroup, Refusal> {
        let refuse = |why: String| Refusal::new(ErrorCode::GroupIdNotFound, why);
        let because = |why: &str| {
            refuse(format!("Cannot upgrade classic group {} to consumer group because {why}.", self.id))
        };
        if !settings.consumer.migration.upgrades() {
            return Err(because("online upgrade is disabled"));
        }
        if self.protocol_type.as_deref() != Some(CONSUMER) {
            return Err(because("the group does not use the consumer embedded protocol"));
        }
        if self.members.len() > settings.consumer.max_size {
            return Err(because("the group size exceeds the consumer group maximum size"));
        }
        let malformed = || because("the embedded consumer protocol is malformed");
        let is_known = self.protocol.as_deref().is_none_or(|protocol| KNOWN_ASSIGNORS.contains(&protocol));
        let mut group = ConsumerGroup::new(self.id.clone());
        (group.epoch, group.assignment_epoch) = (self.generation.max(1), self.generation.max(1));
        let mut all = Vec::with_capacity(self.members.len());
        for known in self.members.values() {
            let metadata = self.said_by(known);
            let said = Subscription::read(&metadata).ok_or_else(malformed)?;
            let given = Given::read(&known.assignment).ok_or_else(malformed)?;
            if given.has_more && !is_known {
                return Err(because(
                    "an unsupported custom assignor is in use. Please refer to the documentation or switch to a default assignor before re-attempting the upgrade",
                ));
            }
            let mut member = Member {
                instance: known.instance.clone(),
                rack: said.rack.map(str::to_owned),
                client_id: known.client_id.clone(),
                client_host: known.client_host.clone(),
                rebalance: known.rebalance,
                topics: group.names(said.topics.iter().copied()),
                classic: Some(Classic { session: known.session, protocols: known.protocols.clone() }),
                epoch: group.epoch,
                previous_epoch: group.epoch,
                armed: known.armed,
                ..Member::new(known.id.clone())
            };
            group.claim(&mut member, given.partitions, image);
            group.count_in(&member);
            all.push((said.generation, metadata.clone(), member));
        }
        // What the last rebalance took from a member it may still be about to give up. Of two who had it, the later one has it.
        all.sort_by_key(|(generation, ..)| Reverse(*generation));
        for (_, metadata, mut member) in all {
            let said = Subscription::read(&metadata).ok_or_else(malformed)?;
            group.claim(&mut member, said.owned, image);
            let all_of =
                |(topic, held): (&Uuid, &BTreeMap<i32, i32>)| (*topic, held.keys().copied().collect());
            member.target = member.assigned.iter().map(all_of).collect();
            if let Some(instance) = &member.instance {
                group.instances.insert(instance.clone(), member.id.clone());
            }
            group.members.insert(member.id.clone(), member);
        }
        Ok(group)
    }

    /// What a member says of itself in the protocol of the group, or in its own first one.
    fn said_by(&self, member: &classic::Member<T>) -> Bytes {
        let metadata = member.metadata(self.protocol.as_deref());
        match member.protocols.first() {
            Some((_, first)) if metadata.is_empty() => first.clone(),
            _ => metadata,
        }
    }

    /// Becomes a group of the new protocol: this one, whose members stay, or one without members. Offsets stay.
    fn become_consumers(
        &mut self,
        upgraded: Option<ConsumerGroup>,
        step: &mut Step<'_>,
        out: &mut Vec<Effect<T>>,
    ) {
        if self.consumer.is_some() {
            return;
        }
        // Whoever waits is to come again, and finds the other group.
        self.members.values_mut().for_each(|member| member.dismiss(ErrorCode::RebalanceInProgress, out));
        if self.generation > 0 {
            step.records.push(GroupRecord::no_group(&self.id));
        }
        let offsets = std::mem::take(&mut self.offsets);
        *self = Self { offsets, ..Self::new(self.id.clone()) };
        let mut group = upgraded.unwrap_or_else(|| ConsumerGroup::new(self.id.clone()));
        group.look_up_settings(step.settings, step.image, step.version);
        if !group.members.is_empty() {
            group.begin(step);
        }
        self.consumer = Some(Box::new(group));
    }

    /// A consumer group in which nobody speaks the new protocol any more goes back to the classic one, if it may. Its members begin anew: what
    /// the last one had is for all of them.
    fn downgrade_if_left(&mut self, image: &Image, cx: &mut Cx<'_, T>) {
        if !self.consumer.as_ref().is_some_and(|consumer| consumer.is_left_to_classics(cx.settings)) {
            return;
        }
        cx.out.extend(self.tombstones().into_iter().map(Effect::Append));
        let Some(mut consumer) = self.consumer.take() else { return };
        let ids: Vec<Arc<str>> = consumer.members.keys().cloned().collect();
        for id in ids {
            consumer.stop_watching_revocation(&id, cx.timers);
            cx.out.extend(GroupRecord::no_consumer_member(&self.id, &id).into_iter().map(Effect::Append));
        }
        let offsets = std::mem::take(&mut self.offsets);
        *self = Self { offsets, ..Self::new(self.id.clone()) };
        self.protocol_type = Some(CONSUMER.into());
        // Of the latest that any of them knows: those who do hear that there is a rebalance, the others that they are too late for it.
        self.generation = consumer.members.values().map(|member| member.epoch).max().unwrap_or(0).max(1);
        for member in std::mem::take(&mut consumer.members).into_values() {
            self.add(member.into_classic(image));
        }
        self.protocol = self.select_protocol();
        self.read_subscriptions();
        // Nobody has assigned in this generation: whoever reads that after a start knows that members are to come again.
        self.leader = None;
        self.enter(State::Stable, cx.now.wall_ms);
        cx.out.push(Effect::Append(GroupRecord::group(self)));
        self.rest_all(cx.now.mono, cx.timers);
        self.rebalance(cx);
    }
}

impl ConsumerGroup {
    /// A member has these partitions, as far as they are there and nobody else has them.
    fn claim(&mut self, member: &mut Member, partitions: ByTopic<'_>, image: &Image) {
        for (name, numbers) in partitions.iter() {
            let Some(topic) = image.topic(name) else { continue };
            let is_there =
                |number: &i32| usize::try_from(*number).is_ok_and(|at| at < topic.partitions.len());
            for number in numbers.filter(is_there) {
                let owner = self
                    .owners
                    .entry(topic.id)
                    .or_default()
                    .entry(number)
                    .or_insert_with(|| member.id.clone());
                if *owner == member.id {
                    member.assigned.entry(topic.id).or_default().entry(number).or_insert(self.epoch);
                }
            }
        }
    }

    /// All of a group that was made of a classic one, as records; its members have their timeouts from now on.
    fn begin(&mut self, step: &mut Step<'_>) {
        let members = || self.members.values();
        step.records.extend(members().map(|member| GroupRecord::consumer_member(&self.id, member)));
        step.records.push(GroupRecord::consumer_group(self));
        step.records.extend(members().map(|member| GroupRecord::consumer_target(&self.id, member)));
        step.records.push(GroupRecord::consumer_target_epoch(self, step.now.wall_ms));
        step.records.extend(members().map(|member| GroupRecord::consumer_current(&self.id, member)));
        let ids: Vec<Arc<str>> = self.members.keys().cloned().collect();
        ids.iter().for_each(|id| self.rest(id, step.now.mono, step.settings, step.timers));
    }

    /// Whether all of its members speak the classic protocol, and it is to follow them.
    fn is_left_to_classics(&self, settings: &Settings) -> bool {
        let members = self.members.len();
        members > 0
            && self.classics == members
            && members <= settings.max_size
            && settings.consumer.migration.downgrades()
    }
}

impl Member {
    /// The same in a classic group; what it was assigned there is what it has.
    fn into_classic<T>(self, image: &Image) -> classic::Member<T> {
        let version = subscription_of(&self).map_or(0, |said| said.version);
        let mut has: Held = self.assigned;
        for (topic, numbers) in self.revoking {
            has.entry(topic).or_default().extend(numbers);
        }
        let assignment = consumer_protocol::assignment(version, &named(&has, image));
        let (session, protocols) =
            self.classic.map_or((Duration::ZERO, Vec::new()), |classic| (classic.session, classic.protocols));
        classic::Member {
            client_id: self.client_id,
            client_host: self.client_host,
            session,
            rebalance: self.rebalance,
            protocols,
            assignment,
            armed: self.armed,
            ..new_member(self.id, self.instance)
        }
    }
}
