//! ConsumerGroupHeartbeat: the one request of members. They come with it, say what they subscribe to and have, hear what they are to have, and
//! leave.
//!
//! Everything is checked before anything changes (`checks`). A heartbeat that says nothing new costs two look-ups.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use millrace_proto::kafka::error::ErrorCode;
use regex::bytes::Regex;

use super::checks::{Place, check_bytes, check_group, check_request, find_place, new_pattern};
use super::{Assignor, ConsumerGroup, Held, Member, Partitions, Step};
use crate::group::request::{Beat, ConsumerHeartbeat, Refusal, Response};
use crate::group::{Coordinator, Effect, GroupRecord, Now, When, reply};

impl<T> Coordinator<T> {
    pub(in crate::group) fn consumer_heartbeat(
        &mut self,
        now: Now,
        beat: ConsumerHeartbeat,
        ticket: T,
        out: &mut Vec<Effect<T>>,
    ) {
        let (id, epoch) = (beat.group.clone(), beat.epoch);
        let before = out.len();
        let outcome = self.beat(now, beat, out);
        // Who is told what it said is told nothing that may not be durable yet.
        let tells = |beat: &Beat| beat.epoch != epoch || beat.assignment.is_some();
        let quiet = out.len() == before && !outcome.as_ref().is_ok_and(tells);
        let when = if quiet { When::Now } else { When::Durable };
        out.push(reply(ticket, Response::ConsumerHeartbeat(outcome), when));
        self.drop_if_void(&id);
    }

    fn beat(&mut self, now: Now, beat: ConsumerHeartbeat, out: &mut Vec<Effect<T>>) -> Result<Beat, Refusal> {
        check_request(&beat, &self.settings)?;
        if beat.epoch < 0 {
            let (id, instance, epoch) = (beat.member.as_str(), beat.instance.as_deref(), beat.epoch);
            let left = self.in_consumer_group(now, &beat.group, out, |group, step| {
                group.leave(id, instance, epoch, step)
            });
            let missing =
                || Refusal::new(ErrorCode::GroupIdNotFound, format!("Group {} not found.", beat.group));
            left.ok_or_else(missing)??;
            return Ok(Beat { member: None, epoch, interval: Duration::ZERO, assignment: None });
        }
        let known = self.groups.get(beat.group.as_str());
        let upgraded = check_group(known, &beat, &self.settings, &self.image)?;
        let group = upgraded.as_ref().or_else(|| known.and_then(|group| group.consumer.as_deref()));
        let place = find_place(group, &beat, self.settings.consumer.max_size)?;
        let pattern = new_pattern(group, &beat)?;
        check_bytes(group, &place, &beat)?;
        // From here on nothing is refused.
        let id = self.found_consumers(now, &beat.group, upgraded, out);
        let act =
            |group: &mut ConsumerGroup, step: &mut Step<'_>| group.heartbeat(place, pattern, beat, step);
        let missing = || Refusal::new(ErrorCode::UnknownServerError, "The group is gone.".to_owned());
        self.in_consumer_group(now, &id, out, act).ok_or_else(missing)
    }
}

impl ConsumerGroup {
    fn heartbeat(
        &mut self,
        place: Place,
        pattern: Option<(Arc<str>, Regex)>,
        beat: ConsumerHeartbeat,
        step: &mut Step<'_>,
    ) -> Beat {
        if let Some((regex, compiled)) = pattern {
            self.add_pattern(&regex, compiled, step);
        }
        let (id, comes) = match place {
            Place::Known(id) => (id, false),
            Place::New(id) => {
                let member =
                    Member { instance: beat.instance.as_deref().map(Arc::from), ..Member::new(id.clone()) };
                self.admit(member);
                (id, true)
            }
            Place::Again(before, id) => {
                self.replace(&before, &id, step);
                (id, false)
            }
        };
        let is_full = beat.epoch == 0
            || beat.rebalance.is_some()
                && (beat.topics.is_some() || beat.regex.is_some())
                && beat.owned.is_some();
        let joins = beat.epoch == 0;
        let owned = beat.owned.as_deref().map(partitions);
        let resubscribed = self.update(&id, beat, comes, step);
        if let Some(regex) = self.members.get(&id).and_then(|member| member.regex.clone()) {
            self.refresh_pattern(&regex, step);
        }
        let changed = self.has_new_metadata(step);
        if changed || resubscribed {
            self.bump(step);
        }
        self.assign_if_due(step);
        let others = self.reconcile(&id, owned.as_ref(), resubscribed || joins, step);
        self.rest(&id, step.now.mono, step.settings, step.timers);
        let member = self.members.get(&id);
        let epoch = member.map_or(0, |member| member.epoch);
        let assignment = member.filter(|_| is_full || others).map(|member| list(&member.assigned));
        Beat { member: Some(id), epoch, interval: self.settings(step.settings).heartbeat, assignment }
    }

