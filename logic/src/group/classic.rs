//! A group of the classic protocol: its members, its generation, and the state that a rebalance takes it through.
//!
//! ```text
//!            a member comes            all came, or time is up        the leader assigned
//!   Empty ─────────────────▶ Preparing ────────────────────▶ Completing ─────────────────▶ Stable
//!     ▲                        │   ▲                             │                            │
//!     └── nobody is left ──────┘   └── members come, go, change ─┴────────────────────────────┘
//! ```

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use millrace_proto::kafka::error::ErrorCode;

use super::consumer::ConsumerGroup;
use super::offsets::Offsets;
use super::request::{Caller, JoinRefused, Joined, JoinedMember, Response, Synced, bytes_of_protocols};
use super::{Effect, Timer, Timers, When, consumer_protocol, reply};

/// The protocol type of consumers, whose metadata can be read.
pub const CONSUMER: &str = "consumer";

/// Where a group is between two generations.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// It has no members; offsets, perhaps.
    Empty,
    /// It waits for members to come back.
    PreparingRebalance,
    /// A generation has begun; it waits for what its leader assigns.
    CompletingRebalance,
    /// Every member has what it got.
    Stable,
}

impl State {
    /// As Kafka names it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Empty => "Empty",
            Self::PreparingRebalance => "PreparingRebalance",
            Self::CompletingRebalance => "CompletingRebalance",
            Self::Stable => "Stable",
        }
    }
}

/// A member.
#[derive(Debug)]
pub(super) struct Member<T> {
    pub(super) id: Arc<str>,
    pub(super) instance: Option<Arc<str>>,
    pub(super) client_id: String,
    pub(super) client_host: String,
    pub(super) session: Duration,
    pub(super) rebalance: Duration,
    pub(super) protocols: Vec<(Arc<str>, Bytes)>,
    pub(super) assignment: Bytes,
    /// It has not been in a generation yet.
    pub(super) is_new: bool,
    /// It came back, and waits for the others.
    pub(super) joining: Option<T>,
    /// It waits for what the leader assigns.
    pub(super) syncing: Option<T>,
    /// Until when it may be silent.
    pub(super) deadline: Duration,
    /// When its timer fires, not later than the deadline: a heartbeat moves the deadline alone.
    pub(super) armed: Option<Duration>,
}

impl<T> Member<T> {
    /// Bytes of what it says of itself.
    fn bytes(&self) -> usize {
        let name = self.instance.as_ref().map_or(0, |name| name.len());
        self.client_id.len() + name + bytes_of_protocols(&self.protocols)
    }

    /// What it says of itself in this protocol.
    pub(super) fn metadata(&self, protocol: Option<&str>) -> Bytes {
        let found = self.protocols.iter().find(|(name, _)| Some(&**name) == protocol);
        found.map(|(_, metadata)| metadata.clone()).unwrap_or_default()
    }

    /// It goes by another id from now on, without a timer.
    pub(super) fn rename(&mut self, id: &Arc<str>) {
        self.id = id.clone();
        self.armed = None;
    }

    /// Lets its timer fire at its deadline. An earlier entry is passed over when its time comes.
    fn arm(&mut self, group: &Arc<str>, timers: &mut Timers) {
        self.armed = Some(self.deadline);
        timers.insert((self.deadline, group.clone(), Timer::Member(self.id.clone())));
    }

    /// Whoever waits on its behalf is told this.
    pub(super) fn dismiss(&mut self, code: ErrorCode, out: &mut Vec<Effect<T>>) {
        if let Some(ticket) = self.joining.take() {
            out.push(refuse_join(ticket, code, &self.id));
        }
        if let Some(ticket) = self.syncing.take() {
            out.push(reply(ticket, Response::Sync(Err(code)), When::Now));
        }
    }
}

/// A group.
#[derive(Debug)]
pub(super) struct Group<T> {
    pub(super) id: Arc<str>,
    pub(super) state: State,
    /// What it was before it was preparing.
    pub(super) was_empty: bool,
    /// Since when it has been in its state, by the calendar; -1 if unknown.
    pub(super) since_ms: i64,
    pub(super) protocol_type: Option<Arc<str>>,
    pub(super) protocol: Option<Arc<str>>,
    pub(super) generation: i32,
    pub(super) leader: Option<Arc<str>>,
    pub(super) members: BTreeMap<Arc<str>, Member<T>>,
    /// The ids of static members, by name.
    pub(super) instances: BTreeMap<Arc<str>, Arc<str>>,
    /// Ids that were given out, and until when whoever got one may come back with it.
    pub(super) pending: BTreeMap<Arc<str>, Duration>,
    /// Members that have not asked yet for what they got.
    pub(super) unsynced: BTreeSet<Arc<str>>,
    pub(super) join_deadline: Option<Duration>,
    pub(super) sync_deadline: Option<Duration>,
    /// How much longer a new group may wait for more members than until its join deadline.
    pub(super) more_delay: Duration,
    /// One came since the wait began.
    pub(super) member_added: bool,
    /// What its members subscribe to, when it is of consumers and they can be understood.
    pub(super) subscribed: Option<BTreeSet<String>>,
    pub(super) offsets: Offsets,
    /// What there is of it when it is of the new protocol; it has no members of the classic one then.
    pub(super) consumer: Option<Box<ConsumerGroup>>,
}

