//! An image's records as rkyv archives them: mirrors of the metadata's records, so that `logic` knows nothing of rkyv.
//!
//! Whatever changes here changes the bytes: raise [`FORMAT`](super::FORMAT) with it, so that files of before are passed
//! over. A test holds the bytes of a fixed image against this.

use millrace_logic::meta;
use rkyv::rancor::Error;
use rkyv::with::Map;
use rkyv::{Archive, Deserialize, Serialize};
use uuid::Uuid;

/// Appends the archive of `records` to `file`.
pub(super) fn encode(records: Vec<meta::MetadataRecord>, file: Vec<u8>) -> Result<Vec<u8>, Error> {
    rkyv::api::high::to_bytes_in(&Content { records }, file)
}

/// Reads an archive, every byte of it checked first. The records take memory in proportion to the bytes: an archive in
/// which two things share bytes is refused.
pub(super) fn decode(archive: &[u8]) -> Result<Vec<meta::MetadataRecord>, Error> {
    rkyv::from_bytes::<Content, Error>(archive).map(|content| content.records)
}

#[derive(Archive, Serialize, Deserialize)]
struct Content {
    #[rkyv(with = Map<MetadataRecord>)]
    records: Vec<meta::MetadataRecord>,
}

/// Declares the mirror of a struct: the same fields, and how it turns back into what it mirrors.
macro_rules! mirrors {
    ($(struct $name:ident { $($(#[$with:meta])* $field:ident: $type:ty,)* })*) => {$(
        #[derive(Archive, Serialize, Deserialize)]
        #[rkyv(remote = meta::$name)]
        struct $name { $($(#[$with])* $field: $type,)* }

        impl From<$name> for meta::$name {
            fn from($name { $($field),* }: $name) -> Self {
                Self { $($field),* }
            }
        }
    )*};
}

mirrors! {
    struct TopicRecord {
        name: String,
        topic_id: Uuid,
    }
    struct PartitionRecord {
        topic_id: Uuid,
        partition: i32,
        #[rkyv(with = PartitionState)]
        state: meta::PartitionState,
    }
    struct PartitionState {
        replicas: Vec<i32>,
        isr: Vec<i32>,
        removing: Vec<i32>,
        adding: Vec<i32>,
        leader: Option<i32>,
        leader_epoch: i32,
        partition_epoch: i32,
        directories: Vec<Uuid>,
    }
    struct ConfigResource {
        #[rkyv(with = ResourceKind)]
        kind: meta::ResourceKind,
        name: String,
    }
    struct ConfigRecord {
        #[rkyv(with = ConfigResource)]
        resource: meta::ConfigResource,
        name: String,
        value: Option<String>,
    }
    struct ProducerIdsRecord {
        broker: i32,
        broker_epoch: i64,
        next_producer_id: i64,
    }
    struct FeatureLevelRecord {
        name: String,
        level: i16,
    }
    struct RegisterBrokerRecord {
        broker: i32,
        incarnation: Uuid,
        epoch: i64,
        #[rkyv(with = Map<Endpoint>)]
        endpoints: Vec<meta::Endpoint>,
        #[rkyv(with = Map<BrokerFeature>)]
        features: Vec<meta::BrokerFeature>,
        rack: Option<String>,
        fenced: bool,
        in_controlled_shutdown: bool,
        log_dirs: Vec<Uuid>,
    }
    struct Endpoint {
        name: String,
        host: String,
        port: u16,
        security_protocol: i16,
    }
    struct BrokerFeature {
        name: String,
        min: i16,
        max: i16,
    }
}

#[derive(Archive, Serialize, Deserialize)]
#[rkyv(remote = meta::MetadataRecord)]
enum MetadataRecord {
    Topic(#[rkyv(with = TopicRecord)] meta::TopicRecord),
    Partition(#[rkyv(with = PartitionRecord)] meta::PartitionRecord),
    Config(#[rkyv(with = ConfigRecord)] meta::ConfigRecord),
    RemoveTopic { topic_id: Uuid },
    ProducerIds(#[rkyv(with = ProducerIdsRecord)] meta::ProducerIdsRecord),
    FeatureLevel(#[rkyv(with = FeatureLevelRecord)] meta::FeatureLevelRecord),
    RegisterBroker(#[rkyv(with = RegisterBrokerRecord)] meta::RegisterBrokerRecord),
}

impl From<MetadataRecord> for meta::MetadataRecord {
    fn from(mirror: MetadataRecord) -> Self {
        match mirror {
            MetadataRecord::Topic(record) => Self::Topic(record),
            MetadataRecord::Partition(record) => Self::Partition(record),
            MetadataRecord::Config(record) => Self::Config(record),
            MetadataRecord::RemoveTopic { topic_id } => Self::RemoveTopic { topic_id },
            MetadataRecord::ProducerIds(record) => Self::ProducerIds(record),
            MetadataRecord::FeatureLevel(record) => Self::FeatureLevel(record),
            MetadataRecord::RegisterBroker(record) => Self::RegisterBroker(record),
        }
    }
}

#[derive(Archive, Serialize, Deserialize)]
#[rkyv(remote = meta::ResourceKind)]
enum ResourceKind {
    Topic,
    Broker,
    BrokerLogger,
    ClientMetrics,
    Group,
}

impl From<ResourceKind> for meta::ResourceKind {
    fn from(mirror: ResourceKind) -> Self {
        match mirror {
            ResourceKind::Topic => Self::Topic,
            ResourceKind::Broker => Self::Broker,
            ResourceKind::BrokerLogger => Self::BrokerLogger,
            ResourceKind::ClientMetrics => Self::ClientMetrics,
            ResourceKind::Group => Self::Group,
        }
    }
}
