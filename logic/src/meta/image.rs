//! The metadata at one point of its log: immutable, and shared by handing out `Arc`s.
//!
//! A clone copies a few pointers. A change copies only what it touches: each topic is an `Arc` of its own, and the index of topics is copied
//! (pointers, not topics) when it is shared. A [`Delta`] holds its copy alone, so many records in a row pay for that once.

use std::collections::BTreeMap;
use std::sync::Arc;

use uuid::Uuid;

use super::delta::{ApplyError, Delta};
use super::names::collision_key;
use super::record::{ConfigResource, MetadataRecord, RegisterBrokerRecord, ResourceKind};
use crate::offset::LogEnd;

/// What a broker is registered as.
pub type Broker = RegisterBrokerRecord;

/// The configurations of one thing.
pub type Configs = BTreeMap<String, String>;

/// The metadata at one point of its log.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Image {
    pub(super) end: LogEnd,
    pub(super) topics: Arc<Topics>,
    pub(super) configs: Arc<BTreeMap<ConfigResource, Arc<Configs>>>,
    pub(super) brokers: Arc<BTreeMap<i32, Arc<Broker>>>,
    pub(super) features: Arc<BTreeMap<String, i16>>,
    pub(super) next_producer_id: i64,
}

/// The topics, found three ways.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Topics {
    pub(super) by_id: BTreeMap<Uuid, Arc<Topic>>,
    pub(super) by_name: BTreeMap<Arc<str>, Uuid>,
    /// Names with '.' or '_', under the name that they share with whatever they collide with.
    pub(super) by_collision: BTreeMap<String, Arc<str>>,
}

/// One topic.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Topic {
    /// Its id.
    pub id: Uuid,
    /// Its name.
    pub name: Arc<str>,
    /// Its partitions; the index is the partition's number.
    pub partitions: Vec<PartitionState>,
}

/// One partition, as the cluster agreed on it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PartitionState {
    /// The brokers that hold it, the preferred leader first.
    pub replicas: Vec<i32>,
    /// Those in sync.
    pub isr: Vec<i32>,
    /// Those that a reassignment takes away.
    pub removing: Vec<i32>,
    /// Those that a reassignment adds.
    pub adding: Vec<i32>,
    /// The leader; `None` while there is nobody to lead.
    pub leader: Option<i32>,
    /// Rises with each leader.
    pub leader_epoch: i32,
    /// Rises with each change of this state.
    pub partition_epoch: i32,
    /// The log directory of each replica, in the order of `replicas`; empty when not assigned.
    pub directories: Vec<Uuid>,
}

impl Image {
    /// The metadata after these records, which end at `end` in the metadata log.
    pub fn apply(&self, records: &[MetadataRecord], end: LogEnd) -> Result<Image, ApplyError> {
        let mut delta = Delta::new(self);
        for record in records {
            delta.replay(record)?;
        }
        Ok(delta.finish(end).0)
    }

    /// The end of the metadata log up to which this holds.
    pub fn end(&self) -> LogEnd {
        self.end
    }

    /// The topic of this name.
    pub fn topic(&self, name: &str) -> Option<&Arc<Topic>> {
        self.topics.by_name.get(name).and_then(|id| self.topics.by_id.get(id))
    }

    /// The topic of this id.
    pub fn topic_by_id(&self, id: Uuid) -> Option<&Arc<Topic>> {
        self.topics.by_id.get(&id)
    }

    /// All topics, by name.
    pub fn topics(&self) -> impl Iterator<Item = &Arc<Topic>> {
        self.topics.by_name.values().filter_map(|id| self.topics.by_id.get(id))
    }

    /// How many topics there are.
    pub fn topic_count(&self) -> usize {
        self.topics.by_id.len()
    }

    /// A topic whose name differs from this one in nothing but '.' and '_' (the same name included).
    pub fn colliding_topic(&self, name: &str) -> Option<&str> {
        self.topics.by_collision.get(&collision_key(name)?).map(|found| &**found)
    }

    /// What was set for this thing; nothing set is `None`.
    pub fn configs(&self, resource: &ConfigResource) -> Option<&Arc<Configs>> {
        self.configs.get(resource)
    }

    /// The groups that have settings of their own.
    pub fn group_configs(&self) -> impl Iterator<Item = (&str, &Configs)> {
        let first = ConfigResource { kind: ResourceKind::Group, name: String::new() };
        let groups = self.configs.range(first..).filter(|(resource, _)| resource.kind == ResourceKind::Group);
        groups.map(|(resource, configs)| (resource.name.as_str(), &**configs))
    }

    /// The brokers, by number.
    pub fn brokers(&self) -> impl Iterator<Item = &Arc<Broker>> {
        self.brokers.values()
    }

    /// The broker of this number.
    pub fn broker(&self, id: i32) -> Option<&Arc<Broker>> {
        self.brokers.get(&id)
    }

    /// The features that are on, by name.
    pub fn features(&self) -> impl Iterator<Item = (&str, i16)> {
        self.features.iter().map(|(name, level)| (name.as_str(), *level))
    }

    /// The first producer id that no block holds yet.
    pub fn next_producer_id(&self) -> i64 {
        self.next_producer_id
    }

    /// The records that make this image out of nothing, for a snapshot of the metadata log.
    pub fn records(&self) -> Vec<MetadataRecord> {
        use super::record::{
            ConfigRecord, FeatureLevelRecord, PartitionRecord, ProducerIdsRecord, TopicRecord,
        };
        let mut records = Vec::new();
        let level = |(name, &level): (&String, &i16)| FeatureLevelRecord { name: name.clone(), level };
        records.extend(self.features.iter().map(level).map(MetadataRecord::FeatureLevel));
        records.extend(self.brokers().map(|broker| MetadataRecord::RegisterBroker(Broker::clone(broker))));
        for topic in self.topics() {
            let topic_id = topic.id;
            records.push(MetadataRecord::Topic(TopicRecord { name: topic.name.to_string(), topic_id }));
            records.extend((0..).zip(&topic.partitions).map(|(partition, state)| {
                MetadataRecord::Partition(PartitionRecord { topic_id, partition, state: state.clone() })
            }));
        }
        for (resource, configs) in &*self.configs {
            records.extend(configs.iter().map(|(name, value)| {
                let (resource, name, value) = (resource.clone(), name.clone(), Some(value.clone()));
                MetadataRecord::Config(ConfigRecord { resource, name, value })
            }));
        }
        if self.next_producer_id > 0 {
            let next_producer_id = self.next_producer_id;
            records.push(MetadataRecord::ProducerIds(ProducerIdsRecord {
                broker: -1,
                broker_epoch: -1,
                next_producer_id,
            }));
        }
        records
    }
}
