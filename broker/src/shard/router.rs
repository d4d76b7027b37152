//! Asks the shards that own what a request names: one message to each, however many partitions it names, and one
//! answer back. Data stays where it is.

use crate::metrics::Snapshot;
use crate::net::admission::Permit;
use crate::shard::calls::{
    DeleteRecordsFailure, EpochEndPart, FetchCall, FetchFailure, FetchPart, Fetched, GroupCall,
    ListOffsetsCall, ListOffsetsFailure, ListOffsetsPart, PartsCall, ProduceCall, ProduceFailure,
    ProducePart, WatchCall,
};
use crate::shard::metadata::{MetadataCall, MetadataFailure};
use crate::shard::partition_driver::{ListedOffset, PartitionId};
use crate::shard::tickets::ProduceOutcome;
use crate::shard::wishes::{ConfigWish, PartitionsWish, TopicWish};
use crate::shard::{Entrance, Shard, ShardCall};
use futures_channel::oneshot::{self, Receiver};
use futures_util::future::join_all;
use millrace_io::Io;
use millrace_logic::group::request::Listing;
use millrace_logic::group::{self, Request, Response};
use millrace_logic::meta::names::CONSUMER_OFFSETS_TOPIC;
use millrace_logic::meta::{
    PartitionsCreation, ProducerIdBlock, ReconfigurationOutcome, TopicCreation, TopicDeletion,
};
use millrace_logic::partition::{Acks, Bounds, EpochEnd, Isolation, ProducerEntry};
use millrace_logic::placement::shard_of;
use millrace_proto::kafka::error::ErrorCode;
use std::net::SocketAddr;
use std::time::Duration;
use uuid::Uuid;

/// Parts of a request, sorted by the shard that owns them, and the way back to the request's order.
struct Dealt<P> {
    /// For each shard, the parts and their places in the request.
    shards: Vec<(Vec<usize>, Vec<P>)>,
    count: usize,
}

impl<P> Dealt<P> {
    fn new(parts: Vec<P>, shards: usize, id: impl Fn(&P) -> PartitionId) -> Self {
        let count = parts.len();
        let mut dealt: Vec<(Vec<usize>, Vec<P>)> = (0..shards).map(|_| Default::default()).collect();
        for (place, part) in parts.into_iter().enumerate() {
            let PartitionId { topic, partition } = id(&part);
            let (places, parts) = &mut dealt[shard_of(topic, partition, shards)];
            places.push(place);
            parts.push(part);
        }
        Self { shards: dealt, count }
    }

    /// The shards that own something, each with its places and parts.
    fn asked(self) -> impl Iterator<Item = (usize, Vec<usize>, Vec<P>)> {
        let shards = self.shards.into_iter().enumerate();
        shards
            .filter(|(_, (places, _))| !places.is_empty())
            .map(|(shard, (places, parts))| (shard, places, parts))
    }
}

/// Answers of shards that are still to come.
pub enum Pending<A> {
    /// To the one part that there was, as most requests have.
    One(Receiver<Vec<A>>),
    /// To several, with their places in the request.
    Several {
        /// Of each shard asked.
        shards: Vec<(Vec<usize>, Receiver<Vec<A>>)>,
        /// Parts in all.
        count: usize,
    },
}

impl<A> Pending<A> {
    /// All answers, in the order of the request. A shard that is gone answers `lost` for each of its parts.
    pub async fn all(self, lost: impl Fn() -> A) -> Vec<A> {
        let (shards, count) = match self {
            Self::One(receiver) => {
                let answers = receiver.await.unwrap_or_default();
                return if answers.is_empty() { vec![lost()] } else { answers };
            }
            Self::Several { shards, count } => (shards, count),
        };
        let mut answers: Vec<Option<A>> = (0..count).map(|_| None).collect();
        for (places, receiver) in shards {
            for (place, answer) in places.into_iter().zip(receiver.await.unwrap_or_default()) {
                answers[place] = Some(answer);
            }
        }
        answers.into_iter().map(|answer| answer.unwrap_or_else(&lost)).collect()
    }
}

impl<I: Io> Shard<I> {
    /// Sends a call to a shard, which may be this one. Waits while its mailbox is full.
    pub(crate) async fn call(&self, shard: usize, call: ShardCall<I>) {
        if shard == self.0.index {
            self.take(call);
        } else if self.0.peers[shard].send(call).await.is_err() {
            // Only while the process goes down. Whoever waits for an answer sees its sender dropped.
            tracing::debug!(shard, "a call went to a shard that has stopped");
        }
    }

    /// Sends the same to every shard and waits for all of them.
    pub(crate) async fn call_all(&self, make: impl Fn(oneshot::Sender<()>) -> ShardCall<I>) {
        let mut done = Vec::with_capacity(self.0.peers.len());
        for shard in 0..self.0.peers.len() {
            let (sender, receiver) = oneshot::channel();
            self.call(shard, make(sender)).await;
            done.push(receiver);
        }
        join_all(done).await;
    }

