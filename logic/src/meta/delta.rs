//! The difference between two images, made record by record.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use uuid::Uuid;

use super::image::{Image, Topic};
use super::names::collision_key;
use super::record::{ConfigRecord, ConfigResource, MetadataRecord, PartitionRecord, TopicRecord};
use crate::offset::LogEnd;

/// Why a record does not fit the image before it: the log is damaged, or was written by something else.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ApplyError {
    /// A topic of this name exists.
    #[error("metadata: topic {name:?} is created twice, as {existing} and as {created}")]
    TopicExists {
        /// The name.
        name: String,
        /// The topic there is.
        existing: Uuid,
        /// The topic in the record.
        created: Uuid,
    },
    /// A topic of this id exists.
    #[error("metadata: topic id {0} is used twice")]
    TopicIdExists(Uuid),
    /// No topic of this id exists.
    #[error("metadata: a record names topic id {0}, which does not exist")]
    UnknownTopic(Uuid),
    /// A partition's number skips others.
    #[error(
        "metadata: topic {topic:?} has {partitions} partitions, and the next one recorded is {partition}"
    )]
    PartitionGap {
        /// The topic.
        topic: Arc<str>,
        /// How many partitions it has.
        partitions: usize,
        /// The number in the record.
        partition: i32,
    },
    /// Producer ids were given out twice.
    #[error("metadata: producer ids go back from {current} to {recorded}")]
    ProducerIdsGoBack {
        /// The next id so far.
        current: i64,
        /// The next id in the record.
        recorded: i64,
    },
}

/// An image in the making: records go in, the next image and what changed come out.
#[derive(Debug)]
pub struct Delta {
    image: Image,
    /// The topics touched, as they were before.
    before: BTreeMap<Uuid, Option<Arc<Topic>>>,
    configs: BTreeSet<ConfigResource>,
    brokers: BTreeSet<i32>,
}

/// What differs between two images, for those who act on it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Changes {
    /// Topics that exist now and did not.
    pub created: Vec<Arc<Topic>>,
    /// Topics that existed in both and differ, as they are now.
    pub changed: Vec<Arc<Topic>>,
    /// Topics that existed and do not now, as they were.
    pub deleted: Vec<Arc<Topic>>,
    /// What has other configurations; a deleted topic's are not listed.
    pub configs: Vec<ConfigResource>,
    /// Brokers that registered.
    pub brokers: Vec<i32>,
}

impl Delta {
    /// Starts from an image, which stays as it is.
    pub fn new(image: &Image) -> Self {
        Self {
            image: image.clone(),
            before: BTreeMap::new(),
            configs: BTreeSet::new(),
            brokers: BTreeSet::new(),
        }
    }

    /// The image with what was replayed so far.
    pub fn image(&self) -> &Image {
        &self.image
    }

    /// Takes one record. After an error the delta is as before it.
    pub fn replay(&mut self, record: &MetadataRecord) -> Result<(), ApplyError> {
        match record {
            MetadataRecord::Topic(record) => self.add_topic(record),
            MetadataRecord::Partition(record) => self.set_partition(record),
            MetadataRecord::Config(record) => {
                self.set_config(record);
                Ok(())
            }
            MetadataRecord::RemoveTopic { topic_id } => self.remove_topic(*topic_id),
            MetadataRecord::ProducerIds(record) => self.advance_producer_ids(record.next_producer_id),
            MetadataRecord::FeatureLevel(record) => {
                let features = Arc::make_mut(&mut self.image.features);
                match record.level {
                    0 => features.remove(&record.name),
                    level => features.insert(record.name.clone(), level),
                };
                Ok(())
            }
            MetadataRecord::RegisterBroker(record) => {
                Arc::make_mut(&mut self.image.brokers).insert(record.broker, Arc::new(record.clone()));
                self.brokers.insert(record.broker);
                Ok(())
            }
        }
    }

