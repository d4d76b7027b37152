//! What the gRPC services need of the broker: the one seam between them and the shards. Static dispatch; futures stay
//! on their core.

use super::group_backend::{GroupBackend, MemberBackend};
pub use super::status::Error;
use crate::net::budget::{Budget, Reservation};
use bytes::{Bytes, BytesMut};
use std::future::Future;
use std::rc::Rc;
use std::time::Duration;
use uuid::Uuid;

/// The broker, seen from one core. A cheap handle.
pub trait Backend: GroupBackend + MemberBackend + Clone + 'static {
    /// Wall-clock time in milliseconds since the Unix epoch: the timestamp of records that bring none.
    fn wall_clock(&self) -> i64;

    /// A call of `method` has ended after `took`; `failure` is the reason if it failed. For metrics.
    fn call_ended(&self, _method: &'static str, _failure: Option<&'static str>, _took: Duration) {}

    /// Unpredictable bits, for spreading records without a key.
    fn random(&self) -> u64;

    /// How many partitions a topic has; `None` if there is no such topic.
    fn partitions(&self, topic: &str) -> Option<i32>;

    /// As [`partitions`](Self::partitions), but creates the topic if there is none and the broker may, and waits for it.
    /// # Errors
    /// `UNKNOWN_TOPIC_OR_PARTITION` or `INVALID_TOPIC_EXCEPTION`, and what creating it meets.
    fn ensure_topic(&self, topic: &str) -> impl Future<Output = Result<i32, Error>>;

    /// A producer id that nobody ever had.
    /// # Errors
    /// When the metadata cannot be written.
    fn new_producer_id(&self) -> impl Future<Output = Result<i64, Error>>;

    /// Appends one batch: exactly one whole record batch (format 2) as a producer sends it.
    ///
    /// The batch takes its place in the partition's order when the future is first polled, before it waits for
    /// anything; dropping the future afterwards does not take it back. Completes when `acks` says so; with
    /// [`Acks::None`] as soon as the batch was handed over.
    fn produce(
        &self,
        topic: &str,
        partition: i32,
        batch: BytesMut,
        acks: Acks,
        timeout: Duration,
    ) -> impl Future<Output = Result<Produced, Error>> + use<Self> + 'static;

    /// Reads from several partitions, in the order given. Waits until `min_bytes` are readable, a partition fails, or
    /// `max_wait` is over, and answers with one entry for each partition, in the order asked. Reads at most `max_bytes`
    /// over all, except that the first partition with anything readable gives at least one whole batch.
    ///
    /// The bytes are reserved in `memory` once it is known how many they are, and before they are read: a wait holds
    /// none. Dropping the future ends the wait and frees what it held.
    fn fetch(&self, request: FetchRequest, memory: Budget) -> impl Future<Output = FetchResponse>;

    /// The offset at a position; for [`Position::Timestamp`], the end if no record is as young.
    /// # Errors
    /// `UNKNOWN_TOPIC_OR_PARTITION`, and what the partition's shard says.
    fn list_offset(
        &self,
        topic: &str,
        partition: i32,
        position: Position,
    ) -> impl Future<Output = Result<i64, Error>>;

    /// Creates a topic.
    /// # Errors
    /// Kafka's, for example `TOPIC_ALREADY_EXISTS` or `INVALID_PARTITIONS`.
    fn create_topic(&self, topic: NewTopic) -> impl Future<Output = Result<Topic, Error>>;

    /// Changes settings of a topic: `None` takes one back.
    /// # Errors
    /// `UNKNOWN_TOPIC_OR_PARTITION` or `INVALID_CONFIG`.
    fn alter_topic_configs(
        &self,
        topic: &str,
        changes: Vec<(String, Option<String>)>,
        validate_only: bool,
    ) -> impl Future<Output = Result<Topic, Error>>;

    /// Gives a topic more partitions: `count` in all.
    /// # Errors
    /// `UNKNOWN_TOPIC_OR_PARTITION` or `INVALID_PARTITIONS`.
    fn add_partitions(
        &self,
        topic: &str,
        count: i32,
        validate_only: bool,
    ) -> impl Future<Output = Result<Topic, Error>>;

    /// Deletes the records before an offset, or all that can be read; returns where the log starts now.
    /// # Errors
    /// `UNKNOWN_TOPIC_OR_PARTITION`, `OFFSET_OUT_OF_RANGE` or `POLICY_VIOLATION`.
    fn delete_records(
        &self,
        topic: &str,
        partition: i32,
        before: Option<i64>,
    ) -> impl Future<Output = Result<i64, Error>>;

    /// Deletes a topic; returns its name and id.
    /// # Errors
    /// `UNKNOWN_TOPIC_OR_PARTITION` or `UNKNOWN_TOPIC_ID`.
    fn delete_topic(&self, topic: TopicRef) -> impl Future<Output = Result<(String, Uuid), Error>>;

    /// The first `limit` topics behind the name `after`, by name.
    fn list_topics(&self, after: &str, limit: usize, internal: bool) -> Vec<TopicSummary>;

    /// A topic, if there is one.
    fn describe_topic(&self, topic: &TopicRef) -> Option<Topic>;

    /// The cluster.
    fn describe_cluster(&self) -> Cluster;
}

