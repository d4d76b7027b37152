//! DescribeCluster (60): the cluster and its brokers, for administration (KIP-700).
//!
//! Versions: 1 brokers or controllers (KIP-919) · 2 fenced brokers (KIP-1073).

use crate::kafka::error::ErrorCode;

/// [`DescribeClusterRequest::endpoint_type`]: brokers.
pub const BROKERS: i8 = 1;
/// [`DescribeClusterRequest::endpoint_type`]: controllers.
pub const CONTROLLERS: i8 = 2;

message! {
    /// What to tell of the cluster.
    pub struct DescribeClusterRequest(versions 0..=2, flexible 0..) {
        /// Whether to tell what the client may do with the cluster.
        include_cluster_authorized_operations: bool;
        /// [`BROKERS`] or [`CONTROLLERS`].
        endpoint_type: i8 = BROKERS, versions 1..;
        /// Whether to tell brokers that are fenced too.
        include_fenced_brokers: bool, versions 2..;
    }

    /// The cluster.
    pub struct DescribeClusterResponse<'a>(versions 0..=2, flexible 0..) {
        /// How long the client was, or is to be, throttled.
        throttle_time_ms: i32;
        /// Why it cannot be described, if it cannot.
        error_code: ErrorCode;
        /// The same in words.
        error_message: Option<&'a str>;
        /// Which endpoints are described.
        endpoint_type: i8 = BROKERS, versions 1..;
        /// The cluster's id.
        cluster_id: &'a str;
        /// A broker that takes administrative requests; -1 for none.
        controller_id: i32 = -1;
        /// Each broker.
        brokers: Vec<DescribeClusterBroker<'a>>;
        /// What the client may do with the cluster, as bits.
        cluster_authorized_operations: i32 = super::metadata::OPERATIONS_UNKNOWN;
    }

    /// A broker.
    pub struct DescribeClusterBroker<'a> {
        /// Broker id.
        broker_id: i32;
        /// Host name or address, as clients are to use it.
        host: &'a str;
        /// Port.
        port: i32;
        /// Rack, when the broker has one.
        rack: Option<&'a str>;
        /// It has registered but may not serve.
        is_fenced: bool, versions 2..;
    }
}
