//! SyncGroup: the leader says who gets what, and everybody hears.

use std::collections::BTreeMap;

use bytes::Bytes;
use millrace_proto::kafka::error::ErrorCode;

use super::classic::{Group, State};
use super::joining::Cx;
use super::request::{Response, Sync};
use super::{Coordinator, Effect, GroupRecord, MAX_GROUP_BYTES, Now, When, reply};

impl<T> Coordinator<T> {
    pub(super) fn sync(&mut self, now: Now, sync: Sync, ticket: T, out: &mut Vec<Effect<T>>) {
        let refuse = |ticket, code| reply(ticket, Response::Sync(Err(code)), When::Now);
        if sync.caller.group.is_empty() {
            return out.push(refuse(ticket, ErrorCode::InvalidGroupId));
        }
        let in_consumers = self
            .in_consumer_group(now, &sync.caller.group, out, |group, step| group.sync_classic(&sync, step));
        if let Some(outcome) = in_consumers {
            return out.push(reply(ticket, Response::Sync(outcome), When::Durable));
        }
        let Some(group) = self.groups.get_mut(sync.caller.group.as_str()) else {
            return out.push(refuse(ticket, ErrorCode::UnknownMemberId));
        };
        if let Err(code) = group.check_sync(&sync) {
            return out.push(refuse(ticket, code));
        }
        let mut cx = Cx { now, settings: &self.settings, timers: &mut self.timers, out };
        group.sync(sync, ticket, &mut cx);
    }
}

impl<T> Group<T> {
    fn check_sync(&self, sync: &Sync) -> Result<(), ErrorCode> {
        self.check_generation(&sync.caller)?;
        let differs = |said: &Option<String>, is: &Option<std::sync::Arc<str>>| {
            said.as_deref().is_some_and(|said| is.as_deref() != Some(said))
        };
        if differs(&sync.protocol_type, &self.protocol_type) || differs(&sync.protocol, &self.protocol) {
            return Err(ErrorCode::InconsistentGroupProtocol);
        }
        let bytes = sync.assignments.iter().map(|(member, assignment)| member.len() + assignment.len());
        if bytes.sum::<usize>() > MAX_GROUP_BYTES {
            // As Kafka says of a group that makes too large a record.
            return Err(ErrorCode::UnknownServerError);
        }
        match self.state {
            State::Empty => Err(ErrorCode::UnknownMemberId),
            State::PreparingRebalance => Err(ErrorCode::RebalanceInProgress),
            State::CompletingRebalance | State::Stable => Ok(()),
        }
    }

    fn sync(&mut self, sync: Sync, ticket: T, cx: &mut Cx<'_, T>) {
        let id = sync.caller.member.as_str();
        self.unsynced.remove(id);
        self.rest(id, cx.now.mono, cx.timers);
        let completing = self.state == State::CompletingRebalance;
        let Some(member) = self.members.get_mut(id) else { return };
        if completing {
            let before = member.syncing.replace(ticket);
            let over = |ticket| reply(ticket, Response::Sync(Err(ErrorCode::RebalanceInProgress)), When::Now);
            cx.out.extend(before.map(over));
            if self.is_leader(id) {
                self.give_out(sync.assignments, cx);
            }
        } else {
            let assignment = member.assignment.clone();
            // What was given out may not be durable yet.
            cx.out.push(reply(ticket, Response::Sync(Ok(self.synced(assignment))), When::Durable));
        }
    }

    /// Everybody gets what the leader says; who is not named gets nothing.
    fn give_out(&mut self, assignments: Vec<(String, Bytes)>, cx: &mut Cx<'_, T>) {
        let mut assignments: BTreeMap<_, _> = assignments.into_iter().collect();
        for member in self.members.values_mut() {
            member.assignment = assignments.remove(&*member.id).unwrap_or_default();
        }
        self.enter(State::Stable, cx.now.wall_ms);
        cx.out.push(Effect::Append(GroupRecord::group(self)));
        let ids: Vec<_> = self.members.keys().cloned().collect();
        for id in ids {
            let Some(member) = self.members.get_mut(&id) else { continue };
            let assignment = member.assignment.clone();
            if let Some(ticket) = member.syncing.take() {
                cx.out.push(reply(ticket, Response::Sync(Ok(self.synced(assignment))), When::Durable));
                self.rest(&id, cx.now.mono, cx.timers);
            }
        }
    }

    /// What was or was to be given out does not hold.
    pub(super) fn forget_assignments(&mut self, code: ErrorCode, cx: &mut Cx<'_, T>) {
        let mut told = Vec::new();
        for member in self.members.values_mut() {
            member.assignment = Bytes::new();
            if let Some(ticket) = member.syncing.take() {
                cx.out.push(reply(ticket, Response::Sync(Err(code)), When::Now));
                told.push(member.id.clone());
            }
        }
        // While it waited a member could not be heard of: it has its session from now on, as in Kafka.
        told.iter().for_each(|id| self.rest(id, cx.now.mono, cx.timers));
    }

    /// Members that never asked for what they got are gone.
    pub(super) fn sync_is_due(&mut self, cx: &mut Cx<'_, T>) {
        self.sync_deadline = None;
        if !self.is_in(&[State::CompletingRebalance, State::Stable]) || self.unsynced.is_empty() {
            return;
        }
        for id in std::mem::take(&mut self.unsynced) {
            self.remove_member(&id, ErrorCode::UnknownMemberId, cx.out);
        }
        self.rebalance(cx);
    }
}