/// When a batch counts as appended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Acks {
    /// When it was handed over.
    None,
    /// When the leader has written it.
    Leader,
    /// When the high watermark has passed it.
    All,
}

/// Where a batch went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Produced {
    /// The first record's offset; `None` with [`Acks::None`].
    pub base_offset: Option<i64>,
    /// The time that the broker gave the records, where the topic's timestamps are `LogAppendTime`.
    pub log_append_time: Option<i64>,
}

/// What to read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FetchRequest {
    /// From which partitions.
    pub parts: Vec<FetchPart>,
    /// At most so many bytes, but at least one batch.
    pub max_bytes: usize,
    /// Waits for so many bytes.
    pub min_bytes: usize,
    /// For so long.
    pub max_wait: Duration,
}

/// What was read.
pub struct FetchResponse {
    /// In the order asked.
    pub parts: Vec<Result<Fetched, Error>>,
    /// Holds the bytes in the budget; `None` if there are none.
    pub held: Option<Reservation>,
}

/// A partition to read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FetchPart {
    /// The topic's name.
    pub topic: Rc<str>,
    /// The partition.
    pub partition: i32,
    /// From here on.
    pub offset: i64,
}

/// What was read of a partition.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Fetched {
    /// Whole batches, one behind the other, the first of which holds or follows the offset asked for; empty if there is
    /// nothing. All of their records may be read.
    pub batches: Bytes,
    /// Behind the newest record that may be read.
    pub high_watermark: i64,
}

/// A position in a partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Position {
    /// The log start.
    Beginning,
    /// The high watermark.
    End,
    /// The first record that is no older, in milliseconds since the Unix epoch.
    Timestamp(i64),
}

/// A topic by name or id.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TopicRef {
    /// By name.
    Name(String),
    /// By id.
    Id(Uuid),
}

/// A topic to create.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NewTopic {
    /// Its name.
    pub name: String,
    /// `None`: `num.partitions`.
    pub partitions: Option<i32>,
    /// `None`: `default.replication.factor`.
    pub replication_factor: Option<i32>,
    /// Its settings, by name.
    pub configs: Vec<(String, String)>,
    /// Only check.
    pub validate_only: bool,
}

/// A topic in a list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TopicSummary {
    /// Its name.
    pub name: String,
    /// Its id.
    pub id: Uuid,
    /// How many partitions it has.
    pub partitions: i32,
    /// Whether the broker keeps it for itself.
    pub internal: bool,
}

/// A topic. One that was only validated has no id and no partition details.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Topic {
    /// Its name.
    pub name: String,
    /// Its id.
    pub id: Option<Uuid>,
    /// Whether the broker keeps it for itself.
    pub internal: bool,
    /// How many partitions it has or would have.
    pub partition_count: i32,
    /// How many replicas each has or would have.
    pub replication_factor: i32,
    /// Ascending.
    pub partitions: Vec<Partition>,
    /// What was set for this topic.
    pub configs: Vec<(String, String)>,
}

/// A partition of a described topic.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Partition {
    /// Its number.
    pub index: i32,
    /// The broker that leads it; -1 if none does.
    pub leader: i32,
    /// Its leader epoch.
    pub leader_epoch: i32,
    /// The brokers that hold it.
    pub replicas: Vec<i32>,
    /// Those in sync.
    pub in_sync_replicas: Vec<i32>,
}

/// The cluster.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Cluster {
    /// Its id.
    pub id: String,
    /// The controller; -1 if there is none.
    pub controller: i32,
    /// By id, ascending.
    pub brokers: Vec<Broker>,
}

/// A broker.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Broker {
    /// Its `node.id`.
    pub id: i32,
    /// Its rack.
    pub rack: Option<String>,
    /// Host and port where Kafka clients reach it.
    pub kafka: Vec<(String, u16)>,
    /// Host and port where gRPC clients reach it.
    pub grpc: Vec<(String, u16)>,
}
