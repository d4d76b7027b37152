//! OffsetForLeaderEpoch (23), versions 2-4: where a leader epoch ended, for clients that check their history (KIP-320).
//!
//! Per partition: UNKNOWN_TOPIC_OR_PARTITION, FENCED_LEADER_EPOCH, UNKNOWN_LEADER_EPOCH. An epoch that the log has nothing of
//! is no error: epoch and offset are -1.

use super::errors::WireError;
use super::{Call, partition_id};
use crate::shard::calls::EpochEndPart;
use millrace_io::Io;
use millrace_logic::partition::LeaderEpoch;
use millrace_proto::kafka::error::ErrorCode;
use millrace_proto::kafka::messages::offset_for_leader_epoch::{
    EpochEndOffset, OffsetForLeaderEpochRequest, OffsetForLeaderEpochResponse, OffsetForLeaderTopicResult,
};

pub(super) async fn handle<I: Io>(call: Call<I>, request: OffsetForLeaderEpochRequest<'_>) {
    let image = call.shard.image();
    let mut asked = Vec::new();
    let mut topics = Vec::with_capacity(request.topics.len());
    for topic in &request.topics {
        let mut partitions = Vec::with_capacity(topic.partitions.len());
        for partition in &topic.partitions {
            let mut answer = EpochEndOffset { partition: partition.partition, ..EpochEndOffset::default() };
            let current = LeaderEpoch::from_wire(partition.current_leader_epoch);
            let id = partition_id(&image, topic.topic, partition.partition);
            match (id, LeaderEpoch::from_wire(partition.leader_epoch)) {
                (Some(id), Some(epoch)) => asked.push(EpochEndPart { id, epoch, current }),
                // No record has an epoch below 0; what is wrong with the partition is told all the same.
                (Some(id), None) => asked.push(EpochEndPart { id, epoch: LeaderEpoch::new(-1), current }),
                (None, _) => answer.error_code = call.error(ErrorCode::UnknownTopicOrPartition),
            }
            partitions.push(answer);
        }
        topics.push(OffsetForLeaderTopicResult { topic: topic.topic, partitions });
    }
    let mut found = call.shard.epoch_ends(asked).await.into_iter();
    let all = topics.iter_mut().flat_map(|topic| &mut topic.partitions);
    for answer in all.filter(|answer| answer.error_code == ErrorCode::None) {
        match found.next() {
            Some(Ok(Some(end))) => {
                (answer.leader_epoch, answer.end_offset) = (end.epoch.get(), end.end.get())
            }
            Some(Ok(None)) => {}
            Some(Err(failure)) => answer.error_code = call.error(failure.code()),
            None => answer.error_code = call.error(ErrorCode::UnknownServerError),
        }
    }
    call.answer(&OffsetForLeaderEpochResponse { topics, ..Default::default() });
}
