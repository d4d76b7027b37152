//! Reading records of assigned partitions, for as long as one likes.
//!
//! The broker sends no more than the consumer has granted: a window in bytes, replenished as records are taken. When the
//! connection breaks, reading goes on at the offset behind the last record that was taken: nothing is missed, and
//! nothing is there twice.

use crate::arrived::Arrived;
use crate::backoff::Backoff;
use crate::error::Error;
use crate::record::ConsumedRecord;
use crate::stubs::log_client::LogClient;
use futures_util::stream;
use millrace_proto::grpc::v1::{self, consume_request, consume_response, partition_start};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::time::Instant;
use tonic::transport::Channel;
use tonic::{Code, Streaming};

/// Where to start in a partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Start {
    /// At the oldest record that is still there.
    Beginning,
    /// Behind the newest record.
    End,
    /// At this offset.
    Offset(i64),
    /// At the first record that is as young as this or younger, in milliseconds since 1970.
    Timestamp(i64),
}

/// A consumer in the making. See [`crate::Client::consumer`].
#[derive(Clone, Debug)]
pub struct ConsumerBuilder {
    stub: LogClient<Channel>,
    start: v1::ConsumeStart,
    max_poll_records: usize,
}

impl ConsumerBuilder {
    pub(crate) fn new(stub: LogClient<Channel>) -> Self {
        let start = v1::ConsumeStart {
            credit_bytes: Some(8 << 20),
            max_message_bytes: Some(1 << 20),
            record_batches: true,
            ..v1::ConsumeStart::default()
        };
        Self { stub, start, max_poll_records: 500 }
    }

    /// Reads this partition too.
    pub fn assign(mut self, topic: impl Into<String>, partition: i32, start: Start) -> Self {
        self.start.partitions.push(partition_start(topic.into(), Some(partition), start));
        self
    }

    /// Reads every partition that this topic has when reading starts.
    pub fn assign_topic(mut self, topic: impl Into<String>, start: Start) -> Self {
        self.start.partitions.push(partition_start(topic.into(), None, start));
        self
    }

    /// How many bytes of records may be on their way or wait to be taken. Default: 8 MiB.
    pub fn window_bytes(mut self, bytes: i64) -> Self {
        self.start.credit_bytes = Some(bytes.max(1));
        self
    }

    /// The largest message that the broker sends, unless one batch of records is larger. Default: 1 MiB.
    pub fn message_bytes(mut self, bytes: i32) -> Self {
        self.start.max_message_bytes = Some(bytes);
        self
    }

    /// Lets the broker wait until so many bytes are there, but no longer than `wait`. Default: 1 byte.
    pub fn min_bytes(mut self, bytes: i32, wait: Duration) -> Self {
        self.start.min_bytes = Some(bytes);
        self.start.max_wait_ms = Some(i32::try_from(wait.as_millis()).unwrap_or(i32::MAX));
        self
    }

    /// How many records [`Consumer::poll`] returns at most. Default: 500.
    pub fn max_poll_records(mut self, records: usize) -> Self {
        self.max_poll_records = records.max(1);
        self
    }

    /// A consumer. It connects when the first record is asked for.
    pub fn build(self) -> Consumer {
        Consumer {
            stub: self.stub,
            start: self.start,
            max_poll_records: self.max_poll_records,
            seeks: BTreeMap::new(),
            paused: BTreeSet::new(),
            progress: BTreeMap::new(),
            started: false,
            ended: false,
            stream: None,
            sets: VecDeque::new(),
            failure: None,
            owed: 0,
            backoff: Backoff::default(),
            wait_until: None,
        }
    }
}

fn partition_start(topic: String, partition: Option<i32>, start: Start) -> v1::PartitionStart {
    let position = match start {
        Start::Beginning => partition_start::Position::Edge(v1::Edge::Beginning as i32),
        Start::End => partition_start::Position::Edge(v1::Edge::End as i32),
        Start::Offset(offset) => partition_start::Position::Offset(offset),
        Start::Timestamp(ms) => partition_start::Position::TimestampMs(ms),
    };
    v1::PartitionStart { topic, partition, position: Some(position) }
}