impl<T> Group<T> {
    pub(super) fn new(id: Arc<str>) -> Self {
        Self {
            id,
            state: State::Empty,
            was_empty: true,
            since_ms: -1,
            protocol_type: None,
            protocol: None,
            generation: 0,
            leader: None,
            members: BTreeMap::new(),
            instances: BTreeMap::new(),
            pending: BTreeMap::new(),
            unsynced: BTreeSet::new(),
            join_deadline: None,
            sync_deadline: None,
            more_delay: Duration::ZERO,
            member_added: false,
            subscribed: None,
            offsets: Offsets::default(),
            consumer: None,
        }
    }

    /// Nobody is in it, or on the way into it, by the classic protocol.
    pub(super) fn is_idle(&self) -> bool {
        self.state == State::Empty && self.pending.is_empty() && self.members.is_empty()
    }

    /// Nobody is in it by any protocol.
    pub(super) fn is_empty(&self) -> bool {
        self.state == State::Empty
            && self.consumer.as_ref().is_none_or(|consumer| consumer.members.is_empty())
    }

    pub(super) fn is_in(&self, states: &[State]) -> bool {
        states.contains(&self.state)
    }

    /// Whether whoever says so is this member: `UNKNOWN_MEMBER_ID`, or `FENCED_INSTANCE_ID` when another one has its name now.
    pub(super) fn check_member(&self, caller: &Caller) -> Result<(), ErrorCode> {
        match &caller.instance {
            Some(instance) => match self.instances.get(instance.as_str()) {
                None => Err(ErrorCode::UnknownMemberId),
                Some(id) if **id != *caller.member => Err(ErrorCode::FencedInstanceId),
                Some(_) => Ok(()),
            },
            None if self.members.contains_key(caller.member.as_str()) => Ok(()),
            None => Err(ErrorCode::UnknownMemberId),
        }
    }

    /// The same, and in this generation.
    pub(super) fn check_generation(&self, caller: &Caller) -> Result<(), ErrorCode> {
        self.check_member(caller)?;
        match caller.generation == self.generation {
            true => Ok(()),
            false => Err(ErrorCode::IllegalGeneration),
        }
    }

    pub(super) fn is_leader(&self, member: &str) -> bool {
        self.leader.as_deref() == Some(member)
    }

    /// Protocols that every member has.
    fn common_protocols(&self) -> Vec<Arc<str>> {
        let mut members = self.members.values();
        let Some(first) = members.next() else { return Vec::new() };
        let mut common: Vec<_> = first.protocols.iter().map(|(name, _)| name.clone()).collect();
        for member in members {
            let names: BTreeSet<_> = member.protocols.iter().map(|(name, _)| name).collect();
            common.retain(|name| names.contains(name));
        }
        common
    }

    /// Whether a member with these protocols can be assigned together with the others.
    pub(super) fn supports(&self, protocol_type: &str, protocols: &[(String, Bytes)]) -> bool {
        if protocol_type.is_empty() || protocols.is_empty() {
            return false;
        }
        if self.members.is_empty() {
            return true;
        }
        let common = self.common_protocols();
        let common: BTreeSet<&str> = common.iter().map(|name| &**name).collect();
        self.protocol_type.as_deref() == Some(protocol_type)
            && protocols.iter().any(|(name, _)| common.contains(name.as_str()))
    }

    /// The protocol that most members like best among those that all have; of two the one that the first member likes better.
    pub(super) fn select_protocol(&self) -> Option<Arc<str>> {
        let common = self.common_protocols();
        // Of a name that stands twice the first place counts.
        let places: BTreeMap<&Arc<str>, usize> =
            common.iter().enumerate().map(|(at, name)| (name, at)).rev().collect();
        let mut votes = vec![0usize; common.len()];
        for member in self.members.values() {
            let best = member.protocols.iter().find_map(|(name, _)| places.get(name));
            best.into_iter().for_each(|at| votes[*at] += 1);
        }
        let most = votes.iter().max()?;
        votes.iter().position(|count| count == most).map(|at| common[at].clone())
    }

    /// Reads what members subscribe to in the protocol that was chosen.
    pub(super) fn read_subscriptions(&mut self) {
        self.subscribed = match (self.protocol_type.as_deref(), self.protocol.as_deref()) {
            (Some(CONSUMER), protocol @ Some(_)) => {
                let topics =
                    self.members.values().map(|member| consumer_protocol::topics(&member.metadata(protocol)));
                topics.collect::<Option<Vec<_>>>().map(|topics| topics.into_iter().flatten().collect())
            }
            _ => None,
        };
    }

