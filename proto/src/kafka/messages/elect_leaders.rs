//! ElectLeaders (43): elects leaders of partitions (KIP-183, KIP-460).
//!
//! Versions: 1 unclean elections, error of the whole request · 2 flexible.

use crate::kafka::error::ErrorCode;

/// How to elect, in [`ElectLeadersRequest::election_type`].
pub mod election_type {
    /// The first of the replicas, if it is in sync.
    pub const PREFERRED: i8 = 0;
    /// Any replica that lives, where none in sync does.
    pub const UNCLEAN: i8 = 1;
}

message! {
    /// Where to elect.
    pub struct ElectLeadersRequest<'a>(versions 0..=2, flexible 2..) {
        /// One of [`election_type`].
        election_type: i8, versions 1..;
        /// By topic; `None` for every partition.
        topic_partitions: Option<Vec<TopicPartitions<'a>>> = Some(Vec::new());
        /// How long to wait.
        timeout_ms: i32 = 60_000;
    }

    /// Partitions of one topic.
    pub struct TopicPartitions<'a> {
        /// Topic name.
        topic: &'a str;
        /// Each partition.
        partitions: Vec<i32>;
    }

    /// The outcome for each partition.
    pub struct ElectLeadersResponse<'a>(versions 0..=2, flexible 2..) {
        /// How long the client was, or is to be, throttled.
        throttle_time_ms: i32;
        /// Why nothing was elected, if nothing was.
        error_code: ErrorCode, versions 1..;
        /// By topic.
        replica_election_results: Vec<ReplicaElectionResult<'a>>;
    }

    /// The outcome for the partitions of one topic.
    pub struct ReplicaElectionResult<'a> {
        /// Topic name.
        topic: &'a str;
        /// Each partition.
        partition_result: Vec<PartitionResult<'a>>;
    }

    /// The outcome for one partition.
    pub struct PartitionResult<'a> {
        /// Partition.
        partition_id: i32;
        /// Why it has no other leader, if it has not.
        error_code: ErrorCode;
        /// The same in words.
        error_message: Option<&'a str>;
    }
}