/// How far a partition has been read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Position {
    /// The topic.
    pub topic: Arc<str>,
    /// The partition.
    pub partition: i32,
    /// The offset behind the last record that was taken.
    pub next_offset: i64,
    /// Behind the newest record that could be read, as last heard.
    pub high_watermark: i64,
}

/// A partition by name.
type Key = (Arc<str>, i32);

/// A call to the broker.
#[derive(Debug)]
struct Stream {
    requests: mpsc::Sender<v1::ConsumeRequest>,
    responses: Streaming<v1::ConsumeResponse>,
}

/// Reads records. See [`crate::Client::consumer`].
#[derive(Debug)]
pub struct Consumer {
    stub: LogClient<Channel>,
    start: v1::ConsumeStart,
    max_poll_records: usize,
    /// Where partitions are to go on that were moved; the broker says what offset that is.
    seeks: BTreeMap<Key, Start>,
    paused: BTreeSet<Key>,
    progress: BTreeMap<Key, Position>,
    /// Whether the broker has said where reading starts; from then on `progress` says where it goes on.
    started: bool,
    ended: bool,
    stream: Option<Stream>,
    sets: VecDeque<Arrived>,
    /// To be told with the next call.
    failure: Option<Error>,
    /// Credit that was used and not yet granted anew.
    owed: i64,
    backoff: Backoff,
    wait_until: Option<Instant>,
}

impl Consumer {
    /// The next record; records of one partition come in the order of their offsets. Waits for as long as there is none. `None`
    /// after the last partition has failed.
    ///
    /// Broken connections are made again, for as long as it takes. May be cancelled: nothing is lost.
    ///
    /// # Errors
    /// A partition that can not be read further, by name, after which the others go on; or the whole call, after
    /// which there is nothing more.
    pub async fn next(&mut self) -> Option<Result<ConsumedRecord, Error>> {
        loop {
            if let Some(error) = self.failure.take() {
                return Some(Err(error));
            }
            if let Some(record) = self.take_arrived() {
                return Some(record);
            }
            if self.ended {
                return None;
            }
            if let Err(error) = self.advance().await {
                return Some(Err(error));
            }
        }
    }

    /// The records that are there, at most `max_poll_records`; waits up to `timeout` for the first. Empty when there was none.
    ///
    /// # Errors
    /// As [`Consumer::next`]. Records that came before an error are returned first.
    pub async fn poll(&mut self, timeout: Duration) -> Result<Vec<ConsumedRecord>, Error> {
        let first = match tokio::time::timeout(timeout, self.next()).await {
            Err(_) | Ok(None) => return Ok(Vec::new()),
            Ok(Some(first)) => first?,
        };
        let mut records = vec![first];
        while records.len() < self.max_poll_records
            && let Some(record) = self.take_arrived()
        {
            match record {
                Ok(record) => records.push(record),
                Err(error) => {
                    self.failure = Some(error);
                    break;
                }
            }
        }
        Ok(records)
    }

    /// Goes on at another place in a partition, which is assigned from now on if it was not.
    ///
    /// # Errors
    /// As [`Consumer::next`]. Whether the partition and the place exist is known when it is read.
    pub async fn seek(&mut self, topic: &str, partition: i32, to: Start) -> Result<(), Error> {
        self.settle().await?;
        self.ended = false;
        self.seeks.insert((topic.into(), partition), to);
        self.restart();
        Ok(())
    }

    /// Reads a partition no longer, and forgets how far it was read.
    ///
    /// # Errors
    /// As [`Consumer::next`].
    pub async fn unassign(&mut self, topic: &str, partition: i32) -> Result<(), Error> {
        self.settle().await?;
        let key = (Arc::from(topic), partition);
        self.progress.remove(&key);
        self.seeks.remove(&key);
        self.paused.remove(&key);
        self.restart();
        Ok(())
    }

