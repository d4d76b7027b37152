//! DescribeProducers (61), version 0: the producers that partitions remember, for those who look for hanging transactions.

use super::errors::WireError;
use super::{Call, partition_id};
use millrace_io::Io;
use millrace_logic::partition::ProducerEntry;
use millrace_proto::kafka::error::ErrorCode;
use millrace_proto::kafka::messages::describe_producers::{
    DescribeProducersPartition, DescribeProducersRequest, DescribeProducersResponse,
    DescribeProducersTopicResponse, ProducerState,
};

pub(super) async fn handle<I: Io>(call: Call<I>, request: DescribeProducersRequest<'_>) {
    let image = call.shard.image();
    let mut asked = Vec::new();
    let mut topics = Vec::with_capacity(request.topics.len());
    for topic in &request.topics {
        let mut partitions = Vec::with_capacity(topic.partition_indexes.len());
        for &partition_index in &topic.partition_indexes {
            let mut answer = DescribeProducersPartition { partition_index, ..Default::default() };
            match partition_id(&image, topic.name, partition_index) {
                Some(id) => asked.push(id),
                None => refuse(&call, &mut answer, ErrorCode::UnknownTopicOrPartition),
            }
            partitions.push(answer);
        }
        topics.push(DescribeProducersTopicResponse { name: topic.name, partitions });
    }
    let mut found = call.shard.producers(asked).await.into_iter();
    let all = topics.iter_mut().flat_map(|topic| &mut topic.partitions);
    for answer in all.filter(|answer| answer.error_code == ErrorCode::None) {
        match found.next() {
            Some(Ok(producers)) => answer.active_producers = producers.iter().map(state).collect(),
            Some(Err(failure)) => refuse(&call, answer, failure.code()),
            None => refuse(&call, answer, ErrorCode::UnknownServerError),
        }
    }
    call.answer(&DescribeProducersResponse { topics, ..Default::default() });
}

fn refuse<I: Io>(call: &Call<I>, answer: &mut DescribeProducersPartition<'_>, code: ErrorCode) {
    (answer.error_code, answer.error_message) = (call.error(code), Some(code.message()));
}

fn state(producer: &ProducerEntry) -> ProducerState {
    let last = producer.batches.last();
    ProducerState {
        producer_id: producer.id,
        producer_epoch: producer.epoch.into(),
        last_sequence: last.map_or(-1, |batch| batch.last_sequence),
        last_timestamp: last.map_or(-1, |batch| batch.timestamp),
        coordinator_epoch: producer.coordinator_epoch,
        current_txn_start_offset: producer.transaction_start.map_or(-1, |offset| offset.get()),
    }
}
