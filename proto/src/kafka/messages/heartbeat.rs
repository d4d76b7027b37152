//! Heartbeat (12): a member of a classic group is alive, and hears whether there is a rebalance.
//!
//! Versions: 3 static members; 4 flexible.

use crate::kafka::error::ErrorCode;

message! {
    /// Who is alive.
    pub struct HeartbeatRequest<'a>(versions 0..=4, flexible 4..) {
        /// The group.
        group_id: &'a str;
        /// The generation.
        generation_id: i32;
        /// The member.
        member_id: &'a str;
        /// The static member's name.
        group_instance_id: Option<&'a str>, versions 3.., nullable 3..;
    }

    /// Whether it still belongs.
    pub struct HeartbeatResponse(versions 0..=4, flexible 4..) {
        /// How long the client was, or is to be, throttled.
        throttle_time_ms: i32, versions 1..;
        /// What it has to do, if anything.
        error_code: ErrorCode;
    }
}
