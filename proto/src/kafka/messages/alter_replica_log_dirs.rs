//! AlterReplicaLogDirs (34): moves replicas to other log directories of the same broker (KIP-113).
//!
//! Versions: 2 flexible.

use crate::kafka::error::ErrorCode;

message! {
    /// Which replicas go where.
    pub struct AlterReplicaLogDirsRequest<'a>(versions 1..=2, flexible 2..) {
        /// By destination.
        dirs: Vec<AlterReplicaLogDir<'a>>;
    }

    /// What goes to one directory.
    pub struct AlterReplicaLogDir<'a> {
        /// Absolute path of the directory.
        path: &'a str;
        /// By topic.
        topics: Vec<AlterReplicaLogDirTopic<'a>>;
    }

    /// Partitions of one topic.
    pub struct AlterReplicaLogDirTopic<'a> {
        /// Topic name.
        name: &'a str;
        /// Each partition.
        partitions: Vec<i32>;
    }

    /// The outcome for each replica.
    pub struct AlterReplicaLogDirsResponse<'a>(versions 1..=2, flexible 2..) {
        /// How long the client was, or is to be, throttled.
        throttle_time_ms: i32;
        /// By topic.
        results: Vec<AlterReplicaLogDirTopicResult<'a>>;
    }

    /// The outcome for the partitions of one topic.
    pub struct AlterReplicaLogDirTopicResult<'a> {
        /// Topic name.
        topic_name: &'a str;
        /// Each partition.
        partitions: Vec<AlterReplicaLogDirPartitionResult>;
    }

    /// The outcome for one partition.
    pub struct AlterReplicaLogDirPartitionResult {
        /// Partition.
        partition_index: i32;
        /// Why it does not move, if it does not.
        error_code: ErrorCode;
    }
}
