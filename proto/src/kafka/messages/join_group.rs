//! JoinGroup (11): a member comes to a classic group, or comes back to it for a rebalance.
//!
//! Versions: 1 rebalance timeout; 4 members get their id first (KIP-394); 5 static members (KIP-345); 6 flexible; 7 the answer names the
//! protocol's type; 8 a reason; 9 the leader may be told not to assign (KIP-814).

use crate::kafka::error::ErrorCode;

message! {
    /// Who comes, and how it can be assigned partitions.
    pub struct JoinGroupRequest<'a>(versions 0..=9, flexible 6..) {
        /// The group.
        group_id: &'a str;
        /// A member not heard of for so long is out.
        session_timeout_ms: i32;
        /// How long members may take to come back for a rebalance; -1 for the session timeout.
        rebalance_timeout_ms: i32 = -1, versions 1..;
        /// The member's id; empty for a new one.
        member_id: &'a str;
        /// The static member's name.
        group_instance_id: Option<&'a str>, versions 5.., nullable 5..;
        /// What the group does: `consumer`, `connect`, …
        protocol_type: &'a str;
        /// How it can be assigned, the preferred one first.
        protocols: Vec<JoinGroupRequestProtocol<'a>>;
        /// Why it comes.
        reason: Option<&'a str>, versions 8.., nullable 8..;
    }

    /// One protocol.
    pub struct JoinGroupRequestProtocol<'a> {
        /// Its name.
        name: &'a str;
        /// What the leader is to know of the member.
        metadata: &'a [u8];
    }

    /// The generation that began, or why the member is not in it.
    pub struct JoinGroupResponse<'a>(versions 0..=9, flexible 6..) {
        /// How long the client was, or is to be, throttled.
        throttle_time_ms: i32, versions 2..;
        /// Why it is not a member.
        error_code: ErrorCode;
        /// The generation.
        generation_id: i32 = -1;
        /// The group's type of protocol.
        protocol_type: Option<&'a str>, versions 7.., nullable 7..;
        /// The protocol that all members have.
        protocol_name: Option<&'a str>, nullable 7..;
        /// Who assigns.
        leader: &'a str;
        /// The leader is not to assign: the assignment stays.
        skip_assignment: bool, versions 9..;
        /// The member's id.
        member_id: &'a str;
        /// All members, for the leader alone.
        members: Vec<JoinGroupResponseMember<'a>>;
    }

    /// A member, as its leader is told of it.
    pub struct JoinGroupResponseMember<'a> {
        /// Its id.
        member_id: &'a str;
        /// Its name, when it is static.
        group_instance_id: Option<&'a str>, versions 5.., nullable 5..;
        /// What it said of itself.
        metadata: &'a [u8];
    }
}
