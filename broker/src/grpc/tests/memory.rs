//! A broker in memory: just enough to see what the services ask of one.

use super::memory_groups::Groups;
use super::memory_members::Members;
use crate::grpc::backend::*;
use crate::net::budget::Budget;
use bytes::{Bytes, BytesMut};
use futures_util::future::select;
use millrace_io::Io;
use millrace_proto::batch::{Header, stamp};
use millrace_proto::kafka::error::ErrorCode;
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::future::{Future, poll_fn};
use std::pin::pin;
use std::rc::Rc;
use std::task::{Poll, Waker};
use std::time::Duration;
use uuid::Uuid;

#[derive(Clone)]
pub(super) struct Memory<I> {
    pub(super) io: I,
    pub(super) state: Rc<RefCell<State>>,
}

#[derive(Default)]
pub(super) struct State {
    topics: BTreeMap<String, (Uuid, Vec<Log>)>,
    waiting: Vec<Waker>,
    auto_create: bool,
    /// What every acknowledgement takes.
    delay: Duration,
    fetches: Vec<usize>,
    parked: usize,
    pub(super) groups: Groups,
    pub(super) members: Members,
}

#[derive(Default)]
struct Log {
    start: i64,
    end: i64,
    batches: Vec<(i64, Bytes)>,
    broken: bool,
}

impl<I: Io> Memory<I> {
    pub(super) fn new(io: I) -> Self {
        Self { io, state: Rc::default() }
    }

    pub(super) fn topic(&self, name: &str, partitions: usize) {
        let logs = (0..partitions).map(|_| Log::default()).collect();
        let mut state = self.state.borrow_mut();
        let id = Uuid::from_u128(state.topics.len() as u128 + 1);
        state.topics.insert(name.into(), (id, logs));
    }

    pub(super) fn topic_id(&self, name: &str) -> Uuid {
        self.state.borrow().topics[name].0
    }

    pub(super) fn auto_create(&self) {
        self.state.borrow_mut().auto_create = true;
    }

    pub(super) fn delay(&self, time: Duration) {
        self.state.borrow_mut().delay = time;
    }

    /// Every later fetch and produce of the partition fails.
    pub(super) fn break_partition(&self, topic: &str, partition: i32) {
        self.log(topic, partition, |log| log.broken = true).expect("a partition");
        self.state.borrow_mut().waiting.drain(..).for_each(Waker::wake);
    }

    /// Records up to here are gone.
    pub(super) fn delete_before(&self, topic: &str, partition: i32, offset: i64) {
        self.log(topic, partition, |log| log.start = offset).expect("a partition");
    }

    /// What each fetch was allowed to read, in order.
    pub(super) fn fetches(&self) -> Vec<usize> {
        self.state.borrow().fetches.clone()
    }

    /// Fetches that wait now.
    pub(super) fn parked(&self) -> usize {
        self.state.borrow().parked
    }

    pub(super) fn end(&self, topic: &str, partition: i32) -> i64 {
        self.log(topic, partition, |log| log.end).expect("a partition")
    }

    /// Appends a batch as another client would.
    pub(super) fn append(&self, topic: &str, partition: i32, mut batch: BytesMut) -> Result<i64, Error> {
        let base = self.log(topic, partition, |log| {
            if log.broken {
                return Err(Error::from(ErrorCode::KafkaStorageError));
            }
            let base = log.end;
            stamp(&mut batch, base, 0);
            let header = Header::parse(&batch).expect("a batch");
            assert_eq!(header.size(), batch.len(), "exactly one batch");
            log.end = header.next_offset();
            log.batches.push((base, batch.freeze()));
            Ok(base)
        })??;
        self.state.borrow_mut().waiting.drain(..).for_each(Waker::wake);
        Ok(base)
    }

    fn log<T>(&self, topic: &str, partition: i32, act: impl FnOnce(&mut Log) -> T) -> Result<T, Error> {
        let mut state = self.state.borrow_mut();
        let log = state.topics.get_mut(topic).and_then(|(_, logs)| logs.get_mut(partition as usize));
        log.map(act)
            .ok_or_else(|| Error::new(ErrorCode::UnknownTopicOrPartition, format!("no {topic}-{partition}")))
    }

