//! DescribeConfigs (32), versions 1-4: the settings of topics, of groups and of the broker, with where each value comes from.
//!
//! Topics: every setting, with its synonyms if asked. Broker by its number: what it runs with; what may change meanwhile is
//! not read-only. The empty broker name: what all brokers were given while they ran. A group, whether it
//! is there or not: its own settings, and the broker's where it has none. Other kinds of resource are INVALID_REQUEST until what
//! they configure is served.

use super::Call;
use crate::config::topic::{Effective, SETTINGS, Setting, Source};
use crate::config::{Described, group};
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

/// Settings in one answer, about: those of seven thousand topics. A resource takes a few bytes to name, may be named often, and a group need not be
/// there, while its settings take kilobytes.
const MOST_SETTINGS: usize = 250_000;

type Configs<'a> = Result<Vec<DescribeConfigsResourceResult<'a>>, (ErrorCode, &'static str)>;

pub(super) async fn handle<I: Io>(call: Call<I>, request: DescribeConfigsRequest<'_>) {
    let image = call.shard.image();
    let config = call.shard.config().clone();
    let broker = config.describe();
    let shown = Shown { synonyms: request.include_synonyms, documentation: request.include_documentation };
    let mut room = MOST_SETTINGS;
    let results = request.resources.iter().map(|resource| {
        let configs: Configs<'_> = match resource.resource_type {
            _ if room == 0 => {
                Err((ErrorCode::InvalidRequest, "too many settings in one answer: ask for fewer resources"))
            }
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
            resource_type::GROUP if resource.resource_name.is_empty() => {
                Err((ErrorCode::InvalidRequest, "Group name must not be empty"))
            }
            resource_type::GROUP => Ok(of_group(resource.resource_name, &image, &broker, shown)),
            _ => Err((
                ErrorCode::InvalidRequest,
                "only topics, groups and brokers have settings to describe so far",
            )),
        };
        room = room.saturating_sub(configs.as_ref().map_or(0, Vec::len));
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
    described(setting, effective.value(setting), effective.sources(setting), shown)
}

/// A setting of the tables, with what holds and where that is from.
fn described<'a>(
    setting: &'static Setting,
    (value, config_source): (&'a str, i8),
    sources: impl Iterator<Item = Source<'a>>,
    shown: Shown,
) -> DescribeConfigsResourceResult<'a> {
    DescribeConfigsResourceResult {
        name: setting.name,
        value: Some(value),
        read_only: false,
        config_source,
        is_sensitive: false,
        synonyms: synonyms(shown, sources),
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

/// What a group goes by: its own settings before the broker's, whose table is in the order of names.
fn of_group<'a>(
    name: &str,
    image: &'a Image,
    broker: &'a [Described],
    shown: Shown,
) -> Vec<DescribeConfigsResourceResult<'a>> {
    let own = image.configs(&ConfigResource { kind: ResourceKind::Group, name: name.to_owned() });
    let describe = |setting: &'static Setting| {
        let given = own.and_then(|own| own.get(setting.name));
        let given = given.map(|value| (setting.name, value.as_str(), config_source::GROUP));
        let of_all = setting.synonym.and_then(|name| {
            let found = broker.binary_search_by(|described| described.name.cmp(name)).ok()?;
            broker.get(found).filter(|described| !described.is_default)
        });
        let of_all =
            of_all.and_then(|all| Some((all.name, all.value.as_deref()?, config_source::STATIC_BROKER)));
        let default = (setting.synonym.unwrap_or(setting.name), setting.default, config_source::DEFAULT);
        let (_, value, source) = given.or(of_all).unwrap_or(default);
        described(setting, (value, source), given.into_iter().chain(of_all).chain([default]), shown)
    };
    group::SETTINGS.iter().map(describe).collect()
}
