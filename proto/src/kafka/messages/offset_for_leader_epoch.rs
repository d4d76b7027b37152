//! OffsetForLeaderEpoch (23): where a leader epoch ended in the log (KIP-101, KIP-320).
//!
//! Versions: 3 replica id · 4 flexible.

use crate::kafka::error::ErrorCode;

/// The replica id of a client that is no broker.
pub const CONSUMER: i32 = -2;

message! {
    /// Epochs to look up.
    pub struct OffsetForLeaderEpochRequest<'a>(versions 2..=4, flexible 4..) {
        /// The broker that follows, or [`CONSUMER`].
        replica_id: i32 = -2, versions 3..;
        /// By topic.
        topics: Vec<OffsetForLeaderTopic<'a>>;
    }

    /// Epochs in one topic.
    pub struct OffsetForLeaderTopic<'a> {
        /// Topic name.
        topic: &'a str;
        /// Each partition.
        partitions: Vec<OffsetForLeaderPartition>;
    }

    /// An epoch in one partition.
    pub struct OffsetForLeaderPartition {
        /// Partition.
        partition: i32;
        /// The leader epoch that the client knows; -1 for none.
        current_leader_epoch: i32 = -1;
        /// The epoch to look up.
        leader_epoch: i32;
    }

    /// Where the epochs end.
    pub struct OffsetForLeaderEpochResponse<'a>(versions 2..=4, flexible 4..) {
        /// How long the client was, or is to be, throttled.
        throttle_time_ms: i32;
        /// By topic.
        topics: Vec<OffsetForLeaderTopicResult<'a>>;
    }

    /// Where the epochs of one topic end.
    pub struct OffsetForLeaderTopicResult<'a> {
        /// Topic name.
        topic: &'a str;
        /// Each partition.
        partitions: Vec<EpochEndOffset>;
    }

    /// Where an epoch of one partition ends.
    pub struct EpochEndOffset {
        /// Why this is not known, if it is not.
        error_code: ErrorCode;
        /// Partition.
        partition: i32;
        /// The largest epoch at or below the one asked for; -1 when there is none.
        leader_epoch: i32 = -1;
        /// The first offset after that epoch; -1 when there is none.
        end_offset: i64 = -1;
    }
}
