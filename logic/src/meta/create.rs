//! Creating topics: Kafka's checks in Kafka's order, with Kafka's messages, and the records that follow.

use std::collections::{BTreeMap, BTreeSet};

use uuid::Uuid;

use super::assign::{assign, place};
use super::delta::{ApplyError, Delta};
use super::directories;
use super::image::Image;
use super::names::{CLUSTER_METADATA_TOPIC, NameError, check_topic_name};
use super::record::{ConfigRecord, ConfigResource, MetadataRecord, PartitionRecord, TopicRecord};

/// The most partitions that one request may create: what one atomic append of the metadata log should hold.
pub const MAX_PARTITIONS_PER_REQUEST: usize = 10_000;

/// A topic to create.
#[derive(Clone, Debug, Default)]
pub struct NewTopic<'a> {
    /// Its name.
    pub name: &'a str,
    /// How many partitions; -1 for the broker's default, or when they are assigned by hand.
    pub num_partitions: i32,
    /// How many replicas each; -1 for the broker's default, or when they are assigned by hand.
    pub replication_factor: i16,
    /// Partitions and their brokers, when assigned by hand.
    pub assignments: Vec<(i32, Vec<i32>)>,
    /// Its configurations.
    pub configs: Vec<(&'a str, Option<&'a str>)>,
}

/// What -1 stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TopicDefaults {
    /// `num.partitions`.
    pub num_partitions: i32,
    /// `default.replication.factor`.
    pub replication_factor: i16,
}

/// Knows which configurations a topic may have.
pub trait TopicConfigs {
    /// Checks one; the error is the message for the client.
    fn check(&self, name: &str, value: &str) -> Result<(), String>;
}

impl<F: Fn(&str, &str) -> Result<(), String>> TopicConfigs for F {
    fn check(&self, name: &str, value: &str) -> Result<(), String> {
        self(name, value)
    }
}

/// The answer for one topic of the request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TopicCreation {
    /// The name asked for.
    pub name: String,
    /// What was created, or why not.
    pub outcome: Result<CreatedTopic, CreateTopicError>,
}

/// A topic as it was created.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CreatedTopic {
    /// Its id.
    pub topic_id: Uuid,
    /// How many partitions it has.
    pub num_partitions: i32,
    /// How many replicas each has.
    pub replication_factor: i16,
}

/// Why a topic was not created.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CreateTopicError {
    /// `INVALID_REQUEST` (42).
    #[error("Duplicate topic name.")]
    Duplicate,
    /// `INVALID_REQUEST` (42).
    #[error("Creation of internal topic {CLUSTER_METADATA_TOPIC} is prohibited.")]
    Reserved,
    /// `TOPIC_ALREADY_EXISTS` (36).
    #[error("Topic '{0}' already exists.")]
    Exists(String),
    /// `INVALID_TOPIC_EXCEPTION` (17).
    #[error(transparent)]
    Name(#[from] NameError),
    /// `INVALID_TOPIC_EXCEPTION` (17).
    #[error("Topic '{name}' collides with existing topic: {existing}")]
    Collision {
        /// The name asked for.
        name: String,
        /// The one it collides with.
        existing: String,
    },
    /// `INVALID_PARTITIONS` (37).
    #[error("Number of partitions was set to an invalid non-positive value.")]
    Partitions,
    /// `POLICY_VIOLATION` (44), for every topic of the request.
    #[error("Excessively large number of partitions per request.")]
    TooManyPartitions,
    /// `INVALID_REPLICATION_FACTOR` (38).
    #[error("Replication factor must be larger than 0, or -1 to use the default value.")]
    ReplicationFactor,
    /// `INVALID_REPLICATION_FACTOR` (38).
    #[error(
        "Unable to replicate the partition {factor} time(s): The target replication factor of {factor} cannot be reached \
         because only {brokers} broker(s) are registered."
    )]
    TooFewBrokers {
        /// Replicas wanted.
        factor: i16,
        /// Brokers there are.
        brokers: usize,
    },
    /// `INVALID_REPLICATION_FACTOR` (38).
    #[error("Unable to replicate the partition {factor} time(s): All brokers are currently fenced.")]
    AllFenced {
        /// Replicas wanted.
        factor: i16,
    },
    /// `INVALID_REQUEST` (42).
    #[error("A manual partition assignment was specified, but {field} was not set to -1.")]
    AssignmentAnd {
        /// What else was given: `numPartitions` or `replication factor`.
        field: &'static str,
    },
    /// `INVALID_REPLICA_ASSIGNMENT` (39).
    #[error("{0}")]
    Assignment(String),
    /// `INVALID_CONFIG` (40).
    #[error("Null value not supported for topic configs: {0}")]
    NullConfig(String),
    /// `INVALID_CONFIG` (40).
    #[error("{0}")]
    Config(String),
    /// `UNKNOWN_SERVER_ERROR` (-1): the source of topic ids keeps giving ids that are taken.
    #[error("no unused topic id was found in {0} tries")]
    NoTopicId(usize),
    /// `UNKNOWN_SERVER_ERROR` (-1): what was decided does not fit the metadata.
    #[error(transparent)]
    Inconsistent(#[from] ApplyError),
}

/// How often a new topic id is asked for. Random ids are not taken twice; a source that repeats itself is broken.
const TOPIC_ID_TRIES: usize = 16;

