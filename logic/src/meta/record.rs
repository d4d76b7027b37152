//! The records of the metadata log, field for field as KRaft's schemas have them; `proto` knows their bytes.

use std::fmt;

use uuid::Uuid;

use super::image::PartitionState;

/// One change of the metadata.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MetadataRecord {
    /// A topic begins to exist.
    Topic(TopicRecord),
    /// A partition begins to exist, or all of its state is replaced.
    Partition(PartitionRecord),
    /// One configuration of one thing is set or removed.
    Config(ConfigRecord),
    /// A topic, its partitions and its configurations end.
    RemoveTopic {
        /// Which.
        topic_id: Uuid,
    },
    /// A block of producer ids was given to a broker.
    ProducerIds(ProducerIdsRecord),
    /// A feature of the cluster is at this level now.
    FeatureLevel(FeatureLevelRecord),
    /// A broker process joined.
    RegisterBroker(RegisterBrokerRecord),
}

/// `TopicRecord` (2).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TopicRecord {
    /// Its name.
    pub name: String,
    /// Its id, never used before or after.
    pub topic_id: Uuid,
}

/// `PartitionRecord` (3).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PartitionRecord {
    /// The topic.
    pub topic_id: Uuid,
    /// The partition's number; they are recorded in order, without holes.
    pub partition: i32,
    /// All there is to know of it.
    pub state: PartitionState,
}

/// What a configuration belongs to. The numbers are those of the wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(i8)]
pub enum ResourceKind {
    /// A topic.
    Topic = 2,
    /// A broker, or with an empty name all of them.
    Broker = 4,
    /// Log levels of a broker.
    BrokerLogger = 8,
    /// A client metrics subscription.
    ClientMetrics = 16,
    /// A group.
    Group = 32,
}

impl ResourceKind {
    /// Reads the wire's number.
    pub fn from_wire(kind: i8) -> Option<Self> {
        let all = [Self::Topic, Self::Broker, Self::BrokerLogger, Self::ClientMetrics, Self::Group];
        all.into_iter().find(|known| *known as i8 == kind)
    }

    /// The wire's number.
    pub fn to_wire(self) -> i8 {
        self as i8
    }
}

/// What a configuration belongs to, by name.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ConfigResource {
    /// Its kind.
    pub kind: ResourceKind,
    /// Its name: of a topic or a group, or a broker's number.
    pub name: String,
}

impl ConfigResource {
    /// The topic of this name.
    pub fn topic(name: &str) -> Self {
        Self { kind: ResourceKind::Topic, name: name.to_owned() }
    }
}

impl fmt::Display for ConfigResource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} {:?}", self.kind, self.name)
    }
}

/// `ConfigRecord` (4).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigRecord {
    /// Whose configuration.
    pub resource: ConfigResource,
    /// The setting.
    pub name: String,
    /// Its value; `None` removes it, so that the default holds again.
    pub value: Option<String>,
}

/// `ProducerIdsRecord` (15).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ProducerIdsRecord {
    /// The broker that asked.
    pub broker: i32,
    /// Its epoch.
    pub broker_epoch: i64,
    /// The first id after the block: the first of the next one.
    pub next_producer_id: i64,
}

/// `FeatureLevelRecord` (12).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FeatureLevelRecord {
    /// The feature, as `metadata.version`.
    pub name: String,
    /// Its level; 0 turns it off.
    pub level: i16,
}

/// `RegisterBrokerRecord` (27).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RegisterBrokerRecord {
    /// The broker's number.
    pub broker: i32,
    /// One for each process that ran as this broker.
    pub incarnation: Uuid,
    /// Rises with each registration: the offset of the record in the metadata log.
    pub epoch: i64,
    /// Where clients and brokers find it.
    pub endpoints: Vec<Endpoint>,
    /// The levels of features that it can run with.
    pub features: Vec<BrokerFeature>,
    /// Where it stands.
    pub rack: Option<String>,
    /// Not trusted with leadership, not shown to clients.
    pub fenced: bool,
    /// On its way out.
    pub in_controlled_shutdown: bool,
    /// Its log directories.
    pub log_dirs: Vec<Uuid>,
}

/// Where a broker listens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Endpoint {
    /// Listener name, as `PLAINTEXT`.
    pub name: String,
    /// Host to connect to.
    pub host: String,
    /// Port to connect to.
    pub port: u16,
    /// Kafka's number: 0 PLAINTEXT, 1 SSL, 2 SASL_PLAINTEXT, 3 SASL_SSL.
    pub security_protocol: i16,
}

/// The levels of one feature that a broker can run with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BrokerFeature {
    /// The feature.
    pub name: String,
    /// Lowest level.
    pub min: i16,
    /// Highest level.
    pub max: i16,
}
