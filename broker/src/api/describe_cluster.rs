//! DescribeCluster (60), versions 0-2: the brokers, for admin tools.
//!
//! Controllers are no endpoints of their own here: asking for them (version 1, KIP-919) is answered as a broker answers.

use super::{Call, operations};
use millrace_io::Io;
use millrace_proto::kafka::error::ErrorCode;
use millrace_proto::kafka::messages::describe_cluster::{
    BROKERS, DescribeClusterBroker, DescribeClusterRequest, DescribeClusterResponse,
};

pub(super) async fn handle<I: Io>(call: Call<I>, request: DescribeClusterRequest) {
    let image = call.shard.image();
    let cluster_id = call.shard.cluster_id().clone();
    if request.endpoint_type != BROKERS {
        let error_code = call.error(ErrorCode::UnsupportedVersion);
        return call.answer(&DescribeClusterResponse {
            error_code,
            error_message: Some("this is a broker's listener: ask it for brokers (endpoint type 1)"),
            endpoint_type: request.endpoint_type,
            cluster_id: &cluster_id,
            ..DescribeClusterResponse::default()
        });
    }
    let listed = image.brokers().filter(|broker| request.include_fenced_brokers || !broker.fenced);
    let brokers = listed.filter_map(|broker| {
        let endpoint = broker.endpoints.first()?;
        Some(DescribeClusterBroker {
            broker_id: broker.broker,
            host: &endpoint.host,
            port: endpoint.port.into(),
            rack: broker.rack.as_deref(),
            is_fenced: broker.fenced,
        })
    });
    let response = DescribeClusterResponse {
        cluster_id: &cluster_id,
        controller_id: call.shard.config().node_id,
        cluster_authorized_operations: operations::if_asked(
            request.include_cluster_authorized_operations,
            operations::CLUSTER,
        ),
        brokers: brokers.collect(),
        ..DescribeClusterResponse::default()
    };
    call.answer(&response);
}
