//! DescribeConfigs (32), versions 1-4: the settings of topics and of the broker, with where each value comes from.
//!
//! Topics: every setting, with its synonyms if asked. Broker by its number: what it runs with; what may change meanwhile is
//! not read-only. The empty broker name: what all brokers were given while they ran. Other kinds of resource are
//! INVALID_REQUEST until what they configure is served.

use super::Call;
use crate::config::Described;
use crate::config::topic::{Effective, SETTINGS, Setting, Source};
use millrace_io::Io;
use millrace_logic::meta::{ConfigResource, Image, ResourceKind};
use millrace_proto::kafka::error::ErrorCode;
use millrace_proto::kafka::messages::describe_configs::{
    DescribeConfigsRequest, DescribeConfigsResource, DescribeConfigsResourceResult, DescribeConfigsResponse,
    DescribeConfigsResult, DescribeConfigsSynonym, config_source, resource_type,
};

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
                    let effective = config.effective(&image, &topic.name);
                    Ok(SETTINGS.iter().map(|setting| of_topic(setting, &effective, shown)).collect())
                }
                None => {
                    Err((ErrorCode::UnknownTopicOrPartition, ErrorCode::UnknownTopicOrPartition.message()))
                }
            },
            resource_type::BROKER if resource.resource_name.is_empty() => {
                Ok(of_all_brokers(&image, &broker, shown))
            }
            resource_type::BROKER if resource.resource_name == config.node_id.to_string() => {
                let given = [
                    (brokers(resource.resource_name), config_source::DYNAMIC_BROKER),
                    (brokers(""), config_source::DYNAMIC_DEFAULT_BROKER),
                ];
                Ok(broker.iter().map(|setting| of_broker(setting, &image, &given, shown)).collect())
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
    effective: &Effective<'a>,
    shown: Shown,
) -> DescribeConfigsResourceResult<'a> {
    let (value, config_source) = effective.value(setting);
    DescribeConfigsResourceResult {
        name: setting.name,
        value: Some(value),
        read_only: false,
        config_source,
        is_sensitive: false,
        synonyms: synonyms(shown, effective.sources(setting)),
        config_type: setting.config_type() as i8,
        documentation: shown.documentation.then_some(setting.doc),
    }
}

fn synonyms<'a>(shown: Shown, sources: impl Iterator<Item = Source<'a>>) -> Vec<DescribeConfigsSynonym<'a>> {
    let synonym = |(name, value, source)| DescribeConfigsSynonym { name, value: Some(value), source };
    if shown.synonyms { sources.map(synonym).collect() } else { Vec::new() }
}

/// The broker of this number, or all of them.
fn brokers(name: &str) -> ConfigResource {
    ConfigResource { kind: ResourceKind::Broker, name: name.to_owned() }
}

/// A setting of this broker: what it was given while it ran, in order, before what it was started with.
fn of_broker<'a>(
    setting: &'a Described,
    image: &'a Image,
    given: &[(ConfigResource, i8)],
    shown: Shown,
) -> DescribeConfigsResourceResult<'a> {
    let given = given.iter().filter_map(|(resource, source)| {
        image.configs(resource)?.get(setting.name).map(|value| (setting.name, value.as_str(), *source))
    });
    let fixed = if setting.is_default { config_source::DEFAULT } else { config_source::STATIC_BROKER };
    let sources: Vec<Source<'a>> =
        given.chain(setting.value.as_deref().map(|value| (setting.name, value, fixed))).collect();
    let first = sources.first();
    DescribeConfigsResourceResult {
        name: setting.name,
        value: first.map(|(_, value, _)| *value),
        read_only: !setting.is_dynamic,
        config_source: first.map_or(fixed, |(_, _, source)| *source),
        is_sensitive: false,
        synonyms: synonyms(shown, sources.iter().copied()),
        config_type: setting.config_type as i8,
        documentation: shown.documentation.then_some(setting.doc),
    }
}

/// What all brokers were given while they ran.
fn of_all_brokers<'a>(
    image: &'a Image,
    described: &'a [Described],
    shown: Shown,
) -> Vec<DescribeConfigsResourceResult<'a>> {
    let all = brokers("");
    let is_given =
        |setting: &&Described| image.configs(&all).is_some_and(|given| given.contains_key(setting.name));
    let given = [(all.clone(), config_source::DYNAMIC_DEFAULT_BROKER)];
    described.iter().filter(is_given).map(|setting| of_broker(setting, image, &given, shown)).collect()
}
