//! What somebody wants the metadata to be, owned, so that it may travel to the shard that decides.

use millrace_logic::meta::{
    ConfigChange, ConfigChanges, ConfigResource, NewPartitions, NewTopic, Reconfiguration,
};

/// A topic that somebody wants.
#[derive(Clone, Debug, Default)]
pub struct TopicWish {
    /// Its name.
    pub name: String,
    /// How many partitions; -1 for the default.
    pub num_partitions: i32,
    /// How many replicas; -1 for the default.
    pub replication_factor: i16,
    /// Partitions and their brokers, when assigned by hand.
    pub assignments: Vec<(i32, Vec<i32>)>,
    /// Its settings.
    pub configs: Vec<(String, Option<String>)>,
}

impl TopicWish {
    /// A topic with every default.
    pub fn with_defaults(name: &str) -> Self {
        Self { name: name.to_owned(), num_partitions: -1, replication_factor: -1, ..Self::default() }
    }

    pub(super) fn borrowed(&self) -> NewTopic<'_> {
        NewTopic {
            name: &self.name,
            num_partitions: self.num_partitions,
            replication_factor: self.replication_factor,
            assignments: self.assignments.clone(),
            configs: self.configs.iter().map(|(name, value)| (name.as_str(), value.as_deref())).collect(),
        }
    }
}

/// A topic that somebody wants to have more partitions.
#[derive(Clone, Debug)]
pub struct PartitionsWish {
    /// Its name.
    pub name: String,
    /// How many partitions it is to have.
    pub count: i32,
    /// The brokers of each new one, when assigned by hand.
    pub assignments: Option<Vec<Vec<i32>>>,
}

impl PartitionsWish {
    pub(super) fn borrowed(&self) -> NewPartitions<'_> {
        NewPartitions { name: &self.name, count: self.count, assignments: self.assignments.clone() }
    }
}

/// What somebody wants to do with one setting.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SettingWish {
    /// Give it this value.
    Set(String),
    /// Let its default hold again.
    Delete,
    /// Add to a list.
    Append(String),
    /// Take from a list.
    Subtract(String),
}

impl SettingWish {
    pub(super) fn borrowed(&self) -> ConfigChange<'_> {
        match self {
            Self::Set(value) => ConfigChange::Set(value),
            Self::Delete => ConfigChange::Delete,
            Self::Append(value) => ConfigChange::Append(value),
            Self::Subtract(value) => ConfigChange::Subtract(value),
        }
    }

    /// The value that it is to have, if it is to have one.
    fn value(&self) -> Option<&str> {
        if let Self::Set(value) = self { Some(value) } else { None }
    }
}

/// What somebody wants the settings of one thing to be.
#[derive(Clone, Debug)]
pub struct ConfigWish {
    /// Whose settings.
    pub resource: ConfigResource,
    /// Whether the settings that are not named fall back to their defaults.
    pub replace: bool,
    /// What to do with which; `None` where a value is missing.
    pub settings: Vec<(String, Option<SettingWish>)>,
}

impl ConfigWish {
    pub(super) fn borrowed(&self) -> Reconfiguration<'_> {
        let named = self.settings.iter().map(|(name, wish)| (name.as_str(), wish.as_ref()));
        let changes = match self.replace {
            true => ConfigChanges::Replace(
                named.map(|(name, wish)| (name, wish.and_then(SettingWish::value))).collect(),
            ),
            false => ConfigChanges::Change(
                named.map(|(name, wish)| (name, wish.map(SettingWish::borrowed))).collect(),
            ),
        };
        Reconfiguration { resource: self.resource.clone(), changes }
    }
}
