//! What is checked of a heartbeat before anything changes, in Kafka's order and words.

use std::sync::Arc;

use millrace_proto::kafka::error::ErrorCode;
use regex::bytes::Regex;

use super::heartbeat::partitions;
use super::{AWAY, ConsumerGroup, Member, subscribe};
use crate::group::classic::Group;
use crate::group::request::{ConsumerHeartbeat, Refusal};
use crate::group::{MAX_GROUP_BYTES, Settings};
use crate::meta::Image;

/// The most expressions that the members of a group subscribe by: a few bytes of one may take a thousand times as many when compiled.
const MAX_PATTERNS: usize = 64;

/// Who a heartbeat is from.
pub(super) enum Place {
    /// A member, by this id.
    Known(Arc<str>),
    /// Somebody new.
    New(Arc<str>),
    /// A static member that comes again under another id than this one.
    Again(Arc<str>, Arc<str>),
}

pub(super) fn check_request(beat: &ConsumerHeartbeat, settings: &Settings) -> Result<(), Refusal> {
    let invalid = |why: &str| Err(Refusal::new(ErrorCode::InvalidRequest, why.to_owned()));
    let is_empty = |text: &Option<String>| text.as_deref() == Some("");
    if beat.group.is_empty() {
        return invalid("GroupId can't be empty.");
    }
    if is_empty(&beat.instance) {
        return invalid("InstanceId can't be empty.");
    }
    if is_empty(&beat.rack) {
        return invalid("RackId can't be empty.");
    }
    if beat.member.is_empty() && (beat.epoch != 0 || !beat.may_lack_id) {
        return invalid("MemberId can't be empty.");
    }
    if beat.epoch < AWAY {
        return invalid("MemberEpoch is invalid.");
    }
    if beat.epoch == AWAY && beat.instance.is_none() {
        return invalid("InstanceId can't be null.");
    }
    if beat.epoch == 0 {
        if beat.rebalance.is_none() {
            return invalid("RebalanceTimeoutMs must be provided in first request.");
        }
        if beat.owned.as_ref().is_none_or(|owned| !owned.is_empty()) {
            return invalid("TopicPartitions must be empty when (re-)joining.");
        }
        if beat.topics.is_none() && beat.regex.is_none() {
            return invalid(
                "Either SubscribedTopicNames or SubscribedTopicRegex must be non-null when (re-)joining.",
            );
        }
    }
    let offered = || settings.consumer.assignors.iter().flatten();
    match &beat.assignor {
        Some(name) if !offered().any(|assignor| assignor.name() == name) => {
            let names: Vec<_> = offered().map(|assignor| assignor.name()).collect();
            let names = names.join(", ");
            let why = format!("ServerAssignor {name} is not supported. Supported assignors: {names}.");
            Err(Refusal::new(ErrorCode::UnsupportedAssignor, why))
        }
        _ => Ok(()),
    }
}

/// Whether there is a group of the new protocol, or may be one now: the one that a classic group with members is to become, if it is that.
pub(super) fn check_group<T>(
    known: Option<&Group<T>>,
    beat: &ConsumerHeartbeat,
    settings: &Settings,
    image: &Image,
) -> Result<Option<ConsumerGroup>, Refusal> {
    let joins = beat.epoch == 0;
    let why = match known {
        None if joins => return Ok(None),
        Some(group) if group.consumer.is_some() || joins && group.members.is_empty() => return Ok(None),
        Some(group) if joins => return group.upgraded(settings, image).map(Some),
        None => format!("Consumer group {} not found.", beat.group),
        Some(group) => {
            // Its group went back when it was out. At GROUP_ID_NOT_FOUND clients end; at this one they come again.
            let why = format!("Member {} is not a member of group {}.", beat.member, group.id);
            return Err(Refusal::new(ErrorCode::UnknownMemberId, why));
        }
    };
    Err(Refusal::new(ErrorCode::GroupIdNotFound, why))
}

