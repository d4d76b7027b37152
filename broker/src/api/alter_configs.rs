//! AlterConfigs (33), versions 0-2, and IncrementalAlterConfigs (44), versions 0-1: settings of topics, brokers and groups change while
//! the broker runs.
//!
//! Answered when every shard goes by them. Each resource changes as a whole or not at all. What does not change while the
//! broker runs is INVALID_REQUEST, a value that a setting may not have INVALID_CONFIG; messages are Kafka's. Kinds of resource
//! other than these are INVALID_REQUEST until what they configure is served.

use super::Call;
use super::errors::WireError;
use crate::shard::wishes::{ConfigWish, SettingWish};
use millrace_io::Io;
use millrace_logic::meta::{AlterConfigError, ConfigResource, ReconfigurationOutcome, ResourceKind};
use millrace_proto::kafka::error::ErrorCode;
use millrace_proto::kafka::messages::alter_configs::{
    AlterConfigsRequest, AlterConfigsResourceResponse, AlterConfigsResponse,
};
use millrace_proto::kafka::messages::incremental_alter_configs::{
    IncrementalAlterConfigsRequest, IncrementalAlterConfigsResponse, IncrementalAlterableConfig,
    config_operation,
};
use std::collections::BTreeSet;

pub(super) async fn replace<I: Io>(call: Call<I>, request: AlterConfigsRequest<'_>) {
    let wishes = request.resources.iter().map(|resource| {
        let setting = |value: &str| SettingWish::Set(value.to_owned());
        let settings = resource.configs.iter();
        let settings = settings.map(|config| (config.name.to_owned(), config.value.map(setting))).collect();
        Asked::new(resource.resource_type, resource.resource_name, true, settings)
    });
    let outcomes = decide(&call, wishes.collect(), request.validate_only).await;
    let response = AlterConfigsResponse { responses: respond(&call, &outcomes), ..Default::default() };
    call.answer(&response);
}

pub(super) async fn change<I: Io>(call: Call<I>, request: IncrementalAlterConfigsRequest<'_>) {
    let known = config_operation::SET..=config_operation::SUBTRACT;
    let mut operations = request.resources.iter().flat_map(|resource| &resource.configs);
    if let Some(config) = operations.find(|config| !known.contains(&config.config_operation)) {
        let operation = config.config_operation;
        return call.close(&format_args!("config operation {operation} of {} does not exist", config.name));
    }
    let wishes = request.resources.iter().map(|resource| {
        let settings = resource.configs.iter().map(|config| (config.name.to_owned(), wish(config))).collect();
        Asked::new(resource.resource_type, resource.resource_name, false, settings)
    });
    let outcomes = decide(&call, wishes.collect(), request.validate_only).await;
    let responses = respond(&call, &outcomes);
    call.answer(&IncrementalAlterConfigsResponse { responses, ..Default::default() });
}

/// What is to become of a setting; `None` where the value for that is missing.
fn wish(config: &IncrementalAlterableConfig<'_>) -> Option<SettingWish> {
    let value = config.value.map(str::to_owned);
    match config.config_operation {
        config_operation::SET => value.map(SettingWish::Set),
        config_operation::APPEND => value.map(SettingWish::Append),
        config_operation::SUBTRACT => value.map(SettingWish::Subtract),
        _ => Some(SettingWish::Delete),
    }
}

/// A resource as it was asked for: its kind may be none.
struct Asked {
    kind: i8,
    name: String,
    wish: Option<ConfigWish>,
}

impl Asked {
    fn new(kind: i8, name: &str, replace: bool, settings: Vec<(String, Option<SettingWish>)>) -> Self {
        let resource =
            ResourceKind::from_wire(kind).map(|kind| ConfigResource { kind, name: name.to_owned() });
        let wish = resource.map(|resource| ConfigWish { resource, replace, settings });
        Self { kind, name: name.to_owned(), wish }
    }
}

/// A resource and what became of it.
struct Outcome {
    kind: i8,
    name: String,
    code: ErrorCode,
    message: Option<String>,
}

impl Outcome {
    fn refused(asked: &Asked, error: &(impl WireError + ToString)) -> Self {
        let (kind, name) = (asked.kind, asked.name.clone());
        Self { kind, name, code: error.code(), message: Some(error.to_string()) }
    }
}

impl From<ReconfigurationOutcome> for Outcome {
    fn from(decided: ReconfigurationOutcome) -> Self {
        let (code, message) = match decided.outcome {
            Ok(()) => (ErrorCode::None, None),
            Err(error) => (error.code(), Some(error.to_string())),
        };
        Self { kind: decided.resource.kind.to_wire(), name: decided.resource.name, code, message }
    }
}

async fn decide<I: Io>(call: &Call<I>, asked: Vec<Asked>, validate_only: bool) -> Vec<Outcome> {
    let mut seen = BTreeSet::new();
    let unknown = asked.iter().filter(|one| one.wish.is_none() && seen.insert((one.kind, &one.name)));
    let mut outcomes: Vec<_> =
        unknown.map(|one| Outcome::refused(one, &AlterConfigError::Kind(one.kind))).collect();
    let wishes = asked.iter().filter_map(|one| one.wish.clone()).collect();
    match call.shard.alter_configs(wishes, validate_only).await {
        Ok(decided) => outcomes.extend(decided.into_iter().map(Outcome::from)),
        Err(failure) => {
            let rest = asked.iter().filter(|one| one.wish.is_some());
            outcomes.extend(rest.map(|one| Outcome::refused(one, &failure)));
        }
    }
    outcomes
}

fn respond<'a, I: Io>(call: &Call<I>, outcomes: &'a [Outcome]) -> Vec<AlterConfigsResourceResponse<'a>> {
    let response = |outcome: &'a Outcome| AlterConfigsResourceResponse {
        error_code: call.error(outcome.code),
        error_message: outcome.message.as_deref(),
        resource_type: outcome.kind,
        resource_name: &outcome.name,
    };
    outcomes.iter().map(response).collect()
}
