//! Everything that one core may ask of another. One message carries all that a request wants of a shard, and one
//! answer comes back.

use crate::metrics::Snapshot;
use crate::net::admission::Permit;
use crate::shard::groups::GroupTicket;
use crate::shard::metadata::{MetadataCall, Published};
use crate::shard::partition_driver::{ListOffsetError, ListedOffset, PartitionId};
use crate::shard::tickets::ProduceOutcome;
use bytes::BytesMut;
use futures_channel::oneshot;
use millrace_io::Io;
use millrace_logic::group::Request;
use millrace_logic::group::request::Listing;
use millrace_logic::group::survey::Survey;
use millrace_logic::partition::{
    Acks, Bounds, EpochEnd, FetchError, Isolation, LeaderEpoch, OffsetSpec, ProduceError, ProducerEntry,
};
use millrace_logic::retention::DeleteRecordsError;
use millrace_proto::batch::Checked;
use millrace_proto::kafka::error::ErrorCode;
use millrace_storage::{Extent, PartitionOffsets, ReadError};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

/// A port of the broker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Entrance {
    /// Kafka's protocol.
    Kafka,
    /// gRPC.
    Grpc,
    /// Metrics and health.
    Http,
}

/// What a shard may be asked.
pub enum ShardCall<I: Io> {
    /// Serve this connection.
    Adopt {
        /// It.
        socket: I::Socket,
        /// Where the peer is.
        peer: SocketAddr,
        /// Which port it came to.
        entrance: Entrance,
        /// Its place among the connections.
        permit: Permit,
    },
    /// Append batches to partitions of this shard.
    Produce(ProduceCall),
    /// Read partitions of this shard.
    Fetch(FetchCall<I::File>),
    /// Wait until more can be read.
    Watch(WatchCall),
    /// Find places in logs.
    ListOffsets(ListOffsetsCall),
    /// Find where leader epochs end.
    EpochEnds(PartsCall<EpochEndPart, Result<Option<EpochEnd>, FetchFailure>>),
    /// Tell which producers partitions remember.
    Producers(PartsCall<PartitionId, Result<Vec<ProducerEntry>, FetchFailure>>),
    /// Let the coordinator of a group decide.
    Group(Box<GroupCall>),
    /// Tell which groups are kept here.
    ListGroups(oneshot::Sender<Result<Vec<Listing>, ErrorCode>>),
    /// Tell how far groups have come that are kept here, so many partitions at most.
    SurveyGroups {
        /// How many.
        room: usize,
        /// Where the answer goes.
        reply: oneshot::Sender<Survey>,
    },
    /// Tell how many bytes the segments of partitions are.
    Sizes(PartsCall<PartitionId, Result<u64, FetchFailure>>),
    /// Move the starts of logs: each partition with the offset below which its records go.
    DeleteRecords(PartsCall<(PartitionId, i64), Result<i64, DeleteRecordsFailure>>),
    /// Change the metadata. Shard 0 only.
    Metadata(MetadataCall),
    /// Prepare for metadata that will be published when every shard is ready: create the logs of new partitions.
    Prepare(Arc<Published>, oneshot::Sender<()>),
    /// This is the metadata now: drop the logs of partitions that are gone.
    Publish(Arc<Published>, oneshot::Sender<()>),
    /// Put these offsets into the checkpoints, and tell whether they are durable there. Shard 0 only.
    Checkpoint(Vec<PartitionOffsets>, Option<oneshot::Sender<bool>>),
    /// Your numbers, please.
    Metrics(oneshot::Sender<Snapshot>),
}

/// A request to the coordinator of a group.
pub struct GroupCall {
    /// The partition of `__consumer_offsets` that keeps the group.
    pub partition: i32,
    /// What is asked.
    pub request: Request,
    /// Where the answer goes, which may be long in coming.
    pub reply: GroupTicket,
}

/// Batches to append, in order.
pub struct ProduceCall {
    /// Each with its partition.
    pub parts: Vec<ProducePart>,
    /// When to answer.
    pub acks: Acks,
    /// Until when `acks=all` may wait.
    pub deadline: Duration,
    /// Where the outcomes go, in the order of the parts.
    pub reply: oneshot::Sender<Vec<ProduceOutcome>>,
}

/// One batch to append.
pub struct ProducePart {
    /// Where to.
    pub id: PartitionId,
    /// Its bytes, owned alone.
    pub batch: BytesMut,
    /// What its check found.
    pub checked: Checked,
}