    /// Gives a connection to its shard.
    pub(crate) async fn deal(&self, socket: I::Socket, peer: SocketAddr, entrance: Entrance, permit: Permit) {
        self.call(permit.shard(), ShardCall::Adopt { socket, peer, entrance, permit }).await;
    }

    /// The numbers of all shards.
    pub async fn metrics_of_all(&self) -> Vec<Snapshot> {
        let mut answers = Vec::with_capacity(self.0.peers.len());
        for shard in 0..self.0.peers.len() {
            let (reply, answer) = oneshot::channel();
            self.call(shard, ShardCall::Metrics(reply)).await;
            answers.push(answer);
        }
        join_all(answers).await.into_iter().flatten().collect()
    }

    /// Sends each shard its parts of a request, in one message. When this returns the messages are in the mailboxes.
    async fn ask<P, A>(
        &self,
        parts: Vec<P>,
        id: impl Fn(&P) -> PartitionId,
        call: impl Fn(Vec<P>, oneshot::Sender<Vec<A>>) -> ShardCall<I>,
    ) -> Pending<A> {
        if let [part] = &parts[..] {
            let PartitionId { topic, partition } = id(part);
            let (reply, answer) = oneshot::channel();
            self.call(shard_of(topic, partition, self.0.peers.len()), call(parts, reply)).await;
            return Pending::One(answer);
        }
        let dealt = Dealt::new(parts, self.0.peers.len(), id);
        let (mut shards, count) = (Vec::new(), dealt.count);
        for (shard, places, parts) in dealt.asked() {
            let (reply, answer) = oneshot::channel();
            shards.push((places, answer));
            self.call(shard, call(parts, reply)).await;
        }
        Pending::Several { shards, count }
    }

    /// Hands batches to their partitions. When this returns they have taken their places in the partitions' orders;
    /// what becomes of them is still to come.
    pub async fn produce(
        &self,
        parts: Vec<ProducePart>,
        acks: Acks,
        timeout: Duration,
    ) -> Pending<ProduceOutcome> {
        let deadline = self.0.io.now() + timeout;
        let call = |parts, reply| ShardCall::Produce(ProduceCall { parts, acks, deadline, reply });
        self.ask(parts, |part: &ProducePart| part.id, call).await
    }

    /// What a batch is told when its shard is gone.
    pub fn lost_produce() -> ProduceOutcome {
        Err(ProduceFailure::Stopping)
    }

    /// Reads partitions once, each shard at most `max_bytes`.
    pub(crate) async fn read(
        &self,
        parts: &[FetchPart],
        max_bytes: u64,
        isolation: Isolation,
    ) -> Vec<Fetched<I::File>> {
        let call = |parts, reply| ShardCall::Fetch(FetchCall { parts, max_bytes, isolation, reply });
        let pending = self.ask(parts.to_vec(), |part: &FetchPart| part.id, call).await;
        pending.all(|| Err(FetchFailure::UnknownPartition)).await
    }

    /// Asks every shard concerned to tell when more can be read. With `n` shards, one of them has an `n`th of what is
    /// missing no later than all of them together have it.
    pub(crate) async fn watch(
        &self,
        parts: Vec<(PartitionId, i64, Bounds)>,
        missing: u64,
        deadline: Duration,
    ) -> Vec<Receiver<()>> {
        let dealt = Dealt::new(parts, self.0.peers.len(), |part| part.0);
        let asked: Vec<_> = dealt.asked().collect();
        let bytes = missing.div_ceil(asked.len().max(1) as u64);
        let mut answers = Vec::with_capacity(asked.len());
        for (shard, _, parts) in asked {
            let (reply, answer) = oneshot::channel();
            answers.push(answer);
            self.call(shard, ShardCall::Watch(WatchCall { parts, bytes, deadline, reply })).await;
        }
        answers
    }

    /// Finds places in logs.
    pub async fn list_offsets(
        &self,
        parts: Vec<ListOffsetsPart>,
        isolation: Isolation,
    ) -> Vec<Result<ListedOffset, ListOffsetsFailure>> {
        let call = |parts, reply| ShardCall::ListOffsets(ListOffsetsCall { parts, isolation, reply });
        let pending = self.ask(parts, |part: &ListOffsetsPart| part.id, call).await;
        pending.all(|| Err(ListOffsetsFailure::UnknownPartition)).await
    }

    /// Finds where leader epochs end.
    pub async fn epoch_ends(&self, parts: Vec<EpochEndPart>) -> Vec<Result<Option<EpochEnd>, FetchFailure>> {
        let call = |parts, reply| ShardCall::EpochEnds(PartsCall { parts, reply });
        let pending = self.ask(parts, |part: &EpochEndPart| part.id, call).await;
        pending.all(|| Err(FetchFailure::UnknownPartition)).await
    }

