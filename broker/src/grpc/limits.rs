//! Every bound of the gRPC port on what strangers can make a core hold.

use super::transport::WRITE_BUFFER;
use std::time::Duration;

/// The bounds. All have defaults that suit a machine with a few GiB of memory.
#[derive(Clone, Debug)]
pub struct Limits {
    /// The largest request message.
    pub max_request_bytes: usize,
    /// Request messages of one connection that are held at once. One larger message passes alone.
    pub connection_bytes: usize,
    /// Records that consuming streams of one shard hold at once, read but not taken by their clients.
    pub consume_bytes: usize,
    /// What they hold decompressed. One larger batch passes alone.
    pub inflated_bytes: usize,
    /// The most that one read for a consuming stream asks for, and about the size of the responses it gets.
    pub fetch_bytes: usize,
    /// Calls of one connection that run at once.
    pub concurrent_calls: u32,
    /// Batches of one produce stream that wait for their acknowledgement at once.
    pub unacknowledged_batches: usize,
    /// Partitions that one consume stream may read.
    pub consumed_partitions: usize,
    /// HTTP/2 window of a connection: what it can have sent that no call has taken yet.
    pub connection_window: u32,
    /// HTTP/2 window of a call.
    pub call_window: u32,
    /// What HTTP/2 holds of one call's responses, on top of what the transport holds of the connection's.
    pub call_unsent: usize,
    /// Header list size of a request, in bytes.
    pub header_bytes: u32,
    /// How long a client may take to begin HTTP/2.
    pub handshake_patience: Duration,
    /// How long the rest of a message may take once its first byte is there.
    pub message_patience: Duration,
    /// A stream whose client takes nothing for so long ends when others need its memory.
    pub stalled_reader: Duration,
    /// A client that takes no byte from its connection for so long is gone.
    pub stalled_writer: Duration,
    /// After this silence a client is pinged.
    pub ping_after: Duration,
    /// A client that stays silent for so long after a ping is gone.
    pub ping_patience: Duration,
    /// How long calls may take to finish once the broker stops.
    pub shutdown_patience: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            max_request_bytes: 16 << 20,
            connection_bytes: 32 << 20,
            consume_bytes: 128 << 20,
            inflated_bytes: 128 << 20,
            // Responses of some 100 KiB already cost little per byte, and a stalled stream holds two of them.
            fetch_bytes: 512 << 10,
            // A channel usually carries a handful; each can make us hold some 80 KiB.
            concurrent_calls: 64,
            unacknowledged_batches: 256,
            consumed_partitions: 10_000,
            // A few round trips' worth on a fast local network; a call can fill half of it.
            connection_window: 2 << 20,
            call_window: 1 << 20,
            call_unsent: 64 << 10,
            header_bytes: 16 << 10,
            handshake_patience: Duration::from_secs(10),
            message_patience: Duration::from_secs(30),
            stalled_reader: Duration::from_secs(30),
            stalled_writer: Duration::from_secs(30),
            ping_after: Duration::from_secs(60),
            ping_patience: Duration::from_secs(20),
            shutdown_patience: Duration::from_secs(10),
        }
    }
}

impl Limits {
    /// The most that `connections` connections can make `shards` shards hold, in bytes, beyond the budgets for requests.
    pub fn worst_case(&self, shards: usize, connections: usize) -> usize {
        let windows = connections * self.connection_window as usize;
        let calls = connections * self.concurrent_calls as usize;
        let (headers, unsent) = (calls * self.header_bytes as usize, calls * self.call_unsent);
        windows
            + headers
            + unsent
            + 2 * connections * WRITE_BUFFER
            + shards * (self.consume_bytes + self.inflated_bytes)
    }
}