    /// Reads a partition no further until it is [resumed](Self::resume).
    ///
    /// # Errors
    /// As [`Consumer::next`].
    pub async fn pause(&mut self, topic: &str, partition: i32) -> Result<(), Error> {
        self.settle().await?;
        if self.paused.insert((topic.into(), partition)) {
            self.restart();
        }
        Ok(())
    }

    /// Reads a partition that was [paused](Self::pause) again, from where it was.
    pub fn resume(&mut self, topic: &str, partition: i32) {
        if self.paused.remove(&(topic.into(), partition)) {
            self.restart();
        }
    }

    /// The partitions that are paused.
    pub fn paused(&self) -> impl Iterator<Item = (&str, i32)> {
        self.paused.iter().map(|(topic, partition)| (&**topic, *partition))
    }

    /// Waits until the broker has said what is assigned.
    async fn settle(&mut self) -> Result<(), Error> {
        while !self.started && !self.ended {
            self.advance().await?;
        }
        Ok(())
    }

    /// What is read has changed: another call is made, and goes on behind the records that were taken.
    fn restart(&mut self) {
        self.stream = None;
        self.sets.clear();
    }

    /// How far each partition has been read, in order of topic and partition; waits until the broker has said where
    /// reading starts.
    ///
    /// # Errors
    /// As [`Consumer::next`].
    pub async fn positions(&mut self) -> Result<Vec<Position>, Error> {
        self.settle().await?;
        while self.seeks.keys().any(|key| !self.paused.contains(key)) && !self.ended {
            self.advance().await?;
        }
        Ok(self.progress.values().cloned().collect())
    }

    fn take_arrived(&mut self) -> Option<Result<ConsumedRecord, Error>> {
        while let Some(set) = self.sets.front_mut() {
            let key = set.key();
            let taken = set.take();
            let position = self.progress.get_mut(&key);
            match taken {
                Ok(Some(record)) => {
                    if let Some(position) = position {
                        position.next_offset = record.offset + 1;
                    }
                    return Some(Ok(record));
                }
                Ok(None) => {}
                Err(error) => {
                    // The others go on, by another call: the broker knows of nothing.
                    self.progress.remove(&key);
                    self.ended = self.progress.is_empty();
                    self.restart();
                    return Some(Err(error));
                }
            }
            if let Some(position) = position {
                position.next_offset = set.next_offset;
            }
            self.owed += set.credit;
            self.sets.pop_front();
            self.grant();
        }
        None
    }

    /// Grants what was used, in halves of the window, so that the broker never waits for it.
    fn grant(&mut self) {
        let window = self.start.credit_bytes.unwrap_or(i64::MAX);
        if self.owed <= 0 || self.owed < window / 2 {
            return;
        }
        let Some(stream) = &self.stream else { return };
        let credit = consume_request::Request::Credit(v1::Credit { bytes: self.owed });
        // Full: it is granted together with the next. Closed: the next response says why.
        if stream.requests.try_send(v1::ConsumeRequest { request: Some(credit) }).is_ok() {
            self.owed = 0;
        }
    }

    /// Connects if need be, and takes in one response. Called only when no record is left.
    async fn advance(&mut self) -> Result<(), Error> {
        if let Some(until) = self.wait_until {
            tokio::time::sleep_until(until).await;
            self.wait_until = None;
        }
        if self.stream.is_none() {
            if self.started && self.wanted().is_empty() {
                // Everything is paused.
                return std::future::pending().await;
            }
            match self.connect().await {
                Ok(stream) => self.stream = Some(stream),
                Err(error) => return self.on_broken(error),
            }
        }
        let Some(stream) = &mut self.stream else { return Ok(()) };
        match stream.responses.message().await {
            Ok(Some(response)) => match response.event {
                Some(consume_response::Event::Started(started)) => self.on_started(started),
                Some(consume_response::Event::Records(records)) => self.on_records(records),
                Some(consume_response::Event::Failed(failed)) => return self.on_failed(failed),
                Some(_) | None => {} // for members of groups, or newer than this client
            },
            Ok(None) => return self.on_broken(Error::disconnected("the broker ended the stream")),
            Err(status) => return self.on_broken(status.into()),
        }
        Ok(())
    }

