//! Every bound on what strangers can make a broker hold, and the arithmetic: the worst case is computed at start and
//! printed.

use crate::grpc;
use crate::net::frames::{Patience, READ_AHEAD};
use millrace_proto::kafka::wire::memory_limit;
use std::fmt;
use std::time::Duration;

/// Connections for metrics and health at once: each lives for one request.
pub const HTTP_CONNECTIONS: usize = 64;

/// Partitions that the fetch sessions of one shard remember at most: beyond that clients say with every request what they want.
pub const SESSION_PARTITIONS: usize = 100_000;
/// What one of them takes at most, remembered and while it is being answered for.
const SESSION_PARTITION_BYTES: usize = 1 << 10;

/// The bounds. All have defaults that suit a machine with a few GiB of memory.
#[derive(Clone, Debug)]
pub struct Limits {
    /// `socket.request.max.bytes`: the largest request.
    pub request_max_bytes: usize,
    /// `max.connections`: connections of the Kafka port at once, over all shards.
    pub connections: usize,
    /// `grpc.max.connections`: connections of the gRPC port at once, over all shards. Each carries many calls.
    pub grpc_connections: usize,
    /// `max.connections.per.ip`: of which from one address.
    pub connections_per_ip: usize,
    /// Requests of one connection that run at once; the next one is not read before one is answered.
    pub connection_requests: usize,
    /// Bytes of requests, and of what they decode to, that one connection may have in flight. One larger request passes
    /// alone.
    pub connection_bytes: usize,
    /// Answers of one connection that may wait in memory before no further request is read.
    pub connection_answer_bytes: usize,
    /// `queued.max.request.bytes`, per shard: bytes of requests, and of what they decode to, over all its connections.
    pub shard_bytes: usize,
    /// How long frames and idle connections may take (`connections.max.idle.ms`).
    pub patience: Patience,
    /// How long a client may take no byte of its answers.
    pub stalled_writer: Duration,
    /// `fetch.max.bytes`: the most that one fetch response carries, whatever the client asks.
    pub fetch_max_bytes: usize,
    /// `max.incremental.fetch.session.cache.slots`: fetch sessions, over all shards.
    pub fetch_sessions: usize,
    /// `max.request.partition.size.limit`: the most partitions that one DescribeTopicPartitions response holds.
    pub partitions_per_response: usize,
    /// The most a compressed batch may grow to when it is checked, in bytes.
    pub decompressed_batch_bytes: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            request_max_bytes: 100 << 20,
            connections: 10_000,
            grpc_connections: 500,
            connections_per_ip: 4_000,
            // Clients keep 5 requests in flight by default, librdkafka's tools far more; beyond some dozens a
            // connection gains nothing.
            connection_requests: 128,
            connection_bytes: 32 << 20,
            connection_answer_bytes: 128 << 10,
            shard_bytes: 256 << 20,
            patience: Patience { frame: Duration::from_secs(30), idle: Duration::from_secs(600) },
            stalled_writer: Duration::from_secs(30),
            fetch_max_bytes: 55 << 20,
            fetch_sessions: 1000,
            partitions_per_response: 2000,
            // Records of a batch compress 10:1 to 100:1; a megabyte batch that claims more than this is a bomb.
            decompressed_batch_bytes: 128 << 20,
        }
    }
}

impl Limits {
    /// The most that connections can make `shards` shards hold, in bytes.
    pub fn worst_case(&self, shards: usize) -> WorstCase {
        // Half of a shard's budget is for large requests, one of which passes alone even if it is larger than that.
        let largest = self.request_max_bytes + memory_limit(self.request_max_bytes);
        let requests = shards * (self.shard_bytes / 2 + (self.shard_bytes / 2).max(largest));
        let read_ahead = self.connections * READ_AHEAD;
        let answers = self.connections * self.connection_answer_bytes;
        let grpc = grpc::Limits::default().worst_case(shards, self.grpc_connections);
        let sessions = shards * SESSION_PARTITIONS * SESSION_PARTITION_BYTES;
        WorstCase { requests, read_ahead, answers, sessions, grpc }
    }
}

/// The parts of the worst case.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WorstCase {
    /// Requests and what they decode to, bounded per shard.
    pub requests: usize,
    /// Bytes read ahead of their reservation, if every connection sends half a frame.
    pub read_ahead: usize,
    /// Answers in memory, if no connection reads.
    pub answers: usize,
    /// Fetch sessions.
    pub sessions: usize,
    /// What the gRPC port's connections can make it hold besides.
    pub grpc: usize,
}

impl fmt::Display for WorstCase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mib = |bytes: usize| bytes >> 20;
        write!(
            f,
            "{} MiB of requests, {} MiB read ahead, {} MiB of unread answers, {} MiB of fetch sessions, {} MiB of gRPC streams",
            mib(self.requests),
            mib(self.read_ahead),
            mib(self.answers),
            mib(self.sessions),
            mib(self.grpc)
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_arithmetic_is_what_the_text_says() {
        let limits = Limits { connections: 1024, grpc_connections: 128, ..Limits::default() };
        let worst = limits.worst_case(2);
        let parts = [
            "1256 MiB of requests",
            "32 MiB read ahead",
            "128 MiB of unread answers",
            "195 MiB of fetch sessions",
            "1472 MiB of gRPC streams",
        ];
        assert_eq!(worst.to_string(), parts.join(", "));
    }
}
