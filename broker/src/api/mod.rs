//! Kafka's APIs: one file each, which begins with its contract. This file takes a frame to its handler.
//!
//! Produce and Fetch are started in the order of their requests and finished side by side; everything else is answered
//! before the connection's next request is read.

mod alter_configs;
mod api_versions;
mod consumer_groups;
mod create_partitions;
mod create_topics;
mod delete_records;
mod delete_topics;
mod describe_cluster;
mod describe_configs;
mod describe_log_dirs;
mod describe_producers;
mod describe_topic_partitions;
pub mod errors;
mod fetch;
mod find_coordinator;
mod group_admin;
mod group_members;
mod group_offsets;
mod init_producer_id;
mod list_offsets;
mod metadata;
mod offset_for_leader_epoch;
mod operations;
mod produce;
mod single_node;

use crate::net::connection::Connection;
use crate::net::frames::Frame;
use crate::net::responses::{Answer, Piece, Ticket};
use crate::shard::Shard;
use crate::shard::partition_driver::PartitionId;
use millrace_io::Io;
use millrace_logic::meta::Image;
use millrace_proto::kafka::api::{self, ApiKey, Request, Response, decode_request};
use millrace_proto::kafka::error::ErrorCode;
use millrace_proto::kafka::header::{RequestHeader, encode_response};
use millrace_proto::kafka::wire::{Decode, DecodeError, EncodedFrame};
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;

/// A request without its body: what it takes to answer it.
struct Call<I: Io> {
    shard: Shard<I>,
    peer: SocketAddr,
    api: ApiKey,
    version: i16,
    correlation_id: i32,
    started: Duration,
    ticket: Ticket<I::File>,
}

impl<I: Io> Call<I> {
    /// Answers with a response that is all memory.
    fn answer<R: Response>(self, response: &R) {
        match encode_response(self.version, self.correlation_id, response) {
            Ok(frame) => self.answer_frame(frame),
            // The version was checked before the handler ran.
            Err(error) => self.close(&error),
        }
    }

    fn answer_frame(self, frame: EncodedFrame) {
        debug_assert!(frame.holes.is_empty(), "files are sent by fetch alone");
        self.finish(Answer::Send(vec![Piece::Memory(frame.head.freeze())]));
    }

    /// Leaves what is left to do to the connection's writer, where only an outcome is missing: it is carried on when every request
    /// before is answered.
    fn later<R: Future<Output = ()> + 'static>(self, rest: impl FnOnce(Self) -> R) {
        let Self { shard, peer, api, version, correlation_id, started, ticket } = self;
        let io = shard.io().clone();
        let call = |ticket| Self { shard, peer, api, version, correlation_id, started, ticket };
        if let Some(rest) = ticket.later(|ticket| rest(call(ticket))) {
            io.spawn(rest);
        }
    }

    fn close(self, why: &dyn std::fmt::Display) {
        tracing::warn!(peer = %self.peer, api = ?self.api, version = self.version, "connection closed: {why}");
        self.finish(Answer::Close);
    }

    fn finish(self, answer: Answer<I::File>) {
        let port = &self.shard.metrics().kafka;
        port.request(self.api.name(), self.shard.io().now().saturating_sub(self.started));
        self.ticket.answer(answer);
    }

    /// Counts an error and passes it on.
    fn error(&self, code: ErrorCode) -> ErrorCode {
        if code != ErrorCode::None {
            self.shard.metrics().kafka.error(code.name());
        }
        code
    }
}

