//! Changing settings of topics, brokers and groups while they run: Kafka's checks with Kafka's messages, and the records that follow.

use std::collections::{BTreeMap, BTreeSet};

use super::delta::{ApplyError, Delta};
use super::image::{Configs, Image};
use super::record::{ConfigRecord, ConfigResource, MetadataRecord, ResourceKind};

/// The most bytes that the settings of all groups may take, their names included. A group need not exist to have some, so nothing else bounds
/// them, and every shard keeps them. Some fifty thousand groups with all that there is.
pub const MAX_GROUP_CONFIG_BYTES: usize = 16 << 20;

/// What keeping a group's settings takes besides their bytes, about; and what keeping one takes.
const GROUP_OVERHEAD: usize = 128;
const SETTING_OVERHEAD: usize = 64;

/// What to do with one setting.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ConfigChange<'a> {
    /// Give it this value.
    Set(&'a str),
    /// Let its default hold again.
    Delete,
    /// Add to a list what is not in it yet.
    Append(&'a str),
    /// Take from a list.
    Subtract(&'a str),
}

/// What to do with the settings of one thing.
#[derive(Clone, Debug)]
pub enum ConfigChanges<'a> {
    /// Exactly these settings are to be set (AlterConfigs).
    Replace(Vec<(&'a str, Option<&'a str>)>),
    /// These are to be changed, the others stay (IncrementalAlterConfigs). A change without the value that it needs is `None`.
    Change(Vec<(&'a str, Option<ConfigChange<'a>>)>),
}

/// One thing of a request.
#[derive(Clone, Debug)]
pub struct Reconfiguration<'a> {
    /// Whose settings.
    pub resource: ConfigResource,
    /// What to do with them.
    pub changes: ConfigChanges<'a>,
}

/// Knows which settings there are.
pub trait KnownConfigs {
    /// Checks a value that is to be set.
    fn check(&self, resource: &ConfigResource, name: &str, value: &str) -> Result<(), ConfigRefusal>;
    /// Checks all that a thing is to have together, after each was.
    fn fit(&self, resource: &ConfigResource, all: &Configs) -> Result<(), ConfigRefusal>;
    /// Whether a setting is a list, and what holds where it is not set.
    fn list(&self, resource: &ConfigResource, name: &str) -> Option<String>;
}

/// Why a setting may not be set so.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ConfigRefusal {
    /// `INVALID_CONFIG` (40): there is no such setting, or it may not have this value.
    #[error("{0}")]
    Invalid(String),
    /// `INVALID_REQUEST` (42): it cannot be changed while the broker runs.
    #[error("Cannot update these configs dynamically: [{0}]")]
    ReadOnly(String),
}

/// The answer for one thing of the request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReconfigurationOutcome {
    /// Whose settings.
    pub resource: ConfigResource,
    /// Whether they changed.
    pub outcome: Result<(), AlterConfigError>,
}

