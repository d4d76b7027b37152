//! DeleteRecords (21): moves a log's start.
//!
//! Versions: 2 flexible.

use crate::kafka::error::ErrorCode;

/// As an offset: everything up to the high watermark.
pub const HIGH_WATERMARK: i64 = -1;

message! {
    /// Partitions to shorten from the front.
    pub struct DeleteRecordsRequest<'a>(versions 0..=2, flexible 2..) {
        /// By topic.
        topics: Vec<DeleteRecordsTopic<'a>>;
        /// How long to wait for the replicas.
        timeout_ms: i32;
    }

    /// Partitions of one topic.
    pub struct DeleteRecordsTopic<'a> {
        /// Topic name.
        name: &'a str;
        /// Each partition.
        partitions: Vec<DeleteRecordsPartition>;
    }

    /// One partition.
    pub struct DeleteRecordsPartition {
        /// Partition.
        partition_index: i32;
        /// Records below this offset go, or [`HIGH_WATERMARK`].
        offset: i64;
    }

    /// The outcome for each partition.
    pub struct DeleteRecordsResponse<'a>(versions 0..=2, flexible 2..) {
        /// How long the client was, or is to be, throttled.
        throttle_time_ms: i32;
        /// By topic.
        topics: Vec<DeleteRecordsTopicResult<'a>>;
    }

    /// The outcome for the partitions of one topic.
    pub struct DeleteRecordsTopicResult<'a> {
        /// Topic name.
        name: &'a str;
        /// Each partition.
        partitions: Vec<DeleteRecordsPartitionResult>;
    }

    /// The outcome for one partition.
    pub struct DeleteRecordsPartitionResult {
        /// Partition.
        partition_index: i32;
        /// The least log start of all replicas now; -1 after an error.
        low_watermark: i64;
        /// Why nothing was deleted, if nothing was.
        error_code: ErrorCode;
    }
}
