//! ConsumerGroupHeartbeat (68): the one request of members of the new group protocol (KIP-848).
//!
//! A member says all of itself as it joins, and then what has changed. Versions: 1 members make their ids themselves, and may subscribe by a
//! regular expression.

use uuid::Uuid;

use crate::kafka::error::ErrorCode;
use crate::kafka::wire::Nullable;

message! {
    /// A member, and what is new of it.
    pub struct ConsumerGroupHeartbeatRequest<'a>(versions 0..=1, flexible 0..) {
        /// The group.
        group_id: &'a str;
        /// The member; in version 0 empty for one that joins.
        member_id: &'a str;
        /// Its epoch; 0 to join, -1 to leave, -2 to leave for a while as a static member.
        member_epoch: i32;
        /// Its name, when it is static.
        instance_id: Option<&'a str>;
        /// The rack that it is in.
        rack_id: Option<&'a str>;
        /// How long it may take to give partitions up; -1 for no change.
        rebalance_timeout_ms: i32 = -1;
        /// The topics that it subscribes to; `None` for no change.
        subscribed_topic_names: Option<Vec<&'a str>>;
        /// The same as a regular expression; `None` for no change, empty for none.
        subscribed_topic_regex: Option<&'a str>, versions 1..;
        /// How it would have partitions assigned; `None` for no change.
        server_assignor: Option<&'a str>;
        /// The partitions that it has; `None` for no change.
        topic_partitions: Option<Vec<HeartbeatTopicPartitions>>;
    }

    /// Partitions of one topic.
    pub struct HeartbeatTopicPartitions {
        /// The topic.
        topic_id: Uuid;
        /// Its partitions.
        partitions: Vec<i32>;
    }

    /// What the member is to do.
    pub struct ConsumerGroupHeartbeatResponse<'a>(versions 0..=1, flexible 0..) {
        /// How long the client was, or is to be, throttled.
        throttle_time_ms: i32;
        /// Why it is refused.
        error_code: ErrorCode;
        /// The same for people.
        error_message: Option<&'a str>;
        /// The member.
        member_id: Option<&'a str>;
        /// Its epoch from now on.
        member_epoch: i32;
        /// When it is to come again.
        heartbeat_interval_ms: i32;
        /// The partitions that it is to have; `None` for no change.
        assignment: Nullable<HeartbeatAssignment>;
    }

    /// What a member is to have.
    pub struct HeartbeatAssignment {
        /// By topic.
        topic_partitions: Vec<HeartbeatTopicPartitions>;
    }
}
