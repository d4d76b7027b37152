//! The cluster's metadata: topics, configurations, brokers, producer id blocks.
//!
//! Every change is a list of [`MetadataRecord`]s in an ordinary log. [`Controller`] is the one writer: it decides on a request and returns
//! the reply together with the records. [`Image`] is what the records add up to: immutable, cheap to clone, one for every core.
//! A restart, and later a Raft follower, does nothing but replay.

mod assign;
pub mod configs;
pub mod controller;
pub mod create;
pub mod delete;
pub mod delta;
mod directories;
pub mod image;
pub mod names;
pub mod partitions;
pub mod producer_ids;
pub mod record;

pub use configs::{
    AlterConfigError, ConfigChange, ConfigChanges, ConfigRefusal, KnownConfigs, Reconfiguration,
    ReconfigurationOutcome,
};
pub use controller::Controller;
pub use create::{CreateTopicError, CreatedTopic, NewTopic, TopicConfigs, TopicCreation, TopicDefaults};
pub use delete::{DeleteTopicError, TopicDeletion, TopicTarget};
pub use delta::{ApplyError, Changes, Delta};
pub use image::{Broker, Configs, Image, PartitionState, Topic};
pub use names::{NameError, check_topic_name};
pub use partitions::{CreatePartitionsError, NewPartitions, PartitionsCreation};
pub use producer_ids::{ProducerIdBlock, ProducerIds, ProducerIdsExhausted};
pub use record::{
    BrokerFeature, ConfigRecord, ConfigResource, Endpoint, FeatureLevelRecord, MetadataRecord,
    PartitionRecord, ProducerIdsRecord, RegisterBrokerRecord, ResourceKind, TopicRecord,
};
