//! ListPartitionReassignments (46): the moves of replicas that are under way.

use crate::kafka::error::ErrorCode;

message! {
    /// Of which partitions.
    pub struct ListPartitionReassignmentsRequest<'a>(versions 0..=0, flexible 0..) {
        /// How long to wait.
        timeout_ms: i32 = 60_000;
        /// By topic; null for all.
        topics: Option<Vec<ListPartitionReassignmentsTopics<'a>>>;
    }

    /// Partitions of one topic.
    pub struct ListPartitionReassignmentsTopics<'a> {
        /// Topic name.
        name: &'a str;
        /// The partitions.
        partition_indexes: Vec<i32>;
    }

    /// The moves.
    pub struct ListPartitionReassignmentsResponse<'a>(versions 0..=0, flexible 0..) {
        /// How long the client was, or is to be, throttled.
        throttle_time_ms: i32;
        /// Why they are not listed.
        error_code: ErrorCode;
        /// The same for people.
        error_message: Option<&'a str>;
        /// By topic.
        topics: Vec<OngoingTopicReassignment<'a>>;
    }

    /// One topic.
    pub struct OngoingTopicReassignment<'a> {
        /// Topic name.
        name: &'a str;
        /// Each partition.
        partitions: Vec<OngoingPartitionReassignment>;
    }

    /// One partition.
    pub struct OngoingPartitionReassignment {
        /// Partition.
        partition_index: i32;
        /// The brokers that hold it.
        replicas: Vec<i32>;
        /// Those that are being added.
        adding_replicas: Vec<i32>;
        /// Those that are being taken away.
        removing_replicas: Vec<i32>;
    }
}
