//! DeleteTopics (20), versions 1-6: deletes topics, from version 6 by name or by id.
//!
//! Answered when the deletion is durable and no shard serves the topic any more; its files go a little later. With
//! `delete.topic.enable=false`: TOPIC_DELETION_DISABLED.

use super::Call;
use super::errors::WireError;
use millrace_io::Io;
use millrace_logic::meta::TopicDeletion;
use millrace_proto::kafka::error::ErrorCode;
use millrace_proto::kafka::messages::delete_topics::{
    DeletableTopicResult, DeleteTopicsRequest, DeleteTopicsResponse,
};
use uuid::Uuid;

/// From this version on topics are named by name or id.
const BY_ID: i16 = 6;

pub(super) async fn handle<I: Io>(call: Call<I>, request: DeleteTopicsRequest<'_>) {
    let targets: Vec<(Option<String>, Option<Uuid>)> = match call.version >= BY_ID {
        true => request
            .topics
            .iter()
            .map(|topic| (topic.name.map(str::to_owned), Some(topic.topic_id).filter(|id| !id.is_nil())))
            .collect(),
        false => request.topic_names.iter().map(|&name| (Some(name.to_owned()), None)).collect(),
    };
    let refuse = |code: ErrorCode, why: String| {
        targets.iter().cloned().map(|t| (t, code, Some(why.clone()))).collect()
    };
    let results: Vec<((Option<String>, Option<Uuid>), ErrorCode, Option<String>)> =
        if !call.shard.config().delete_topics {
            refuse(ErrorCode::TopicDeletionDisabled, "delete.topic.enable is false".to_owned())
        } else {
            match call.shard.delete_topics(targets.clone()).await {
                Ok(deleted) => deleted.into_iter().map(outcome).collect(),
                Err(failure) => refuse(failure.code(), failure.to_string()),
            }
        };
    let responses = results.iter().map(|((name, topic_id), code, message)| DeletableTopicResult {
        name: name.as_deref(),
        topic_id: topic_id.unwrap_or_default(),
        error_code: call.error(*code),
        error_message: message.as_deref(),
    });
    let response = DeleteTopicsResponse { responses: responses.collect(), ..DeleteTopicsResponse::default() };
    call.answer(&response);
}

fn outcome(deletion: TopicDeletion) -> ((Option<String>, Option<Uuid>), ErrorCode, Option<String>) {
    let target = (deletion.name, deletion.topic_id);
    match deletion.outcome {
        Ok(()) => (target, ErrorCode::None, None),
        Err(error) => (target, error.code(), Some(error.to_string())),
    }
}
