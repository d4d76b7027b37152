//! `millrace.v1.Topics`: create, change, delete, list, describe.

use super::backend::{Backend, NewTopic, Partition, Position, Topic, TopicRef};
use super::pages::page_of;
use super::status::{Error, Status, Violation};
use futures_util::future::join;
use millrace_proto::files::{decode_uuid, encode_uuid};
use millrace_proto::grpc::v1;
use millrace_proto::kafka::error::ErrorCode;

pub(super) async fn create(
    backend: &impl Backend,
    request: v1::CreateTopicRequest,
) -> Result<v1::CreateTopicResponse, Status> {
    let name = named(request.name)?;
    for (field, number) in
        [("partition_count", request.partition_count), ("replication_factor", request.replication_factor)]
    {
        if let Some(number) = number.filter(|number| *number < 1) {
            return Err(Status::invalid(field, format!("is {number}; leave it out or give at least 1")));
        }
    }
    let mut configs: Vec<_> = request.configs.into_iter().collect();
    configs.sort_unstable();
    let topic = NewTopic {
        name,
        partitions: request.partition_count,
        replication_factor: request.replication_factor,
        configs,
        validate_only: request.validate_only,
    };
    let topic = backend.create_topic(topic).await.map_err(name_field)?;
    Ok(v1::CreateTopicResponse { topic: Some(topic_message(topic)) })
}

pub(super) async fn alter_configs(
    backend: &impl Backend,
    request: v1::AlterTopicConfigsRequest,
) -> Result<v1::AlterTopicConfigsResponse, Status> {
    let mut changes: Vec<_> = request.set.into_iter().map(|(name, value)| (name, Some(value))).collect();
    changes.extend(request.unset.into_iter().map(|name| (name, None)));
    changes.sort_unstable();
    if let Some(pair) = changes.windows(2).find(|pair| pair[0].0 == pair[1].0) {
        return Err(Status::invalid("unset", format!("{} is there twice, or to be set as well", pair[0].0)));
    }
    let name = named(request.name)?;
    let topic = backend.alter_topic_configs(&name, changes, request.validate_only).await;
    Ok(v1::AlterTopicConfigsResponse { topic: Some(topic_message(topic.map_err(name_field)?)) })
}

pub(super) async fn add_partitions(
    backend: &impl Backend,
    request: v1::AddPartitionsRequest,
) -> Result<v1::AddPartitionsResponse, Status> {
    let name = named(request.name)?;
    let topic = backend.add_partitions(&name, request.partition_count, request.validate_only).await;
    Ok(v1::AddPartitionsResponse { topic: Some(topic_message(topic.map_err(name_field)?)) })
}

pub(super) async fn delete_records(
    backend: &impl Backend,
    request: v1::DeleteRecordsRequest,
) -> Result<v1::DeleteRecordsResponse, Status> {
    if let Some(offset) = request.before_offset.filter(|offset| *offset < 0) {
        return Err(Status::invalid(
            "before_offset",
            format!("is {offset}; leave it out to delete everything"),
        ));
    }
    let name = named(request.name)?;
    let log_start_offset = backend.delete_records(&name, request.partition, request.before_offset).await?;
    Ok(v1::DeleteRecordsResponse { log_start_offset })
}

fn named(name: String) -> Result<String, Status> {
    if name.is_empty() { Err(Status::invalid("name", "must not be empty")) } else { Ok(name) }
}

/// The status of a topic that could not be created or changed, with the field that the error is about.
fn name_field(error: Error) -> Status {
    let field = match error.code {
        ErrorCode::InvalidTopicException => "name",
        ErrorCode::InvalidPartitions => "partition_count",
        ErrorCode::InvalidReplicationFactor => "replication_factor",
        ErrorCode::InvalidConfig => "configs",
        _ => return error.into(),
    };
    let mut status = Status::from(error);
    status.violations.push(Violation { field: field.into(), description: status.message.clone() });
    status
}

