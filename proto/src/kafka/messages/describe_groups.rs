//! DescribeGroups (15): classic groups and their members.
//!
//! Versions: 3 what the client may do; 4 static members; 5 flexible; 6 a group that is not there is an error with a message.

use crate::kafka::error::ErrorCode;

message! {
    /// Which groups.
    pub struct DescribeGroupsRequest<'a>(versions 0..=6, flexible 5..) {
        /// Their ids.
        groups: Vec<&'a str>;
        /// Whether to tell what the client may do.
        include_authorized_operations: bool, versions 3..;
    }

    /// The groups.
    pub struct DescribeGroupsResponse<'a>(versions 0..=6, flexible 5..) {
        /// How long the client was, or is to be, throttled.
        throttle_time_ms: i32, versions 1..;
        /// Each of them.
        groups: Vec<DescribedGroup<'a>>;
    }

    /// One group.
    pub struct DescribedGroup<'a> {
        /// Why it is not described.
        error_code: ErrorCode;
        /// The same for people.
        error_message: Option<&'a str>, versions 6.., nullable 6..;
        /// Its id.
        group_id: &'a str;
        /// Its state.
        group_state: &'a str;
        /// Its type of protocol.
        protocol_type: &'a str;
        /// Its protocol.
        protocol_data: &'a str;
        /// Its members.
        members: Vec<DescribedGroupMember<'a>>;
        /// What the client may do, a bit for each operation; the least number says that nobody asked.
        authorized_operations: i32 = i32::MIN, versions 3..;
    }

    /// One member.
    pub struct DescribedGroupMember<'a> {
        /// Its id.
        member_id: &'a str;
        /// Its name, when it is static.
        group_instance_id: Option<&'a str>, versions 4.., nullable 4..;
        /// What its client calls itself.
        client_id: &'a str;
        /// Where it is.
        client_host: &'a str;
        /// What it said of itself.
        member_metadata: &'a [u8];
        /// What it got.
        member_assignment: &'a [u8];
    }
}
