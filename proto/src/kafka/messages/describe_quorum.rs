//! DescribeQuorum (55): the state of the quorum that keeps the metadata log (KIP-595).
//!
//! Versions: all flexible · 1 times of fetching (KIP-836) · 2 directory ids, error messages, listeners (KIP-853).

use uuid::Uuid;

use crate::kafka::error::ErrorCode;

message! {
    /// Which quorums: there is one.
    pub struct DescribeQuorumRequest<'a>(versions 0..=2, flexible 0..) {
        /// By topic.
        topics: Vec<DescribeQuorumTopic<'a>>;
    }

    /// Partitions of one topic.
    pub struct DescribeQuorumTopic<'a> {
        /// Topic name.
        topic_name: &'a str;
        /// Each partition.
        partitions: Vec<DescribeQuorumPartition>;
    }

    /// One partition.
    pub struct DescribeQuorumPartition {
        /// Partition.
        partition_index: i32;
    }

    /// The quorums.
    pub struct DescribeQuorumResponse<'a>(versions 0..=2, flexible 0..) {
        /// Why there is no answer, if there is none.
        error_code: ErrorCode;
        /// The same in words.
        error_message: Option<&'a str> = Some(""), versions 2..;
        /// By topic.
        topics: Vec<QuorumTopic<'a>>;
        /// The voters' addresses.
        nodes: Vec<QuorumNode<'a>>, versions 2..;
    }

    /// Quorums of one topic.
    pub struct QuorumTopic<'a> {
        /// Topic name.
        topic_name: &'a str;
        /// Each partition.
        partitions: Vec<QuorumPartition<'a>>;
    }

    /// The quorum of one partition.
    pub struct QuorumPartition<'a> {
        /// Partition.
        partition_index: i32;
        /// Why it cannot be described, if it cannot.
        error_code: ErrorCode;
        /// The same in words.
        error_message: Option<&'a str> = Some(""), versions 2..;
        /// Who leads; -1 when not known.
        leader_id: i32;
        /// The epoch in which it leads.
        leader_epoch: i32;
        /// Up to where the log is agreed on.
        high_watermark: i64;
        /// Those who vote.
        current_voters: Vec<ReplicaState>;
        /// Those who only follow.
        observers: Vec<ReplicaState>;
    }

    /// How far one of them is.
    pub struct ReplicaState {
        /// Node id.
        replica_id: i32;
        /// Id of its metadata directory.
        replica_directory_id: Uuid, versions 2..;
        /// The end of its log; -1 when not known.
        log_end_offset: i64;
        /// When it last fetched, in milliseconds; -1 when not known.
        last_fetch_timestamp: i64 = -1, versions 1..;
        /// When it last had caught up, in milliseconds; -1 when not known.
        last_caught_up_timestamp: i64 = -1, versions 1..;
    }

    /// A voter.
    pub struct QuorumNode<'a> {
        /// Node id.
        node_id: i32;
        /// Where it listens.
        listeners: Vec<QuorumListener<'a>>;
    }

    /// An address of a voter.
    pub struct QuorumListener<'a> {
        /// Name of the listener.
        name: &'a str;
        /// Host name or address.
        host: &'a str;
        /// Port.
        port: u16;
    }
}
