//! JoinGroup: members come and come back, until a generation begins.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use millrace_proto::kafka::error::ErrorCode;

use super::classic::{Group, Member, State, new_member, refuse_join};
use super::request::{Join, JoinRefused, Joined, Response};
use super::{Coordinator, Effect, GroupRecord, MAX_GROUP_BYTES, Now, Settings, Timer, Timers, When, reply};

/// A new member that waits for its first generation is out after this time: its client may be gone, and it has no heartbeat yet.
const NEW_MEMBER_PATIENCE: Duration = Duration::from_secs(5 * 60);

impl<T> Coordinator<T> {
    pub(super) fn join(&mut self, now: Now, join: Join, ticket: T, out: &mut Vec<Effect<T>>) {
        let claimed: Arc<str> = join.caller.member.as_str().into();
        if let Err(code) = self.check_join(&join) {
            return out.push(refuse_join(ticket, code, &claimed));
        }
        let id: Arc<str> = join.caller.group.as_str().into();
        if self.groups.get(&id).is_some_and(Group::has_consumer_members) {
            let joined = self.in_consumer_group(now, &id, out, |group, step| group.join_classic(join, step));
            let Some(joined) = joined else { return };
            let joined = joined.map_err(|(code, member)| JoinRefused { code, member });
            return out.push(reply(ticket, Response::Join(joined), When::Durable));
        }
        let group = self.groups.entry(id.clone()).or_insert_with(|| Group::new(id.clone()));
        let mut cx = Cx { now, settings: &self.settings, timers: &mut self.timers, out };
        if !group.takes(&claimed, cx.settings.max_size) {
            group.remove_member(&claimed, ErrorCode::UnknownMemberId, cx.out);
            cx.out.push(refuse_join(ticket, ErrorCode::GroupMaxSizeReached, &claimed));
        } else if group.bytes_without(&claimed).saturating_add(join.bytes()) > MAX_GROUP_BYTES {
            cx.out.push(refuse_join(ticket, ErrorCode::GroupMaxSizeReached, &claimed));
        } else if !group.supports(&join.protocol_type, &join.protocols) {
            cx.out.push(refuse_join(ticket, ErrorCode::InconsistentGroupProtocol, &claimed));
        } else if claimed.is_empty() {
            group.become_classic(&claimed, cx.out);
            group.welcome(join, ticket, &mut cx);
        } else {
            group.rejoin(join, claimed, ticket, &mut cx);
        }
        self.drop_if_void(&id);
    }

    fn check_join(&self, join: &Join) -> Result<(), ErrorCode> {
        let Settings { min_session, max_session, .. } = self.settings;
        if join.caller.group.is_empty() {
            return Err(ErrorCode::InvalidGroupId);
        }
        if join.session < min_session || join.session > max_session {
            return Err(ErrorCode::InvalidSessionTimeout);
        }
        let known = self.groups.contains_key(join.caller.group.as_str());
        match known || join.caller.member.is_empty() {
            true => Ok(()),
            false => Err(ErrorCode::UnknownMemberId),
        }
    }
}

/// What a step of a group needs besides the group.
pub(super) struct Cx<'a, T> {
    pub(super) now: Now,
    pub(super) settings: &'a Settings,
    pub(super) timers: &'a mut Timers,
    pub(super) out: &'a mut Vec<Effect<T>>,
}

impl<T> Group<T> {
    /// Whether it is a consumer group that has members.
    fn has_consumer_members(&self) -> bool {
        self.consumer.as_ref().is_some_and(|consumer| !consumer.members.is_empty())
    }

    /// A consumer group without members becomes a classic one when somebody new joins that; its offsets stay.
    fn become_classic(&mut self, claimed: &str, out: &mut Vec<Effect<T>>) {
        if claimed.is_empty() && self.consumer.is_some() {
            out.extend(self.tombstones().into_iter().map(Effect::Append));
            self.consumer = None;
        }
    }

    /// Whether there is room for this member.
    fn takes(&self, member: &str, max_size: usize) -> bool {
        let known = self.members.get(member);
        match self.state {
            State::Empty => true,
            State::PreparingRebalance => {
                let waiting = self.members.values().filter(|member| member.joining.is_some()).count();
                known.is_some_and(|member| member.joining.is_some()) || waiting < max_size
            }
            State::CompletingRebalance | State::Stable => known.is_some() || self.members.len() < max_size,
        }
    }

