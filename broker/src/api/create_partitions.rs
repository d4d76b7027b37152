//! CreatePartitions (37), versions 0-3: gives topics more partitions, or only checks whether it could.
//!
//! Answered when every shard serves the new partitions. Errors are Kafka's, with its messages.

use super::Call;
use super::errors::WireError;
use crate::shard::wishes::PartitionsWish;
use millrace_io::Io;
use millrace_proto::kafka::error::ErrorCode;
use millrace_proto::kafka::messages::create_partitions::{
    CreatePartitionsRequest, CreatePartitionsResponse, CreatePartitionsTopic, CreatePartitionsTopicResult,
};

pub(super) async fn handle<I: Io>(call: Call<I>, request: CreatePartitionsRequest<'_>) {
    let wishes = request.topics.iter().map(wish).collect();
    let outcomes: Vec<(String, ErrorCode, Option<String>)> =
        match call.shard.create_partitions(wishes, request.validate_only).await {
            Ok(replies) => replies
                .into_iter()
                .map(|reply| match reply.outcome {
                    Ok(()) => (reply.name, ErrorCode::None, None),
                    Err(error) => (reply.name, error.code(), Some(error.to_string())),
                })
                .collect(),
            Err(failure) => {
                let all = request.topics.iter();
                all.map(|topic| (topic.name.to_owned(), failure.code(), Some(failure.to_string()))).collect()
            }
        };
    let results = outcomes.iter().map(|(name, code, message)| CreatePartitionsTopicResult {
        name,
        error_code: call.error(*code),
        error_message: message.as_deref(),
    });
    let response = CreatePartitionsResponse { results: results.collect(), ..Default::default() };
    call.answer(&response);
}

fn wish(topic: &CreatePartitionsTopic<'_>) -> PartitionsWish {
    let assignments = topic.assignments.as_ref();
    let assignments = assignments.map(|all| all.iter().map(|one| one.broker_ids.clone()).collect());
    PartitionsWish { name: topic.name.to_owned(), count: topic.count, assignments }
}
