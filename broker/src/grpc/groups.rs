//! `millrace.v1.Groups`: list, describe, forget, delete. Moving is in `group_reset`.

use super::backend::Backend;
use super::group_backend::{Committed, Group, GroupMember, LogEnds, NamedPartition};
use super::pages::page_of;
use super::status::{Error, Status};
use millrace_proto::grpc::v1;
use millrace_proto::kafka::error::ErrorCode;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// The longest id that Kafka's protocol, and the records that groups are kept in, can carry.
pub(super) const LONGEST_ID: usize = i16::MAX as usize;
/// Partitions that one call names at most, or means by a topic's name alone.
const PARTITIONS: usize = 10_000;
/// Topics that one description is limited to at most.
const TOPICS: usize = 1000;

pub(super) async fn list(
    backend: &impl Backend,
    request: v1::ListGroupsRequest,
) -> Result<v1::ListGroupsResponse, Status> {
    let page = page_of(request.page_size)?;
    let states = filter("states", &request.states, |n| v1::GroupState::try_from(n).is_ok())?;
    let types = filter("types", &request.types, |n| v1::GroupType::try_from(n).is_ok())?;
    let wanted = |group: &v1::GroupSummary| {
        group.group_id > request.page_token
            && (states.is_empty() || states.contains(&group.state))
            && (types.is_empty() || types.contains(&group.r#type))
    };
    let groups = backend.list_groups().await?.into_iter().map(|group| v1::GroupSummary {
        group_id: group.id.to_string(),
        state: state(group.state).into(),
        r#type: kind(group.kind).into(),
        protocol_type: group.protocol_type,
    });
    let mut groups: Vec<_> = groups.filter(wanted).collect();
    groups.sort_unstable_by(|a, b| a.group_id.cmp(&b.group_id));
    let more = groups.len() > page;
    groups.truncate(page);
    let last = groups.last().filter(|_| more);
    let next_page_token = last.map_or_else(String::new, |last| last.group_id.clone());
    Ok(v1::ListGroupsResponse { groups, next_page_token })
}

pub(super) async fn describe(
    backend: &impl Backend,
    request: v1::DescribeGroupRequest,
) -> Result<v1::DescribeGroupResponse, Status> {
    check_id(&request.group_id)?;
    let page = page_of(request.page_size)?;
    let behind = token(&request.page_token)?;
    if request.topics.len() > TOPICS {
        return Err(Status::invalid("topics", format!("{} of them; at most {TOPICS}", request.topics.len())));
    }
    let topics: BTreeSet<&str> = request.topics.iter().map(String::as_str).collect();
    let group = existing(backend, &request.group_id).await?;
    let mut parts = progress(&group, backend.committed(&request.group_id).await?);
    let wanted = |part: &NamedPartition| topics.is_empty() || topics.contains(&*part.0);
    parts.retain(|part, _| wanted(part) && behind.as_ref().is_none_or(|behind| part > behind));
    let more = parts.len() > page;
    let parts: Vec<_> = parts.into_iter().take(page).collect();
    let last = parts.last().filter(|_| more);
    let next_page_token = last.map_or_else(String::new, |((topic, number), _)| format!("{topic}/{number}"));
    let named: Vec<NamedPartition> = parts.iter().map(|(part, _)| part.clone()).collect();
    let ends = backend.log_ends(&named).await;
    let offsets = parts.into_iter().zip(ends).map(|((part, known), ends)| offset(part, known, ends.ok()));
    let first = request.page_token.is_empty();
    let group = v1::Group {
        group_id: request.group_id,
        state: state(group.state).into(),
        r#type: kind(group.kind).into(),
        offsets: offsets.collect(),
        members: group.members.into_iter().filter(|_| first).map(member).collect(),
        protocol_type: group.protocol_type,
        protocol: group.protocol,
    };
    Ok(v1::DescribeGroupResponse { group: Some(group), next_page_token })
}

/// What is known of a group in one partition.
#[derive(Default)]
struct Known {
    committed: Option<i64>,
    metadata: String,
    member: Option<Arc<str>>,
}

/// Where the group has committed something, and what its members read.
fn progress(group: &Group, committed: Vec<Committed>) -> BTreeMap<NamedPartition, Known> {
    let mut parts: BTreeMap<NamedPartition, Known> = BTreeMap::new();
    for Committed { partition, offset, metadata } in committed {
        parts.insert(partition, Known { committed: Some(offset), metadata, member: None });
    }
    for member in &group.members {
        for (topic, numbers) in &member.assignment {
            let topic: Arc<str> = topic.as_str().into();
            for number in numbers {
                parts.entry((topic.clone(), *number)).or_default().member = Some(member.id.clone());
            }
        }
    }
    parts
}

fn offset((topic, partition): NamedPartition, known: Known, ends: Option<LogEnds>) -> v1::GroupOffset {
    let high_watermark = ends.map(|ends| ends.high_watermark);
    v1::GroupOffset {
        topic: topic.to_string(),
        partition,
        committed_offset: known.committed,
        metadata: known.metadata,
        log_start_offset: ends.map(|ends| ends.log_start),
        high_watermark,
        // Whoever commits may say what it likes: behind the end nothing is left to read.
        lag: known.committed.zip(high_watermark).map(|(at, end)| end.saturating_sub(at).max(0)),
        member_id: known.member.map_or_else(String::new, |member| member.to_string()),
    }
}

fn member(member: GroupMember) -> v1::GroupMember {
    let topic = |(topic, mut partitions): (String, Vec<i32>)| {
        partitions.sort_unstable();
        v1::TopicPartitions { topic, partitions }
    };
    let mut assignment: Vec<_> = member.assignment.into_iter().map(topic).collect();
    assignment.sort_unstable_by(|a, b| a.topic.cmp(&b.topic));
    v1::GroupMember {
        member_id: member.id.to_string(),
        group_instance_id: member.instance.map(|instance| instance.to_string()),
        client_id: member.client_id,
        client_host: member.client_host,
        assignment,
    }
}

pub(super) async fn delete_offsets(
    backend: &impl Backend,
    request: v1::DeleteOffsetsRequest,
) -> Result<v1::DeleteOffsetsResponse, Status> {
    check_id(&request.group_id)?;
    if request.partitions.is_empty() {
        return Err(Status::invalid("partitions", "needs at least one topic"));
    }
    let mut parts = named(backend, request.partitions)?;
    parts.sort_unstable();
    let outcomes = backend.delete_offsets(&request.group_id, &parts).await?;
    let deleted = |((topic, partition), outcome): (NamedPartition, Result<(), Error>)| v1::DeletedOffset {
        error: outcome.err().map(|error| about(&topic, partition, error).in_stream()),
        topic: topic.to_string(),
        partition,
    };
    Ok(v1::DeleteOffsetsResponse { offsets: parts.into_iter().zip(outcomes).map(deleted).collect() })
}

pub(super) async fn delete(
    backend: &impl Backend,
    request: v1::DeleteGroupRequest,
) -> Result<v1::DeleteGroupResponse, Status> {
    check_id(&request.group_id)?;
    backend.delete_group(&request.group_id).await?;
    Ok(v1::DeleteGroupResponse {})
}

pub(super) fn check_id(id: &str) -> Result<(), Status> {
    match id.len() {
        0 => Err(Status::invalid("group_id", "must not be empty")),
        length if length > LONGEST_ID => {
            Err(Status::invalid("group_id", format!("is {length} bytes long; at most {LONGEST_ID}")))
        }
        _ => Ok(()),
    }
}

pub(super) fn check_count(field: &str, count: usize) -> Result<(), Status> {
    match count > PARTITIONS {
        true => Err(Status::invalid(
            field,
            format!("{count} partitions; at most {PARTITIONS}: make several calls, a few topics each"),
        )),
        false => Ok(()),
    }
}

/// Numbers of an enum that a list is limited to.
fn filter(field: &str, numbers: &[i32], known: impl Fn(i32) -> bool) -> Result<BTreeSet<i32>, Status> {
    match numbers.iter().find(|n| **n == 0 || !known(**n)) {
        Some(unknown) => Err(Status::invalid(field, format!("{unknown} is none that this broker knows"))),
        None => Ok(numbers.iter().copied().collect()),
    }
}

/// The partition that a page token names.
fn token(token: &str) -> Result<Option<NamedPartition>, Status> {
    if token.is_empty() {
        return Ok(None);
    }
    // No topic's name has a slash.
    let parsed = token.split_once('/').and_then(|(topic, number)| Some((topic.into(), number.parse().ok()?)));
    parsed.map(Some).ok_or_else(|| {
        Status::invalid("page_token", "is none that the last response had as `next_page_token`")
    })
}

/// Partitions by name, of topics that there are; in the order of the request.
pub(super) fn named(
    backend: &impl Backend,
    topics: Vec<v1::TopicPartitions>,
) -> Result<Vec<NamedPartition>, Status> {
    let mut seen = BTreeSet::new();
    let mut parts = Vec::new();
    for (index, v1::TopicPartitions { topic, partitions }) in topics.into_iter().enumerate() {
        let field = |name: &str| format!("partitions[{index}].{name}");
        if topic.is_empty() {
            return Err(Status::invalid(field("topic"), "must not be empty"));
        }
        let count = backend.partitions(&topic).ok_or_else(|| {
            Error::new(ErrorCode::UnknownTopicOrPartition, format!("there is no topic {topic:?}"))
        })?;
        let topic: Arc<str> = topic.into();
        if let Some(number) = partitions.iter().find(|number| !(0..count).contains(*number)) {
            let text = format!("topic {topic:?} has partitions 0 to {}, not {number}", count - 1);
            return Err(Error::new(ErrorCode::UnknownTopicOrPartition, text).into());
        }
        let numbers = if partitions.is_empty() { (0..count).collect() } else { partitions };
        check_count("partitions", parts.len() + numbers.len())?;
        for number in numbers {
            if !seen.insert((topic.clone(), number)) {
                return Err(Status::invalid(field("partitions"), format!("{topic}-{number} is named twice")));
            }
            parts.push((topic.clone(), number));
        }
    }
    Ok(parts)
}

pub(super) async fn existing(backend: &impl Backend, id: &str) -> Result<Group, Status> {
    let group = backend.describe_group(id).await?;
    group.ok_or_else(|| Error::new(ErrorCode::GroupIdNotFound, format!("there is no group {id:?}")).into())
}

pub(super) fn about(topic: &str, partition: i32, error: Error) -> Error {
    let message = format!("{topic}-{partition}: {}", error.text());
    Error { message, ..error }.with("topic", topic).with("partition", partition)
}

pub(super) fn state(name: &str) -> v1::GroupState {
    match name {
        "Empty" => v1::GroupState::Empty,
        "PreparingRebalance" => v1::GroupState::PreparingRebalance,
        "CompletingRebalance" => v1::GroupState::CompletingRebalance,
        "Stable" => v1::GroupState::Stable,
        "Assigning" => v1::GroupState::Assigning,
        "Reconciling" => v1::GroupState::Reconciling,
        _ => v1::GroupState::Unspecified,
    }
}

fn kind(name: &str) -> v1::GroupType {
    match name {
        "classic" => v1::GroupType::Classic,
        "consumer" => v1::GroupType::Consumer,
        _ => v1::GroupType::Unspecified,
    }
}
