//! Reading topics as a member of a consumer group: the broker says which partitions, and keeps how far the group has come.
//!
//! To ask for more says that what was returned before has been handled. With automatic commits the broker commits that from time to time;
//! partitions that are revoked are given up once all that has arrived of them was returned and more is asked for. When the connection
//! breaks the member joins anew: what was not committed is delivered again, to it or to another one.

mod builder;
mod wire;

pub use builder::GroupConsumerBuilder;

use crate::arrived::Arrived;
use crate::backoff::Backoff;
use crate::consumer::Position;
use crate::error::Error;
use crate::record::ConsumedRecord;
use crate::stubs::log_client::LogClient;
use futures_util::future::BoxFuture;
use millrace_proto::grpc::v1::{self, consume_request};
use std::collections::{BTreeMap, VecDeque};
use std::fmt;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::time::Instant;
use tonic::Streaming;
use tonic::transport::Channel;

/// What a member of a group is told.
#[derive(Clone, Debug, PartialEq)]
pub enum GroupEvent {
    /// A record.
    Record(ConsumedRecord),
    /// These partitions are read from now on, besides those that were. At first perhaps none: there are more members than partitions.
    Assigned(Vec<Position>),
    /// No more records of these partitions come. They are given up when more is asked for: until then they may be committed.
    Revoked(Vec<(Arc<str>, i32)>),
    /// These partitions are somebody else's already, and what was not committed of them is delivered again there.
    Lost(Vec<(Arc<str>, i32)>),
}

/// A partition by name.
type Key = (Arc<str>, i32);

/// A call to the broker.
#[derive(Debug)]
struct Stream {
    requests: mpsc::UnboundedSender<v1::ConsumeRequest>,
    responses: Streaming<v1::ConsumeResponse>,
}

/// A call that is being made.
struct Connecting(BoxFuture<'static, Result<Stream, Error>>);

impl fmt::Debug for Connecting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Connecting")
    }
}

/// What has arrived and was not returned yet.
#[derive(Debug)]
enum Item {
    Set(Arrived),
    Event(GroupEvent),
    Failed(Error),
}

/// A member of a consumer group. See [`crate::Client::group_consumer`].
#[derive(Debug)]
pub struct GroupConsumer {
    stub: LogClient<Channel>,
    start: v1::ConsumeStart,
    max_poll_records: usize,
    /// What it reads, and how far.
    assignment: BTreeMap<Key, Position>,
    /// How far records were returned that were not committed by [`GroupConsumer::commit`].
    handled: BTreeMap<Key, i64>,
    queue: VecDeque<Item>,
    /// Partitions to give up when more is asked for.
    release: Vec<Key>,
    stream: Option<Stream>,
    connecting: Option<Connecting>,
    /// Credit that was used and not yet granted anew.
    owed: i64,
    next_commit: i64,
    /// What became of commits.
    done: BTreeMap<i64, Option<Error>>,
    ended: bool,
    backoff: Backoff,
    wait_until: Option<Instant>,
}

impl GroupConsumer {
    /// The next record; records of one partition come in the order of their offsets. Waits for as long as there is none. `None` when it cannot
    /// be a member any more.
    ///
    /// Broken connections are made again, for as long as it takes. May be cancelled: nothing is lost.
    ///
    /// # Errors
    /// A partition that can not be read further, by name, after which the others go on; or the whole call, after which there is nothing
    /// more.
    pub async fn next(&mut self) -> Option<Result<ConsumedRecord, Error>> {
        loop {
            match self.next_event().await? {
                Ok(GroupEvent::Record(record)) => return Some(Ok(record)),
                Ok(_) => {}
                Err(error) => return Some(Err(error)),
            }
        }
    }