    fn read(&self, part: &FetchPart, left: &mut usize, any: &mut bool) -> Result<Fetched, Error> {
        self.log(&part.topic, part.partition, |log| {
            if log.broken {
                return Err(Error::from(ErrorCode::KafkaStorageError));
            }
            if !(log.start..=log.end).contains(&part.offset) {
                return Err(Error::from(ErrorCode::OffsetOutOfRange).with("log_start_offset", log.start));
            }
            let mut batches = BytesMut::new();
            for (_, batch) in log
                .batches
                .iter()
                .filter(|(_, batch)| Header::parse(batch).expect("a batch").next_offset() > part.offset)
            {
                if *any && batch.len() > *left {
                    break;
                }
                *any = true;
                *left = left.saturating_sub(batch.len());
                batches.extend_from_slice(batch);
            }
            Ok(Fetched { batches: batches.freeze(), high_watermark: log.end })
        })?
    }

    fn read_all(&self, request: &FetchRequest) -> Vec<Result<Fetched, Error>> {
        let (mut left, mut any) = (request.max_bytes, false);
        request.parts.iter().map(|part| self.read(part, &mut left, &mut any)).collect()
    }
}

fn size(parts: &[Result<Fetched, Error>]) -> usize {
    parts.iter().flatten().map(|fetched| fetched.batches.len()).sum()
}

/// Counts a waiting fetch, until it is over or dropped.
struct Parked(Rc<RefCell<State>>);

impl Drop for Parked {
    fn drop(&mut self) {
        self.0.borrow_mut().parked -= 1;
    }
}

impl<I: Io> Backend for Memory<I> {
    fn wall_clock(&self) -> i64 {
        self.io.wall_clock()
    }

    fn random(&self) -> u64 {
        self.io.random()
    }

    fn partitions(&self, topic: &str) -> Option<i32> {
        self.state.borrow().topics.get(topic).map(|(_, logs)| logs.len() as i32)
    }

    async fn ensure_topic(&self, topic: &str) -> Result<i32, Error> {
        if !self.state.borrow().auto_create {
            return Err(Error::new(
                ErrorCode::UnknownTopicOrPartition,
                format!("there is no topic {topic:?}"),
            ));
        }
        self.io.sleep(Duration::from_millis(5)).await;
        self.topic(topic, 1);
        Ok(1)
    }

    async fn new_producer_id(&self) -> Result<i64, Error> {
        Ok(self.io.random() as i64 & i64::MAX)
    }