/// Why a batch was not appended, or its fate is not known.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ProduceFailure {
    /// The partition decided so.
    #[error(transparent)]
    Refused(#[from] ProduceError),
    /// The shard does not have the partition.
    #[error("this broker does not hold the partition")]
    UnknownPartition,
    /// The broker is going down.
    #[error("the broker is shutting down")]
    Stopping,
}

/// Partitions to read.
pub struct FetchCall<F> {
    /// Each with its bounds.
    pub parts: Vec<FetchPart>,
    /// The most bytes for all of them, except that the first batch found is whole.
    pub max_bytes: u64,
    /// How far to read.
    pub isolation: Isolation,
    /// Where the findings go, in the order of the parts.
    pub reply: oneshot::Sender<Vec<Fetched<F>>>,
}

/// One partition to read.
#[derive(Clone, Copy, Debug)]
pub struct FetchPart {
    /// Which.
    pub id: PartitionId,
    /// From where on.
    pub offset: i64,
    /// The most bytes.
    pub max_bytes: u64,
    /// The leader epoch that the client knows.
    pub epoch: Option<LeaderEpoch>,
    /// The epoch of the last record that the client has.
    pub last_fetched: Option<LeaderEpoch>,
}

/// What reading one partition found.
pub type Fetched<F> = Result<Found<F>, FetchFailure>;

/// Batches, and how far the partition reaches.
#[derive(Clone, Debug)]
pub struct Found<F> {
    /// The ruler as it was.
    pub bounds: Bounds,
    /// Whole batches.
    pub extents: Vec<Extent<F>>,
    /// Set when the client's history is not this log's (KIP-595): then there are no extents.
    pub diverging: Option<EpochEnd>,
}

impl<F> Found<F> {
    /// Bytes of all extents.
    pub fn bytes(&self) -> u64 {
        self.extents.iter().map(|e| e.len).sum()
    }
}

/// Why nothing was read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FetchFailure {
    /// The partition decided so.
    #[error(transparent)]
    Refused(#[from] FetchError),
    /// The log could not be read.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// The shard does not have the partition.
    #[error("this broker does not hold the partition")]
    UnknownPartition,
}

/// Partitions, each to be answered for.
pub struct PartsCall<P, A> {
    /// Which, and what of them.
    pub parts: Vec<P>,
    /// Where the answers go, in the order of the parts.
    pub reply: oneshot::Sender<Vec<A>>,
}

/// A leader epoch whose end is to be found.
#[derive(Clone, Copy, Debug)]
pub struct EpochEndPart {
    /// In which partition.
    pub id: PartitionId,
    /// The epoch.
    pub epoch: LeaderEpoch,
    /// The leader epoch that the client knows.
    pub current: Option<LeaderEpoch>,
}

/// Why records were not deleted.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DeleteRecordsFailure {
    /// The partition says so.
    #[error(transparent)]
    Refused(#[from] DeleteRecordsError),
    /// The new start could not be made durable: it holds until the next crash.
    #[error("the new start of the log could not be written to the checkpoint")]
    Checkpoint,
    /// The topic was deleted.
    #[error("the topic was deleted")]
    Deleted,
    /// The shard does not have the partition.
    #[error("this broker does not hold the partition")]
    UnknownPartition,
}

/// Partitions to wait for.
pub struct WatchCall {
    /// Which, from where on, and what the read before saw.
    pub parts: Vec<(PartitionId, i64, Bounds)>,
    /// How many bytes are worth waking up for.
    pub bytes: u64,
    /// Until when.
    pub deadline: Duration,
    /// Told when it is time to read again. Dropping the other end ends the wait.
    pub reply: oneshot::Sender<()>,
}

/// Places to find.
pub struct ListOffsetsCall {
    /// Which.
    pub parts: Vec<ListOffsetsPart>,
    /// How far readers may see.
    pub isolation: Isolation,
    /// Where the findings go, in the order of the parts.
    pub reply: oneshot::Sender<Vec<Result<ListedOffset, ListOffsetsFailure>>>,
}

/// A place to find.
#[derive(Clone, Copy, Debug)]
pub struct ListOffsetsPart {
    /// In which partition.
    pub id: PartitionId,
    /// What.
    pub spec: OffsetSpec,
    /// The leader epoch that the client knows.
    pub epoch: Option<LeaderEpoch>,
}

/// Why a place was not found.
#[derive(Debug, thiserror::Error)]
pub enum ListOffsetsFailure {
    /// The partition said so.
    #[error(transparent)]
    Partition(#[from] ListOffsetError),
    /// The shard does not have the partition.
    #[error("this broker does not hold the partition")]
    UnknownPartition,
}