/// Starts a request: when this returns, the next one may start. `false` when the connection can not go on.
pub(crate) async fn start<I: Io>(connection: &Rc<Connection<I>>, frame: Frame) -> bool {
    let Frame { bytes, held } = frame;
    let ticket = connection.responses.ticket(held);
    let (header, body) = match RequestHeader::decode(&bytes) {
        Ok(split) => split,
        Err(error) => {
            tracing::warn!(peer = %connection.peer, "connection closed: not a Kafka request: {error}");
            return false;
        }
    };
    let served = api::find(header.api_key);
    let api = match (header.api(), served) {
        (Some(api), Some(served)) if served.served.contains(&header.api_version) => api,
        (Some(ApiKey::ApiVersions), _) => {
            let shard = connection.shard.clone();
            let frame = api_versions::unsupported(header.correlation_id);
            ticket.answer(Answer::Send(vec![Piece::Memory(frame.head.freeze())]));
            shard.metrics().kafka.error(ErrorCode::UnsupportedVersion.name());
            return true;
        }
        _ => {
            let (key, version) = (header.api_key, header.api_version);
            tracing::warn!(peer = %connection.peer, key, version, "connection closed: API or version not served");
            return false;
        }
    };
    let call = Call {
        shard: connection.shard.clone(),
        peer: connection.peer,
        api,
        version: header.api_version,
        correlation_id: header.correlation_id,
        started: connection.shard.io().now(),
        ticket,
    };
    match api {
        ApiKey::Produce => {
            let body = bytes.len() - body.len();
            produce::start(call, bytes, body).await
        }
        ApiKey::Fetch => start_with(call, body, fetch::start),
        ApiKey::ListOffsets => handle(call, body, list_offsets::handle).await,
        ApiKey::Metadata => handle(call, body, metadata::handle).await,
        ApiKey::ApiVersions => handle(call, body, api_versions::handle).await,
        ApiKey::CreateTopics => handle(call, body, create_topics::handle).await,
        ApiKey::DeleteTopics => handle(call, body, delete_topics::handle).await,
        ApiKey::InitProducerId => handle(call, body, init_producer_id::handle).await,
        ApiKey::DescribeConfigs => handle(call, body, describe_configs::handle).await,
        ApiKey::DescribeCluster => handle(call, body, describe_cluster::handle).await,
        ApiKey::CreatePartitions => handle(call, body, create_partitions::handle).await,
        ApiKey::DeleteRecords => handle(call, body, delete_records::handle).await,
        ApiKey::AlterConfigs => handle(call, body, alter_configs::replace).await,
        ApiKey::IncrementalAlterConfigs => handle(call, body, alter_configs::change).await,
        ApiKey::OffsetForLeaderEpoch => handle(call, body, offset_for_leader_epoch::handle).await,
        ApiKey::DescribeTopicPartitions => handle(call, body, describe_topic_partitions::handle).await,
        ApiKey::DescribeProducers => handle(call, body, describe_producers::handle).await,
        ApiKey::DescribeLogDirs => handle(call, body, describe_log_dirs::handle).await,
        ApiKey::AlterReplicaLogDirs => handle(call, body, single_node::alter_replica_log_dirs).await,
        ApiKey::FindCoordinator => handle(call, body, find_coordinator::handle).await,
        ApiKey::JoinGroup => {
            let client_id = header.client_id.unwrap_or_default().to_owned();
            handle(call, body, async |call, request| group_members::join(call, request, client_id).await)
                .await
        }
        ApiKey::ConsumerGroupHeartbeat => {
            let client_id = header.client_id.unwrap_or_default().to_owned();
            handle(call, body, async |call, request| {
                consumer_groups::heartbeat(call, request, client_id).await
            })
            .await
        }
        ApiKey::ConsumerGroupDescribe => handle(call, body, consumer_groups::describe).await,
        ApiKey::SyncGroup => handle(call, body, group_members::sync).await,
        ApiKey::Heartbeat => handle(call, body, group_members::heartbeat).await,
        ApiKey::LeaveGroup => handle(call, body, group_members::leave).await,
        ApiKey::OffsetCommit => handle(call, body, group_offsets::commit).await,
        ApiKey::OffsetFetch => handle(call, body, group_offsets::fetch).await,
        ApiKey::OffsetDelete => handle(call, body, group_offsets::delete).await,
        ApiKey::DescribeGroups => handle(call, body, group_admin::describe).await,
        ApiKey::ListGroups => handle(call, body, group_admin::list).await,
        ApiKey::DeleteGroups => handle(call, body, group_admin::delete).await,
        ApiKey::ElectLeaders => handle(call, body, single_node::elect_leaders).await,
        ApiKey::AlterPartitionReassignments => handle(call, body, single_node::reassign).await,
        ApiKey::ListPartitionReassignments => handle(call, body, single_node::list_reassignments).await,
        ApiKey::DescribeQuorum => handle(call, body, single_node::describe_quorum).await,
        ApiKey::UpdateFeatures => handle(call, body, single_node::update_features).await,
        ApiKey::ListConfigResources => handle(call, body, single_node::list_config_resources).await,
        other => {
            call.close(&format_args!("{other:?} is advertised without a handler"));
            false
        }
    }
}

/// A partition that exists, by its topic's name.
fn partition_id(image: &Image, topic: &str, partition: i32) -> Option<PartitionId> {
    let topic = image.topic(topic)?;
    let exists = usize::try_from(partition).is_ok_and(|partition| partition < topic.partitions.len());
    exists.then_some(PartitionId { topic: topic.id, partition })
}

/// Decodes a request, or closes the connection over it.
fn decode<'b, I: Io, R: Request + Decode<'b>>(call: Call<I>, body: &'b [u8]) -> Option<(Call<I>, R)> {
    let decoded: Result<R, DecodeError> = decode_request(body, call.version);
    match decoded {
        Ok(request) => Some((call, request)),
        Err(error) => {
            call.close(&error);
            None
        }
    }
}

fn start_with<'b, I: Io, R: Request + Decode<'b>>(
    call: Call<I>,
    body: &'b [u8],
    start: impl FnOnce(Call<I>, R),
) -> bool {
    decode(call, body).map(|(call, request)| start(call, request)).is_some()
}

async fn handle<'b, I: Io, R: Request + Decode<'b>>(
    call: Call<I>,
    body: &'b [u8],
    handler: impl AsyncFnOnce(Call<I>, R),
) -> bool {
    match decode(call, body) {
        Some((call, request)) => {
            handler(call, request).await;
            true
        }
        None => false,
    }
}
