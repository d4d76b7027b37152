//! DescribeTopicPartitions (75): partitions of topics, some at a time (KIP-966).

use uuid::Uuid;

use crate::kafka::error::ErrorCode;
use crate::kafka::wire::Nullable;

message! {
    /// Topics to describe.
    pub struct DescribeTopicPartitionsRequest<'a>(versions 0..=0, flexible 0..) {
        /// Each topic; none for all.
        topics: Vec<DescribeTopicPartitionsTopic<'a>>;
        /// The most partitions in the answer.
        response_partition_limit: i32 = 2000;
        /// Where to go on; `None` from the beginning.
        cursor: Nullable<Cursor<'a>>;
    }

    /// A topic.
    pub struct DescribeTopicPartitionsTopic<'a> {
        /// Topic name.
        name: &'a str;
    }

    /// A place among all partitions of all topics, sorted by name.
    pub struct Cursor<'a> {
        /// Topic name.
        topic_name: &'a str;
        /// Partition.
        partition_index: i32;
    }

    /// The topics.
    pub struct DescribeTopicPartitionsResponse<'a>(versions 0..=0, flexible 0..) {
        /// How long the client was, or is to be, throttled.
        throttle_time_ms: i32;
        /// Each topic.
        topics: Vec<DescribedTopic<'a>>;
        /// Where to go on; `None` when this was all.
        next_cursor: Nullable<Cursor<'a>>;
    }

    /// A topic.
    pub struct DescribedTopic<'a> {
        /// Why it cannot be described, if it cannot.
        error_code: ErrorCode;
        /// Topic name.
        name: Option<&'a str>;
        /// Topic id.
        topic_id: Uuid;
        /// The broker keeps it for itself.
        is_internal: bool;
        /// Its partitions.
        partitions: Vec<DescribedPartition>;
        /// What the client may do with it, as bits; the least number when not known.
        topic_authorized_operations: i32 = i32::MIN;
    }

    /// A partition.
    pub struct DescribedPartition {
        /// Why nobody leads it, if nobody does.
        error_code: ErrorCode;
        /// Partition.
        partition_index: i32;
        /// Who leads it; -1 when nobody does.
        leader_id: i32;
        /// Leader epoch.
        leader_epoch: i32 = -1;
        /// Its replicas, the preferred leader first.
        replica_nodes: Vec<i32>;
        /// Those in sync.
        isr_nodes: Vec<i32>;
        /// Those that may lead although they are not in sync.
        eligible_leader_replicas: Option<Vec<i32>>;
        /// Those that last could.
        last_known_elr: Option<Vec<i32>>;
        /// Those that are offline.
        offline_replicas: Vec<i32>;
    }
}
