//! Metadata (3), versions 0-13: brokers, topics, and who leads which partition.
//!
//! A topic that does not exist is created on first use when the broker has `auto.create.topics.enable` and the request
//! allows it (always before version 4), and is then answered as it is. Otherwise UNKNOWN_TOPIC_OR_PARTITION, or
//! INVALID_TOPIC_EXCEPTION for a name that no topic can have. From version 12 topics may be asked for by id. No topics
//! at all: null (in version 0 an empty list) asks for every topic, an empty list for none.

use super::errors::WireError;
use super::{Call, operations};
use crate::config::Config;
use crate::shard::wishes::TopicWish;
use millrace_io::Io;
use millrace_logic::meta::names::{CONSUMER_OFFSETS_TOPIC, is_internal};
use millrace_logic::meta::{Broker, Image, PartitionState, Topic, check_topic_name};
use millrace_proto::kafka::error::ErrorCode;
use millrace_proto::kafka::messages::metadata::{
    MetadataRequest, MetadataRequestTopic, MetadataResponse, MetadataResponseBroker,
    MetadataResponsePartition, MetadataResponseTopic,
};
use std::collections::{BTreeMap, BTreeSet};

/// From this version on topics may be asked for by id.
const BY_ID: i16 = 12;

pub(super) async fn handle<I: Io>(call: Call<I>, request: MetadataRequest<'_>) {
    let all = match &request.topics {
        None => true,
        Some(topics) => topics.is_empty() && call.version == 0,
    };
    let mut wanted = request.topics.unwrap_or_default();
    // An id counts whatever the name: Java's client sends an empty one beside it.
    wanted.iter_mut().filter(|topic| !topic.topic_id.is_nil()).for_each(|topic| topic.name = None);
    let by_id = |topic: &MetadataRequestTopic<'_>| topic.name.is_none();
    if call.version < BY_ID && wanted.iter().any(by_id) {
        return call.close(&"topics without a name are asked for from version 12 on only");
    }
    let mut failures = BTreeMap::new();
    if request.allow_auto_topic_creation && call.shard.config().auto_create_topics {
        let missing = missing(call.shard.config(), &call.shard.image(), &wanted);
        if !missing.is_empty() {
            failures = create(&call, missing).await;
        }
    }
    let image = call.shard.image();
    let mut named = BTreeSet::new();
    let may = operations::if_asked(request.include_topic_authorized_operations, operations::TOPIC);
    let topics = match all {
        true => image.topics().map(|topic| found(topic, may)).collect(),
        // A topic that is named twice is answered once, as in Kafka.
        false => wanted
            .iter()
            .filter(|topic| named.insert((topic.name, topic.topic_id)))
            .map(|topic| answer(&call, &image, topic, &failures, may))
            .collect(),
    };
    let cluster_id = call.shard.cluster_id().clone();
    let response = MetadataResponse {
        brokers: image
            .brokers()
            .filter(|broker| !broker.fenced)
            .filter_map(|broker| listed(broker))
            .collect(),
        cluster_id: Some(&cluster_id),
        controller_id: call.shard.config().node_id,
        cluster_authorized_operations: operations::if_asked(
            request.include_cluster_authorized_operations,
            operations::CLUSTER,
        ),
        topics,
        ..MetadataResponse::default()
    };
    call.answer(&response);
}

/// Names that could be topics and are not.
fn missing(config: &Config, image: &Image, wanted: &[MetadataRequestTopic<'_>]) -> Vec<TopicWish> {
    let names: BTreeSet<_> = wanted.iter().filter_map(|topic| topic.name).collect();
    let missing =
        names.into_iter().filter(|name| image.topic(name).is_none() && check_topic_name(name).is_ok());
    let wish = |name: &str| match name {
        CONSUMER_OFFSETS_TOPIC => config.groups.topic(),
        name => TopicWish::with_defaults(name),
    };
    missing.map(wish).collect()
}

/// Creates topics on their first use. What could not be created comes back with the reason.
async fn create<I: Io>(call: &Call<I>, topics: Vec<TopicWish>) -> BTreeMap<String, ErrorCode> {
    let names: Vec<_> = topics.iter().map(|topic| topic.name.clone()).collect();
    match call.shard.create_topics(topics, false).await {
        Ok(created) => created
            .into_iter()
            .filter_map(|topic| match topic.outcome {
                Ok(_) => {
                    tracing::info!(topic = topic.name, "topic created on first use");
                    None
                }
                Err(error) => match error.code() {
                    // Somebody else was faster.
                    ErrorCode::TopicAlreadyExists => None,
                    code => Some((topic.name, code)),
                },
            })
            .collect(),
        Err(failure) => names.into_iter().map(|name| (name, failure.code())).collect(),
    }
}

fn answer<'a, I: Io>(
    call: &Call<I>,
    image: &'a Image,
    wanted: &MetadataRequestTopic<'a>,
    failures: &BTreeMap<String, ErrorCode>,
    may: i32,
) -> MetadataResponseTopic<'a> {
    let known = match wanted.name {
        Some(name) => image.topic(name),
        None => image.topic_by_id(wanted.topic_id),
    };
    if let Some(topic) = known {
        return found(topic, may);
    }
    let code = match wanted.name {
        None => ErrorCode::UnknownTopicId,
        Some(name) => failures.get(name).copied().unwrap_or_else(|| unknown_topic(name)),
    };
    MetadataResponseTopic {
        error_code: call.error(code),
        name: wanted.name,
        topic_id: wanted.topic_id,
        ..MetadataResponseTopic::default()
    }
}

/// What is said of a topic that does not exist.
pub(super) fn unknown_topic(name: &str) -> ErrorCode {
    match check_topic_name(name) {
        Ok(()) => ErrorCode::UnknownTopicOrPartition,
        Err(_) => ErrorCode::InvalidTopicException,
    }
}

/// A topic, and what the client may do with it, if it asked.
fn found(topic: &Topic, may: i32) -> MetadataResponseTopic<'_> {
    MetadataResponseTopic {
        error_code: ErrorCode::None,
        name: Some(&topic.name),
        topic_id: topic.id,
        is_internal: is_internal(&topic.name),
        partitions: (0..).zip(&topic.partitions).map(|(index, state)| partition(index, state)).collect(),
        topic_authorized_operations: may,
    }
}

fn partition(partition_index: i32, state: &PartitionState) -> MetadataResponsePartition {
    MetadataResponsePartition {
        error_code: if state.leader.is_some() { ErrorCode::None } else { ErrorCode::LeaderNotAvailable },
        partition_index,
        leader_id: state.leader.unwrap_or(-1),
        leader_epoch: state.leader_epoch,
        replica_nodes: state.replicas.clone(),
        isr_nodes: state.isr.clone(),
        offline_replicas: Vec::new(),
    }
}

fn listed(broker: &Broker) -> Option<MetadataResponseBroker<'_>> {
    let endpoint = broker.endpoints.first()?;
    Some(MetadataResponseBroker {
        node_id: broker.broker,
        host: &endpoint.host,
        port: endpoint.port.into(),
        rack: broker.rack.as_deref(),
    })
}
