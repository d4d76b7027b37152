//! Produce (0): appends record batches to partitions.
//!
//! Versions: 3 transactional id and record batch v2 · 5 log start offset · 7 zstd (KIP-110) · 8 errors per record
//! (KIP-467) · 9 flexible · 10 current leader (KIP-951) · 11 TRANSACTION_ABORTABLE, 12 implicit transaction partitions
//! (KIP-890) · 13 topic ids instead of names (KIP-516).

use uuid::Uuid;

pub use super::leadership::{LeaderIdAndEpoch, NodeEndpoint};
use crate::kafka::error::ErrorCode;

message! {
    /// Batches for any number of partitions.
    pub struct ProduceRequest<'a>(versions 3..=13, flexible 9..) {
        /// The producer's transactional id, if it has one.
        transactional_id: Option<&'a str>;
        /// Who must have the batches before the answer: 0 nobody (and no answer), 1 the leader, -1 all in-sync replicas.
        acks: i16;
        /// How long to wait for `acks`.
        timeout_ms: i32;
        /// By topic.
        topic_data: Vec<TopicProduceData<'a>>;
    }

    /// Batches for one topic.
    pub struct TopicProduceData<'a> {
        /// Topic name.
        name: &'a str, versions ..=12;
        /// Topic id.
        topic_id: Uuid, versions 13..;
        /// By partition.
        partition_data: Vec<PartitionProduceData<'a>>;
    }

    /// Batches for one partition.
    pub struct PartitionProduceData<'a> {
        /// Partition.
        index: i32;
        /// One record batch, as it will be stored.
        records: Option<&'a [u8]>;
    }

    /// The outcome for each partition.
    pub struct ProduceResponse<'a>(versions 3..=13, flexible 9..) {
        /// By topic.
        responses: Vec<TopicProduceResponse<'a>>;
        /// How long the client was, or is to be, throttled.
        throttle_time_ms: i32;
        /// Where to find the leaders named in [`PartitionProduceResponse::current_leader`].
        node_endpoints: Vec<NodeEndpoint<'a>>, versions 10.., tag 0;
    }

    /// The outcome for one topic.
    pub struct TopicProduceResponse<'a> {
        /// Topic name.
        name: &'a str, versions ..=12;
        /// Topic id.
        topic_id: Uuid, versions 13..;
        /// By partition.
        partition_responses: Vec<PartitionProduceResponse<'a>>;
    }

    /// The outcome for one partition.
    pub struct PartitionProduceResponse<'a> {
        /// Partition.
        index: i32;
        /// Why nothing was appended, if nothing was.
        error_code: ErrorCode;
        /// Offset of the first record; -1 on error.
        base_offset: i64;
        /// When the broker appended the batch; -1 when records keep the producer's timestamps.
        log_append_time_ms: i64 = -1;
        /// First offset of the log.
        log_start_offset: i64 = -1, versions 5..;
        /// The records that made the batch invalid.
        record_errors: Vec<BatchIndexAndErrorMessage<'a>>, versions 8..;
        /// What the invalid records have in common.
        error_message: Option<&'a str>, versions 8..;
        /// Who leads instead, with NOT_LEADER_OR_FOLLOWER.
        current_leader: LeaderIdAndEpoch, versions 10.., tag 0;
    }

    /// One invalid record.
    pub struct BatchIndexAndErrorMessage<'a> {
        /// Index of the record in its batch.
        batch_index: i32;
        /// What is wrong with it.
        batch_index_error_message: Option<&'a str>;
    }
}
