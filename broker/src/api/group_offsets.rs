//! What groups have committed: OffsetCommit (8), versions 2-10, OffsetFetch (9), 1-10, and OffsetDelete (47), 0.
//!
//! A commit is answered when it is durable, as a batch with acks=all is. Of a topic or partition that does not exist nothing is kept:
//! UNKNOWN_TOPIC_OR_PARTITION, or UNKNOWN_TOPIC_ID where topics go by id (version 10). Where nothing was committed the offset is -1. What is
//! asked for twice in one request is answered once.

use super::Call;
use super::group_members::{caller, code_of};
use millrace_io::Io;
use millrace_logic::group::request::{
    Commit, CommitOffset, DeleteOffsets, Fetch, FetchedOffset, FetchedTopic,
};
use millrace_logic::group::{Request, Response};
use millrace_logic::meta::{Image, Topic};
use millrace_proto::kafka::error::ErrorCode;
use millrace_proto::kafka::messages::offset_commit::{
    OffsetCommitRequest, OffsetCommitRequestTopic, OffsetCommitResponse, OffsetCommitResponsePartition,
    OffsetCommitResponseTopic,
};
use millrace_proto::kafka::messages::offset_delete::{
    OffsetDeleteRequest, OffsetDeleteResponse, OffsetDeleteResponsePartition, OffsetDeleteResponseTopic,
};
use millrace_proto::kafka::messages::offset_fetch::{
    OffsetFetchRequest, OffsetFetchRequestGroup, OffsetFetchRequestTopic, OffsetFetchRequestTopics,
    OffsetFetchResponse, OffsetFetchResponseGroup, OffsetFetchResponsePartition,
    OffsetFetchResponsePartitions, OffsetFetchResponseTopic, OffsetFetchResponseTopics,
};
use std::collections::BTreeSet;
use std::sync::Arc;
use uuid::Uuid;

/// From this version on topics go by id.
const BY_ID: i16 = 10;
/// From this version on many groups may be asked for.
const MANY: i16 = 8;
/// From this version on a commit for a group that is not there has an error of its own.
const NAMES_MISSING_GROUP: i16 = 9;

/// A topic by its name, or by its id where topics go by id.
fn find<'i>(image: &'i Image, version: i16, name: &str, id: Uuid) -> Result<&'i Arc<Topic>, ErrorCode> {
    match version >= BY_ID {
        true => image.topic_by_id(id).ok_or(ErrorCode::UnknownTopicId),
        false => image.topic(name).ok_or(ErrorCode::UnknownTopicOrPartition),
    }
}

fn has(topic: &Topic, partition: i32) -> bool {
    usize::try_from(partition).is_ok_and(|partition| partition < topic.partitions.len())
}

pub(super) async fn commit<I: Io>(call: Call<I>, request: OffsetCommitRequest<'_>) {
    let image = call.shard.image();
    let (mut offsets, mut places) = (Vec::new(), Vec::new());
    let mut topics: Vec<OffsetCommitResponseTopic<'_>> = Vec::with_capacity(request.topics.len());
    for OffsetCommitRequestTopic { name, topic_id, partitions } in &request.topics {
        let topic = find(&image, call.version, name, *topic_id);
        let mut answers = Vec::with_capacity(partitions.len());
        for wanted in partitions {
            let partition_index = wanted.partition_index;
            let error_code = match &topic {
                Err(code) => *code,
                Ok(topic) if !has(topic, partition_index) => ErrorCode::UnknownTopicOrPartition,
                Ok(topic) => {
                    places.push((topics.len(), answers.len()));
                    offsets.push(CommitOffset {
                        topic: topic.name.clone(),
                        topic_id: topic.id,
                        partition: partition_index,
                        offset: wanted.committed_offset,
                        leader_epoch: wanted.committed_leader_epoch,
                        metadata: wanted.committed_metadata.unwrap_or_default().to_owned(),
                    });
                    ErrorCode::None
                }
            };
            answers.push(OffsetCommitResponsePartition { partition_index, error_code });
        }
        topics.push(OffsetCommitResponseTopic { name, topic_id: *topic_id, partitions: answers });
    }
    let commit = Commit {
        caller: caller(
            request.group_id,
            request.member_id,
            request.group_instance_id,
            request.generation_id_or_member_epoch,
        ),
        names_missing_group: call.version >= NAMES_MISSING_GROUP,
        retention_ms: Some(request.retention_time_ms).filter(|time| *time >= 0),
        offsets,
    };
    let codes = match call.shard.ask_group(request.group_id, Request::Commit(commit)).await {
        Ok(Response::Commit(Ok(codes))) => codes,
        Ok(Response::Commit(Err(code))) => vec![code; places.len()],
        other => vec![code_of(other); places.len()],
    };
    for ((topic, partition), code) in places.into_iter().zip(codes) {
        topics[topic].partitions[partition].error_code = code;
    }
    for answer in topics.iter().flat_map(|topic| &topic.partitions) {
        call.error(answer.error_code);
    }
    call.answer(&OffsetCommitResponse { topics, ..OffsetCommitResponse::default() });
}

