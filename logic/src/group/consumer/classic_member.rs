//! A member of a consumer group that speaks the classic protocol. What it is told is what that protocol has words for: its epoch is its
//! generation, nobody leads, JoinGroup takes it one step on towards what it is to have, SyncGroup tells it what it has, and a heartbeat that it
//! is to come again when there is a next step.
//!
//! It has its rebalance timeout for each of these, from the heartbeat that says so to JoinGroup, and from there to SyncGroup.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use millrace_proto::kafka::error::ErrorCode;
use uuid::Uuid;

use super::checks::Place;
use super::member::Progress;
use super::{Classic, ConsumerGroup, Held, Member, Partitions, Step};
use crate::group::classic::CONSUMER;
use crate::group::consumer_protocol::{self, Subscription};
use crate::group::request::{Caller, Join, Joined, Sync, Synced};
use crate::group::{MAX_GROUP_BYTES, Timer, Timers};
use crate::meta::Image;

/// Why a member does not join, and the id that it has or is to come back with.
pub(in crate::group) type NotJoined = (ErrorCode, Arc<str>);

impl ConsumerGroup {
    /// JoinGroup. Everything is checked before anything changes.
    pub(in crate::group) fn join_classic(
        &mut self,
        join: Join,
        step: &mut Step<'_>,
    ) -> Result<Joined, NotJoined> {
        let claimed: Arc<str> = join.caller.member.as_str().into();
        let place = self.check_join(&join, step).map_err(|code| (code, claimed.clone()))?;
        if let Place::New(id) = &place
            && join.id_first
            && join.caller.member.is_empty()
            && join.caller.instance.is_none()
        {
            return Err((ErrorCode::MemberIdRequired, id.clone()));
        }
        let first = join.protocols.first().map(|(_, metadata)| metadata.clone()).unwrap_or_default();
        let inconsistent = (ErrorCode::InconsistentGroupProtocol, claimed.clone());
        let said = Subscription::read(&first).ok_or(inconsistent)?;
        if matches!(place, Place::New(_)) && said.owned.iter().next().is_some() {
            // It was thrown out and does not know it: told so, it drops what it has before it comes again.
            return Err((ErrorCode::UnknownMemberId, claimed));
        }
        // From here on nothing is refused.
        let (id, comes) = match place {
            Place::Known(id) => (id, false),
            Place::New(id) => {
                let instance = join.caller.instance.as_deref().map(Arc::from);
                self.admit(Member { instance, ..Member::new(id.clone()) });
                (id, true)
            }
            Place::Again(before, id) => {
                self.replace(&before, &id, step);
                (id, false)
            }
        };
        let owned = owned(&said, step.image);
        let resubscribed = self.update_classic(&id, join, &said, comes, step);
        if self.has_new_metadata(step) || resubscribed {
            self.bump(step);
        }
        self.assign_if_due(step);
        self.reconcile(&id, Some(&owned), resubscribed, step);
        self.rest(&id, step.now.mono, step.settings, step.timers);
        if !self.is_giving_up(&id) {
            self.stop_watching_revocation(&id, step.timers);
        }
        self.expect_back(&id, step.now.mono, step.timers);
        let member = self.members.get(&id);
        let protocol = member.and_then(Member::protocol).map(|(name, _)| name.clone());
        Ok(Joined {
            member: id,
            generation: member.map_or(0, |member| member.epoch),
            protocol_type: Some(CONSUMER.into()),
            protocol,
            leader: "".into(),
            skip_assignment: false,
            members: Vec::new(),
        })
    }

