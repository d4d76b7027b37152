//! Metadata (3): brokers, topics, and who leads which partition.
//!
//! Versions: 0 an empty list asks for all topics; from 1 null does, and empty asks for none · 1 controller, rack, internal ·
//! 2 cluster id · 4 auto-creation (KIP-4) · 5 offline replicas · 7 leader epoch · 8 authorized operations (KIP-430) · 9 flexible ·
//! 10 topic ids (KIP-516) · 11 without the cluster's operations · 12 asking by id · 13 an error of the whole (KIP-1102).

use uuid::Uuid;

use crate::kafka::error::ErrorCode;

/// Authorized operations that were not asked for.
pub const OPERATIONS_UNKNOWN: i32 = i32::MIN;

message! {
    /// Which topics to describe.
    pub struct MetadataRequest<'a>(versions 0..=13, flexible 9..) {
        /// `None` asks for all (see above for version 0).
        topics: Option<Vec<MetadataRequestTopic<'a>>> = Some(Vec::new()), nullable 1..;
        /// Topics that do not exist may be created, if the broker does that.
        allow_auto_topic_creation: bool = true, versions 4..;
        /// Whether to tell what the client may do with the cluster.
        include_cluster_authorized_operations: bool, versions 8..=10;
        /// Whether to tell what the client may do with each topic.
        include_topic_authorized_operations: bool, versions 8..;
    }

    /// A topic to describe.
    pub struct MetadataRequestTopic<'a> {
        /// Topic id; nil to go by name.
        topic_id: Uuid, versions 10..;
        /// Topic name; `None` to go by id.
        name: Option<&'a str>, nullable 10..;
    }

    /// The cluster as this broker knows it.
    pub struct MetadataResponse<'a>(versions 0..=13, flexible 9..) {
        /// How long the client was, or is to be, throttled.
        throttle_time_ms: i32, versions 3..;
        /// Every broker that is alive.
        brokers: Vec<MetadataResponseBroker<'a>>;
        /// The cluster's id.
        cluster_id: Option<&'a str>, versions 2..;
        /// A broker that takes administrative requests; -1 for none.
        controller_id: i32 = -1, versions 1..;
        /// Each topic asked for.
        topics: Vec<MetadataResponseTopic<'a>>;
        /// What the client may do with the cluster, as bits.
        cluster_authorized_operations: i32 = OPERATIONS_UNKNOWN, versions 8..=10;
        /// REBOOTSTRAP_REQUIRED, or none.
        error_code: ErrorCode, versions 13..;
    }

    /// A broker.
    pub struct MetadataResponseBroker<'a> {
        /// Broker id.
        node_id: i32;
        /// Host name or address, as clients are to use it.
        host: &'a str;
        /// Port.
        port: i32;
        /// Rack, when the broker has one.
        rack: Option<&'a str>, versions 1..;
    }

    /// A topic.
    pub struct MetadataResponseTopic<'a> {
        /// Why it cannot be described, if it cannot.
        error_code: ErrorCode;
        /// Topic name; `None` for an id that is not known.
        name: Option<&'a str>, nullable 12..;
        /// Topic id.
        topic_id: Uuid, versions 10..;
        /// It belongs to the broker itself.
        is_internal: bool, versions 1..;
        /// Its partitions.
        partitions: Vec<MetadataResponsePartition>;
        /// What the client may do with the topic, as bits.
        topic_authorized_operations: i32 = OPERATIONS_UNKNOWN, versions 8..;
    }

    /// A partition.
    pub struct MetadataResponsePartition {
        /// LEADER_NOT_AVAILABLE and its like; the rest may still be of use.
        error_code: ErrorCode;
        /// Partition.
        partition_index: i32;
        /// Its leader; -1 for none.
        leader_id: i32;
        /// Leader epoch; -1 when not known.
        leader_epoch: i32 = -1, versions 7..;
        /// All replicas, the preferred leader first.
        replica_nodes: Vec<i32>;
        /// Those in sync.
        isr_nodes: Vec<i32>;
        /// Those that are down.
        offline_replicas: Vec<i32>, versions 5..;
    }
}
