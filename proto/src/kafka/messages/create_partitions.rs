//! CreatePartitions (37): a topic gets more partitions.
//!
//! Versions: 2 flexible · 3 THROTTLING_QUOTA_EXCEEDED (KIP-599).

use crate::kafka::error::ErrorCode;

message! {
    /// Topics that are to have more partitions.
    pub struct CreatePartitionsRequest<'a>(versions 0..=3, flexible 2..) {
        /// Each topic.
        topics: Vec<CreatePartitionsTopic<'a>>;
        /// How long to wait for them.
        timeout_ms: i32;
        /// Check everything, create nothing.
        validate_only: bool;
    }

    /// A topic that is to have more partitions.
    pub struct CreatePartitionsTopic<'a> {
        /// Topic name.
        name: &'a str;
        /// How many partitions it is to have, those it has included.
        count: i32;
        /// The replicas of each new partition; `None` to leave it to the broker.
        assignments: Option<Vec<CreatePartitionsAssignment>>;
    }

    /// Where one new partition goes.
    pub struct CreatePartitionsAssignment {
        /// Its replicas, the preferred leader first.
        broker_ids: Vec<i32>;
    }

    /// The outcome for each topic.
    pub struct CreatePartitionsResponse<'a>(versions 0..=3, flexible 2..) {
        /// How long the client was, or is to be, throttled.
        throttle_time_ms: i32;
        /// By topic.
        results: Vec<CreatePartitionsTopicResult<'a>>;
    }

    /// The outcome for one topic.
    pub struct CreatePartitionsTopicResult<'a> {
        /// Topic name.
        name: &'a str;
        /// Why it has no more partitions, if it has not.
        error_code: ErrorCode;
        /// The same in words.
        error_message: Option<&'a str>;
    }
}
