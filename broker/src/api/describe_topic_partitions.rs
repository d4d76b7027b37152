//! DescribeTopicPartitions (75), version 0: partitions of topics, some at a time, in the order of the topics' names.
//!
//! The answer holds at most as many partitions as the client wants, and as `max.request.partition.size.limit` allows; what
//! does not fit is asked for again from the cursor on. Topics before the cursor are left out. A topic that does not exist is
//! UNKNOWN_TOPIC_OR_PARTITION, nothing is created.

use super::metadata::unknown_topic;
use super::{Call, operations};
use millrace_io::Io;
use millrace_logic::meta::names::is_internal;
use millrace_logic::meta::{PartitionState, Topic};
use millrace_proto::kafka::error::ErrorCode;
use millrace_proto::kafka::messages::describe_topic_partitions::{
    Cursor, DescribeTopicPartitionsRequest, DescribeTopicPartitionsResponse, DescribedPartition,
    DescribedTopic,
};
use millrace_proto::kafka::wire::Nullable;
use std::collections::BTreeSet;

pub(super) async fn handle<I: Io>(call: Call<I>, request: DescribeTopicPartitionsRequest<'_>) {
    let image = call.shard.image();
    let names: BTreeSet<&str> = match request.topics.is_empty() {
        true => image.topics().map(|topic| &*topic.name).collect(),
        false => request.topics.iter().map(|topic| topic.name).collect(),
    };
    let limit = call.shard.config().limits.partitions_per_response;
    let mut left = usize::try_from(request.response_partition_limit).unwrap_or(0).clamp(1, limit);
    let cursor = request.cursor.0.as_ref();
    let first = cursor.map_or("", |cursor| cursor.topic_name);
    let mut response = DescribeTopicPartitionsResponse::default();
    for name in names.range(first..) {
        let begin =
            cursor.filter(|cursor| cursor.topic_name == *name).map_or(0, |cursor| cursor.partition_index);
        if left == 0 {
            response.next_cursor = Nullable(Some(Cursor { topic_name: name, partition_index: begin }));
            break;
        }
        let Some(topic) = image.topic(name) else {
            let error_code = call.error(unknown_topic(name));
            response.topics.push(DescribedTopic { error_code, name: Some(name), ..Default::default() });
            continue;
        };
        let partitions = describe(topic, begin, left);
        left -= partitions.len();
        let end = begin.max(0).saturating_add(partitions.len() as i32);
        response.topics.push(DescribedTopic {
            error_code: ErrorCode::None,
            name: Some(name),
            topic_id: topic.id,
            is_internal: is_internal(name),
            partitions,
            topic_authorized_operations: operations::TOPIC,
        });
        if (end as usize) < topic.partitions.len() {
            response.next_cursor = Nullable(Some(Cursor { topic_name: name, partition_index: end }));
            break;
        }
    }
    call.answer(&response);
}

/// At most so many partitions of a topic, from one of them on.
fn describe(topic: &Topic, begin: i32, most: usize) -> Vec<DescribedPartition> {
    let numbered = (0..).zip(&topic.partitions).skip(usize::try_from(begin).unwrap_or(0)).take(most);
    numbered.map(|(index, state)| partition(index, state)).collect()
}

fn partition(partition_index: i32, state: &PartitionState) -> DescribedPartition {
    DescribedPartition {
        error_code: if state.leader.is_some() { ErrorCode::None } else { ErrorCode::LeaderNotAvailable },
        partition_index,
        leader_id: state.leader.unwrap_or(-1),
        leader_epoch: state.leader_epoch,
        replica_nodes: state.replicas.clone(),
        isr_nodes: state.isr.clone(),
        eligible_leader_replicas: Some(Vec::new()),
        last_known_elr: Some(Vec::new()),
        offline_replicas: Vec::new(),
    }
}