    /// The same with what becomes of partitions.
    ///
    /// # Errors
    /// As [`GroupConsumer::next`].
    pub async fn next_event(&mut self) -> Option<Result<GroupEvent, Error>> {
        self.give_up();
        loop {
            if let Some(event) = self.take_arrived() {
                return Some(event);
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
    /// As [`GroupConsumer::next`]. Records that came before an error are returned first.
    pub async fn poll(&mut self, timeout: Duration) -> Result<Vec<ConsumedRecord>, Error> {
        let first = match tokio::time::timeout(timeout, self.next()).await {
            Err(_) | Ok(None) => return Ok(Vec::new()),
            Ok(Some(first)) => first?,
        };
        let mut records = vec![first];
        while records.len() < self.max_poll_records
            && matches!(self.queue.front(), Some(Item::Set(_)))
            && let Some(event) = self.take_arrived()
        {
            match event {
                Ok(GroupEvent::Record(record)) => records.push(record),
                Ok(event) => {
                    self.queue.push_front(Item::Event(event));
                    break;
                }
                Err(error) => {
                    self.queue.push_front(Item::Failed(error));
                    break;
                }
            }
        }
        Ok(records)
    }

    /// What it reads now, and how far: by topic and partition.
    pub fn assignment(&self) -> impl Iterator<Item = &Position> {
        self.assignment.values()
    }

    /// Commits all records that were returned, and waits until that is durable.
    ///
    /// # Errors
    /// Why nothing was committed; the same records may be committed again with the next ones.
    pub async fn commit(&mut self) -> Result<(), Error> {
        let handled = self.handled.clone();
        if handled.is_empty() {
            return Ok(());
        }
        let id = self.send_commit(&handled)?;
        let error = loop {
            match self.done.remove(&id) {
                Some(error) => break error,
                None if self.stream.is_none() => {
                    break Some(Error::disconnected("the connection broke before the commit was answered"));
                }
                None => self.take_response().await?,
            }
        };
        if let Some(error) = error {
            return Err(error);
        }
        self.handled.retain(|key, offset| handled.get(key) != Some(offset));
        Ok(())
    }

    /// Commits all records that were returned, unless commits are explicit, and leaves the group.
    ///
    /// # Errors
    /// The broker was not reached: others get this member's partitions all the same, a little later.
    pub async fn close(mut self) -> Result<(), Error> {
        let explicit =
            self.start.group.as_ref().is_some_and(|group| group.commits() == v1::CommitMode::Explicit);
        if self.stream.is_some() && !explicit && !self.handled.is_empty() {
            let handled = std::mem::take(&mut self.handled);
            self.send_commit(&handled)?;
        }
        self.give_up();
        let Some(stream) = self.stream.take() else { return Ok(()) };
        let Stream { requests, mut responses } = stream;
        drop(requests);
        while responses.message().await?.is_some() {}
        Ok(())
    }

    fn send_commit(&mut self, handled: &BTreeMap<Key, i64>) -> Result<i64, Error> {
        let id = self.next_commit;
        self.next_commit += 1;
        let mark = |((topic, partition), next_offset): (&Key, &i64)| v1::PartitionCommit {
            topic: topic.to_string(),
            partition: *partition,
            next_offset: *next_offset,
            metadata: String::new(),
        };
        let commit = v1::Commit { id, partitions: handled.iter().map(mark).collect() };
        match self.say(consume_request::Request::Commit(commit)) {
            true => Ok(id),
            false => Err(Error::disconnected(
                "the broker is not reached at the moment; what was not committed is delivered again",
            )),
        }
    }

    /// Whether there is somebody to say it to.
    fn say(&self, request: consume_request::Request) -> bool {
        let request = v1::ConsumeRequest { request: Some(request) };
        self.stream.as_ref().is_some_and(|stream| stream.requests.send(request).is_ok())
    }

    /// More is asked for: what was revoked has been handled.
    fn give_up(&mut self) {
        if self.release.is_empty() {
            return;
        }
        let parts = std::mem::take(&mut self.release);
        self.handled.retain(|key, _| !parts.contains(key));
        // Who is not reached has nothing to give up any more.
        self.say(consume_request::Request::Release(v1::Release { partitions: by_topic(&parts) }));
    }

    fn take_arrived(&mut self) -> Option<Result<GroupEvent, Error>> {
        while let Item::Set(set) = self.queue.front_mut()? {
            let key = set.key();
            match set.take() {
                Ok(Some(record)) => {
                    self.reach(key, record.offset + 1);
                    return Some(Ok(GroupEvent::Record(record)));
                }
                Ok(None) => {}
                // The records behind must not count as handled: what was not committed is delivered again, to this or to another member.
                Err(error) => return Some(Err(self.on_damage(error))),
            }
            let (next_offset, credit) = (set.next_offset, set.credit);
            self.reach(key, next_offset);
            self.owed += credit;
            self.queue.pop_front();
            if self.owed >= self.start.credit_bytes.unwrap_or(i64::MAX) / 2 {
                self.grant();
            }
        }
        match self.queue.pop_front()? {
            Item::Event(event) => {
                if let GroupEvent::Revoked(parts) = &event {
                    parts.iter().for_each(|key| drop(self.assignment.remove(key)));
                    self.release.extend(parts.iter().cloned());
                }
                Some(Ok(event))
            }
            Item::Failed(error) => Some(Err(error)),
            Item::Set(_) => None,
        }
    }

    fn reach(&mut self, key: Key, next_offset: i64) {
        if let Some(position) = self.assignment.get_mut(&key) {
            position.next_offset = next_offset;
        }
        self.handled.insert(key, next_offset);
    }

    /// Grants what was used: in halves of the window, and before waiting, as it says what has been handled.
    fn grant(&mut self) {
        if self.owed > 0 {
            self.say(consume_request::Request::Credit(v1::Credit { bytes: self.owed }));
            self.owed = 0;
        }
    }
}

fn by_topic(keys: &[Key]) -> Vec<v1::TopicPartitions> {
    let mut topics: BTreeMap<&str, Vec<i32>> = BTreeMap::new();
    for (topic, partition) in keys {
        topics.entry(topic).or_default().push(*partition);
    }
    let topic =
        |(topic, partitions): (&str, Vec<i32>)| v1::TopicPartitions { topic: topic.to_owned(), partitions };
    topics.into_iter().map(topic).collect()
}

#[cfg(test)]
#[path = "group_consumer_test.rs"]
mod tests;