/// One group's offsets: what is known, and for topics that are not, why.
struct Fetched<'a> {
    group: &'a str,
    code: ErrorCode,
    topics: Vec<(Arc<str>, Uuid, FetchedTopic, ErrorCode)>,
}

pub(super) async fn fetch<I: Io>(call: Call<I>, request: OffsetFetchRequest<'_>) {
    if call.version >= MANY {
        return fetch_many(call, &request.groups).await;
    }
    let of = |topic: OffsetFetchRequestTopic<'_>| (topic.name.into(), topic.partition_indexes);
    let topics: Option<Vec<(Arc<str>, Vec<i32>)>> =
        request.topics.map(|topics| topics.into_iter().map(of).collect());
    let fetch = Fetch { group: request.group_id.to_owned(), topics: topics.clone(), member: None };
    let (found, code) = match call.shard.ask_group(request.group_id, Request::Fetch(fetch)).await {
        Ok(Response::Fetch(Ok(found))) => (found, ErrorCode::None),
        other => (none_of(topics.unwrap_or_default()), code_of(other)),
    };
    let code = call.error(code);
    let topics = found.iter().map(|topic| OffsetFetchResponseTopic {
        name: &topic.topic,
        partitions: topic
            .partitions
            .iter()
            .map(|it| OffsetFetchResponsePartition {
                partition_index: it.partition,
                committed_offset: it.offset,
                committed_leader_epoch: it.leader_epoch,
                metadata: Some(&it.metadata),
                error_code: code,
            })
            .collect(),
    });
    let topics = topics.collect();
    call.answer(&OffsetFetchResponse { topics, error_code: code, ..OffsetFetchResponse::default() });
}