    /// Who it is that joins, in Kafka's order of checks.
    fn check_join(&self, join: &Join, step: &Step<'_>) -> Result<Place, ErrorCode> {
        let claimed = join.caller.member.as_str();
        let known = self.members.get(claimed);
        if self.members.len() >= step.settings.consumer.max_size && known.is_none() {
            return Err(ErrorCode::GroupMaxSizeReached);
        }
        if !self.supports(join) {
            return Err(ErrorCode::InconsistentGroupProtocol);
        }
        let fresh = || -> Arc<str> {
            let named = join.caller.instance.as_deref().unwrap_or(&join.client_id);
            format!("{named}-{}", join.fresh).into()
        };
        let place = match &join.caller.instance {
            Some(name) => match self.instances.get(name.as_str()) {
                None if claimed.is_empty() => Place::New(fresh()),
                None => return Err(ErrorCode::UnknownMemberId),
                Some(id) if claimed.is_empty() => Place::Again(id.clone(), fresh()),
                Some(id) if **id == *claimed => Place::Known(id.clone()),
                Some(_) => return Err(ErrorCode::FencedInstanceId),
            },
            None if claimed.is_empty() => Place::New(fresh()),
            None => known.map_or_else(|| Place::New(claimed.into()), |known| Place::Known(known.id.clone())),
        };
        let before = match &place {
            Place::Known(id) | Place::Again(id, _) => self.members.get(id).map_or(0, Member::bytes),
            Place::New(_) => 0,
        };
        // The names of topics are kept as it says them, and once more as they are understood.
        let names = join.protocols.first().map_or(0, |(_, metadata)| metadata.len());
        let says = join.bytes().saturating_add(names).saturating_add(claimed.len());
        match (self.said() - before).saturating_add(says) > MAX_GROUP_BYTES {
            true => Err(ErrorCode::GroupMaxSizeReached),
            false => Ok(place),
        }
    }

    /// Whether a member with these protocols can be assigned together with the others that speak the classic protocol, should they be left
    /// alone.
    fn supports(&self, join: &Join) -> bool {
        let mut common: BTreeSet<&str> = join.protocols.iter().map(|(name, _)| name.as_str()).collect();
        for member in self.members.values().filter_map(|member| member.classic.as_ref()) {
            let names: BTreeSet<&str> = member.protocols.iter().map(|(name, _)| &**name).collect();
            common.retain(|name| names.contains(name));
        }
        join.protocol_type == CONSUMER && !common.is_empty()
    }

    fn update_classic(
        &mut self,
        id: &str,
        join: Join,
        said: &Subscription<'_>,
        comes: bool,
        step: &mut Step<'_>,
    ) -> bool {
        let Some(member) = self.members.get(id) else { return false };
        let protocols = join.protocols.into_iter().map(|(name, metadata)| (name.as_str().into(), metadata));
        let next = Member {
            rack: said.rack.map(str::to_owned).or_else(|| member.rack.clone()),
            rebalance: join.rebalance,
            topics: self.names(said.topics.iter().copied()),
            regex: None,
            assignor: None,
            classic: Some(Classic { session: join.session, protocols: protocols.collect() }),
            client_id: join.client_id,
            client_host: join.client_host,
            ..member.clone()
        };
        let unchanged = !comes
            && (&next.classic, &next.topics, &next.rack, next.rebalance)
                == (&member.classic, &member.topics, &member.rack, member.rebalance)
            && member.regex.is_none()
            && member.assignor.is_none()
            && (&next.client_id, &next.client_host) == (&member.client_id, &member.client_host);
        !unchanged && self.say(next, comes, step)
    }

    /// SyncGroup: what the member has and may keep.
    pub(in crate::group) fn sync_classic(
        &mut self,
        sync: &Sync,
        step: &mut Step<'_>,
    ) -> Result<Synced, ErrorCode> {
        let id = self.check_classic(&sync.caller)?;
        let Some(member) = self.members.get(&id) else { return Err(ErrorCode::UnknownMemberId) };
        let protocol = member.protocol().map(|(name, _)| name.clone());
        let is_other =
            |said: &Option<String>, is: Option<&str>| said.as_deref().is_some_and(|said| is != Some(said));
        if is_other(&sync.protocol_type, Some(CONSUMER)) || is_other(&sync.protocol, protocol.as_deref()) {
            return Err(ErrorCode::InconsistentGroupProtocol);
        }
        if member.epoch != self.assignment_epoch && !self.is_giving_up(&id) {
            self.expect_back(&id, step.now.mono, step.timers);
            return Err(ErrorCode::RebalanceInProgress);
        }
        let version = subscription_of(member).map_or(0, |said| said.version);
        let assignment = consumer_protocol::assignment(version, &named(&member.assigned, step.image));
        if !self.is_giving_up(&id) {
            self.stop_watching_revocation(&id, step.timers);
        }
        self.rest(&id, step.now.mono, step.settings, step.timers);
        Ok(Synced { protocol_type: Some(CONSUMER.into()), protocol, assignment })
    }

