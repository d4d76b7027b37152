//! ConsumerGroupDescribe (69): groups of the new protocol (KIP-848) and their members.
//!
//! Versions: 1 the protocol that each member speaks.

use uuid::Uuid;

use crate::kafka::error::ErrorCode;

message! {
    /// Which groups.
    pub struct ConsumerGroupDescribeRequest<'a>(versions 0..=1, flexible 0..) {
        /// Their ids.
        group_ids: Vec<&'a str>;
        /// Whether to tell what the client may do.
        include_authorized_operations: bool;
    }

    /// The groups.
    pub struct ConsumerGroupDescribeResponse<'a>(versions 0..=1, flexible 0..) {
        /// How long the client was, or is to be, throttled.
        throttle_time_ms: i32;
        /// Each of them.
        groups: Vec<DescribedConsumerGroup<'a>>;
    }

    /// One group.
    pub struct DescribedConsumerGroup<'a> {
        /// Why it is not described.
        error_code: ErrorCode;
        /// The same for people.
        error_message: Option<&'a str>;
        /// Its id.
        group_id: &'a str;
        /// Its state.
        group_state: &'a str;
        /// Its epoch.
        group_epoch: i32;
        /// The epoch for which partitions were assigned last.
        assignment_epoch: i32;
        /// How they are assigned.
        assignor_name: &'a str;
        /// Its members.
        members: Vec<DescribedConsumer<'a>>;
        /// What the client may do, a bit for each operation; the least number says that nobody asked.
        authorized_operations: i32 = i32::MIN;
    }

    /// One member.
    pub struct DescribedConsumer<'a> {
        /// Its id.
        member_id: &'a str;
        /// Its name, when it is static.
        instance_id: Option<&'a str>;
        /// The rack that it is in.
        rack_id: Option<&'a str>;
        /// Its epoch.
        member_epoch: i32;
        /// What its client calls itself.
        client_id: &'a str;
        /// Where it is.
        client_host: &'a str;
        /// The topics that it subscribes to.
        subscribed_topic_names: Vec<&'a str>;
        /// The same as a regular expression.
        subscribed_topic_regex: Option<&'a str>;
        /// The partitions that it has.
        assignment: DescribedAssignment<'a>;
        /// The partitions that it is to have.
        target_assignment: DescribedAssignment<'a>;
        /// 0 for one of the classic protocol, 1 for one of the new one, -1 if unknown.
        member_type: i8 = -1, versions 1..;
    }

    /// Partitions.
    pub struct DescribedAssignment<'a> {
        /// By topic.
        topic_partitions: Vec<DescribedTopicPartitions<'a>>;
    }

    /// Partitions of one topic.
    pub struct DescribedTopicPartitions<'a> {
        /// The topic.
        topic_id: Uuid;
        /// Its name.
        topic_name: &'a str;
        /// Its partitions.
        partitions: Vec<i32>;
    }
}
