//! How members go: they leave, for good or for a while, are silent for too long, or do not give up what they are to.

use std::sync::Arc;
use std::time::Duration;

use millrace_proto::kafka::error::ErrorCode;

use super::{AWAY, ConsumerGroup, Held, Step};
use crate::group::request::Refusal;
use crate::group::{GroupRecord, Timer};

impl ConsumerGroup {
    /// A member says that it leaves; `epoch` says how.
    pub(super) fn leave(
        &mut self,
        id: &str,
        instance: Option<&str>,
        epoch: i32,
        step: &mut Step<'_>,
    ) -> Result<(), Refusal> {
        let known = self.check_caller(id, instance)?;
        if epoch == AWAY && instance.is_some() {
            self.leave_for_a_while(&known, step);
        } else {
            self.remove(&known, step);
        }
        Ok(())
    }

    /// An administrator sends a member away, by its name or by its id.
    pub(in crate::group) fn send_away(
        &mut self,
        id: &str,
        instance: Option<&str>,
        step: &mut Step<'_>,
    ) -> Result<(), ErrorCode> {
        let named = instance.and_then(|name| self.instances.get(name)).filter(|_| id.is_empty());
        let known = match named {
            Some(known) => known.clone(),
            None => self.check_caller(id, instance).map_err(|refusal| refusal.code)?,
        };
        self.remove(&known, step);
        Ok(())
    }

    /// Whether whoever says so is this member: its id, as the group has it.
    pub(super) fn check_caller(&self, id: &str, instance: Option<&str>) -> Result<Arc<str>, Refusal> {
        let Some(name) = instance else {
            return match self.members.get_key_value(id) {
                Some((id, _)) => Ok(id.clone()),
                None => {
                    let why = format!("Member {id} is not a member of group {}.", self.id);
                    Err(Refusal::new(ErrorCode::UnknownMemberId, why))
                }
            };
        };
        match self.instances.get(name) {
            Some(known) if **known == *id => Ok(known.clone()),
            Some(known) => {
                let why = format!("Static member {id} with instance id {name} was fenced by member {known}.");
                Err(Refusal::new(ErrorCode::FencedInstanceId, why))
            }
            None => Err(Refusal::new(ErrorCode::UnknownMemberId, format!("Instance id {name} is unknown."))),
        }
    }

    /// A static member is to come again: what it has stays its own until its session is over.
    fn leave_for_a_while(&mut self, id: &str, step: &mut Step<'_>) {
        let Some(member) = self.members.get_mut(id) else { return };
        member.epoch = AWAY;
        let released = std::mem::take(&mut member.revoking);
        member.revoke_by = None;
        if !released.is_empty() {
            // What it was to give up it has given up by leaving.
            member.progress = super::member::Progress::Stable;
        }
        step.records.push(GroupRecord::consumer_current(&self.id, member));
        self.disown(&released);
    }

    /// Takes a member out; what it had is free, and the others are to get it.
    pub(in crate::group) fn remove(&mut self, id: &str, step: &mut Step<'_>) {
        let Some(mut member) = self.members.remove(id) else { return };
        if let Some(instance) = &member.instance
            && self.instances.get(instance) == Some(&member.id)
        {
            self.instances.remove(instance);
        }
        let (assigned, revoking): (Held, Held) =
            (std::mem::take(&mut member.assigned), std::mem::take(&mut member.revoking));
        self.disown(&assigned);
        self.disown(&revoking);
        self.count_out(&member, step);
        step.records.extend(GroupRecord::no_consumer_member(&self.id, id));
        self.seen = 0;
        self.has_new_metadata(step);
        self.bump(step);
        self.assign_if_due(step);
    }

    /// A member's timer fired: it is out if it has been silent for too long, otherwise the timer is set anew.
    pub(in crate::group) fn member_is_due(&mut self, due: Duration, id: &str, step: &mut Step<'_>) {
        let Some(member) = self.members.get_mut(id) else { return };
        if member.armed != Some(due) {
            return;
        }
        if member.deadline <= step.now.mono {
            return self.remove(id, step);
        }
        member.armed = Some(member.deadline);
        step.timers.insert((member.deadline, self.id.clone(), Timer::Member(member.id.clone())));
    }

    /// The time for a member to give partitions up is over.
    pub(in crate::group) fn revocation_is_due(&mut self, due: Duration, id: &str, step: &mut Step<'_>) {
        if self.members.get(id).is_some_and(|member| member.revoke_by == Some(due)) {
            self.remove(id, step);
        }
    }
}
