//! SyncGroup (14): the leader of a classic group gives out what it assigned, the others ask for theirs.
//!
//! Versions: 3 static members; 4 flexible; 5 the protocol is named, to be compared.

use crate::kafka::error::ErrorCode;

message! {
    /// Who asks, and what the leader assigned.
    pub struct SyncGroupRequest<'a>(versions 0..=5, flexible 4..) {
        /// The group.
        group_id: &'a str;
        /// The generation.
        generation_id: i32;
        /// The member.
        member_id: &'a str;
        /// The static member's name.
        group_instance_id: Option<&'a str>, versions 3.., nullable 3..;
        /// The group's type of protocol, as the member knows it.
        protocol_type: Option<&'a str>, versions 5.., nullable 5..;
        /// The protocol, as the member knows it.
        protocol_name: Option<&'a str>, versions 5.., nullable 5..;
        /// What each member gets, from the leader.
        assignments: Vec<SyncGroupRequestAssignment<'a>>;
    }

    /// What a member gets.
    pub struct SyncGroupRequestAssignment<'a> {
        /// The member.
        member_id: &'a str;
        /// What it gets.
        assignment: &'a [u8];
    }

    /// What the member got.
    pub struct SyncGroupResponse<'a>(versions 0..=5, flexible 4..) {
        /// How long the client was, or is to be, throttled.
        throttle_time_ms: i32, versions 1..;
        /// Why it got nothing.
        error_code: ErrorCode;
        /// The group's type of protocol.
        protocol_type: Option<&'a str>, versions 5.., nullable 5..;
        /// The protocol.
        protocol_name: Option<&'a str>, versions 5.., nullable 5..;
        /// What it got.
        assignment: &'a [u8];
    }
}