/// Decides on a whole request. One answer for each distinct name, in the order of the request; the delta holds what was decided.
pub(super) fn create_topics(
    delta: &mut Delta,
    topics: &[NewTopic<'_>],
    defaults: TopicDefaults,
    configs: &dyn TopicConfigs,
    new_id: &mut dyn FnMut() -> Uuid,
) -> (Vec<TopicCreation>, Vec<MetadataRecord>) {
    let mut times = BTreeMap::new();
    topics.iter().for_each(|topic| *times.entry(topic.name).or_insert(0u32) += 1);
    let excessive = partitions_asked_for(topics, defaults) > MAX_PARTITIONS_PER_REQUEST;
    let (mut replies, mut records, mut answered) = (Vec::new(), Vec::new(), BTreeSet::new());
    for topic in topics.iter().filter(|topic| answered.insert(topic.name)) {
        let outcome = match excessive {
            true => Err(CreateTopicError::TooManyPartitions),
            false if times[topic.name] > 1 => Err(CreateTopicError::Duplicate),
            false => create_topic(delta, topic, defaults, configs, new_id).map(|(created, made)| {
                records.extend(made);
                created
            }),
        };
        replies.push(TopicCreation { name: topic.name.to_owned(), outcome });
    }
    (replies, records)
}

fn partitions_asked_for(topics: &[NewTopic<'_>], defaults: TopicDefaults) -> usize {
    let asked = |topic: &NewTopic<'_>| match (topic.assignments.len(), topic.num_partitions) {
        (0, -1) => usize::try_from(defaults.num_partitions).unwrap_or(0),
        (0, count) => usize::try_from(count).unwrap_or(0),
        (assigned, _) => assigned,
    };
    topics.iter().map(asked).fold(0, usize::saturating_add)
}

fn create_topic(
    delta: &mut Delta,
    topic: &NewTopic<'_>,
    defaults: TopicDefaults,
    configs: &dyn TopicConfigs,
    new_id: &mut dyn FnMut() -> Uuid,
) -> Result<(CreatedTopic, Vec<MetadataRecord>), CreateTopicError> {
    let image = delta.image();
    check_name(image, topic.name)?;
    let config_records = check_configs(topic, configs)?;
    let topic_id = unused_id(image, new_id)?;
    let mut partitions = match topic.assignments.is_empty() {
        true => place(image, topic, defaults, topic_id)?,
        false => assign(image, topic)?,
    };
    directories::assign(image, &mut partitions);
    let created = CreatedTopic {
        topic_id,
        num_partitions: partitions.len() as i32,
        replication_factor: partitions.first().map_or(0, |partition| partition.replicas.len() as i16),
    };
    let mut records = vec![MetadataRecord::Topic(TopicRecord { name: topic.name.to_owned(), topic_id })];
    records.extend(config_records);
    records.extend(
        (0..).zip(partitions).map(|(partition, state)| {
            MetadataRecord::Partition(PartitionRecord { topic_id, partition, state })
        }),
    );
    for record in &records {
        delta.replay(record)?;
    }
    Ok((created, records))
}

fn check_name(image: &Image, name: &str) -> Result<(), CreateTopicError> {
    if name == CLUSTER_METADATA_TOPIC {
        return Err(CreateTopicError::Reserved);
    }
    if image.topic(name).is_some() {
        return Err(CreateTopicError::Exists(name.to_owned()));
    }
    check_topic_name(name)?;
    match image.colliding_topic(name) {
        Some(existing) => {
            Err(CreateTopicError::Collision { name: name.to_owned(), existing: existing.to_owned() })
        }
        None => Ok(()),
    }
}

fn check_configs(
    topic: &NewTopic<'_>,
    configs: &dyn TopicConfigs,
) -> Result<impl Iterator<Item = MetadataRecord>, CreateTopicError> {
    let nulls: Vec<_> =
        topic.configs.iter().filter(|(_, value)| value.is_none()).map(|(name, _)| *name).collect();
    if !nulls.is_empty() {
        return Err(CreateTopicError::NullConfig(nulls.join(",")));
    }
    // Named twice, the last one counts.
    let mut set = BTreeMap::new();
    for (name, value) in &topic.configs {
        let value = value.unwrap_or_default();
        configs.check(name, value).map_err(CreateTopicError::Config)?;
        set.insert(name.to_string(), value.to_owned());
    }
    let resource = ConfigResource::topic(topic.name);
    Ok(set.into_iter().map(move |(name, value)| {
        MetadataRecord::Config(ConfigRecord { resource: resource.clone(), name, value: Some(value) })
    }))
}

/// An id that no topic has. 0 means "no id" and 1 the metadata topic; both are never given.
fn unused_id(image: &Image, new_id: &mut dyn FnMut() -> Uuid) -> Result<Uuid, CreateTopicError> {
    let unused = |id: &Uuid| id.as_u128() > 1 && image.topic_by_id(*id).is_none();
    let mut ids = std::iter::repeat_with(new_id).take(TOPIC_ID_TRIES);
    ids.find(unused).ok_or(CreateTopicError::NoTopicId(TOPIC_ID_TRIES))
}

#[cfg(test)]
#[path = "create_test.rs"]
mod tests;
