//! OffsetCommit (8): how far a group has come.
//!
//! Versions: 2-4 offsets may have a time to live; 6 leader epochs; 7 static members; 8 flexible; 9 members of the new protocol; 10 topics go
//! by id.

use uuid::Uuid;

use crate::kafka::error::ErrorCode;

message! {
    /// Offsets, and whose.
    pub struct OffsetCommitRequest<'a>(versions 2..=10, flexible 8..) {
        /// The group.
        group_id: &'a str;
        /// The generation, or the member's epoch; -1 for who is no member.
        generation_id_or_member_epoch: i32 = -1;
        /// The member; empty for who is none.
        member_id: &'a str;
        /// The static member's name.
        group_instance_id: Option<&'a str>, versions 7.., nullable 7..;
        /// For how long to keep the offsets; -1 for as long as the broker does.
        retention_time_ms: i64 = -1, versions 2..=4;
        /// By topic.
        topics: Vec<OffsetCommitRequestTopic<'a>>;
    }

    /// Offsets in one topic.
    pub struct OffsetCommitRequestTopic<'a> {
        /// Its name.
        name: &'a str, versions ..=9;
        /// Its id.
        topic_id: Uuid, versions 10..;
        /// Each partition.
        partitions: Vec<OffsetCommitRequestPartition<'a>>;
    }

    /// An offset.
    pub struct OffsetCommitRequestPartition<'a> {
        /// The partition.
        partition_index: i32;
        /// The next record to read.
        committed_offset: i64;
        /// The leader epoch of the record before it; -1 if unknown.
        committed_leader_epoch: i32 = -1, versions 6..;
        /// Whatever the client wants kept with it.
        committed_metadata: Option<&'a str>;
    }

    /// Which of them are kept.
    pub struct OffsetCommitResponse<'a>(versions 2..=10, flexible 8..) {
        /// How long the client was, or is to be, throttled.
        throttle_time_ms: i32, versions 3..;
        /// By topic.
        topics: Vec<OffsetCommitResponseTopic<'a>>;
    }

    /// One topic.
    pub struct OffsetCommitResponseTopic<'a> {
        /// Its name.
        name: &'a str, versions ..=9;
        /// Its id.
        topic_id: Uuid, versions 10..;
        /// Each partition.
        partitions: Vec<OffsetCommitResponsePartition>;
    }

    /// One partition.
    pub struct OffsetCommitResponsePartition {
        /// The partition.
        partition_index: i32;
        /// Why its offset is not kept, if it is not.
        error_code: ErrorCode;
    }
}