    fn produce(
        &self,
        topic: &str,
        partition: i32,
        batch: BytesMut,
        acks: Acks,
        _: Duration,
    ) -> impl Future<Output = Result<Produced, Error>> + use<I> + 'static {
        let (this, topic) = (self.clone(), topic.to_owned());
        async move {
            let base = this.append(&topic, partition, batch)?;
            if acks == Acks::None {
                return Ok(Produced { base_offset: None, log_append_time: None });
            }
            let delay = this.state.borrow().delay;
            this.io.sleep(delay).await;
            Ok(Produced { base_offset: Some(base), log_append_time: None })
        }
    }

    async fn fetch(&self, request: FetchRequest, memory: Budget) -> FetchResponse {
        self.state.borrow_mut().fetches.push(request.max_bytes);
        self.state.borrow_mut().parked += 1;
        let parked = Parked(self.state.clone());
        let enough = poll_fn(|cx| {
            let parts = self.read_all(&request);
            if size(&parts) >= request.min_bytes || parts.iter().any(Result::is_err) {
                return Poll::Ready(());
            }
            self.state.borrow_mut().waiting.push(cx.waker().clone());
            Poll::Pending
        });
        select(pin!(enough), pin!(self.io.sleep(request.max_wait))).await;
        drop(parked);
        let size = size(&self.read_all(&request));
        let held = if size > 0 { Some(memory.reserve(size).await) } else { None };
        FetchResponse { parts: self.read_all(&request), held }
    }

    async fn list_offset(&self, topic: &str, partition: i32, position: Position) -> Result<i64, Error> {
        self.log(topic, partition, |log| match position {
            Position::Beginning => log.start,
            Position::End => log.end,
            Position::Timestamp(time) => log
                .batches
                .iter()
                .find(|(_, batch)| Header::parse(batch).expect("a batch").max_timestamp >= time)
                .map_or(log.end, |(base, _)| *base),
        })
    }

    async fn create_topic(&self, topic: NewTopic) -> Result<Topic, Error> {
        if self.state.borrow().topics.contains_key(&topic.name) {
            return Err(Error::from(ErrorCode::TopicAlreadyExists));
        }
        if topic.name.contains('/') {
            return Err(Error::from(ErrorCode::InvalidTopicException));
        }
        let count = topic.partitions.unwrap_or(1);
        if !topic.validate_only {
            self.topic(&topic.name, count as usize);
            let mut described = self.describe_topic(&TopicRef::Name(topic.name)).expect("just created");
            described.configs = topic.configs;
            return Ok(described);
        }
        let (name, configs) = (topic.name, topic.configs);
        let (partition_count, partitions) = (count, Vec::new());
        Ok(Topic {
            name,
            id: None,
            internal: false,
            partition_count,
            replication_factor: 1,
            partitions,
            configs,
        })
    }

    async fn alter_topic_configs(
        &self,
        topic: &str,
        changes: Vec<(String, Option<String>)>,
        _: bool,
    ) -> Result<Topic, Error> {
        let described = self.describe_topic(&TopicRef::Name(topic.to_owned()));
        let mut described = described.ok_or(Error::from(ErrorCode::UnknownTopicOrPartition))?;
        if changes.iter().any(|(name, _)| name == "nonsense") {
            return Err(Error::from(ErrorCode::InvalidConfig));
        }
        described.configs = changes.into_iter().filter_map(|(name, value)| Some((name, value?))).collect();
        Ok(described)
    }

    async fn add_partitions(&self, topic: &str, count: i32, _: bool) -> Result<Topic, Error> {
        match self.partitions(topic) {
            None => return Err(Error::from(ErrorCode::UnknownTopicOrPartition)),
            Some(known) if known >= count => return Err(Error::from(ErrorCode::InvalidPartitions)),
            Some(_) => {}
        }
        let mut state = self.state.borrow_mut();
        let (_, logs) = state.topics.get_mut(topic).expect("it has partitions");
        logs.resize_with(count as usize, Default::default);
        drop(state);
        Ok(self.describe_topic(&TopicRef::Name(topic.to_owned())).expect("it is there"))
    }

    async fn delete_records(&self, topic: &str, partition: i32, before: Option<i64>) -> Result<i64, Error> {
        let end = self.list_offset(topic, partition, Position::End).await?;
        let before = before.unwrap_or(end);
        if before > end {
            return Err(Error::from(ErrorCode::OffsetOutOfRange));
        }
        let mut state = self.state.borrow_mut();
        let (_, logs) = state.topics.get_mut(topic).expect("it has an end");
        let log = &mut logs[partition as usize];
        log.start = log.start.max(before);
        Ok(log.start)
    }

    async fn delete_topic(&self, topic: TopicRef) -> Result<(String, Uuid), Error> {
        let topic = self.describe_topic(&topic).ok_or(Error::from(ErrorCode::UnknownTopicOrPartition))?;
        self.state.borrow_mut().topics.remove(&topic.name);
        Ok((topic.name, topic.id.expect("it exists")))
    }

    fn list_topics(&self, after: &str, limit: usize, _: bool) -> Vec<TopicSummary> {
        let state = self.state.borrow();
        let behind = state.topics.iter().filter(|(name, _)| name.as_str() > after).take(limit);
        behind
            .map(|(name, (id, logs))| TopicSummary {
                name: name.clone(),
                id: *id,
                partitions: logs.len() as i32,
                internal: false,
            })
            .collect()
    }

    fn describe_topic(&self, topic: &TopicRef) -> Option<Topic> {
        let state = self.state.borrow();
        let (name, (id, logs)) = state.topics.iter().find(|(name, (id, _))| match topic {
            TopicRef::Name(wanted) => *name == wanted,
            TopicRef::Id(wanted) => id == wanted,
        })?;
        let partitions =
            (0..logs.len() as i32).map(|index| Partition { index, leader: 1, ..Default::default() });
        Some(Topic {
            name: name.clone(),
            id: Some(*id),
            internal: false,
            partition_count: logs.len() as i32,
            replication_factor: 1,
            partitions: partitions.collect(),
            configs: Vec::new(),
        })
    }

    fn describe_cluster(&self) -> Cluster {
        let broker =
            Broker { id: 1, rack: None, kafka: vec![("h".into(), 9092)], grpc: vec![("h".into(), 9095)] };
        Cluster { id: "cluster".into(), controller: 1, brokers: vec![broker] }
    }
}