pub(super) fn find_place(
    group: Option<&ConsumerGroup>,
    beat: &ConsumerHeartbeat,
    max_size: usize,
) -> Result<Place, Refusal> {
    let new_id = || -> Arc<str> {
        if beat.member.is_empty() { beat.fresh.to_string().into() } else { beat.member.as_str().into() }
    };
    let Some(group) = group else { return Ok(Place::New(new_id())) };
    let known = group.members.get(beat.member.as_str());
    if group.members.len() >= max_size && known.is_none() {
        let why = format!("The consumer group has reached its maximum capacity of {max_size} members.");
        return Err(Refusal::new(ErrorCode::GroupMaxSizeReached, why));
    }
    if beat.epoch > 0 {
        let id = group.check_caller(&beat.member, beat.instance.as_deref())?;
        if let Some(member) = group.members.get(&id) {
            check_epoch(member, beat)?;
        }
        return Ok(Place::Known(id));
    }
    let named = beat.instance.as_deref().and_then(|name| group.instances.get(name));
    match named.and_then(|id| group.members.get(id)) {
        // Who speaks the classic protocol does not say that it leaves for a while.
        Some(member) if member.epoch == AWAY || member.classic.is_some() => {
            Ok(Place::Again(member.id.clone(), new_id()))
        }
        Some(member) => {
            let (name, id) = (beat.instance.as_deref().unwrap_or_default(), &member.id);
            let why = format!(
                "Static member {} with instance id {name} cannot join the group because the instance id is owned by {id} member.",
                beat.member
            );
            Err(Refusal::new(ErrorCode::UnreleasedInstanceId, why))
        }
        // Who comes again under the id that it has owns nothing, as it says: what it had it may have again.
        None => Ok(known.map_or_else(|| Place::New(new_id()), |member| Place::Known(member.id.clone()))),
    }
}

fn check_epoch(member: &Member, beat: &ConsumerHeartbeat) -> Result<(), Refusal> {
    let fenced = |which: &str| {
        let why = format!(
            "The consumer group member has a {which} member epoch ({}) than the one known by the group coordinator ({}). \
             The member must abandon all its partitions and rejoin.",
            beat.epoch, member.epoch
        );
        Err(Refusal::new(ErrorCode::FencedMemberEpoch, why))
    };
    if beat.epoch > member.epoch {
        return fenced("greater");
    }
    // It may not have heard of its epoch; then it has nothing but what it may keep.
    let is_late = beat.epoch == member.previous_epoch
        && beat.owned.as_ref().is_some_and(|owned| member.keeps_all(&partitions(owned)));
    if beat.epoch < member.epoch && !is_late { fenced("smaller") } else { Ok(()) }
}

/// The expression that a member is to subscribe by, when the group does not know it.
pub(super) fn new_pattern(
    group: Option<&ConsumerGroup>,
    beat: &ConsumerHeartbeat,
) -> Result<Option<(Arc<str>, Regex)>, Refusal> {
    let Some(regex) = beat.regex.as_deref().filter(|regex| !regex.is_empty()) else { return Ok(None) };
    if group.is_some_and(|group| group.knows_pattern(regex)) {
        return Ok(None);
    }
    if group.is_some_and(|group| group.patterns.len() >= MAX_PATTERNS) {
        let why = format!(
            "Members of group {} subscribe by {MAX_PATTERNS} regular expressions already.",
            beat.group
        );
        return Err(Refusal::new(ErrorCode::GroupMaxSizeReached, why));
    }
    match subscribe::compile(regex) {
        Ok(compiled) => Ok(Some((regex.into(), compiled))),
        Err(why) => {
            let why = format!("SubscribedTopicRegex `{regex}` is not a valid regular expression: {why}.");
            Err(Refusal::new(ErrorCode::InvalidRegularExpression, why))
        }
    }
}

/// What the members of a group say of themselves has a bound for all of them together.
pub(super) fn check_bytes(
    group: Option<&ConsumerGroup>,
    place: &Place,
    beat: &ConsumerHeartbeat,
) -> Result<(), Refusal> {
    let text = |text: &Option<String>| text.as_ref().map_or(0, String::len);
    let names: usize = beat.topics.iter().flatten().map(String::len).sum();
    let said = beat.client_id.len() + text(&beat.instance) + text(&beat.rack) + text(&beat.regex) + names;
    let before = group.map_or(0, |group| {
        let member = match place {
            Place::Known(id) | Place::Again(id, _) => group.members.get(id),
            Place::New(_) => None,
        };
        group.said() - member.map_or(0, Member::bytes)
    });
    match before.saturating_add(said) > MAX_GROUP_BYTES {
        true => {
            let why = format!("What the members of group {} say of themselves is too large.", beat.group);
            Err(Refusal::new(ErrorCode::GroupMaxSizeReached, why))
        }
        false => Ok(()),
    }
}
