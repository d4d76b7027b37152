//! FindCoordinator (10): which broker keeps a group, or a transaction.
//!
//! Versions: 1 errors have a message and keys a type; 3 flexible; 4 many keys at once; 5 an error for transactions; 6 share groups.

use crate::kafka::error::ErrorCode;

/// The types of keys.
pub mod key_type {
    /// A consumer group's id.
    pub const GROUP: i8 = 0;
    /// A transactional id.
    pub const TRANSACTION: i8 = 1;
    /// A share group's id, topic and partition.
    pub const SHARE: i8 = 2;
}

message! {
    /// Whose coordinators are wanted.
    pub struct FindCoordinatorRequest<'a>(versions 0..=6, flexible 3..) {
        /// The one key.
        key: &'a str, versions 0..=3;
        /// What the keys are: see [`key_type`].
        key_type: i8, versions 1..;
        /// The keys.
        coordinator_keys: Vec<&'a str>, versions 4..;
    }

    /// Where they are.
    pub struct FindCoordinatorResponse<'a>(versions 0..=6, flexible 3..) {
        /// How long the client was, or is to be, throttled.
        throttle_time_ms: i32, versions 1..;
        /// Why the one key's is not known.
        error_code: ErrorCode, versions 0..=3;
        /// The same for people.
        error_message: Option<&'a str>, versions 1..=3, nullable 1..=3;
        /// The broker's number.
        node_id: i32, versions 0..=3;
        /// Where clients connect.
        host: &'a str, versions 0..=3;
        /// The port.
        port: i32, versions 0..=3;
        /// One for each key.
        coordinators: Vec<Coordinator<'a>>, versions 4..;
    }

    /// One key's coordinator.
    pub struct Coordinator<'a> {
        /// The key.
        key: &'a str;
        /// The broker's number.
        node_id: i32;
        /// Where clients connect.
        host: &'a str;
        /// The port.
        port: i32;
        /// Why it is not known, if it is not.
        error_code: ErrorCode;
        /// The same for people.
        error_message: Option<&'a str>, nullable 4..;
    }
}