async fn fetch_many<I: Io>(call: Call<I>, groups: &[OffsetFetchRequestGroup<'_>]) {
    let (mut all, mut asked) = (Vec::new(), BTreeSet::new());
    // A group that is named twice is answered once: all of its offsets may be wanted.
    for group in groups.iter().filter(|group| asked.insert(group.group_id)) {
        all.push(fetch_one(&call, group).await);
    }
    let answers = all.iter().map(|fetched| OffsetFetchResponseGroup {
        group_id: fetched.group,
        error_code: call.error(fetched.code),
        topics: fetched
            .topics
            .iter()
            .map(|(name, topic_id, topic, code)| OffsetFetchResponseTopics {
                name,
                topic_id: *topic_id,
                partitions: topic
                    .partitions
                    .iter()
                    .map(|it| OffsetFetchResponsePartitions {
                        partition_index: it.partition,
                        committed_offset: it.offset,
                        committed_leader_epoch: it.leader_epoch,
                        metadata: Some(&it.metadata),
                        error_code: *code,
                    })
                    .collect(),
            })
            .collect(),
    });
    let groups = answers.collect();
    call.answer(&OffsetFetchResponse { groups, ..OffsetFetchResponse::default() });
}

async fn fetch_one<'a, I: Io>(call: &Call<I>, group: &OffsetFetchRequestGroup<'a>) -> Fetched<'a> {
    let image = call.shard.image();
    let (mut wanted, mut unknown) = (Vec::new(), Vec::new());
    for OffsetFetchRequestTopics { name, topic_id, partition_indexes } in group.topics.iter().flatten() {
        match image.topic_by_id(*topic_id).filter(|_| call.version >= BY_ID) {
            None if call.version >= BY_ID => {
                let none = none_of(vec![("".into(), partition_indexes.clone())]).remove(0);
                unknown.push(("".into(), *topic_id, none, ErrorCode::UnknownTopicId));
            }
            Some(topic) => wanted.push((topic.name.clone(), partition_indexes.clone())),
            // What was committed of a topic that is gone is gone, too.
            None => wanted.push(((*name).into(), partition_indexes.clone())),
        }
    }
    let topics = group.topics.is_some().then_some(wanted);
    let names_member = group.member_id.is_some() || group.member_epoch >= 0;
    let member = names_member.then(|| (group.member_id.unwrap_or_default().to_owned(), group.member_epoch));
    let fetch = Fetch { group: group.group_id.to_owned(), topics, member };
    match call.shard.ask_group(group.group_id, Request::Fetch(fetch)).await {
        Ok(Response::Fetch(Ok(found))) => {
            let id = |topic: &FetchedTopic| image.topic(&topic.topic).map_or(Uuid::nil(), |topic| topic.id);
            let known =
                found.into_iter().map(|topic| (topic.topic.clone(), id(&topic), topic, ErrorCode::None));
            Fetched { group: group.group_id, code: ErrorCode::None, topics: known.chain(unknown).collect() }
        }
        Ok(Response::Fetch(Err(code))) => Fetched { group: group.group_id, code, topics: Vec::new() },
        other => Fetched { group: group.group_id, code: code_of(other), topics: Vec::new() },
    }
}

/// What is said of partitions of which nothing is known.
fn none_of(topics: Vec<(Arc<str>, Vec<i32>)>) -> Vec<FetchedTopic> {
    let none = |partition| FetchedOffset { partition, offset: -1, leader_epoch: -1, metadata: String::new() };
    let of = |(topic, partitions): (Arc<str>, Vec<i32>)| FetchedTopic {
        topic,
        partitions: partitions.into_iter().map(none).collect(),
    };
    topics.into_iter().map(of).collect()
}

pub(super) async fn delete<I: Io>(call: Call<I>, request: OffsetDeleteRequest<'_>) {
    let image = call.shard.image();
    let (mut offsets, mut places) = (Vec::new(), Vec::new());
    let mut topics: Vec<OffsetDeleteResponseTopic<'_>> = Vec::with_capacity(request.topics.len());
    for topic in &request.topics {
        let known = image.topic(topic.name);
        let mut answers = Vec::with_capacity(topic.partitions.len());
        for partition in &topic.partitions {
            let partition_index = partition.partition_index;
            let error_code = match known.filter(|known| has(known, partition_index)) {
                None => ErrorCode::UnknownTopicOrPartition,
                Some(known) => {
                    places.push((topics.len(), answers.len()));
                    offsets.push((known.name.clone(), partition_index));
                    ErrorCode::None
                }
            };
            answers.push(OffsetDeleteResponsePartition { partition_index, error_code });
        }
        topics.push(OffsetDeleteResponseTopic { name: topic.name, partitions: answers });
    }
    let delete = DeleteOffsets { group: request.group_id.to_owned(), offsets };
    let (code, codes) = match call.shard.ask_group(request.group_id, Request::DeleteOffsets(delete)).await {
        Ok(Response::DeleteOffsets(Ok(codes))) => (ErrorCode::None, codes),
        Ok(Response::DeleteOffsets(Err(code))) => (code, Vec::new()),
        other => (code_of(other), Vec::new()),
    };
    for ((topic, partition), code) in places.into_iter().zip(codes) {
        topics[topic].partitions[partition].error_code = call.error(code);
    }
    if code != ErrorCode::None {
        topics.clear();
    }
    let error_code = call.error(code);
    call.answer(&OffsetDeleteResponse { error_code, topics, ..OffsetDeleteResponse::default() });
}
