//! Fetch (1): reads record batches, for consumers and followers.
//!
//! Versions: 4 isolation level and aborted transactions · 5 log start offset · 7 incremental sessions (KIP-227) · 9 leader
//! epoch (KIP-320) · 10 zstd · 11 rack (KIP-392) · 12 flexible, last fetched epoch (KIP-595) · 13 topic ids (KIP-516) ·
//! 14 tiered storage's error · 15 replica state (KIP-903) · 16 node endpoints (KIP-951) · 17 directory ids (KIP-853) ·
//! 18 the follower's high watermark (KIP-1166).

use uuid::Uuid;

pub use super::leadership::{LeaderIdAndEpoch, NodeEndpoint};
use crate::kafka::error::ErrorCode;
pub use crate::kafka::wire::Records;

/// [`FetchRequest::isolation_level`]: up to the high watermark.
pub const READ_UNCOMMITTED: i8 = 0;
/// [`FetchRequest::isolation_level`]: up to the last stable offset.
pub const READ_COMMITTED: i8 = 1;

message! {
    /// Partitions to read and the bounds of the answer.
    pub struct FetchRequest<'a>(versions 4..=18, flexible 12..) {
        /// The cluster the fetcher believes to be in; only replicas send it.
        cluster_id: Option<&'a str>, versions 12.., tag 0;
        /// The follower's broker id, or -1 from a consumer.
        replica_id: i32 = -1, versions ..=14;
        /// The follower, from version 15.
        replica_state: ReplicaState, versions 15.., tag 1;
        /// How long to wait for `min_bytes`.
        max_wait_ms: i32;
        /// The least bytes worth an answer.
        min_bytes: i32;
        /// The most bytes of the answer, except that its first batch is always whole.
        max_bytes: i32 = i32::MAX;
        /// [`READ_UNCOMMITTED`] or [`READ_COMMITTED`].
        isolation_level: i8;
        /// Session to continue; 0 for none.
        session_id: i32, versions 7..;
        /// Epoch of the session; -1 asks for no session.
        session_epoch: i32 = -1, versions 7..;
        /// By topic.
        topics: Vec<FetchTopic<'a>>;
        /// Partitions to remove from the session.
        forgotten_topics_data: Vec<ForgottenTopic<'a>>, versions 7..;
        /// The consumer's rack; empty for none.
        rack_id: &'a str, versions 11..;
    }

    /// A follower and its incarnation.
    pub struct ReplicaState {
        /// Broker id, or -1 from a consumer.
        replica_id: i32 = -1;
        /// Broker epoch; -1 when not known.
        replica_epoch: i64 = -1;
    }

    /// Partitions of one topic to read.
    pub struct FetchTopic<'a> {
        /// Topic name.
        topic: &'a str, versions ..=12;
        /// Topic id.
        topic_id: Uuid, versions 13..;
        /// By partition.
        partitions: Vec<FetchPartition>;
    }

    /// A partition to read.
    pub struct FetchPartition {
        /// Partition.
        partition: i32;
        /// The leader epoch the fetcher knows; -1 to not compare.
        current_leader_epoch: i32 = -1, versions 9..;
        /// Where to read from.
        fetch_offset: i64;
        /// Leader epoch of the follower's last record; -1 when there is none.
        last_fetched_epoch: i32 = -1, versions 12..;
        /// The follower's log start offset; -1 from a consumer.
        log_start_offset: i64 = -1, versions 5..;
        /// The most bytes of this partition, except that a first batch is always whole.
        partition_max_bytes: i32;
        /// The follower's log directory.
        replica_directory_id: Uuid, versions 17.., tag 0;
        /// The high watermark the follower knows; the largest offset when it does not say.
        high_watermark: i64 = i64::MAX, versions 18.., tag 1;
    }

    /// Partitions of one topic to remove from a session.
    pub struct ForgottenTopic<'a> {
        /// Topic name.
        topic: &'a str, versions ..=12;
        /// Topic id.
        topic_id: Uuid, versions 13..;
        /// Partitions.
        partitions: Vec<i32>;
    }

    /// What was read of each partition.
    pub struct FetchResponse<'a>(versions 4..=18, flexible 12..) {
        /// How long the client was, or is to be, throttled.
        throttle_time_ms: i32;
        /// An error of the request as a whole, such as its session's.
        error_code: ErrorCode, versions 7..;
        /// The session that was opened or continued; 0 for none.
        session_id: i32, versions 7..;
        /// By topic.
        responses: Vec<FetchableTopicResponse<'a>>;
        /// Where to find the leaders named in [`PartitionData::current_leader`].
        node_endpoints: Vec<NodeEndpoint<'a>>, versions 16.., tag 0;
    }

    /// What was read of one topic.
    pub struct FetchableTopicResponse<'a> {
        /// Topic name.
        topic: &'a str, versions ..=12;
        /// Topic id.
        topic_id: Uuid, versions 13..;
        /// By partition.
        partitions: Vec<PartitionData<'a>>;
    }

    /// What was read of one partition.
    pub struct PartitionData<'a> {
        /// Partition.
        partition_index: i32;
        /// Why nothing was read, if nothing was.
        error_code: ErrorCode;
        /// The offset below which records are committed.
        high_watermark: i64;
        /// The offset below which no transaction is open.
        last_stable_offset: i64 = -1;
        /// First offset of the log.
        log_start_offset: i64 = -1, versions 5..;
        /// Where the follower's log and the leader's part, when they do.
        diverging_epoch: EpochEndOffset, versions 12.., tag 0;
        /// Who leads instead, with NOT_LEADER_OR_FOLLOWER or FENCED_LEADER_EPOCH.
        current_leader: LeaderIdAndEpoch, versions 12.., tag 1;
        /// The snapshot to fetch instead (KRaft).
        snapshot_id: SnapshotId, versions 12.., tag 2;
        /// Transactions to skip when reading committed records; `None` when reading uncommitted ones.
        aborted_transactions: Option<Vec<AbortedTransaction>>;
        /// A replica the consumer had better read from; -1 for this one.
        preferred_read_replica: i32 = -1, versions 11..;
        /// The batches.
        records: Records<'a>;
    }

    /// The end of a leader epoch.
    pub struct EpochEndOffset {
        /// The largest epoch not above the follower's; -1 for none.
        epoch: i32 = -1;
        /// Its end offset; -1 for none.
        end_offset: i64 = -1;
    }

    /// A snapshot of the metadata log.
    pub struct SnapshotId {
        /// The offset behind its last record; -1 for none.
        end_offset: i64 = -1;
        /// The epoch of that record; -1 for none.
        epoch: i32 = -1;
    }

    /// A transaction whose records are to be skipped.
    pub struct AbortedTransaction {
        /// Its producer.
        producer_id: i64;
        /// Its first offset in the partition.
        first_offset: i64;
    }
}
