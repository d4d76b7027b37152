//! LeaveGroup (13): members leave a classic group, or are sent away.
//!
//! Versions: 3 many at once, by id or by name; 4 flexible; 5 a reason.

use crate::kafka::error::ErrorCode;

message! {
    /// Who leaves.
    pub struct LeaveGroupRequest<'a>(versions 0..=5, flexible 4..) {
        /// The group.
        group_id: &'a str;
        /// The one member.
        member_id: &'a str, versions 0..=2;
        /// The members.
        members: Vec<MemberIdentity<'a>>, versions 3..;
    }

    /// A member that leaves.
    pub struct MemberIdentity<'a> {
        /// Its id; empty when it goes by its name.
        member_id: &'a str;
        /// The static member's name.
        group_instance_id: Option<&'a str>, nullable 3..;
        /// Why.
        reason: Option<&'a str>, versions 5.., nullable 5..;
    }

    /// Who left.
    pub struct LeaveGroupResponse<'a>(versions 0..=5, flexible 4..) {
        /// How long the client was, or is to be, throttled.
        throttle_time_ms: i32, versions 1..;
        /// Why nobody did, or, before version 3, the one member did not.
        error_code: ErrorCode;
        /// Each of them.
        members: Vec<MemberResponse<'a>>, versions 3..;
    }

    /// One member.
    pub struct MemberResponse<'a> {
        /// Its id, as in the request.
        member_id: &'a str;
        /// Its name, as in the request.
        group_instance_id: Option<&'a str>, nullable 3..;
        /// Why it is still there, if it is.
        error_code: ErrorCode;
    }
}