    /// One without an id.
    fn welcome(&mut self, join: Join, ticket: T, cx: &mut Cx<'_, T>) {
        let known =
            join.caller.instance.as_deref().and_then(|instance| self.instances.get(instance)).cloned();
        let named = join.caller.instance.as_deref().unwrap_or(&join.client_id);
        let id: Arc<str> = format!("{named}-{}", join.fresh).into();
        match known {
            Some(old) => self.replace(&old, id, join, ticket, cx),
            None if join.id_first && join.caller.instance.is_none() => {
                let deadline = cx.now.mono + join.session;
                self.pending.insert(id.clone(), deadline);
                cx.timers.insert((deadline, self.id.clone(), Timer::Member(id.clone())));
                cx.out.push(refuse_join(ticket, ErrorCode::MemberIdRequired, &id));
            }
            None => self.admit(id, join, ticket, cx),
        }
    }

    /// One that says which it is.
    fn rejoin(&mut self, join: Join, id: Arc<str>, ticket: T, cx: &mut Cx<'_, T>) {
        if join.caller.instance.is_none() && self.pending.remove(&id).is_some() {
            return self.admit(id, join, ticket, cx);
        }
        if let Err(code) = self.check_member(&join.caller) {
            return cx.out.push(refuse_join(ticket, code, &id));
        }
        let unchanged = self.members.get(&id).is_some_and(|member| same(&member.protocols, &join.protocols));
        match self.state {
            State::Empty => cx.out.push(refuse_join(ticket, ErrorCode::UnknownMemberId, &id)),
            // It did not get the answer, or did not understand it.
            State::CompletingRebalance if unchanged => cx.out.push(accept(ticket, self.joined(&id))),
            State::Stable if unchanged && !self.is_leader(&id) => {
                cx.out.push(accept(ticket, self.joined(&id)))
            }
            // The leader that comes back wants to assign anew.
            State::PreparingRebalance | State::CompletingRebalance | State::Stable => {
                self.update(&id, join, cx.out);
                self.park(&id, ticket, cx.out);
                self.rebalance(cx);
            }
        }
    }

    /// A new member, or one that brings the id it was given.
    fn admit(&mut self, id: Arc<str>, join: Join, ticket: T, cx: &mut Cx<'_, T>) {
        self.pending.remove(&id);
        let instance = join.caller.instance.as_deref().map(Arc::from);
        if self.members.is_empty() {
            self.protocol_type = Some(join.protocol_type.as_str().into());
        }
        self.add(new_member(id.clone(), instance));
        self.update(&id, join, cx.out);
        if let Some(member) = self.members.get_mut(&id) {
            member.is_new = true;
        }
        self.park(&id, ticket, cx.out);
        self.rest_for(&id, NEW_MEMBER_PATIENCE, cx.now.mono, cx.timers);
        if self.state == State::PreparingRebalance && self.generation == 0 {
            self.member_added = true;
        }
        self.rebalance(cx);
    }

    /// A static member that comes again with its name alone: it takes the place of the one before.
    fn replace(&mut self, old: &Arc<str>, id: Arc<str>, join: Join, ticket: T, cx: &mut Cx<'_, T>) {
        let led = self.is_leader(old);
        let can_skip = join.can_skip_assignment;
        let Some(mut member) = self.members.remove(old) else {
            return cx.out.push(refuse_join(ticket, ErrorCode::UnknownMemberId, &id));
        };
        member.dismiss(ErrorCode::FencedInstanceId, cx.out);
        if self.unsynced.remove(old) {
            self.unsynced.insert(id.clone());
        }
        if let Some(instance) = &member.instance {
            self.instances.insert(instance.clone(), id.clone());
        }
        if led {
            self.leader = Some(id.clone());
        }
        member.rename(&id);
        self.members.insert(id.clone(), member);
        self.update(&id, join, cx.out);
        self.rest(&id, cx.now.mono, cx.timers);
        if self.state == State::Stable && self.select_protocol() == self.protocol {
            // Nothing changes for the others. Whoever leads must not take this for a reason to assign.
            self.read_subscriptions();
            cx.out.push(Effect::Append(GroupRecord::group(self)));
            let joined = match can_skip {
                true => Joined { skip_assignment: led, ..self.joined(&id) },
                false => {
                    let leader = if led { old.clone() } else { self.joined(&id).leader };
                    Joined { leader, members: Vec::new(), ..self.joined(&id) }
                }
            };
            return cx.out.push(reply(ticket, Response::Join(Ok(joined)), When::Durable));
        }
        self.park(&id, ticket, cx.out);
        self.rebalance(cx);
    }

    /// What a member says of itself now.
    fn update(&mut self, id: &str, join: Join, out: &mut Vec<Effect<T>>) {
        let Some(member) = self.members.get_mut(id) else { return };
        // An earlier request of it that still waits will not be answered otherwise.
        member.dismiss(ErrorCode::RebalanceInProgress, out);
        member.client_id = join.client_id;
        member.client_host = join.client_host;
        member.session = join.session;
        member.rebalance = join.rebalance;
        member.protocols =
            join.protocols.into_iter().map(|(name, metadata)| (name.as_str().into(), metadata)).collect();
    }

