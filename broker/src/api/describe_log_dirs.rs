//! DescribeLogDirs (35), versions 1-5: the broker's log directories, the volumes that they are on, and the size of each partition in them.
//!
//! Partitions that are asked for and are not here are left out, as in Kafka; a directory that is offline has an error instead.

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
use uuid::Uuid;

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
    let directories = call.shard.directories();
    let mut by_directory: BTreeMap<Uuid, BTreeMap<&str, Vec<DescribeLogDirsPartition>>> = BTreeMap::new();
    for (((topic, partition_index), id), size) in known.into_iter().zip(sizes) {
        let Ok(size) = size else { continue };
        let state = image.topic_by_id(id.topic).and_then(|topic| topic.partitions.get(id.partition as usize));
        let assigned = state.and_then(|state| state.directory(call.shard.config().node_id));
        let Some(directory) = assigned.or(directories.in_use.first().map(|first| first.id)) else { continue };
        let partition_size = i64::try_from(size).unwrap_or(i64::MAX);
        let partition = DescribeLogDirsPartition { partition_index, partition_size, ..Default::default() };
        by_directory.entry(directory).or_default().entry(topic).or_default().push(partition);
    }
    let bytes = |bytes: Option<u64>| bytes.map_or(-1, |bytes| i64::try_from(bytes).unwrap_or(i64::MAX));
    let names: Vec<String> =
        directories.in_use.iter().map(|known| known.path.display().to_string()).collect();
    let mut results = Vec::new();
    for (known, log_dir) in directories.in_use.iter().zip(&names) {
        let space = call.shard.io().space(&known.path).await.ok();
        let held = by_directory.remove(&known.id).unwrap_or_default().into_iter();
        let topics = held.map(|(name, partitions)| DescribeLogDirsTopic { name, partitions });
        results.push(DescribeLogDirsResult {
            log_dir,
            topics: topics.filter(|topic| topic.name != METADATA_TOPIC).collect(),
            total_bytes: bytes(space.map(|space| space.total)),
            usable_bytes: bytes(space.map(|space| space.usable)),
            ..Default::default()
        });
    }
    let offline: Vec<String> = directories.offline.iter().map(|it| it.path.display().to_string()).collect();
    results.extend(offline.iter().map(|log_dir| DescribeLogDirsResult {
        error_code: call.error(ErrorCode::KafkaStorageError),
        log_dir,
        total_bytes: -1,
        usable_bytes: -1,
        ..Default::default()
    }));
    call.answer(&DescribeLogDirsResponse { error_code: ErrorCode::None, results, ..Default::default() });
}