pub(super) async fn delete(
    backend: &impl Backend,
    request: v1::DeleteTopicRequest,
) -> Result<v1::DeleteTopicResponse, Status> {
    use v1::delete_topic_request::Topic;
    let topic = match request.topic {
        Some(Topic::Name(name)) => by_name(name)?,
        Some(Topic::TopicId(id)) => by_id(&id)?,
        None => return Err(neither()),
    };
    let (name, id) = backend.delete_topic(topic).await?;
    Ok(v1::DeleteTopicResponse { name, topic_id: encode_uuid(id) })
}

pub(super) fn list(
    backend: &impl Backend,
    request: v1::ListTopicsRequest,
) -> Result<v1::ListTopicsResponse, Status> {
    let page = page_of(request.page_size)?;
    // The token is the last name of the page before it; one more than the page tells whether there is another.
    let mut topics = backend.list_topics(&request.page_token, page + 1, request.include_internal);
    let more = topics.len() > page;
    topics.truncate(page);
    let next_page_token = topics.last().filter(|_| more).map_or_else(String::new, |last| last.name.clone());
    let topics = topics.into_iter().map(|topic| v1::TopicSummary {
        name: topic.name,
        topic_id: encode_uuid(topic.id),
        partition_count: topic.partitions,
        internal: topic.internal,
    });
    Ok(v1::ListTopicsResponse { topics: topics.collect(), next_page_token })
}

pub(super) async fn describe(
    backend: &impl Backend,
    request: v1::DescribeTopicRequest,
) -> Result<v1::DescribeTopicResponse, Status> {
    use v1::describe_topic_request::Topic;
    let topic = match request.topic {
        Some(Topic::Name(name)) => by_name(name)?,
        Some(Topic::TopicId(id)) => by_id(&id)?,
        None => return Err(neither()),
    };
    let topic = backend.describe_topic(&topic).ok_or_else(|| unknown(&topic))?;
    let mut message = topic_message(topic);
    if request.include_offsets {
        for partition in &mut message.partitions {
            let of = |position| backend.list_offset(&message.name, partition.partition, position);
            let (start, end) = join(of(Position::Beginning), of(Position::End)).await;
            partition.log_start_offset = start.ok();
            partition.high_watermark = end.ok();
        }
    }
    Ok(v1::DescribeTopicResponse { topic: Some(message) })
}

fn by_name(name: String) -> Result<TopicRef, Status> {
    named(name).map(TopicRef::Name)
}

fn by_id(text: &str) -> Result<TopicRef, Status> {
    decode_uuid(text).map(TopicRef::Id).ok_or_else(|| {
        Status::invalid("topic_id", format!("{text:?} is not a topic id: 22 characters of URL-safe base64"))
    })
}

fn neither() -> Status {
    Status::invalid("topic", "give a `name` or a `topic_id`")
}

fn unknown(topic: &TopicRef) -> Status {
    match topic {
        TopicRef::Name(name) => {
            Error::new(ErrorCode::UnknownTopicOrPartition, format!("there is no topic {name:?}")).into()
        }
        TopicRef::Id(id) => {
            Error::new(ErrorCode::UnknownTopicId, format!("there is no topic with id {}", encode_uuid(*id)))
                .into()
        }
    }
}

fn topic_message(topic: Topic) -> v1::Topic {
    v1::Topic {
        name: topic.name,
        topic_id: topic.id.map_or_else(String::new, encode_uuid),
        internal: topic.internal,
        partition_count: topic.partition_count,
        replication_factor: topic.replication_factor,
        partitions: topic.partitions.into_iter().map(partition_message).collect(),
        configs: topic.configs.into_iter().collect(),
    }
}

fn partition_message(partition: Partition) -> v1::Partition {
    v1::Partition {
        partition: partition.index,
        leader: partition.leader,
        leader_epoch: partition.leader_epoch,
        replicas: partition.replicas,
        in_sync_replicas: partition.in_sync_replicas,
        log_start_offset: None,
        high_watermark: None,
    }
}
