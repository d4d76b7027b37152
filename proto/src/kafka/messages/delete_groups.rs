//! DeleteGroups (42): groups without members go, with all that they committed.
//!
//! Versions: 2 flexible.

use crate::kafka::error::ErrorCode;

message! {
    /// Which groups.
    pub struct DeleteGroupsRequest<'a>(versions 0..=2, flexible 2..) {
        /// Their ids.
        groups_names: Vec<&'a str>;
    }

    /// What became of them.
    pub struct DeleteGroupsResponse<'a>(versions 0..=2, flexible 2..) {
        /// How long the client was, or is to be, throttled.
        throttle_time_ms: i32;
        /// Each of them.
        results: Vec<DeletableGroupResult<'a>>;
    }

    /// One group.
    pub struct DeletableGroupResult<'a> {
        /// Its id.
        group_id: &'a str;
        /// Why it is still there, if it is.
        error_code: ErrorCode;
    }
}
