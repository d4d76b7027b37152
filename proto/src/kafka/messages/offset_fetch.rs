//! OffsetFetch (9): how far groups have come.
//!
//! Versions: 2 all topics of a group, and an error for all of it; 5 leader epochs; 6 flexible; 7 wait for transactions; 8 many groups; 9
//! members of the new protocol; 10 topics go by id.

use uuid::Uuid;

use crate::kafka::error::ErrorCode;

message! {
    /// Whose offsets are wanted.
    pub struct OffsetFetchRequest<'a>(versions 1..=10, flexible 6..) {
        /// The one group.
        group_id: &'a str, versions ..=7;
        /// Its topics; null for all.
        topics: Option<Vec<OffsetFetchRequestTopic<'a>>>, versions ..=7, nullable 2..=7;
        /// The groups.
        groups: Vec<OffsetFetchRequestGroup<'a>>, versions 8..;
        /// Offsets that an open transaction may change are an error.
        require_stable: bool, versions 7..;
    }

    /// Partitions of one topic.
    pub struct OffsetFetchRequestTopic<'a> {
        /// Its name.
        name: &'a str;
        /// The partitions.
        partition_indexes: Vec<i32>;
    }

    /// One group.
    pub struct OffsetFetchRequestGroup<'a> {
        /// The group.
        group_id: &'a str;
        /// The member that asks.
        member_id: Option<&'a str>, versions 9.., nullable 9..;
        /// Its epoch, in the new protocol.
        member_epoch: i32 = -1, versions 9..;
        /// Its topics; null for all.
        topics: Option<Vec<OffsetFetchRequestTopics<'a>>>, nullable 8..;
    }

    /// Partitions of one topic.
    pub struct OffsetFetchRequestTopics<'a> {
        /// Its name.
        name: &'a str, versions ..=9;
        /// Its id.
        topic_id: Uuid, versions 10..;
        /// The partitions.
        partition_indexes: Vec<i32>;
    }

    /// The offsets.
    pub struct OffsetFetchResponse<'a>(versions 1..=10, flexible 6..) {
        /// How long the client was, or is to be, throttled.
        throttle_time_ms: i32, versions 3..;
        /// Of the one group.
        topics: Vec<OffsetFetchResponseTopic<'a>>, versions ..=7;
        /// Why there are none of the one group.
        error_code: ErrorCode, versions 2..=7;
        /// Of each group.
        groups: Vec<OffsetFetchResponseGroup<'a>>, versions 8..;
    }

    /// One topic.
    pub struct OffsetFetchResponseTopic<'a> {
        /// Its name.
        name: &'a str;
        /// Each partition.
        partitions: Vec<OffsetFetchResponsePartition<'a>>;
    }

    /// One partition.
    pub struct OffsetFetchResponsePartition<'a> {
        /// The partition.
        partition_index: i32;
        /// The next record to read; -1 when nothing was committed.
        committed_offset: i64;
        /// The leader epoch of the record before it; -1 if unknown.
        committed_leader_epoch: i32 = -1, versions 5..;
        /// What the client wanted kept with it.
        metadata: Option<&'a str>;
        /// Why there is no offset.
        error_code: ErrorCode;
    }

    /// One group.
    pub struct OffsetFetchResponseGroup<'a> {
        /// The group.
        group_id: &'a str;
        /// By topic.
        topics: Vec<OffsetFetchResponseTopics<'a>>;
        /// Why there are no offsets.
        error_code: ErrorCode;
    }

    /// One topic.
    pub struct OffsetFetchResponseTopics<'a> {
        /// Its name.
        name: &'a str, versions ..=9;
        /// Its id.
        topic_id: Uuid, versions 10..;
        /// Each partition.
        partitions: Vec<OffsetFetchResponsePartitions<'a>>;
    }

    /// One partition.
    pub struct OffsetFetchResponsePartitions<'a> {
        /// The partition.
        partition_index: i32;
        /// The next record to read; -1 when nothing was committed.
        committed_offset: i64;
        /// The leader epoch of the record before it; -1 if unknown.
        committed_leader_epoch: i32 = -1;
        /// What the client wanted kept with it.
        metadata: Option<&'a str>;
        /// Why there is no offset.
        error_code: ErrorCode;
    }
}
