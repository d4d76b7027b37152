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
use crate::group::classic::Group;
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
        let mut records = Vec::new();
        let target = self.target_epoch(&id);
        let outcome = self.beat(now, beat, &mut records);
        if self.target_epoch(&id) != target {
            out.push(Effect::Rebalance);
        }
        // Who is told what it said is told nothing that may not be durable yet.
        let tells = |beat: &Beat| beat.epoch != epoch || beat.assignment.is_some();
        let quiet = records.is_empty() && !outcome.as_ref().is_ok_and(tells);
        out.extend(records.into_iter().map(Effect::Append));
        let when = if quiet { When::Now } else { When::Durable };
        out.push(reply(ticket, Response::ConsumerHeartbeat(outcome), when));
        self.drop_if_void(&id);
    }

    /// The epoch that the targets of a consumer group are for.
    fn target_epoch(&self, id: &str) -> Option<i32> {
        self.groups.get(id)?.consumer.as_ref().map(|group| group.assignment_epoch)
    }

    fn beat(
        &mut self,
        now: Now,
        beat: ConsumerHeartbeat,
        records: &mut Vec<GroupRecord>,
    ) -> Result<Beat, Refusal> {
        check_request(&beat, &self.settings)?;
        let (image, version) = (self.image.clone(), self.image_version);
        let timers = &mut self.timers;
        let mut step = Step { now, settings: &self.settings, timers, image: &image, version, records };
        let known = self.groups.get_mut(beat.group.as_str());
        if beat.epoch < 0 {
            let missing =
                || Refusal::new(ErrorCode::GroupIdNotFound, format!("Group {} not found.", beat.group));
            let group = known.and_then(|group| group.consumer.as_mut()).ok_or_else(missing)?;
            group.leave(&beat.member, beat.instance.as_deref(), beat.epoch, &mut step)?;
            return Ok(Beat { member: None, epoch: beat.epoch, interval: Duration::ZERO, assignment: None });
        }
        check_group(known.as_deref(), &beat)?;
        let group = known.as_deref().and_then(|group| group.consumer.as_deref());
        let place = find_place(group, &beat, step.settings.consumer.max_size)?;
        let pattern = new_pattern(group, &beat)?;
        check_bytes(group, &place, &beat)?;
        // From here on nothing is refused.
        let id: Arc<str> = beat.group.as_str().into();
        let group = self.groups.entry(id.clone()).or_insert_with(|| Group::new(id));
        Ok(group.as_consumer_group(&mut step).heartbeat(place, pattern, beat, &mut step))
    }
}

impl<T> Group<T> {
    /// A classic group without members becomes one of the new protocol; its offsets stay.
    fn as_consumer_group(&mut self, step: &mut Step<'_>) -> &mut ConsumerGroup {
        if self.consumer.is_none() {
            if self.generation > 0 {
                step.records.push(GroupRecord::no_group(&self.id));
            }
            let offsets = std::mem::take(&mut self.offsets);
            *self = Self { offsets, ..Self::new(self.id.clone()) };
        }
        self.consumer.get_or_insert_with(|| Box::new(ConsumerGroup::new(self.id.clone())))
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
        Beat { member: Some(id), epoch, interval: step.settings.consumer.heartbeat, assignment }
    }

    fn admit(&mut self, member: Member) {
        if let Some(instance) = &member.instance {
            self.instances.insert(instance.clone(), member.id.clone());
        }
        self.count_in(&member);
        self.members.insert(member.id.clone(), member);
    }

    /// A static member comes again under another id: what it had, and is to have, it has under that.
    fn replace(&mut self, before: &str, id: &Arc<str>, step: &mut Step<'_>) {
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
        let topics = beat.topics.map(|topics| self.shared_names(topics));
        let regex = beat.regex.map(|regex| Some(regex).filter(|regex| !regex.is_empty()).map(Arc::from));
        let assignor = beat.assignor.as_deref().and_then(Assignor::of);
        let next = |member: &Member| Member {
            instance: member.instance.clone().or_else(|| beat.instance.as_deref().map(Arc::from)),
            rack: beat.rack.clone().or_else(|| member.rack.clone()),
            rebalance: beat.rebalance.unwrap_or(member.rebalance),
            topics: topics.clone().unwrap_or_else(|| member.topics.clone()),
            regex: regex.clone().unwrap_or_else(|| member.regex.clone()),
            assignor: assignor.or(member.assignor),
            client_id: beat.client_id.clone(),
            client_host: beat.client_host.clone(),
            ..member.clone()
        };
        let is_named = beat.instance.is_none() || member.instance.is_some();
        let unchanged = !comes
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
    fn shared_names(&self, names: Vec<String>) -> BTreeSet<Arc<str>> {
        let share = |name: String| match self.subscribed.get_key_value(name.as_str()) {
            Some((known, _)) => known.clone(),
            None => name.into(),
        };
        names.into_iter().map(share).collect()
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
