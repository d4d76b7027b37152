//! ListGroups (16): the groups that this broker keeps.
//!
//! Versions: 3 flexible; 4 by state; 5 by type.

use crate::kafka::error::ErrorCode;

message! {
    /// Which groups.
    pub struct ListGroupsRequest<'a>(versions 0..=5, flexible 3..) {
        /// In one of these states; empty for any.
        states_filter: Vec<&'a str>, versions 4..;
        /// Of one of these types; empty for any.
        types_filter: Vec<&'a str>, versions 5..;
    }

    /// The groups.
    pub struct ListGroupsResponse<'a>(versions 0..=5, flexible 3..) {
        /// How long the client was, or is to be, throttled.
        throttle_time_ms: i32, versions 1..;
        /// Why they are not listed.
        error_code: ErrorCode;
        /// Each of them.
        groups: Vec<ListedGroup<'a>>;
    }

    /// One group.
    pub struct ListedGroup<'a> {
        /// Its id.
        group_id: &'a str;
        /// Its type of protocol.
        protocol_type: &'a str;
        /// Its state.
        group_state: &'a str, versions 4..;
        /// Its type.
        group_type: &'a str, versions 5..;
    }
}