    /// Which producers partitions remember.
    pub async fn producers(&self, parts: Vec<PartitionId>) -> Vec<Result<Vec<ProducerEntry>, FetchFailure>> {
        let call = |parts, reply| ShardCall::Producers(PartsCall { parts, reply });
        let pending = self.ask(parts, |id: &PartitionId| *id, call).await;
        pending.all(|| Err(FetchFailure::UnknownPartition)).await
    }

    /// Moves the starts of logs, each to an offset or, with -1, to its high watermark. Where they start now, durably.
    pub async fn delete_records(
        &self,
        parts: Vec<(PartitionId, i64)>,
    ) -> Vec<Result<i64, DeleteRecordsFailure>> {
        let call = |parts, reply| ShardCall::DeleteRecords(PartsCall { parts, reply });
        let pending = self.ask(parts, |part: &(PartitionId, i64)| part.0, call).await;
        pending.all(|| Err(DeleteRecordsFailure::UnknownPartition)).await
    }

    /// Bytes of the segments of partitions.
    pub async fn sizes(&self, parts: Vec<PartitionId>) -> Vec<Result<u64, FetchFailure>> {
        let call = |parts, reply| ShardCall::Sizes(PartsCall { parts, reply });
        let pending = self.ask(parts, |id: &PartitionId| *id, call).await;
        pending.all(|| Err(FetchFailure::UnknownPartition)).await
    }

    /// Lets the coordinator of a group decide. The answer may be long in coming.
    pub(crate) async fn ask_group(&self, group: &str, request: Request) -> Result<Response, ErrorCode> {
        let image = self.image();
        let topic = image.topic(CONSUMER_OFFSETS_TOPIC).ok_or(ErrorCode::NotCoordinator)?;
        let partition = group::partition_of(group, topic.partitions.len());
        let (reply, answer) = oneshot::channel();
        let shard = shard_of(topic.id, partition, self.0.peers.len());
        self.call(shard, ShardCall::Group(Box::new(GroupCall { partition, request, reply }))).await;
        answer.await.unwrap_or(Err(ErrorCode::NotCoordinator))
    }

    /// The groups of all coordinators.
    pub(crate) async fn list_groups(&self) -> Result<Vec<Listing>, ErrorCode> {
        let mut answers = Vec::with_capacity(self.0.peers.len());
        for shard in 0..self.0.peers.len() {
            let (reply, answer) = oneshot::channel();
            self.call(shard, ShardCall::ListGroups(reply)).await;
            answers.push(answer);
        }
        let mut all = Vec::new();
        for answer in answers {
            all.extend(answer.await.unwrap_or(Err(ErrorCode::NotCoordinator))?);
        }
        Ok(all)
    }

    /// Creates topics.
    pub async fn create_topics(
        &self,
        topics: Vec<TopicWish>,
        validate_only: bool,
    ) -> Result<Vec<TopicCreation>, MetadataFailure> {
        self.decide(|reply| MetadataCall::CreateTopics { topics, validate_only, reply }).await
    }

    /// Deletes topics.
    pub async fn delete_topics(
        &self,
        targets: Vec<(Option<String>, Option<Uuid>)>,
    ) -> Result<Vec<TopicDeletion>, MetadataFailure> {
        self.decide(|reply| MetadataCall::DeleteTopics { targets, reply }).await
    }

    /// Adds partitions to topics.
    pub async fn create_partitions(
        &self,
        topics: Vec<PartitionsWish>,
        validate_only: bool,
    ) -> Result<Vec<PartitionsCreation>, MetadataFailure> {
        self.decide(|reply| MetadataCall::CreatePartitions { topics, validate_only, reply }).await
    }

    /// Changes settings.
    pub async fn alter_configs(
        &self,
        wishes: Vec<ConfigWish>,
        validate_only: bool,
    ) -> Result<Vec<ReconfigurationOutcome>, MetadataFailure> {
        self.decide(|reply| MetadataCall::AlterConfigs { wishes, validate_only, reply }).await
    }

    /// A producer id that nobody ever had.
    pub async fn new_producer_id(&self) -> Result<i64, MetadataFailure> {
        loop {
            let id = self.0.producer_ids.borrow_mut().take();
            if let Some(id) = id {
                return Ok(id);
            }
            let block: ProducerIdBlock = self.decide(MetadataCall::ProducerIds).await?;
            let mut ids = self.0.producer_ids.borrow_mut();
            // Several may have asked at once: a block that comes before one that is held already stays unused.
            if ids.left() == 0 {
                ids.refill(block);
            }
        }
    }

    async fn decide<R>(
        &self,
        call: impl FnOnce(oneshot::Sender<Result<R, MetadataFailure>>) -> MetadataCall,
    ) -> Result<R, MetadataFailure> {
        let (reply, answer) = oneshot::channel();
        self.call(0, ShardCall::Metadata(call(reply))).await;
        answer.await.unwrap_or(Err(MetadataFailure::Stopping))
    }
}
