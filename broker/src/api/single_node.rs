//! What a cluster of one node answers to those who ask about more: AlterReplicaLogDirs (34), ElectLeaders (43),
//! AlterPartitionReassignments (45), ListPartitionReassignments (46), DescribeQuorum (55), UpdateFeatures (57) and ListConfigResources (74).

use super::{Call, partition_id};
use crate::config::FINALIZED_FEATURES;
use crate::shard::metadata::{Directories, METADATA_TOPIC};
use millrace_io::Io;
use millrace_logic::meta::ResourceKind;
use millrace_proto::kafka::error::ErrorCode;
use millrace_proto::kafka::messages::alter_partition_reassignments::{
    AlterPartitionReassignmentsRequest, AlterPartitionReassignmentsResponse, ReassignablePartition,
    ReassignablePartitionResponse, ReassignableTopicResponse,
};
use millrace_proto::kafka::messages::alter_replica_log_dirs::{
    AlterReplicaLogDirPartitionResult, AlterReplicaLogDirTopicResult, AlterReplicaLogDirsRequest,
    AlterReplicaLogDirsResponse,
};
use millrace_proto::kafka::messages::describe_quorum::{
    DescribeQuorumRequest, DescribeQuorumResponse, QuorumPartition, QuorumTopic, ReplicaState,
};
use millrace_proto::kafka::messages::elect_leaders::{
    ElectLeadersRequest, ElectLeadersResponse, PartitionResult, ReplicaElectionResult, TopicPartitions,
    election_type,
};
use millrace_proto::kafka::messages::list_config_resources::{
    ListConfigResourcesRequest, ListConfigResourcesResponse, ListedConfigResource,
};
use millrace_proto::kafka::messages::list_partition_reassignments::{
    ListPartitionReassignmentsRequest, ListPartitionReassignmentsResponse,
};
use millrace_proto::kafka::messages::update_features::{
    FeatureUpdateKey, UpdatableFeatureResult, UpdateFeaturesRequest, UpdateFeaturesResponse, upgrade_type,
};
use std::collections::BTreeSet;
use std::path::Path;

/// AlterReplicaLogDirs: a log that is in that directory stays there. To another one it moves only while the broker is down, by hand.
pub(super) async fn alter_replica_log_dirs<I: Io>(call: Call<I>, request: AlterReplicaLogDirsRequest<'_>) {
    let image = call.shard.image();
    let Directories { in_use, offline } = call.shard.directories();
    let node = call.shard.config().node_id;
    let mut results: Vec<AlterReplicaLogDirTopicResult<'_>> = Vec::new();
    for dir in &request.dirs {
        let wanted = in_use.iter().find(|known| known.path == Path::new(dir.path));
        let is_offline = offline.iter().any(|known| known.path == Path::new(dir.path));
        for topic in &dir.topics {
            let state =
                |partition: i32| image.topic(topic.name)?.partitions.get(usize::try_from(partition).ok()?);
            let partitions = topic.partitions.iter().map(|&partition_index| {
                let code = match (wanted, state(partition_index)) {
                    (None, _) if is_offline => ErrorCode::KafkaStorageError,
                    (None, _) => ErrorCode::LogDirNotFound,
                    (Some(_), None) => ErrorCode::UnknownTopicOrPartition,
                    (Some(wanted), Some(state)) if state.directory(node) == Some(wanted.id) => {
                        ErrorCode::None
                    }
                    (Some(_), Some(_)) => ErrorCode::InvalidRequest,
                };
                AlterReplicaLogDirPartitionResult { partition_index, error_code: call.error(code) }
            });
            let partitions = partitions.collect();
            results.push(AlterReplicaLogDirTopicResult { topic_name: topic.name, partitions });
        }
    }
    call.answer(&AlterReplicaLogDirsResponse { results, ..Default::default() });
}

