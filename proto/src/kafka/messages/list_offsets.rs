//! ListOffsets (2): the offset for a timestamp, or for one of the places that have a name.
//!
//! Versions: 1 one offset per partition · 2 isolation level · 4 leader epoch (KIP-320) · 5 OFFSET_NOT_AVAILABLE · 6 flexible
//! · 7 to 11 each add a named place (below) · 10 timeout (KIP-1075).

use crate::kafka::error::ErrorCode;

/// [`ListOffsetsPartition::timestamp`]: the end, as the isolation level sees it.
pub const LATEST: i64 = -1;
/// [`ListOffsetsPartition::timestamp`]: the log start.
pub const EARLIEST: i64 = -2;
/// [`ListOffsetsPartition::timestamp`]: the record with the largest timestamp; from version 7 (KIP-734).
pub const MAX_TIMESTAMP: i64 = -3;
/// [`ListOffsetsPartition::timestamp`]: the first offset on local disk; from version 8 (KIP-405).
pub const EARLIEST_LOCAL: i64 = -4;
/// [`ListOffsetsPartition::timestamp`]: the last offset in tiered storage; from version 9 (KIP-1005).
pub const LATEST_TIERED: i64 = -5;
/// [`ListOffsetsPartition::timestamp`]: the first offset not yet in tiered storage; from version 11 (KIP-1023).
pub const EARLIEST_PENDING_UPLOAD: i64 = -6;

message! {
    /// Partitions and what is wanted of each.
    pub struct ListOffsetsRequest<'a>(versions 1..=11, flexible 6..) {
        /// The follower's broker id, or -1 from a consumer.
        replica_id: i32;
        /// As in [`fetch`](super::fetch).
        isolation_level: i8, versions 2..;
        /// By topic.
        topics: Vec<ListOffsetsTopic<'a>>;
        /// How long a look-up in tiered storage may take.
        timeout_ms: i32, versions 10..;
    }

    /// Partitions of one topic.
    pub struct ListOffsetsTopic<'a> {
        /// Topic name.
        name: &'a str;
        /// By partition.
        partitions: Vec<ListOffsetsPartition>;
    }

    /// What is wanted of one partition.
    pub struct ListOffsetsPartition {
        /// Partition.
        partition_index: i32;
        /// The leader epoch the client knows; -1 to not compare.
        current_leader_epoch: i32 = -1, versions 4..;
        /// A timestamp in ms, or one of the named places.
        timestamp: i64;
    }

    /// The offsets found.
    pub struct ListOffsetsResponse<'a>(versions 1..=11, flexible 6..) {
        /// How long the client was, or is to be, throttled.
        throttle_time_ms: i32, versions 2..;
        /// By topic.
        topics: Vec<ListOffsetsTopicResponse<'a>>;
    }

    /// The offsets found in one topic.
    pub struct ListOffsetsTopicResponse<'a> {
        /// Topic name.
        name: &'a str;
        /// By partition.
        partitions: Vec<ListOffsetsPartitionResponse>;
    }

    /// The offset found in one partition.
    pub struct ListOffsetsPartitionResponse {
        /// Partition.
        partition_index: i32;
        /// Why there is no answer, if there is none.
        error_code: ErrorCode;
        /// Timestamp of the record at `offset`; -1 for a named place or when there is no such record.
        timestamp: i64 = -1;
        /// The offset; -1 when no record is that young.
        offset: i64 = -1;
        /// Leader epoch of the record at `offset`; -1 when not known.
        leader_epoch: i32 = -1, versions 4..;
    }
}