    /// Whether members read this topic, or may do so for all that is known.
    pub(super) fn reads(&self, topic: &str) -> bool {
        match &self.consumer {
            Some(consumer) => consumer.reads(topic),
            None => self.subscribed.as_ref().is_none_or(|topics| topics.contains(topic)),
        }
    }

    /// Bytes of what the members say of themselves, but for this one.
    pub(super) fn bytes_without(&self, id: &str) -> usize {
        self.members.values().filter(|member| *member.id != *id).map(Member::bytes).sum()
    }

    /// The longest that any member may take to come back.
    pub(super) fn patience(&self) -> Duration {
        self.members.values().map(|member| member.rebalance).max().unwrap_or_default()
    }

    /// Enters a state.
    pub(super) fn enter(&mut self, state: State, wall_ms: i64) {
        if state == State::PreparingRebalance {
            self.was_empty = self.state == State::Empty;
        }
        self.state = state;
        self.since_ms = wall_ms;
    }

    /// Adds a member; the first one leads.
    pub(super) fn add(&mut self, member: Member<T>) {
        if let Some(instance) = &member.instance {
            self.instances.insert(instance.clone(), member.id.clone());
        }
        self.leader.get_or_insert_with(|| member.id.clone());
        self.members.insert(member.id.clone(), member);
    }

    /// Takes a member out; another one leads if it did.
    pub(super) fn take_out(&mut self, id: &str) -> Option<Member<T>> {
        let member = self.members.remove(id)?;
        if let Some(instance) = &member.instance
            && self.instances.get(instance) == Some(&member.id)
        {
            self.instances.remove(instance);
        }
        self.unsynced.remove(id);
        if self.is_leader(id) {
            self.leader = self.members.keys().next().cloned();
        }
        Some(member)
    }

    /// A member has been heard of: it may be silent for its session timeout.
    pub(super) fn rest(&mut self, id: &str, now: Duration, timers: &mut Timers) {
        if let Some(member) = self.members.get(id) {
            let session = member.session;
            self.rest_for(id, session, now, timers);
        }
    }

    /// The same for all members.
    pub(super) fn rest_all(&mut self, now: Duration, timers: &mut Timers) {
        let ids: Vec<_> = self.members.keys().cloned().collect();
        ids.iter().for_each(|id| self.rest(id, now, timers));
    }

    /// A member may be silent for so long.
    pub(super) fn rest_for(&mut self, id: &str, time: Duration, now: Duration, timers: &mut Timers) {
        let Some(member) = self.members.get_mut(id) else { return };
        member.deadline = now + time;
        if member.armed.is_none_or(|armed| armed > member.deadline) {
            member.arm(&self.id, timers);
        }
    }

    /// A member's timer fired at `due`: whether its time is really up. Otherwise the timer is set anew.
    pub(super) fn is_late(&mut self, id: &str, due: Duration, now: Duration, timers: &mut Timers) -> bool {
        let Some(member) = self.members.get_mut(id) else { return false };
        if member.armed != Some(due) {
            return false;
        }
        let waits = !member.is_new && (member.joining.is_some() || member.syncing.is_some());
        if member.deadline <= now && !waits {
            member.armed = None;
            return true;
        }
        if waits {
            member.deadline = member.deadline.max(now + member.session);
        }
        member.arm(&self.id, timers);
        false
    }

    /// What a member is told of its place in this generation.
    pub(super) fn joined(&self, id: &Arc<str>) -> Joined {
        let members = if self.is_leader(id) { self.for_leader() } else { Vec::new() };
        Joined {
            member: id.clone(),
            generation: self.generation,
            protocol_type: self.protocol_type.clone(),
            protocol: self.protocol.clone(),
            leader: self.leader.clone().unwrap_or_else(|| "".into()),
            skip_assignment: false,
            members,
        }
    }

    /// All members, as their leader is told.
    pub(super) fn for_leader(&self) -> Vec<JoinedMember> {
        let known = |member: &Member<T>| JoinedMember {
            member: member.id.clone(),
            instance: member.instance.clone(),
            metadata: member.metadata(self.protocol.as_deref()),
        };
        self.members.values().map(known).collect()
    }

    /// What a member got.
    pub(super) fn synced(&self, assignment: Bytes) -> Synced {
        Synced { protocol_type: self.protocol_type.clone(), protocol: self.protocol.clone(), assignment }
    }
}

/// A member as it comes.
pub(super) fn new_member<T>(id: Arc<str>, instance: Option<Arc<str>>) -> Member<T> {
    Member {
        id,
        instance,
        client_id: String::new(),
        client_host: String::new(),
        session: Duration::ZERO,
        rebalance: Duration::ZERO,
        protocols: Vec::new(),
        assignment: Bytes::new(),
        is_new: false,
        joining: None,
        syncing: None,
        deadline: Duration::ZERO,
        armed: None,
    }
}

/// Tells a member that it is in no generation.
pub(super) fn refuse_join<T>(ticket: T, code: ErrorCode, member: &Arc<str>) -> Effect<T> {
    let member = member.clone();
    reply(ticket, Response::Join(Err(JoinRefused { code, member })), When::Now)
}
