//! `millrace.v1.Cluster`.

use super::backend::{Backend, Broker};
use millrace_proto::grpc::v1;

pub(super) fn describe(backend: &impl Backend, _: v1::DescribeClusterRequest) -> v1::DescribeClusterResponse {
    let cluster = backend.describe_cluster();
    v1::DescribeClusterResponse {
        cluster_id: cluster.id,
        controller_id: cluster.controller,
        brokers: cluster.brokers.into_iter().map(broker).collect(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
    }
}

fn broker(broker: Broker) -> v1::Broker {
    let kafka = broker.kafka.into_iter().map(|at| endpoint(v1::Protocol::Kafka, at));
    let grpc = broker.grpc.into_iter().map(|at| endpoint(v1::Protocol::Grpc, at));
    v1::Broker { id: broker.id, rack: broker.rack, endpoints: kafka.chain(grpc).collect() }
}

fn endpoint(protocol: v1::Protocol, (host, port): (String, u16)) -> v1::Endpoint {
    v1::Endpoint { protocol: protocol.into(), host, port: i32::from(port) }
}
