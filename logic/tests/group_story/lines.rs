//! What a coordinator does, as lines of a story.

use std::fmt::Display;
use std::sync::Arc;

use millrace_logic::group::request::*;
use millrace_logic::group::{Effect, GroupRecord, When};
use millrace_logic::meta::Image;
use millrace_proto::kafka::error::ErrorCode;
use millrace_proto::kafka::group_records::{
    CurrentPartitions, CurrentValue, GroupMetadataValue, GroupRecordKey, OffsetCommitValue, decode_value,
};
use uuid::Uuid;

/// What ids that were made from a small number have in common.
const ZEROS: &str = "00000000-0000-0000-0000-0000000000";

/// An id as stories have it.
fn short(id: &str) -> String {
    id.replace(ZEROS, "")
}

/// An id as the coordinator made it: those end in "-" and two digits, or are nothing but them.
pub fn long(id: &str) -> String {
    let is_number = |text: &str| text.len() == 2 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
    match id.rsplit_once('-') {
        Some((name, number)) if is_number(number) => format!("{name}-{ZEROS}{number}"),
        None if is_number(id) && id.bytes().all(|byte| byte.is_ascii_digit()) => format!("{ZEROS}{id}"),
        _ => id.to_owned(),
    }
}

/// `topic-partition`.
pub fn place(text: &str) -> (Arc<str>, i32) {
    let (topic, partition) = text.rsplit_once('-').unwrap();
    (topic.into(), partition.parse().unwrap())
}

pub fn of_effect(effect: &Effect<String>, image: &Image) -> String {
    match effect {
        Effect::Append(record) => of_record(record, image),
        Effect::Reply { ticket, response, when } => {
            let waits = if *when == When::Durable { " (durable)" } else { "" };
            format!("{ticket}{waits}: {}", of_response(response, image))
        }
        Effect::Rebalance => "a rebalance is counted".to_owned(),
    }
}