/// ElectLeaders: the one replica of each partition leads it, and is the preferred one.
pub(super) async fn elect_leaders<I: Io>(call: Call<I>, request: ElectLeadersRequest<'_>) {
    let image = call.shard.image();
    if !(election_type::PREFERRED..=election_type::UNCLEAN).contains(&request.election_type) {
        return call.close(&format_args!("election type {} does not exist", request.election_type));
    }
    // Asked for all of them, only partitions that get another leader are listed: none, of every topic.
    let every = || image.topics().map(|topic| TopicPartitions { topic: &topic.name, partitions: Vec::new() });
    let asked = request.topic_partitions.unwrap_or_else(|| every().collect());
    let results = asked.iter().map(|topic| {
        let partition_result = topic.partitions.iter().map(|&partition_id| {
            let (code, message) = match self::partition_id(&image, topic.topic, partition_id) {
                None => {
                    (ErrorCode::UnknownTopicOrPartition, "No such topic as this, or no such partition in it.")
                }
                Some(_) => (ErrorCode::ElectionNotNeeded, "Leader election not needed for topic partition."),
            };
            PartitionResult { partition_id, error_code: call.error(code), error_message: Some(message) }
        });
        ReplicaElectionResult { topic: topic.topic, partition_result: partition_result.collect() }
    });
    let replica_election_results = results.collect();
    call.answer(&ElectLeadersResponse { replica_election_results, ..Default::default() });
}

/// AlterPartitionReassignments: every replica is where it can only be, so that to put it there is no change.
pub(super) async fn reassign<I: Io>(call: Call<I>, request: AlterPartitionReassignmentsRequest<'_>) {
    let (image, node) = (call.shard.image(), call.shard.config().node_id);
    let one = |topic: &str, wanted: &ReassignablePartition| match &wanted.replicas {
        _ if partition_id(&image, topic, wanted.partition_index).is_none() => {
            (ErrorCode::UnknownTopicOrPartition, Some("This server does not host this topic-partition."))
        }
        None => (ErrorCode::NoReassignmentInProgress, Some("No partition reassignment is in progress.")),
        Some(replicas) if *replicas == [node] => (ErrorCode::None, None),
        Some(_) => (
            ErrorCode::InvalidReplicaAssignment,
            Some("Replica assignment names a broker that is not in the cluster, or none: there is one node."),
        ),
    };
    let responses = request.topics.iter().map(|topic| ReassignableTopicResponse {
        name: topic.name,
        partitions: topic
            .partitions
            .iter()
            .map(|wanted| {
                let (code, error_message) = one(topic.name, wanted);
                let (partition_index, error_code) = (wanted.partition_index, call.error(code));
                ReassignablePartitionResponse { partition_index, error_code, error_message }
            })
            .collect(),
    });
    let response = AlterPartitionReassignmentsResponse {
        allow_replication_factor_change: request.allow_replication_factor_change,
        responses: responses.collect(),
        ..Default::default()
    };
    call.answer(&response);
}

/// ListPartitionReassignments: none is ever under way.
pub(super) async fn list_reassignments<I: Io>(call: Call<I>, _: ListPartitionReassignmentsRequest<'_>) {
    call.answer(&ListPartitionReassignmentsResponse::default());
}

/// DescribeQuorum: one voter, which leads and has everything.
pub(super) async fn describe_quorum<I: Io>(call: Call<I>, request: DescribeQuorumRequest<'_>) {
    let asked = |topic: &str, partition: i32| topic == METADATA_TOPIC && partition == 0;
    let right = request.topics.len() == 1
        && request.topics[0].partitions.len() == 1
        && asked(request.topics[0].topic_name, request.topics[0].partitions[0].partition_index);
    if !right {
        let topics = request.topics.iter().map(|topic| {
            let partitions = topic.partitions.iter().map(|partition| QuorumPartition {
                partition_index: partition.partition_index,
                error_code: call.error(ErrorCode::UnknownTopicOrPartition),
                ..Default::default()
            });
            QuorumTopic { topic_name: topic.topic_name, partitions: partitions.collect() }
        });
        let topics = topics.collect();
        return call.answer(&DescribeQuorumResponse { topics, ..Default::default() });
    }
    let node_id = call.shard.config().node_id;
    let now = call.shard.io().wall_clock();
    let end = call.shard.image().end().get();
    let voter = ReplicaState {
        replica_id: node_id,
        log_end_offset: end,
        last_fetch_timestamp: now,
        last_caught_up_timestamp: now,
        ..Default::default()
    };
    let partition = QuorumPartition {
        leader_id: node_id,
        high_watermark: end,
        current_voters: vec![voter],
        ..Default::default()
    };
    let topics = vec![QuorumTopic { topic_name: METADATA_TOPIC, partitions: vec![partition] }];
    call.answer(&DescribeQuorumResponse { topics, ..Default::default() });
}

