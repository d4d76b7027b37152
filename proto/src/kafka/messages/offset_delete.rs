//! OffsetDelete (47): what a group has committed is forgotten. Never flexible.

use crate::kafka::error::ErrorCode;

message! {
    /// Which offsets.
    pub struct OffsetDeleteRequest<'a>(versions 0..=0, flexible 1..) {
        /// The group.
        group_id: &'a str;
        /// By topic.
        topics: Vec<OffsetDeleteRequestTopic<'a>>;
    }

    /// Partitions of one topic.
    pub struct OffsetDeleteRequestTopic<'a> {
        /// Its name.
        name: &'a str;
        /// Each partition.
        partitions: Vec<OffsetDeleteRequestPartition>;
    }

    /// One partition.
    pub struct OffsetDeleteRequestPartition {
        /// The partition.
        partition_index: i32;
    }

    /// What became of them.
    pub struct OffsetDeleteResponse<'a>(versions 0..=0, flexible 1..) {
        /// Why nothing was deleted.
        error_code: ErrorCode;
        /// How long the client was, or is to be, throttled.
        throttle_time_ms: i32;
        /// By topic.
        topics: Vec<OffsetDeleteResponseTopic<'a>>;
    }

    /// One topic.
    pub struct OffsetDeleteResponseTopic<'a> {
        /// Its name.
        name: &'a str;
        /// Each partition.
        partitions: Vec<OffsetDeleteResponsePartition>;
    }

    /// One partition.
    pub struct OffsetDeleteResponsePartition {
        /// The partition.
        partition_index: i32;
        /// Why its offset is still there, if it is.
        error_code: ErrorCode;
    }
}