    /// The new image, which holds up to `end` of the metadata log, and how it differs from the one before.
    pub fn finish(self, end: LogEnd) -> (Image, Changes) {
        let Self { mut image, before, configs, brokers } = self;
        image.end = end;
        let mut changes = Changes::default();
        for (id, old) in before {
            match (old, image.topic_by_id(id)) {
                (None, Some(new)) => changes.created.push(new.clone()),
                (Some(old), Some(new)) if old != *new => changes.changed.push(new.clone()),
                (Some(old), None) => changes.deleted.push(old),
                _ => {}
            }
        }
        changes.configs = configs.into_iter().collect();
        changes.brokers = brokers.into_iter().collect();
        (image, changes)
    }

    fn add_topic(&mut self, record: &TopicRecord) -> Result<(), ApplyError> {
        let id = record.topic_id;
        if let Some(existing) = self.image.topic(&record.name) {
            return Err(ApplyError::TopicExists {
                name: record.name.clone(),
                existing: existing.id,
                created: id,
            });
        }
        if self.image.topic_by_id(id).is_some() {
            return Err(ApplyError::TopicIdExists(id));
        }
        let name: Arc<str> = record.name.as_str().into();
        self.before.entry(id).or_insert(None);
        let topics = Arc::make_mut(&mut self.image.topics);
        topics.by_name.insert(name.clone(), id);
        if let Some(key) = collision_key(&name) {
            topics.by_collision.insert(key, name.clone());
        }
        topics.by_id.insert(id, Arc::new(Topic { id, name, partitions: Vec::new() }));
        Ok(())
    }

    fn set_partition(&mut self, record: &PartitionRecord) -> Result<(), ApplyError> {
        let PartitionRecord { topic_id, partition, state } = record;
        let topic = self.image.topic_by_id(*topic_id).ok_or(ApplyError::UnknownTopic(*topic_id))?;
        let count = topic.partitions.len();
        let index = usize::try_from(*partition).ok().filter(|index| *index <= count);
        let Some(index) = index else {
            let (topic, partition) = (topic.name.clone(), *partition);
            return Err(ApplyError::PartitionGap { topic, partitions: count, partition });
        };
        self.before.entry(*topic_id).or_insert_with(|| Some(topic.clone()));
        let topics = Arc::make_mut(&mut self.image.topics);
        if let Some(topic) = topics.by_id.get_mut(topic_id) {
            let partitions = &mut Arc::make_mut(topic).partitions;
            match partitions.get_mut(index) {
                Some(known) => *known = state.clone(),
                None => partitions.push(state.clone()),
            }
        }
        Ok(())
    }

    fn set_config(&mut self, record: &ConfigRecord) {
        let all = Arc::make_mut(&mut self.image.configs);
        let configs = Arc::make_mut(all.entry(record.resource.clone()).or_default());
        match &record.value {
            Some(value) => configs.insert(record.name.clone(), value.clone()),
            None => configs.remove(&record.name),
        };
        if configs.is_empty() {
            all.remove(&record.resource);
        }
        self.configs.insert(record.resource.clone());
    }

    fn remove_topic(&mut self, id: Uuid) -> Result<(), ApplyError> {
        let topic = self.image.topic_by_id(id).ok_or(ApplyError::UnknownTopic(id))?.clone();
        let topics = Arc::make_mut(&mut self.image.topics);
        topics.by_id.remove(&id);
        topics.by_name.remove(&topic.name);
        // The key may be held by another topic, if an older log let two of them in.
        if let Some(key) = collision_key(&topic.name)
            && topics.by_collision.get(&key) == Some(&topic.name)
        {
            topics.by_collision.remove(&key);
        }
        let resource = ConfigResource::topic(&topic.name);
        if self.image.configs.contains_key(&resource) {
            Arc::make_mut(&mut self.image.configs).remove(&resource);
        }
        self.configs.remove(&resource);
        self.before.entry(id).or_insert(Some(topic));
        Ok(())
    }

    fn advance_producer_ids(&mut self, next: i64) -> Result<(), ApplyError> {
        let current = self.image.next_producer_id;
        if next < current {
            return Err(ApplyError::ProducerIdsGoBack { current, recorded: next });
        }
        self.image.next_producer_id = next;
        Ok(())
    }
}

#[cfg(test)]
#[path = "delta_test.rs"]
mod tests;
