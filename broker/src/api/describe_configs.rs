//! DescribeConfigs (32), versions 1-4: the settings of topics and of the broker, with where each value comes from.
//!
//! Topics: every setting, own, broker's or default, with its synonyms if asked. Broker by its number: what it runs
//! with, read-only. The empty broker name asks for cluster-wide dynamic settings: there are none. Other kinds of
//! resource are INVALID_REQUEST until what they configure is served.

use super::Call;
use crate::config::topic::{SETTINGS, Setting, TopicSettings};
use millrace_io::Io;
use millrace_logic::meta::ConfigResource;
use millrace_proto::kafka::error::ErrorCode;
use millrace_proto::kafka::messages::describe_configs::{
    DescribeConfigsRequest, DescribeConfigsResource, DescribeConfigsResourceResult, DescribeConfigsResponse,
    DescribeConfigsResult, DescribeConfigsSynonym, config_source, resource_type,
};
use std::collections::BTreeMap;

/// What the client wants to see.
#[derive(Clone, Copy)]
struct Shown {
    synonyms: bool,
    documentation: bool,
}

type Configs<'a> = Result<Vec<DescribeConfigsResourceResult<'a>>, (ErrorCode, &'static str)>;

pub(super) async fn handle<I: Io>(call: Call<I>, request: DescribeConfigsRequest<'_>) {
    let image = call.shard.image();
    let config = call.shard.config().clone();
    let broker = config.describe();
    let shown = Shown { synonyms: request.include_synonyms, documentation: request.include_documentation };
    let results = request.resources.iter().map(|resource| {
        let configs: Configs<'_> = match resource.resource_type {
            resource_type::TOPIC => match image.topic(resource.resource_name) {
                Some(topic) => {
                    let own = image.configs(&ConfigResource::topic(&topic.name)).map(|own| &**own);
                    Ok(SETTINGS.iter().map(|setting| of_topic(setting, own, &config.topics, shown)).collect())
                }
                None => {
                    Err((ErrorCode::UnknownTopicOrPartition, ErrorCode::UnknownTopicOrPartition.message()))
                }
            },
            resource_type::BROKER if resource.resource_name.is_empty() => Ok(Vec::new()),
            resource_type::BROKER if resource.resource_name == config.node_id.to_string() => {
                Ok(broker.iter().map(|setting| of_broker(setting, shown)).collect())
            }
            resource_type::BROKER => Err((ErrorCode::InvalidRequest, "this broker has another node.id")),
            _ => Err((ErrorCode::InvalidRequest, "only topics and brokers have settings to describe so far")),
        };
        result(&call, resource, configs)
    });
    let response =
        DescribeConfigsResponse { results: results.collect(), ..DescribeConfigsResponse::default() };
    call.answer(&response);
}

fn result<'a, I: Io>(
    call: &Call<I>,
    resource: &DescribeConfigsResource<'a>,
    configs: Configs<'a>,
) -> DescribeConfigsResult<'a> {
    let (error_code, error_message, mut configs) = match configs {
        Ok(configs) => (ErrorCode::None, None, configs),
        Err((code, message)) => (call.error(code), Some(message), Vec::new()),
    };
    if let Some(keys) = &resource.configuration_keys {
        configs.retain(|config| keys.contains(&config.name));
    }
    DescribeConfigsResult {
        error_code,
        error_message,
        resource_type: resource.resource_type,
        resource_name: resource.resource_name,
        configs,
    }
}

fn of_topic<'a>(
    setting: &'static Setting,
    own: Option<&'a BTreeMap<String, String>>,
    broker: &'a TopicSettings,
    shown: Shown,
) -> DescribeConfigsResourceResult<'a> {
    let own = own.and_then(|own| own.get(setting.name)).map(String::as_str);
    let broker = broker.get(setting.name);
    let mut sources = Vec::with_capacity(3);
    sources.extend(own.map(|value| (setting.name, value, config_source::DYNAMIC_TOPIC)));
    sources.extend(
        broker.map(|value| (setting.synonym.unwrap_or(setting.name), value, config_source::STATIC_BROKER)),
    );
    sources.extend(setting.synonym.map(|name| (name, setting.default, config_source::DEFAULT)));
    let (value, config_source) = sources
        .first()
        .map_or((setting.default, config_source::DEFAULT), |&(_, value, source)| (value, source));
    let synonym = |(name, value, source)| DescribeConfigsSynonym { name, value: Some(value), source };
    DescribeConfigsResourceResult {
        name: setting.name,
        value: Some(value),
        read_only: false,
        config_source,
        is_sensitive: false,
        synonyms: if shown.synonyms { sources.into_iter().map(synonym).collect() } else { Vec::new() },
        config_type: setting.config_type() as i8,
        documentation: shown.documentation.then_some(setting.doc),
    }
}

fn of_broker(setting: &crate::config::Described, shown: Shown) -> DescribeConfigsResourceResult<'_> {
    let source = if setting.is_default { config_source::DEFAULT } else { config_source::STATIC_BROKER };
    let synonym = DescribeConfigsSynonym { name: setting.name, value: setting.value.as_deref(), source };
    DescribeConfigsResourceResult {
        name: setting.name,
        value: setting.value.as_deref(),
        read_only: true,
        config_source: source,
        is_sensitive: false,
        synonyms: if shown.synonyms { vec![synonym] } else { Vec::new() },
        config_type: setting.config_type as i8,
        documentation: shown.documentation.then_some(setting.doc),
    }
}
