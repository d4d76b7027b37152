//! CreateTopics (19), versions 2-7: creates topics, or only checks whether it could.
//!
//! Answered when every shard serves the new partitions. Errors are Kafka's, with its messages. From version 5 the
//! answer has the topic's settings. A setting that is not supported yet is refused by name.

use super::Call;
use super::errors::WireError;
use crate::config::topic::{Effective, SETTINGS};
use crate::shard::wishes::TopicWish;
use millrace_io::Io;
use millrace_logic::meta::TopicCreation;
use millrace_proto::kafka::error::ErrorCode;
use millrace_proto::kafka::messages::create_topics::{
    CreatableTopic, CreatableTopicConfigs, CreatableTopicResult, CreateTopicsRequest, CreateTopicsResponse,
};
use millrace_proto::kafka::messages::describe_configs::config_source;

pub(super) async fn handle<I: Io>(call: Call<I>, request: CreateTopicsRequest<'_>) {
    let wishes = request.topics.iter().map(wish).collect();
    let created = call.shard.create_topics(wishes, request.validate_only).await;
    let (image, config) = (call.shard.image(), call.shard.config().clone());
    let created: Vec<(TopicCreation, Option<String>)> = match created {
        Ok(created) => created
            .into_iter()
            .map(|creation| {
                let message = creation.outcome.as_ref().err().map(ToString::to_string);
                (creation, message)
            })
            .collect(),
        Err(failure) => {
            let (error_code, message) = (call.error(failure.code()), failure.to_string());
            let failed = |topic: &CreatableTopic<'_>| topic.name.to_owned();
            let names: Vec<_> = request.topics.iter().map(failed).collect();
            let topics = names.iter().map(|name| CreatableTopicResult {
                name,
                error_code,
                error_message: Some(&message),
                ..CreatableTopicResult::default()
            });
            return call.answer(&CreateTopicsResponse { topics: topics.collect(), ..Default::default() });
        }
    };
    let results = created.iter().map(|(creation, message)| match &creation.outcome {
        Ok(topic) => CreatableTopicResult {
            name: &creation.name,
            // Nothing has an id before it is created.
            topic_id: if request.validate_only { Default::default() } else { topic.topic_id },
            error_code: ErrorCode::None,
            num_partitions: topic.num_partitions,
            replication_factor: topic.replication_factor,
            configs: Some(configs(config.effective(&image, &creation.name), &request, &creation.name)),
            ..CreatableTopicResult::default()
        },
        Err(error) => CreatableTopicResult {
            name: &creation.name,
            error_code: call.error(error.code()),
            error_message: message.as_deref(),
            ..CreatableTopicResult::default()
        },
    });
    let response = CreateTopicsResponse { topics: results.collect(), ..CreateTopicsResponse::default() };
    call.answer(&response);
}

fn wish(topic: &CreatableTopic<'_>) -> TopicWish {
    let configs =
        topic.configs.iter().map(|config| (config.name.to_owned(), config.value.map(str::to_owned)));
    TopicWish {
        name: topic.name.to_owned(),
        num_partitions: topic.num_partitions,
        replication_factor: topic.replication_factor,
        assignments: topic.assignments.iter().map(|a| (a.partition_index, a.broker_ids.clone())).collect(),
        configs: configs.collect(),
    }
}

/// The settings of a topic: as it has them, or, where it was only checked, as it asked for them.
fn configs<'a>(
    effective: Effective<'a>,
    request: &CreateTopicsRequest<'a>,
    topic: &str,
) -> Vec<CreatableTopicConfigs<'a>> {
    let asked = request.topics.iter().find(|t| t.name == topic);
    let one = SETTINGS.iter().map(|setting| {
        let asked =
            asked.and_then(|t| t.configs.iter().find(|c| c.name == setting.name)).and_then(|c| c.value);
        let (value, config_source) = match (asked, effective.value(setting)) {
            (Some(asked), (_, source)) if source != config_source::DYNAMIC_TOPIC => {
                (asked, config_source::DYNAMIC_TOPIC)
            }
            (_, holds) => holds,
        };
        CreatableTopicConfigs {
            name: setting.name,
            value: Some(value),
            read_only: false,
            config_source,
            is_sensitive: false,
        }
    });
    one.collect()
}