    /// Heartbeat: whether the member may go on. It also finds out what new topics are to the group: there may be nobody else to do that.
    pub(in crate::group) fn heartbeat_classic(
        &mut self,
        caller: &Caller,
        step: &mut Step<'_>,
    ) -> Result<(), ErrorCode> {
        let id = self.check_classic(caller)?;
        self.rest(&id, step.now.mono, step.settings, step.timers);
        if self.has_new_metadata(step) {
            self.bump(step);
        }
        self.assign_if_due(step);
        if !self.has_next_step(&id) {
            return Ok(());
        }
        self.expect_back(&id, step.now.mono, step.timers);
        Err(ErrorCode::RebalanceInProgress)
    }

    /// Whether whoever says so is a member that speaks the classic protocol, in its generation.
    fn check_classic(&self, caller: &Caller) -> Result<Arc<str>, ErrorCode> {
        let id = self.check_caller(&caller.member, caller.instance.as_deref());
        let id = id.map_err(|refusal| refusal.code)?;
        let member = self.members.get(&id).filter(|member| member.classic.is_some());
        match member.map(|member| member.epoch == caller.generation) {
            None => Err(ErrorCode::UnknownMemberId),
            Some(false) => Err(ErrorCode::IllegalGeneration),
            Some(true) => Ok(id),
        }
    }

    fn is_giving_up(&self, id: &str) -> bool {
        self.members.get(id).is_some_and(|member| member.progress == Progress::Unrevoked)
    }

    /// Whether a member would come further if it came again.
    fn has_next_step(&self, id: &str) -> bool {
        let Some(member) = self.members.get(id) else { return false };
        let is_free = |(topic, numbers): (&Uuid, &BTreeSet<i32>)| {
            let owners = self.owners.get(topic);
            numbers.iter().any(|number| owners.is_none_or(|owners| !owners.contains_key(number)))
        };
        match member.progress {
            _ if member.epoch != self.assignment_epoch => true,
            Progress::Stable => false,
            Progress::Unrevoked => true,
            Progress::Unreleased => member.target.iter().any(is_free),
        }
    }

    /// A member is to come with its next request before its rebalance timeout is over, since it was told so first.
    fn expect_back(&mut self, id: &str, now: Duration, timers: &mut Timers) {
        let Some(member) = self.members.get_mut(id).filter(|member| member.revoke_by.is_none()) else {
            return;
        };
        let due = now + member.rebalance;
        member.revoke_by = Some(due);
        timers.insert((due, self.id.clone(), Timer::Revoke(member.id.clone())));
    }
}

impl Member {
    /// The classic protocol that it goes by, and what it says in that.
    fn protocol(&self) -> Option<&(Arc<str>, Bytes)> {
        self.classic.as_ref()?.protocols.first()
    }
}

/// What a member that speaks the classic protocol says of itself.
pub(super) fn subscription_of(member: &Member) -> Option<Subscription<'_>> {
    Subscription::read(&member.protocol()?.1)
}

/// The partitions that a member says it has, of topics that are there.
fn owned(said: &Subscription<'_>, image: &Image) -> Partitions {
    let mut all = Partitions::new();
    for (name, numbers) in said.owned.iter() {
        let Some(topic) = image.topic(name) else { continue };
        let is_there = |number: &i32| usize::try_from(*number).is_ok_and(|at| at < topic.partitions.len());
        all.entry(topic.id).or_default().extend(numbers.filter(is_there));
    }
    all
}

/// Partitions by the names of their topics; those of topics that are gone nobody can read.
pub(super) fn named<'a>(held: &Held, image: &'a Image) -> Vec<(&'a str, Vec<i32>)> {
    let of = |(topic, numbers): (&Uuid, &BTreeMap<i32, i32>)| {
        Some((&*image.topic_by_id(*topic)?.name, numbers.keys().copied().collect()))
    };
    held.iter().filter_map(of).collect()
}