/// Why settings did not change.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AlterConfigError {
    /// `INVALID_REQUEST` (42).
    #[error("Each resource must appear at most once.")]
    DuplicateResource,
    /// `INVALID_REQUEST` (42).
    #[error("Error due to duplicate config keys")]
    DuplicateKeys,
    /// `INVALID_REQUEST` (42).
    #[error("Null value not supported for : {0}")]
    NullValue(String),
    /// `UNKNOWN_TOPIC_OR_PARTITION` (3).
    #[error("The topic '{0}' does not exist.")]
    UnknownTopic(String),
    /// `INVALID_REQUEST` (42).
    #[error("Broker id must be an integer, but it is: {0}")]
    BrokerName(String),
    /// `INVALID_REQUEST` (42): as Kafka, the broker that is asked changes itself and nothing else.
    #[error(
        "Unexpected broker id, expected one of the registered brokers or an empty name, but received {0}"
    )]
    UnknownBroker(String),
    /// `INVALID_REQUEST` (42): settings belong to one group; what holds for all is the broker's.
    #[error("Default group resources are not allowed.")]
    GroupName,
    /// `INVALID_REQUEST` (42).
    #[error("Groups have too many settings of their own: {bytes} bytes, of {most}.", most = MAX_GROUP_CONFIG_BYTES)]
    TooManyGroups {
        /// What names and settings of all groups would take.
        bytes: usize,
    },
    /// `INVALID_REQUEST` (42).
    #[error("Unknown or unsupported resource type {0}")]
    Kind(i8),
    /// `INVALID_CONFIG` (40).
    #[error("Can't {operation} to key {name} because its type is not LIST.")]
    NotAList {
        /// `APPEND` or `SUBTRACT`.
        operation: &'static str,
        /// The setting.
        name: String,
    },
    /// As the refusal says.
    #[error(transparent)]
    Refused(#[from] ConfigRefusal),
    /// `UNKNOWN_SERVER_ERROR` (-1): what was decided does not fit the metadata.
    #[error(transparent)]
    Inconsistent(#[from] ApplyError),
}

/// Decides on a whole request: each thing changes as a whole or not at all. One answer for each distinct one, in the order of the
/// request; the delta holds what was decided.
pub(super) fn alter_configs(
    delta: &mut Delta,
    requests: &[Reconfiguration<'_>],
    known: &dyn KnownConfigs,
) -> (Vec<ReconfigurationOutcome>, Vec<MetadataRecord>) {
    let mut times = BTreeMap::new();
    requests.iter().for_each(|request| *times.entry(&request.resource).or_insert(0u32) += 1);
    let (mut replies, mut records, mut answered) = (Vec::new(), Vec::new(), BTreeSet::new());
    let mut of_groups = None;
    for request in requests.iter().filter(|request| answered.insert(&request.resource)) {
        let outcome = match times[&request.resource] > 1 {
            true => Err(AlterConfigError::DuplicateResource),
            false => alter(delta, request, known, &mut of_groups).map(|made| records.extend(made)),
        };
        replies.push(ReconfigurationOutcome { resource: request.resource.clone(), outcome });
    }
    (replies, records)
}

fn alter(
    delta: &mut Delta,
    request: &Reconfiguration<'_>,
    known: &dyn KnownConfigs,
    of_groups: &mut Option<usize>,
) -> Result<Vec<MetadataRecord>, AlterConfigError> {
    let resource = &request.resource;
    check_well_formed(&request.changes)?;
    check_exists(delta.image(), resource)?;
    let none = Configs::new();
    let before: &Configs = delta.image().configs(resource).map_or(&none, |configs| configs);
    let after = match &request.changes {
        ConfigChanges::Replace(all) => {
            all.iter().map(|(name, value)| (name.to_string(), value.unwrap_or_default().to_owned())).collect()
        }
        ConfigChanges::Change(changes) => changed(before, resource, changes, known)?,
    };
    for (name, value) in after.iter().filter(|(name, value)| before.get(*name) != Some(value)) {
        known.check(resource, name, value)?;
    }
    known.fit(resource, &after)?;
    if resource.kind == ResourceKind::Group {
        check_room(delta.image(), resource, &after, of_groups)?;
    }
    let set = after.iter().filter(|(name, value)| before.get(*name) != Some(value));
    let removed = before.keys().filter(|name| !after.contains_key(*name));
    let changes =
        set.map(|(name, value)| (name, Some(value.clone()))).chain(removed.map(|name| (name, None)));
    let record = |(name, value): (&String, Option<String>)| {
        MetadataRecord::Config(ConfigRecord { resource: resource.clone(), name: name.clone(), value })
    };
    let records: Vec<_> = changes.map(record).collect();
    for record in &records {
        delta.replay(record)?;
    }
    Ok(records)
}

/// Every name once, and a value wherever one is needed.
fn check_well_formed(changes: &ConfigChanges<'_>) -> Result<(), AlterConfigError> {
    let (names, nulls): (Vec<&str>, Vec<&str>) = match changes {
        ConfigChanges::Replace(all) => (
            all.iter().map(|(name, _)| *name).collect(),
            all.iter().filter(|(_, value)| value.is_none()).map(|(name, _)| *name).collect(),
        ),
        ConfigChanges::Change(changes) => (
            changes.iter().map(|(name, _)| *name).collect(),
            changes.iter().filter(|(_, change)| change.is_none()).map(|(name, _)| *name).collect(),
        ),
    };
    let mut seen = BTreeSet::new();
    if !names.iter().all(|name| seen.insert(name)) {
        return Err(AlterConfigError::DuplicateKeys);
    }
    if !nulls.is_empty() {
        return Err(AlterConfigError::NullValue(nulls.join(",")));
    }
    Ok(())
}

/// Whether there is room for what a group is to have. `all`: what the settings of all groups take; counted once for a request, which may name
/// many.
fn check_room(
    image: &Image,
    resource: &ConfigResource,
    after: &Configs,
    all: &mut Option<usize>,
) -> Result<(), AlterConfigError> {
    let size = |name: &str, configs: &Configs| -> usize {
        let settings = configs.iter().map(|(name, value)| SETTING_OVERHEAD + name.len() + value.len());
        GROUP_OVERHEAD + name.len() + settings.sum::<usize>()
    };
    let total = || image.group_configs().map(|(name, configs)| size(name, configs)).sum();
    let before = image.configs(resource).map_or(0, |configs| size(&resource.name, configs));
    let own = if after.is_empty() { 0 } else { size(&resource.name, after) };
    let bytes = all.get_or_insert_with(total).saturating_sub(before) + own;
    // Whoever asks for less is let, however much there is.
    if own > before && bytes > MAX_GROUP_CONFIG_BYTES {
        return Err(AlterConfigError::TooManyGroups { bytes });
    }
    *all = Some(bytes);
    Ok(())
}

fn check_exists(image: &Image, resource: &ConfigResource) -> Result<(), AlterConfigError> {
    let name = &resource.name;
    match resource.kind {
        ResourceKind::Topic if image.topic(name).is_some() => Ok(()),
        ResourceKind::Topic => Err(AlterConfigError::UnknownTopic(name.clone())),
        ResourceKind::Broker if name.is_empty() => Ok(()),
        ResourceKind::Broker => match name.parse() {
            Ok(id) if image.broker(id).is_some() => Ok(()),
            Ok(_) => Err(AlterConfigError::UnknownBroker(name.clone())),
            Err(_) => Err(AlterConfigError::BrokerName(name.clone())),
        },
        // As in Kafka, a group need not be there yet.
        ResourceKind::Group if name.is_empty() => Err(AlterConfigError::GroupName),
        ResourceKind::Group => Ok(()),
        kind => Err(AlterConfigError::Kind(kind.to_wire())),
    }
}

fn changed(
    before: &Configs,
    resource: &ConfigResource,
    changes: &[(&str, Option<ConfigChange<'_>>)],
    known: &dyn KnownConfigs,
) -> Result<Configs, AlterConfigError> {
    let mut after = before.clone();
    for (name, change) in changes {
        let list = |operation| {
            let default = known.list(resource, name);
            let default =
                default.ok_or(AlterConfigError::NotAList { operation, name: (*name).to_owned() })?;
            let text = before.get(*name).unwrap_or(&default);
            let words = text.split(',').map(str::trim).filter(|word| !word.is_empty());
            Ok::<_, AlterConfigError>(words.map(str::to_owned).collect::<Vec<_>>())
        };
        let words =
            |value: &str| -> Vec<String> { value.split(',').map(|word| word.trim().to_owned()).collect() };
        match change {
            Some(ConfigChange::Set(value)) => after.insert((*name).to_owned(), (*value).to_owned()),
            Some(ConfigChange::Append(value)) => {
                let mut list = list("APPEND")?;
                list.extend(words(value).into_iter().filter(|word| !list.contains(word)).collect::<Vec<_>>());
                after.insert((*name).to_owned(), list.join(","))
            }
            Some(ConfigChange::Subtract(value)) => {
                let (mut list, gone) = (list("SUBTRACT")?, words(value));
                list.retain(|word| !gone.contains(word));
                after.insert((*name).to_owned(), list.join(","))
            }
            Some(ConfigChange::Delete) | None => after.remove(*name),
        };
    }
    Ok(after)
}

#[cfg(test)]
#[path = "configs_test.rs"]
mod tests;