fn of_record(GroupRecord { key, value }: &GroupRecord, image: &Image) -> String {
    let value = value.as_deref();
    let gone = if value.is_none() { "no " } else { "" };
    let what = match GroupRecordKey::decode(key).unwrap() {
        GroupRecordKey::OffsetCommit(key) => {
            let offset = value.map(|value| decode_value::<OffsetCommitValue<'_>>(value).unwrap().offset);
            format!("offset of {}-{}{}", key.topic, key.partition, after(" at ", offset))
        }
        GroupRecordKey::GroupMetadata(key) => match value {
            None => format!("group {}", key.group),
            Some(value) => {
                let value: GroupMetadataValue<'_> = decode_value(value).unwrap();
                let ids = value.members.iter().map(|member| short(member.member_id));
                format!("group {} generation {} of {}", key.group, value.generation, list(ids))
            }
        },
        GroupRecordKey::ConsumerGroup(key) => format!("consumer group {}", key.group),
        GroupRecordKey::ConsumerMember(key) => format!("member {}", short(key.member)),
        GroupRecordKey::TargetEpoch(key) => format!("target epoch of {}", key.group),
        GroupRecordKey::Target(key) => format!("target of {}", short(key.member)),
        GroupRecordKey::Current(key) => match value {
            None => format!("assignment of {}", short(key.member)),
            Some(value) => {
                let value: CurrentValue = decode_value(value).unwrap();
                let of = |all: &[CurrentPartitions]| {
                    partitions(all.iter().map(|it| (it.topic_id, &it.partitions)), image)
                };
                let (epoch, revoking) = (value.epoch, of(&value.revoking));
                let revoking = after(", to give up ", (revoking != "nothing").then_some(revoking));
                format!(
                    "assignment of {} epoch {epoch}: {}{revoking}",
                    short(key.member),
                    of(&value.assigned)
                )
            }
        },
        GroupRecordKey::ConsumerRegex(key) => format!("expression {}", key.regex),
        GroupRecordKey::Unknown(kind) => panic!("kind {kind} is none of ours"),
    };
    format!("append {gone}{what}")
}

fn of_response(response: &Response, image: &Image) -> String {
    let codes = |codes: &[ErrorCode]| list(codes.iter().map(|code| code.name()));
    match response {
        Response::Join(Ok(joined)) => {
            let skips = if joined.skip_assignment { ", is not to assign" } else { "" };
            let members = joined.members.iter().map(|member| short(&member.member));
            let members = after(", members ", (!joined.members.is_empty()).then(|| list(members)));
            format!(
                "is {} in generation {} of {}, {} leads{skips}{members}",
                short(&joined.member),
                joined.generation,
                joined.protocol.as_deref().unwrap_or("nothing"),
                short(&joined.leader)
            )
        }
        Response::Join(Err(refused)) => format!("{}, is {:?}", refused.code.name(), short(&refused.member)),
        Response::Sync(Ok(synced)) => {
            let got = std::str::from_utf8(&synced.assignment).unwrap();
            format!("got {}", if got.is_empty() { "nothing" } else { got })
        }
        Response::Sync(Err(code)) | Response::Heartbeat(code) | Response::Delete(code) => {
            code.name().to_owned()
        }
        Response::ConsumerHeartbeat(Ok(beat)) => {
            let assigned = beat.assignment.as_ref().map(|all| by_topic(all, image));
            let member = beat.member.as_deref().map(short);
            format!("epoch {}{}{}", beat.epoch, after(", is ", member), after(", is to have ", assigned))
        }
        Response::ConsumerHeartbeat(Err(refusal)) => of_refusal(refusal),
        Response::Leave(Ok(left)) => codes(left),
        Response::Commit(Ok(kept)) | Response::DeleteOffsets(Ok(kept)) => codes(kept),
        Response::Leave(Err(code)) | Response::Commit(Err(code)) | Response::DeleteOffsets(Err(code)) => {
            code.name().to_owned()
        }
        Response::Fetch(Ok(topics)) => {
            let all = topics.iter().flat_map(|topic| {
                topic.partitions.iter().map(|it| format!("{}-{}:{}", topic.topic, it.partition, it.offset))
            });
            list(all)
        }
        Response::Fetch(Err(code)) => code.name().to_owned(),
        Response::Describe(Ok(group)) => {
            let members = group.members.iter().map(|member| short(&member.member));
            format!(
                "{} {:?} {:?}, members {}",
                group.state,
                group.protocol_type,
                group.protocol,
                list(members)
            )
        }
        Response::Describe(Err(refusal)) | Response::DescribeConsumers(Err(refusal)) => of_refusal(refusal),
        Response::DescribeConsumers(Ok(group)) => {
            let ConsumerDescription { state, epoch, assignment_epoch, assignor, .. } = group;
            let members = group.members.iter().map(|member| of_member(member, image));
            format!("{state} epoch {epoch}, targets of {assignment_epoch} by {assignor}: {}", list(members))
        }
        Response::List(groups) => list(
            groups
                .iter()
                .map(|it| format!("{} ({} {} {:?})", it.group, it.state, it.group_type, it.protocol_type)),
        ),
    }
}

fn of_member(member: &ConsumerMember, image: &Image) -> String {
    let revoking = by_topic(&member.revoking, image);
    let revoking = after(" gives up ", (revoking != "nothing").then_some(revoking));
    let (assigned, target) = (by_topic(&member.assigned, image), by_topic(&member.target, image));
    format!("{} in {} has {assigned}{revoking} of {target}", short(&member.member), member.epoch)
}

fn of_refusal(refusal: &Refusal) -> String {
    format!("{} {:?}", refusal.code.name(), short(&refusal.message))
}

fn by_topic(all: &[(Uuid, Vec<i32>)], image: &Image) -> String {
    partitions(all.iter().map(|(topic, numbers)| (*topic, numbers)), image)
}

fn partitions<'a>(all: impl Iterator<Item = (Uuid, &'a Vec<i32>)>, image: &Image) -> String {
    let of = |(topic, numbers): (Uuid, &Vec<i32>)| {
        let name = image.topic_by_id(topic).map_or("gone", |topic| &*topic.name);
        let numbers: Vec<_> = numbers.iter().map(i32::to_string).collect();
        format!("{name}:{}", numbers.join(","))
    };
    let mut all: Vec<_> = all.map(of).collect();
    all.sort();
    if all.is_empty() { "nothing".to_owned() } else { all.join(";") }
}

fn after(before: &str, value: Option<impl Display>) -> String {
    value.map_or(String::new(), |value| format!("{before}{value}"))
}

fn list(all: impl Iterator<Item = impl Display>) -> String {
    let all: Vec<_> = all.map(|one| one.to_string()).collect();
    if all.is_empty() { "none".to_owned() } else { all.join(" ") }
}
