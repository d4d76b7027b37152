//! Heartbeat and LeaveGroup, and all else by which members go.

use std::time::Duration;

use millrace_proto::kafka::error::ErrorCode;

use super::classic::{Group, State};
use super::joining::Cx;
use super::request::{Caller, Leave, Response};
use super::{Coordinator, Effect, Now, When, reply};

impl<T> Coordinator<T> {
    pub(super) fn heartbeat(
        &mut self,
        now: Now,
        caller: &Caller,
        out: &mut Vec<Effect<T>>,
    ) -> Result<(), ErrorCode> {
        if caller.group.is_empty() {
            return Err(ErrorCode::InvalidGroupId);
        }
        let in_consumers = self
            .in_consumer_group(now, &caller.group, out, |group, step| group.heartbeat_classic(caller, step));
        if let Some(outcome) = in_consumers {
            return outcome;
        }
        let group = self.groups.get_mut(caller.group.as_str()).ok_or(ErrorCode::UnknownMemberId)?;
        group.check_generation(caller)?;
        group.rest(&caller.member, now.mono, &mut self.timers);
        match group.state {
            State::Empty => Err(ErrorCode::UnknownMemberId),
            State::PreparingRebalance => Err(ErrorCode::RebalanceInProgress),
            State::CompletingRebalance | State::Stable => Ok(()),
        }
    }

    pub(super) fn leave(&mut self, now: Now, leave: Leave, ticket: T, out: &mut Vec<Effect<T>>) {
        let answer = |ticket, outcome| reply(ticket, Response::Leave(outcome), When::Durable);
        if leave.group.is_empty() {
            return out.push(answer(ticket, Err(ErrorCode::InvalidGroupId)));
        }
        let in_consumers = self.in_consumer_group(now, &leave.group, out, |group, step| {
            let send_away = |(id, instance): &(String, Option<String>)| {
                group.send_away(id, instance.as_deref(), step).err().unwrap_or(ErrorCode::None)
            };
            leave.members.iter().map(send_away).collect()
        });
        if let Some(codes) = in_consumers {
            return out.push(answer(ticket, Ok(codes)));
        }
        let Some(group) = self.groups.get_mut(leave.group.as_str()) else {
            let unknown = vec![ErrorCode::UnknownMemberId; leave.members.len()];
            return out.push(answer(ticket, Ok(unknown)));
        };
        let mut cx = Cx { now, settings: &self.settings, timers: &mut self.timers, out };
        let one = |(id, instance): (String, Option<String>)| {
            group.leave(id, instance, cx.out).err().unwrap_or(ErrorCode::None)
        };
        let codes: Vec<_> = leave.members.into_iter().map(one).collect();
        if codes.contains(&ErrorCode::None) {
            group.someone_left(&mut cx);
        }
        out.push(answer(ticket, Ok(codes)));
        self.drop_if_void(&leave.group);
    }
}

impl<T> Group<T> {
    fn leave(
        &mut self,
        member: String,
        instance: Option<String>,
        out: &mut Vec<Effect<T>>,
    ) -> Result<(), ErrorCode> {
        if member.is_empty() {
            // An administrator sends a static member away by its name.
            let named = instance.and_then(|instance| self.instances.get(instance.as_str()).cloned());
            let id = named.ok_or(ErrorCode::UnknownMemberId)?;
            self.remove_member(&id, ErrorCode::UnknownMemberId, out);
        } else if self.pending.remove(member.as_str()).is_none() {
            let caller = Caller { member, instance, ..Caller::default() };
            self.check_member(&caller)?;
            self.remove_member(&caller.member, ErrorCode::UnknownMemberId, out);
        }
        Ok(())
    }

    /// Takes a member out; if it waits for something, it is told this.
    pub(super) fn remove_member(&mut self, id: &str, code: ErrorCode, out: &mut Vec<Effect<T>>) {
        if let Some(mut member) = self.take_out(id) {
            member.dismiss(code, out);
        }
    }

    /// What follows when members, or those who were to come back, are gone.
    fn someone_left(&mut self, cx: &mut Cx<'_, T>) {
        match self.state {
            State::Empty => {}
            State::PreparingRebalance => self.complete_join_if_all_came(cx),
            State::CompletingRebalance | State::Stable => self.rebalance(cx),
        }
    }

    /// The timer of a member, or of an id that was given out, fired.
    pub(super) fn member_is_due(&mut self, due: Duration, id: &str, cx: &mut Cx<'_, T>) {
        if self.pending.get(id) == Some(&due) {
            self.pending.remove(id);
            // Others may have waited for this one alone.
            return self.complete_join_if_all_came(cx);
        }
        if self.is_late(id, due, cx.now.mono, cx.timers) {
            self.remove_member(id, ErrorCode::UnknownMemberId, cx.out);
            self.someone_left(cx);
        }
    }
}