    pub(super) fn admit(&mut self, member: Member) {
        if let Some(instance) = &member.instance {
            self.instances.insert(instance.clone(), member.id.clone());
        }
        self.count_in(&member);
        self.members.insert(member.id.clone(), member);
    }

    /// A static member comes again under another id: what it had, and is to have, it has under that.
    pub(super) fn replace(&mut self, before: &str, id: &Arc<str>, step: &mut Step<'_>) {
        self.stop_watching_revocation(before, step.timers);
        let Some(member) = self.members.remove(before) else { return };
        step.records.extend(GroupRecord::no_consumer_member(&self.id, before));
        self.bytes = (self.bytes + id.len()).saturating_sub(member.id.len());
        for held in [&member.assigned, &member.revoking] {
            held.iter().for_each(|(topic, numbers)| {
                numbers.keys().for_each(|number| {
                    drop(self.owners.entry(*topic).or_default().insert(*number, id.clone()))
                });
            });
        }
        let member = Member { id: id.clone(), epoch: 0, previous_epoch: 0, armed: None, ..member };
        if let Some(instance) = &member.instance {
            self.instances.insert(instance.clone(), id.clone());
        }
        step.records.push(GroupRecord::consumer_member(&self.id, &member));
        step.records.push(GroupRecord::consumer_target(&self.id, &member));
        self.members.insert(id.clone(), member);
    }

    /// What a member says of itself now. Whether it subscribes to something else than before, or would have it assigned otherwise.
    fn update(&mut self, id: &str, beat: ConsumerHeartbeat, comes: bool, step: &mut Step<'_>) -> bool {
        let Some(member) = self.members.get(id) else { return false };
        let topics = beat.topics.map(|topics| self.names(topics.iter().map(String::as_str)));
        let regex = beat.regex.map(|regex| Some(regex).filter(|regex| !regex.is_empty()).map(Arc::from));
        let assignor = beat.assignor.as_deref().and_then(Assignor::of);
        let next = |member: &Member| Member {
            instance: member.instance.clone().or_else(|| beat.instance.as_deref().map(Arc::from)),
            rack: beat.rack.clone().or_else(|| member.rack.clone()),
            rebalance: beat.rebalance.unwrap_or(member.rebalance),
            topics: topics.clone().unwrap_or_else(|| member.topics.clone()),
            regex: regex.clone().unwrap_or_else(|| member.regex.clone()),
            assignor: assignor.or(member.assignor),
            classic: None,
            client_id: beat.client_id.clone(),
            client_host: beat.client_host.clone(),
            ..member.clone()
        };
        let is_named = beat.instance.is_none() || member.instance.is_some();
        let unchanged = !comes
            && member.classic.is_none()
            && is_named
            && topics.as_ref().is_none_or(|topics| *topics == member.topics)
            && regex.as_ref().is_none_or(|regex| *regex == member.regex)
            && assignor.is_none_or(|assignor| Some(assignor) == member.assignor)
            && beat.rebalance.is_none_or(|rebalance| rebalance == member.rebalance)
            && beat.rack.as_ref().is_none_or(|rack| Some(rack) == member.rack.as_ref())
            && (beat.client_id.as_str(), beat.client_host.as_str())
                == (member.client_id.as_str(), member.client_host.as_str());
        if unchanged {
            return false;
        }
        let next = next(member);
        self.say(next, comes, step)
    }

    /// A member says this of itself from now on. Whether it subscribes to something else than before, or would have it assigned otherwise.
    pub(super) fn say(&mut self, next: Member, comes: bool, step: &mut Step<'_>) -> bool {
        let Some(member) = self.members.get(&next.id) else { return false };
        let resubscribed = comes
            || (&next.topics, &next.regex, next.assignor) != (&member.topics, &member.regex, member.assignor);
        step.records.push(GroupRecord::consumer_member(&self.id, &next));
        // In before out: an expression that it keeps must not be forgotten in between.
        self.count_in(&next);
        if let Some(instance) = &next.instance {
            self.instances.insert(instance.clone(), next.id.clone());
        }
        let before = self.members.insert(next.id.clone(), next);
        before.into_iter().for_each(|before| self.count_out(&before, step));
        if resubscribed {
            self.seen = 0;
        }
        resubscribed
    }

    /// Names, as the group has them where it does: thousands of members that name the same topics keep one copy.
    pub(super) fn names<'a>(&self, names: impl Iterator<Item = &'a str>) -> BTreeSet<Arc<str>> {
        let share = |name: &str| match self.subscribed.get_key_value(name) {
            Some((known, _)) => known.clone(),
            None => name.into(),
        };
        names.map(share).collect()
    }
}

pub(super) fn partitions(owned: &[(uuid::Uuid, Vec<i32>)]) -> Partitions {
    let mut all = Partitions::new();
    for (topic, numbers) in owned {
        all.entry(*topic).or_default().extend(numbers);
    }
    all
}

fn list(held: &Held) -> Vec<(uuid::Uuid, Vec<i32>)> {
    held.iter().map(|(topic, numbers)| (*topic, numbers.keys().copied().collect())).collect()
}
