//! DescribeLogDirs (35), versions 1-5: the broker's log directory, the volume that it is on, and the size of each partition in it.
//!
//! Partitions that are asked for and are not here are left out, as in Kafka.

use super::{Call, partition_id};
use crate::shard::metadata::METADATA_TOPIC;
use crate::shard::partition_driver::PartitionId;
use millrace_io::Io;
use millrace_proto::kafka::error::ErrorCode;
use millrace_proto::kafka::messages::describe_log_dirs::{
    DescribeLogDirsPartition, DescribeLogDirsRequest, DescribeLogDirsResponse, DescribeLogDirsResult,
    DescribeLogDirsTopic,
};
use std::collections::{BTreeMap, BTreeSet};

pub(super) async fn handle<I: Io>(call: Call<I>, request: DescribeLogDirsRequest<'_>) {
    let image = call.shard.image();
    let asked: BTreeSet<(&str, i32)> = match &request.topics {
        None => image
            .topics()
            .flat_map(|topic| (0..topic.partitions.len() as i32).map(|partition| (&*topic.name, partition)))
            .collect(),
        Some(topics) => topics
            .iter()
            .flat_map(|topic| topic.partitions.iter().map(|partition| (topic.topic, *partition)))
            .collect(),
    };
    let known: Vec<((&str, i32), PartitionId)> = asked
        .iter()
        .filter_map(|(topic, partition)| {
            partition_id(&image, topic, *partition).map(|id| ((*topic, *partition), id))
        })
        .collect();
    let sizes = call.shard.sizes(known.iter().map(|(_, id)| *id).collect()).await;
    let mut by_topic: BTreeMap<&str, Vec<DescribeLogDirsPartition>> = BTreeMap::new();
    for (((topic, partition_index), _), size) in known.into_iter().zip(sizes) {
        let Ok(size) = size else { continue };
        let partition_size = i64::try_from(size).unwrap_or(i64::MAX);
        let partition = DescribeLogDirsPartition { partition_index, partition_size, ..Default::default() };
        by_topic.entry(topic).or_default().push(partition);
    }
    let topics = by_topic.into_iter().map(|(name, partitions)| DescribeLogDirsTopic { name, partitions });
    let dir = &call.shard.config().data_dir;
    let space = call.shard.io().space(dir).await.ok();
    let bytes = |bytes: Option<u64>| bytes.map_or(-1, |bytes| i64::try_from(bytes).unwrap_or(i64::MAX));
    let shown = dir.display().to_string();
    let response = DescribeLogDirsResponse {
        error_code: ErrorCode::None,
        results: vec![DescribeLogDirsResult {
            log_dir: &shown,
            topics: topics.filter(|topic| topic.name != METADATA_TOPIC).collect(),
            total_bytes: bytes(space.map(|space| space.total)),
            usable_bytes: bytes(space.map(|space| space.usable)),
            ..Default::default()
        }],
        ..Default::default()
    };
    call.answer(&response);
}