/// UpdateFeatures: the one feature is at its one level; to ask for that is no change, anything else is refused.
pub(super) async fn update_features<I: Io>(call: Call<I>, request: UpdateFeaturesRequest<'_>) {
    let refused = request.feature_updates.iter().find_map(|update| refusal(update, call.version));
    let message = refused.map(|why| {
        format!("The update failed for all features since the following feature had an error: {why}")
    });
    // Before version 2 each feature has a result of its own, and all of them the same when one is refused.
    let error = if message.is_some() { ErrorCode::InvalidUpdateVersion } else { ErrorCode::None };
    let top = if call.version >= 2 { error } else { ErrorCode::None };
    let results = request.feature_updates.iter().map(|update| UpdatableFeatureResult {
        feature: update.feature,
        error_code: error,
        error_message: message.as_deref(),
    });
    let response = UpdateFeaturesResponse {
        error_code: call.error(top),
        error_message: message.as_deref().filter(|_| top != ErrorCode::None),
        results: results.collect(),
        ..Default::default()
    };
    call.answer(&response);
}

/// Why a feature cannot have this level.
fn refusal(update: &FeatureUpdateKey<'_>, version: i16) -> Option<String> {
    let FeatureUpdateKey { feature, max_version_level: level, .. } = *update;
    let Some((_, only)) = FINALIZED_FEATURES.iter().find(|(name, _)| *name == feature) else {
        return Some(format!(
            "Invalid update version {level} for feature {feature}. The controller does not support the given feature."
        ));
    };
    let lower = level < *only;
    let downgrade = match version {
        0 => update.allow_downgrade,
        _ => update.upgrade_type != upgrade_type::UPGRADE,
    };
    match level {
        _ if level == *only => None,
        _ if lower && !downgrade => Some(format!(
            "Invalid update version {level} for feature {feature}. Can't downgrade the version of this feature without \
             setting the upgrade type to either safe or unsafe downgrade."
        )),
        _ => Some(format!("Invalid update version {level} for feature {feature}. Only {only} is supported.")),
    }
}

/// ListConfigResources: topics, brokers, and whatever else has settings of its own.
pub(super) async fn list_config_resources<I: Io>(call: Call<I>, request: ListConfigResourcesRequest) {
    const SERVED: [ResourceKind; 3] = [ResourceKind::Topic, ResourceKind::Broker, ResourceKind::BrokerLogger];
    const KNOWN: [ResourceKind; 2] = [ResourceKind::ClientMetrics, ResourceKind::Group];
    let asked: BTreeSet<i8> = match (call.version, request.resource_types.is_empty()) {
        (0, _) => [ResourceKind::ClientMetrics.to_wire()].into(),
        (_, true) => SERVED.iter().chain(&KNOWN).map(|kind| kind.to_wire()).collect(),
        (_, false) => request.resource_types.iter().copied().collect(),
    };
    if asked.iter().any(|kind| ResourceKind::from_wire(*kind).is_none()) {
        let error_code = call.error(ErrorCode::UnsupportedVersion);
        return call.answer(&ListConfigResourcesResponse { error_code, ..Default::default() });
    }
    let image = call.shard.image();
    let brokers: Vec<String> = image.brokers().map(|broker| broker.broker.to_string()).collect();
    let mut config_resources = Vec::new();
    for resource_type in asked {
        let mut list =
            |resource_name| config_resources.push(ListedConfigResource { resource_name, resource_type });
        match ResourceKind::from_wire(resource_type) {
            Some(ResourceKind::Topic) => image.topics().for_each(|topic| list(&topic.name)),
            Some(ResourceKind::Broker | ResourceKind::BrokerLogger) => {
                brokers.iter().for_each(|broker| list(broker))
            }
            Some(ResourceKind::Group) => image.group_configs().for_each(|(group, _)| list(group)),
            // Subscriptions to clients' metrics have no settings yet.
            _ => {}
        }
    }
    call.answer(&ListConfigResourcesResponse { config_resources, ..Default::default() });
}
