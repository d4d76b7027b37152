//! DeleteRecords (21), versions 0-2: moves the starts of logs.
//!
//! Answered when the new start would survive a crash; files go a little later. An offset below the start changes nothing; one
//! above the high watermark is OFFSET_OUT_OF_RANGE. Without `delete` in `cleanup.policy`: POLICY_VIOLATION. Topics that the
//! broker keeps for itself: INVALID_TOPIC_EXCEPTION.

use super::errors::WireError;
use super::{Call, partition_id};
use millrace_io::Io;
use millrace_logic::meta::names::is_internal;
use millrace_proto::kafka::error::ErrorCode;
use millrace_proto::kafka::messages::delete_records::{
    DeleteRecordsPartitionResult, DeleteRecordsRequest, DeleteRecordsResponse, DeleteRecordsTopicResult,
};

pub(super) async fn handle<I: Io>(call: Call<I>, request: DeleteRecordsRequest<'_>) {
    let image = call.shard.image();
    let mut asked = Vec::new();
    let mut topics = Vec::with_capacity(request.topics.len());
    for topic in &request.topics {
        let mut partitions = Vec::with_capacity(topic.partitions.len());
        for partition in &topic.partitions {
            let mut answer = DeleteRecordsPartitionResult {
                partition_index: partition.partition_index,
                low_watermark: -1,
                ..DeleteRecordsPartitionResult::default()
            };
            match partition_id(&image, topic.name, partition.partition_index) {
                _ if is_internal(topic.name) => {
                    answer.error_code = call.error(ErrorCode::InvalidTopicException);
                }
                Some(id) => asked.push((id, partition.offset)),
                None => answer.error_code = call.error(ErrorCode::UnknownTopicOrPartition),
            }
            partitions.push(answer);
        }
        topics.push(DeleteRecordsTopicResult { name: topic.name, partitions });
    }
    let mut deleted = call.shard.delete_records(asked).await.into_iter();
    let all = topics.iter_mut().flat_map(|topic| &mut topic.partitions);
    for answer in all.filter(|answer| answer.error_code == ErrorCode::None) {
        match deleted.next() {
            Some(Ok(start)) => answer.low_watermark = start,
            Some(Err(failure)) => answer.error_code = call.error(failure.code()),
            None => answer.error_code = call.error(ErrorCode::UnknownServerError),
        }
    }
    call.answer(&DeleteRecordsResponse { topics, ..Default::default() });
}
