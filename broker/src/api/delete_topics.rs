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

/// A topic by name or by id, and what is said of it.
struct Outcome {
    target: Target,
    code: ErrorCode,
    message: Option<String>,
}

type Target = (Option<String>, Option<Uuid>);

pub(super) async fn handle<I: Io>(call: Call<I>, request: DeleteTopicsRequest<'_>) {
    let targets: Vec<Target> = match call.version >= BY_ID {
        true => request
            .topics
            .iter()
            .map(|topic| (topic.name.map(str::to_owned), Some(topic.topic_id).filter(|id| !id.is_nil())))
            .collect(),
        false => request.topic_names.iter().map(|&name| (Some(name.to_owned()), None)).collect(),
    };
    let outcomes: Vec<Outcome> = if !call.shard.config().delete_topics {
        refuse_all(targets, ErrorCode::TopicDeletionDisabled, "delete.topic.enable is false")
    } else {
        match call.shard.delete_topics(targets.clone()).await {
            Ok(deleted) => deleted.into_iter().map(Outcome::from).collect(),
            Err(failure) => refuse_all(targets, failure.code(), &failure.to_string()),
        }
    };
    let responses = outcomes.iter().map(|outcome| DeletableTopicResult {
        name: outcome.target.0.as_deref(),
        topic_id: outcome.target.1.unwrap_or_default(),
        error_code: call.error(outcome.code),
        error_message: outcome.message.as_deref(),
    });
    let response = DeleteTopicsResponse { responses: responses.collect(), ..DeleteTopicsResponse::default() };
    call.answer(&response);
}

fn refuse_all(targets: Vec<Target>, code: ErrorCode, why: &str) -> Vec<Outcome> {
    let refuse = |target| Outcome { target, code, message: Some(why.to_owned()) };
    targets.into_iter().map(refuse).collect()
}

impl From<TopicDeletion> for Outcome {
    fn from(deletion: TopicDeletion) -> Self {
        let target = (deletion.name, deletion.topic_id);
        match deletion.outcome {
            Ok(()) => Self { target, code: ErrorCode::None, message: None },
            Err(error) => Self { target, code: error.code(), message: Some(error.to_string()) },
        }
    }
}