    fn park(&mut self, id: &str, ticket: T, out: &mut Vec<Effect<T>>) {
        match self.members.get_mut(id) {
            Some(member) => member.joining = Some(ticket),
            None => out.push(refuse_join(ticket, ErrorCode::UnknownMemberId, &id.into())),
        }
    }

    /// Begins a rebalance, or goes on with the one under way.
    pub(super) fn rebalance(&mut self, cx: &mut Cx<'_, T>) {
        if self.state == State::PreparingRebalance {
            return self.complete_join_if_all_came(cx);
        }
        if self.state == State::CompletingRebalance {
            self.forget_assignments(ErrorCode::RebalanceInProgress, cx);
        }
        self.sync_deadline = None;
        self.unsynced.clear();
        let patience = self.patience();
        let begins = self.state == State::Empty;
        self.enter(State::PreparingRebalance, cx.now.wall_ms);
        let delay = if begins { cx.settings.initial_delay } else { patience };
        self.more_delay = if begins { patience.saturating_sub(delay) } else { Duration::ZERO };
        self.member_added = false;
        self.wait_for_members(delay, cx);
        self.complete_join_if_all_came(cx);
    }

    fn wait_for_members(&mut self, time: Duration, cx: &mut Cx<'_, T>) {
        let deadline = cx.now.mono + time;
        self.join_deadline = Some(deadline);
        cx.timers.insert((deadline, self.id.clone(), Timer::Join));
    }

    /// A group that begins waits out its delay; any other goes on as soon as all are there.
    pub(super) fn complete_join_if_all_came(&mut self, cx: &mut Cx<'_, T>) {
        let all = self.pending.is_empty() && self.members.values().all(|member| member.joining.is_some());
        if self.state == State::PreparingRebalance && !self.was_empty && all {
            self.complete_join(cx);
        }
    }

    /// The time to come back is over.
    pub(super) fn join_is_due(&mut self, cx: &mut Cx<'_, T>) {
        self.join_deadline = None;
        if self.state != State::PreparingRebalance {
            return;
        }
        if self.was_empty && self.member_added && !self.more_delay.is_zero() {
            let delay = cx.settings.initial_delay.min(self.more_delay);
            self.more_delay -= delay;
            self.member_added = false;
            return self.wait_for_members(delay, cx);
        }
        self.complete_join(cx);
    }

    /// A generation begins with those who came, and static members, who may still come.
    fn complete_join(&mut self, cx: &mut Cx<'_, T>) {
        self.join_deadline = None;
        let gone = |member: &&Member<T>| member.joining.is_none() && member.instance.is_none();
        let gone: Vec<_> = self.members.values().filter(gone).map(|member| member.id.clone()).collect();
        for id in gone {
            self.take_out(&id);
        }
        let came = |member: &Member<T>| member.joining.is_some();
        let leads = self.leader.as_ref().and_then(|leader| self.members.get(leader)).is_some_and(came);
        let heir = self.members.values().find(|member| came(member)).map(|member| member.id.clone());
        match heir {
            Some(heir) if !leads => self.leader = Some(heir),
            None if !self.members.is_empty() => {
                let patience = self.patience();
                return self.wait_for_members(patience, cx);
            }
            _ => {}
        }
        self.generation = self.generation.wrapping_add(1).max(1);
        if self.members.is_empty() {
            self.protocol = None;
            self.leader = None;
            self.subscribed = Some(Default::default());
            self.enter(State::Empty, cx.now.wall_ms);
            return cx.out.push(Effect::Append(GroupRecord::group(self)));
        }
        cx.out.push(Effect::Rebalance);
        self.protocol = self.select_protocol();
        self.read_subscriptions();
        self.enter(State::CompletingRebalance, cx.now.wall_ms);
        self.unsynced = self.members.keys().cloned().collect();
        let ids: Vec<_> = self.members.keys().cloned().collect();
        for id in ids {
            let joined = self.joined(&id);
            if let Some(member) = self.members.get_mut(&id)
                && let Some(ticket) = member.joining.take()
            {
                member.is_new = false;
                cx.out.push(accept(ticket, joined));
                self.rest(&id, cx.now.mono, cx.timers);
            }
        }
        let deadline = cx.now.mono + self.patience();
        self.sync_deadline = Some(deadline);
        cx.timers.insert((deadline, self.id.clone(), Timer::Sync));
    }
}

fn same(known: &[(Arc<str>, Bytes)], asked: &[(String, Bytes)]) -> bool {
    known.len() == asked.len() && known.iter().zip(asked).all(|(a, b)| *a.0 == *b.0 && a.1 == b.1)
}

fn accept<T>(ticket: T, joined: Joined) -> Effect<T> {
    reply(ticket, Response::Join(Ok(joined)), When::Now)
}
