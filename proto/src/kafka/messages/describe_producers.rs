//! DescribeProducers (61): the producers that a partition remembers (KIP-664).

use crate::kafka::error::ErrorCode;

message! {
    /// Partitions to tell of.
    pub struct DescribeProducersRequest<'a>(versions 0..=0, flexible 0..) {
        /// By topic.
        topics: Vec<DescribeProducersTopic<'a>>;
    }

    /// Partitions of one topic.
    pub struct DescribeProducersTopic<'a> {
        /// Topic name.
        name: &'a str;
        /// Each partition.
        partition_indexes: Vec<i32>;
    }

    /// The producers of each partition.
    pub struct DescribeProducersResponse<'a>(versions 0..=0, flexible 0..) {
        /// How long the client was, or is to be, throttled.
        throttle_time_ms: i32;
        /// By topic.
        topics: Vec<DescribeProducersTopicResponse<'a>>;
    }

    /// Partitions of one topic.
    pub struct DescribeProducersTopicResponse<'a> {
        /// Topic name.
        name: &'a str;
        /// Each partition.
        partitions: Vec<DescribeProducersPartition<'a>>;
    }

    /// One partition.
    pub struct DescribeProducersPartition<'a> {
        /// Partition.
        partition_index: i32;
        /// Why it cannot be described, if it cannot.
        error_code: ErrorCode;
        /// The same in words.
        error_message: Option<&'a str>;
        /// Each producer.
        active_producers: Vec<ProducerState>;
    }

    /// One producer.
    pub struct ProducerState {
        /// Producer id.
        producer_id: i64;
        /// Its epoch.
        producer_epoch: i32;
        /// Sequence number of its last record; -1 when not known.
        last_sequence: i32 = -1;
        /// Timestamp of its last batch, in milliseconds; -1 when not known.
        last_timestamp: i64 = -1;
        /// Epoch of the transaction coordinator that last wrote a marker for it; -1 for none.
        coordinator_epoch: i32;
        /// First offset of its open transaction; -1 for none.
        current_txn_start_offset: i64 = -1;
    }
}
