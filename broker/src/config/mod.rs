//! What an operator can choose.
//!
//! [`Config`] is the whole of it, typed and with its defaults. [`registry`] knows the broker's settings, [`topic`] those
//! of topics; [`Config::from_properties`] reads them from a file.

mod alteration;
mod cleaner;
mod consumer_groups;
mod dynamic;
pub mod group;
mod groups;
mod kafka_names;
mod listeners;
mod load;
pub mod properties;
pub mod reference;
pub mod registry;
pub mod topic;

pub use alteration::Alterable;
pub use cleaner::Cleaner;
pub use groups::Groups;
pub use load::{ConfigError, Warning};

use crate::limits::Limits;
use millrace_logic::meta::{Image, TopicDefaults};
use millrace_storage::Identity;
use registry::Lands;
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;
use topic::TopicSettings;

/// The features that are finalized, and their levels, as `ApiVersions` tells them. Kafka 4.3's tools understand these.
pub const FINALIZED_FEATURES: &[(&str, i16)] =
    &[("group.version", GROUP_VERSION), ("metadata.version", METADATA_VERSION)];

/// The features that there are, and from which to which level, for ApiVersions and the broker's registration.
pub const SUPPORTED_FEATURES: &[(&str, i16, i16)] =
    &[("group.version", 0, GROUP_VERSION), ("metadata.version", OLDEST_METADATA_VERSION, METADATA_VERSION)];

/// The oldest `metadata.version` that Kafka 4.x can be at, 3.3-IV3.
const OLDEST_METADATA_VERSION: i16 = 7;

/// `group.version` 1: groups of the new protocol (KIP-848).
pub const GROUP_VERSION: i16 = 1;

/// `metadata.version` 4.3-IV0: the schemas of the metadata log's records.
pub const METADATA_VERSION: i16 = 30;

/// A host and a port, as clients are told them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HostPort {
    /// A name or an address.
    pub host: String,
    /// The TCP port.
    pub port: u16,
}

impl HostPort {
    /// An address as clients are told it; `None` for one that means every interface, which they cannot reach.
    pub fn of(address: SocketAddr) -> Option<Self> {
        (!address.ip().is_unspecified())
            .then(|| Self { host: address.ip().to_string(), port: address.port() })
    }
}

/// How a broker runs.
#[derive(Clone, Debug)]
pub struct Config {
    /// `node.id`.
    pub node_id: i32,
    /// `cluster.id`, if it must be this one.
    pub cluster_id: Option<String>,
    /// `broker.rack`.
    pub rack: Option<String>,
    /// `listeners`: where Kafka clients connect.
    pub kafka: SocketAddr,
    /// `advertised.listeners`: what Kafka clients are told; `None` tells them `kafka`.
    pub advertised_kafka: Option<HostPort>,
    /// `grpc.listeners`: where gRPC clients connect.
    pub grpc: SocketAddr,
    /// `advertised.grpc.listeners`: what gRPC clients are told; `None` tells them `grpc`.
    pub advertised_grpc: Option<HostPort>,
    /// `http.listeners`: metrics and health.
    pub http: SocketAddr,
    /// `log.dirs`; the first holds the metadata.
    pub data_dirs: Vec<PathBuf>,
    /// `auto.create.topics.enable`.
    pub auto_create_topics: bool,
    /// `delete.topic.enable`.
    pub delete_topics: bool,
    /// `num.partitions`.
    pub num_partitions: i32,
    /// `default.replication.factor`.
    pub default_replication_factor: i16,
    /// What topics without a setting of their own go by.
    pub topics: TopicSettings,
    /// `log.retention.check.interval.ms`: how often partitions are looked at for what they need not keep.
    pub retention_check: Duration,
    /// `log.journal.bytes`: the size of each shard's journal in each log directory; 0 for none.
    pub journal_bytes: u64,
    /// How compaction goes about its work.
    pub cleaner: Cleaner,
    /// How groups are kept.
    pub groups: Groups,
    /// Bounds on what clients can make the broker hold.
    pub limits: Limits,
    /// `shards`; `None` is one per core. Whoever starts the machine decides.
    pub shards: Option<usize>,
    /// The settings that were made in a file, as they were written.
    pub given: BTreeMap<&'static str, String>,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            node_id: 1,
            cluster_id: None,
            rack: None,
            kafka: SocketAddr::from(([127, 0, 0, 1], 9092)),
            advertised_kafka: None,
            grpc: SocketAddr::from(([127, 0, 0, 1], 9095)),
            advertised_grpc: None,
            http: SocketAddr::from(([127, 0, 0, 1], 9644)),
            data_dirs: vec![PathBuf::from("millrace-data")],
            auto_create_topics: true,
            delete_topics: true,
            num_partitions: 1,
            default_replication_factor: 1,
            topics: TopicSettings::default(),
            retention_check: Duration::from_secs(300),
            journal_bytes: 64 << 20,
            cleaner: Cleaner::default(),
            groups: Groups::default(),
            limits: Limits::default(),
            shards: None,
            given: BTreeMap::new(),
        }
    }
}

impl Config {
    /// What holds for a topic now.
    pub fn effective<'a>(&'a self, image: &'a Image, topic: &str) -> topic::Effective<'a> {
        self.topics.effective(image, self.node_id, topic)
    }

    /// What a topic gets that is created without saying so.
    pub fn topic_defaults(&self) -> TopicDefaults {
        TopicDefaults {
            num_partitions: self.num_partitions,
            replication_factor: self.default_replication_factor,
        }
    }

    /// Who the data directory must belong to.
    pub fn identity(&self) -> Identity {
        Identity { node_id: self.node_id, cluster_id: self.cluster_id.clone() }
    }
}

/// A setting of the broker as DescribeConfigs shows it.
#[derive(Clone, Debug)]
pub struct Described {
    /// Its name.
    pub name: &'static str,
    /// Its value; `None` where nothing is set and there is no default.
    pub value: Option<String>,
    /// Whether nobody chose it.
    pub is_default: bool,
    /// Its type.
    pub config_type: topic::Type,
    /// What it does.
    pub doc: &'static str,
    /// Whether it may change while the broker runs.
    pub is_dynamic: bool,
}

impl Config {
    /// What the broker was started with: every setting that it knows, by name.
    pub fn describe(&self) -> Vec<Described> {
        let described = registry::settings().iter().map(|setting| {
            let default = setting.default();
            let value = match setting.lands {
                Lands::Field(_, get) => get(self),
                Lands::Nowhere => None,
                _ => self.given.get(setting.name).cloned().or_else(|| default.clone()),
            };
            let is_default = value == default;
            Described {
                name: setting.name,
                value,
                is_default,
                config_type: setting.config_type,
                doc: setting.doc,
                is_dynamic: setting.is_dynamic(),
            }
        });
        let mut described: Vec<_> = described.collect();
        described.sort_by_key(|setting| setting.name);
        described
    }
}
