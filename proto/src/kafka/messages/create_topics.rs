//! CreateTopics (19).
//!
//! Versions: 4 partitions and replicas may be left to the broker (KIP-464) · 5 flexible, the response tells the
//! configuration (KIP-525) · 6 THROTTLING_QUOTA_EXCEEDED (KIP-599) · 7 topic id (KIP-516).

use uuid::Uuid;

use crate::kafka::error::ErrorCode;

message! {
    /// Topics to create.
    pub struct CreateTopicsRequest<'a>(versions 2..=7, flexible 5..) {
        /// Each topic.
        topics: Vec<CreatableTopic<'a>>;
        /// How long to wait for their creation.
        timeout_ms: i32 = 60_000;
        /// Check everything, create nothing.
        validate_only: bool;
    }

    /// A topic to create.
    pub struct CreatableTopic<'a> {
        /// Topic name.
        name: &'a str;
        /// Number of partitions; -1 for the broker's default or when `assignments` say it.
        num_partitions: i32;
        /// Replicas of each partition; -1 for the broker's default or when `assignments` say it.
        replication_factor: i16;
        /// Where each partition goes; empty to leave it to the broker.
        assignments: Vec<CreatableReplicaAssignment>;
        /// Settings that are not to be the default.
        configs: Vec<CreatableTopicConfig<'a>>;
    }

    /// Where one partition goes.
    pub struct CreatableReplicaAssignment {
        /// Partition.
        partition_index: i32;
        /// Its replicas, the preferred leader first.
        broker_ids: Vec<i32>;
    }

    /// A setting.
    pub struct CreatableTopicConfig<'a> {
        /// Name.
        name: &'a str;
        /// Value.
        value: Option<&'a str>;
    }

    /// The outcome for each topic.
    pub struct CreateTopicsResponse<'a>(versions 2..=7, flexible 5..) {
        /// How long the client was, or is to be, throttled.
        throttle_time_ms: i32;
        /// By topic.
        topics: Vec<CreatableTopicResult<'a>>;
    }

    /// The outcome for one topic.
    pub struct CreatableTopicResult<'a> {
        /// Topic name.
        name: &'a str;
        /// The new topic's id.
        topic_id: Uuid, versions 7..;
        /// Why it was not created, if it was not.
        error_code: ErrorCode;
        /// The same in words.
        error_message: Option<&'a str>;
        /// Why `configs` is `None`, if the client may not see them.
        topic_config_error_code: ErrorCode, versions 5.., tag 0;
        /// Number of partitions; -1 when not known.
        num_partitions: i32 = -1, versions 5..;
        /// Replicas of each partition; -1 when not known.
        replication_factor: i16 = -1, versions 5..;
        /// Every setting of the new topic.
        configs: Option<Vec<CreatableTopicConfigs<'a>>> = Some(Vec::new()), versions 5..;
    }

    /// A setting of the new topic.
    pub struct CreatableTopicConfigs<'a> {
        /// Name.
        name: &'a str;
        /// Value.
        value: Option<&'a str>;
        /// It cannot be changed.
        read_only: bool;
        /// As in [`describe_configs`](super::describe_configs).
        config_source: i8 = -1;
        /// The value is hidden.
        is_sensitive: bool;
    }
}
