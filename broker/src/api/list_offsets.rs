//! ListOffsets (2), versions 1-11: places in logs, by sentinel or by time.
//!
//! Sentinels by version: -1 latest and -2 earliest always; -3 max timestamp from 7, -4 earliest local from 8, -5 latest
//! tiered from 9, -6 earliest pending upload from 11. An older version that asks for one gets UNSUPPORTED_VERSION. A
//! time that no record has reached is no error: offset and timestamp are -1. Partitions named twice: INVALID_REQUEST.

use super::errors::WireError;
use super::{Call, partition_id};
use crate::shard::calls::ListOffsetsPart;
use millrace_io::Io;
use millrace_logic::partition::{Isolation, LeaderEpoch, OffsetSpec};
use millrace_proto::kafka::error::ErrorCode;
use millrace_proto::kafka::messages::list_offsets::{
    ListOffsetsPartition, ListOffsetsPartitionResponse, ListOffsetsRequest, ListOffsetsResponse,
    ListOffsetsTopicResponse,
};
use std::collections::BTreeMap;

pub(super) async fn handle<I: Io>(call: Call<I>, request: ListOffsetsRequest<'_>) {
    let Some(isolation) = Isolation::from_wire(request.isolation_level) else {
        return call.close(&format_args!("isolation level {} is not 0 or 1", request.isolation_level));
    };
    let image = call.shard.image();
    let mut times_named: BTreeMap<(&str, i32), u32> = BTreeMap::new();
    for topic in &request.topics {
        topic
            .partitions
            .iter()
            .for_each(|p| *times_named.entry((topic.name, p.partition_index)).or_default() += 1);
    }
    let mut asked = Vec::new();
    let mut topics: Vec<_> = Vec::with_capacity(request.topics.len());
    for topic in &request.topics {
        let decide = |partition: &ListOffsetsPartition| {
            let spec = spec(partition.timestamp, call.version)?;
            if times_named[&(topic.name, partition.partition_index)] > 1 {
                return Err(ErrorCode::InvalidRequest);
            }
            let id = partition_id(&image, topic.name, partition.partition_index);
            let id = id.ok_or(ErrorCode::UnknownTopicOrPartition)?;
            Ok(ListOffsetsPart { id, spec, epoch: LeaderEpoch::from_wire(partition.current_leader_epoch) })
        };
        let mut partitions = Vec::with_capacity(topic.partitions.len());
        for partition in &topic.partitions {
            let mut answer = ListOffsetsPartitionResponse {
                partition_index: partition.partition_index,
                ..ListOffsetsPartitionResponse::default()
            };
            match decide(partition) {
                Ok(part) => asked.push(part),
                Err(code) => answer.error_code = call.error(code),
            }
            partitions.push(answer);
        }
        topics.push(ListOffsetsTopicResponse { name: topic.name, partitions });
    }
    let mut found = call.shard.list_offsets(asked, isolation).await.into_iter();
    let waiting =
        topics.iter_mut().flat_map(|t| &mut t.partitions).filter(|p| p.error_code == ErrorCode::None);
    for answer in waiting {
        match found.next() {
            Some(Ok(listed)) => {
                (answer.offset, answer.timestamp) = (listed.offset, listed.timestamp);
                answer.leader_epoch = listed.leader_epoch;
            }
            Some(Err(failure)) => {
                let code = match failure.code() {
                    ErrorCode::OffsetNotAvailable if call.version < 5 => ErrorCode::LeaderNotAvailable,
                    code => code,
                };
                answer.error_code = call.error(code);
            }
            None => answer.error_code = ErrorCode::UnknownServerError,
        }
    }
    call.answer(&ListOffsetsResponse { topics, ..ListOffsetsResponse::default() });
}

fn spec(timestamp: i64, version: i16) -> Result<OffsetSpec, ErrorCode> {
    let spec = OffsetSpec::from_wire(timestamp).ok_or(ErrorCode::UnsupportedVersion)?;
    let since = match spec {
        OffsetSpec::Latest | OffsetSpec::Earliest | OffsetSpec::At(_) => 1,
        OffsetSpec::MaxTimestamp => 7,
        OffsetSpec::EarliestLocal => 8,
        OffsetSpec::LatestTiered => 9,
        OffsetSpec::EarliestPendingUpload => 11,
    };
    (version >= since).then_some(spec).ok_or(ErrorCode::UnsupportedVersion)
}
