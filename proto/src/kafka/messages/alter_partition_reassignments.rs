//! AlterPartitionReassignments (45): moves replicas to other brokers.
//!
//! Versions: 1 whether the replication factor may change.

use crate::kafka::error::ErrorCode;

message! {
    /// Which partitions go where.
    pub struct AlterPartitionReassignmentsRequest<'a>(versions 0..=1, flexible 0..) {
        /// How long to wait.
        timeout_ms: i32 = 60_000;
        /// Whether partitions may get more or fewer replicas.
        allow_replication_factor_change: bool = true, versions 1..;
        /// By topic.
        topics: Vec<ReassignableTopic<'a>>;
    }

    /// Partitions of one topic.
    pub struct ReassignableTopic<'a> {
        /// Topic name.
        name: &'a str;
        /// Each partition.
        partitions: Vec<ReassignablePartition>;
    }

    /// One partition.
    pub struct ReassignablePartition {
        /// Partition.
        partition_index: i32;
        /// The brokers that are to hold it; null to call off what is under way.
        replicas: Option<Vec<i32>>;
    }

    /// What became of it.
    pub struct AlterPartitionReassignmentsResponse<'a>(versions 0..=1, flexible 0..) {
        /// How long the client was, or is to be, throttled.
        throttle_time_ms: i32;
        /// Whether the replication factor might change.
        allow_replication_factor_change: bool = true, versions 1..;
        /// Why nothing was done.
        error_code: ErrorCode;
        /// The same for people.
        error_message: Option<&'a str>;
        /// By topic.
        responses: Vec<ReassignableTopicResponse<'a>>;
    }

    /// One topic.
    pub struct ReassignableTopicResponse<'a> {
        /// Topic name.
        name: &'a str;
        /// Each partition.
        partitions: Vec<ReassignablePartitionResponse<'a>>;
    }

    /// One partition.
    pub struct ReassignablePartitionResponse<'a> {
        /// Partition.
        partition_index: i32;
        /// Why it was not done, if it was not.
        error_code: ErrorCode;
        /// The same for people.
        error_message: Option<&'a str>;
    }
}
