//! DeleteTopics (20).
//!
//! Versions: 4 flexible · 5 messages with errors, THROTTLING_QUOTA_EXCEEDED (KIP-599) · 6 by name or id (KIP-516).

use uuid::Uuid;

use crate::kafka::error::ErrorCode;

message! {
    /// Topics to delete.
    pub struct DeleteTopicsRequest<'a>(versions 1..=6, flexible 4..) {
        /// Each topic, from version 6.
        topics: Vec<DeleteTopicState<'a>>, versions 6..;
        /// Each topic, before version 6.
        topic_names: Vec<&'a str>, versions ..=5;
        /// How long to wait for their deletion.
        timeout_ms: i32;
    }

    /// A topic to delete.
    pub struct DeleteTopicState<'a> {
        /// Topic name; `None` to go by id.
        name: Option<&'a str>;
        /// Topic id; nil to go by name.
        topic_id: Uuid;
    }

    /// The outcome for each topic.
    pub struct DeleteTopicsResponse<'a>(versions 1..=6, flexible 4..) {
        /// How long the client was, or is to be, throttled.
        throttle_time_ms: i32;
        /// By topic.
        responses: Vec<DeletableTopicResult<'a>>;
    }

    /// The outcome for one topic.
    pub struct DeletableTopicResult<'a> {
        /// Topic name; `None` for an id that is not known.
        name: Option<&'a str>, nullable 6..;
        /// Topic id.
        topic_id: Uuid, versions 6..;
        /// Why it was not deleted, if it was not.
        error_code: ErrorCode;
        /// The same in words.
        error_message: Option<&'a str>, versions 5..;
    }
}