    async fn connect(&mut self) -> Result<Stream, Error> {
        let mut start = self.start.clone();
        if self.started {
            start.partitions = self.wanted();
        }
        self.owed = 0;
        // More grants than this are never under way: each is half of a window that the broker has to fill first.
        let (requests, mut outbound) = mpsc::channel(8);
        let request = v1::ConsumeRequest { request: Some(consume_request::Request::Start(start)) };
        let _ = requests.try_send(request); // the channel is empty and open
        let outbound = stream::poll_fn(move |cx| outbound.poll_recv(cx));
        let responses = self.stub.consume(outbound).await?.into_inner();
        Ok(Stream { requests, responses })
    }

    /// Every partition that is read, and where it goes on.
    fn wanted(&self) -> Vec<v1::PartitionStart> {
        let known = self.progress.iter().map(|(key, position)| (key, Start::Offset(position.next_offset)));
        let mut wanted: BTreeMap<&Key, Start> = known.collect();
        wanted.extend(self.seeks.iter().map(|(key, start)| (key, *start)));
        wanted.retain(|key, _| !self.paused.contains(*key));
        let start = |((topic, partition), start): (&Key, Start)| {
            partition_start(topic.to_string(), Some(*partition), start)
        };
        wanted.into_iter().map(start).collect()
    }

    fn on_started(&mut self, started: v1::ConsumeStarted) {
        self.started = true;
        self.backoff.reset();
        for position in started.partitions {
            let position = Position::from(position);
            let key = (position.topic.clone(), position.partition);
            self.seeks.remove(&key);
            self.progress.insert(key, position);
        }
    }

    fn on_records(&mut self, records: v1::ConsumedRecords) {
        let reached = |key: &Key| self.progress.get(key).map(|position| position.next_offset);
        let sets: Vec<_> = Arrived::all(records, reached).collect();
        for set in &sets {
            if let Some(position) = self.progress.get_mut(&set.key()) {
                position.high_watermark = set.high_watermark;
            }
        }
        self.sets.extend(sets);
    }

    fn on_failed(&mut self, failed: v1::PartitionFailed) -> Result<(), Error> {
        let error = Error::from(failed.error.unwrap_or_default());
        if error.retriable {
            self.reconnect_later(&error);
            return Ok(());
        }
        let name = format!("{}-{}", failed.topic, failed.partition);
        self.progress.remove(&(failed.topic.into(), failed.partition));
        self.ended = self.progress.is_empty();
        Err(error.about(&name))
    }

    /// The call is over: it is made again where that can help.
    fn on_broken(&mut self, error: Error) -> Result<(), Error> {
        self.stream = None;
        // A broker that stops says UNAVAILABLE or resets the stream.
        if error.disconnected || error.retriable || error.code == Code::Unavailable {
            self.reconnect_later(&error);
            return Ok(());
        }
        self.ended = true;
        Err(error)
    }

    fn reconnect_later(&mut self, error: &Error) {
        let wait = self.backoff.next().max(error.retry_after.unwrap_or_default());
        tracing::warn!(%error, ?wait, "reading was interrupted; it goes on at the next offset");
        self.stream = None;
        self.wait_until = Some(Instant::now() + wait);
    }
}

impl From<v1::PartitionPosition> for Position {
    fn from(position: v1::PartitionPosition) -> Self {
        let v1::PartitionPosition { topic, partition, next_offset, high_watermark } = position;
        Self { topic: topic.into(), partition, next_offset, high_watermark }
    }
}

#[cfg(test)]
#[path = "consumer_test.rs"]
mod tests;
