//! The connection to a broker, and what can be asked of the cluster.

use crate::error::Error;
use crate::stubs::cluster_client::ClusterClient;
use crate::stubs::log_client::LogClient;
use crate::{ConsumerBuilder, GroupConsumerBuilder, Groups, ProducerBuilder, Topics};
use millrace_proto::grpc::v1;
use std::time::Duration;
use tonic::Code;
use tonic::transport::{self, Channel};

/// The largest response that is accepted: the broker keeps to what a consumer asks for, but a single record may be
/// larger, up to Kafka's largest request and some.
const LARGEST_RESPONSE: usize = 256 << 20;

/// How to connect.
#[derive(Clone, Debug)]
pub struct ConnectOptions {
    /// How long to wait for a connection.
    pub connect_timeout: Duration,
    /// How often a quiet connection is probed. A broker that does not answer the probe in the same time is given up.
    pub keep_alive: Duration,
}

impl Default for ConnectOptions {
    fn default() -> Self {
        Self { connect_timeout: Duration::from_secs(10), keep_alive: Duration::from_secs(20) }
    }
}

/// A connection to a broker. Cheap to clone; clones share the connection, which is made again when it breaks.
#[derive(Clone, Debug)]
pub struct Client {
    channel: Channel,
}

impl Client {
    /// Connects to the gRPC port of a broker, for example `127.0.0.1:9095`.
    ///
    /// # Errors
    /// An address that is none, or a broker that can not be reached.
    pub async fn connect(address: &str) -> Result<Self, Error> {
        Self::connect_with(address, &ConnectOptions::default()).await
    }

    /// Connects in another way than the default.
    ///
    /// # Errors
    /// As [`Client::connect`].
    pub async fn connect_with(address: &str, options: &ConnectOptions) -> Result<Self, Error> {
        let uri = if address.contains("://") { address.to_owned() } else { format!("http://{address}") };
        let not_an_address = |_| {
            Error::new(Code::InvalidArgument, format!("{address} is not host:port, as 127.0.0.1:9095 is"))
        };
        let endpoint = transport::Endpoint::from_shared(uri).map_err(not_an_address)?;
        let channel = endpoint
            .connect_timeout(options.connect_timeout)
            .http2_keep_alive_interval(options.keep_alive)
            .keep_alive_timeout(options.keep_alive)
            .keep_alive_while_idle(true)
            .tcp_nodelay(true)
            .connect()
            .await
            .map_err(|error| unreachable(address, &error))?;
        Ok(Self { channel })
    }

    /// Creating, deleting, listing and describing topics.
    pub fn topics(&self) -> Topics {
        Topics::new(self.channel.clone())
    }

    /// Listing, describing, moving and deleting consumer groups.
    pub fn groups(&self) -> Groups {
        Groups::new(self.channel.clone())
    }

    /// Which brokers there are.
    ///
    /// # Errors
    /// The broker's, or that it was not reached.
    pub async fn cluster(&self) -> Result<Cluster, Error> {
        let mut client = ClusterClient::new(self.channel.clone());
        Ok(client.describe(v1::DescribeClusterRequest {}).await?.into_inner().into())
    }

    /// Sending records.
    pub fn producer(&self) -> ProducerBuilder {
        ProducerBuilder::new(self.channel.clone())
    }

    /// Reading records.
    pub fn consumer(&self) -> ConsumerBuilder {
        ConsumerBuilder::new(self.log())
    }

    /// Reading records as a member of a consumer group.
    pub fn group_consumer(&self, group: &str) -> GroupConsumerBuilder {
        GroupConsumerBuilder::new(self.log(), group)
    }

    fn log(&self) -> LogClient<Channel> {
        LogClient::new(self.channel.clone()).max_decoding_message_size(LARGEST_RESPONSE)
    }
}

fn unreachable(address: &str, error: &transport::Error) -> Error {
    // The innermost cause is the one that says something: connection refused, for example.
    let mut cause: &dyn std::error::Error = error;
    while let Some(source) = cause.source() {
        cause = source;
    }
    Error::disconnected(format!("cannot reach a broker at {address}: {cause}"))
}

/// The cluster.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cluster {
    /// Its id, the same for as long as it lives.
    pub id: String,
    /// The broker that is the controller, if there is one at the moment.
    pub controller: Option<i32>,
    /// By id.
    pub brokers: Vec<Broker>,
    /// The version of the broker that answered.
    pub version: String,
}

/// A broker.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Broker {
    /// Its `node.id`.
    pub id: i32,
    /// Its rack, if it has one.
    pub rack: Option<String>,
    /// Where clients reach it.
    pub endpoints: Vec<Endpoint>,
}

/// An address of a broker.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Endpoint {
    /// What it speaks.
    pub protocol: Protocol,
    /// A name or an address.
    pub host: String,
    /// The TCP port.
    pub port: u16,
}

/// What an endpoint speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Protocol {
    /// Kafka's protocol.
    Kafka,
    /// gRPC.
    Grpc,
    /// Something newer than this client.
    Unknown,
}

impl From<v1::DescribeClusterResponse> for Cluster {
    fn from(cluster: v1::DescribeClusterResponse) -> Self {
        let controller = (cluster.controller_id >= 0).then_some(cluster.controller_id);
        let brokers = cluster.brokers.into_iter().map(Broker::from).collect();
        Self { id: cluster.cluster_id, controller, brokers, version: cluster.version }
    }
}

impl From<v1::Broker> for Broker {
    fn from(broker: v1::Broker) -> Self {
        let endpoint = |endpoint: v1::Endpoint| {
            let protocol = match endpoint.protocol() {
                v1::Protocol::Kafka => Protocol::Kafka,
                v1::Protocol::Grpc => Protocol::Grpc,
                v1::Protocol::Unspecified => Protocol::Unknown,
            };
            // Not a port: the broker is at fault, and nobody connects to port 0.
            Endpoint { protocol, host: endpoint.host, port: u16::try_from(endpoint.port).unwrap_or(0) }
        };
        Self {
            id: broker.id,
            rack: broker.rack,
            endpoints: broker.endpoints.into_iter().map(endpoint).collect(),
        }
    }
}
