//! What a member of a group hears from the broker: records, and partitions that come and go.

use super::{Connecting, GroupConsumer, GroupEvent, Item, Key, Stream};
use crate::arrived::Arrived;
use crate::consumer::Position;
use crate::error::Error;
use crate::stubs::log_client::LogClient;
use futures_util::stream;
use millrace_proto::grpc::v1::{self, consume_request, consume_response};
use std::collections::BTreeSet;
use std::sync::Arc;
use tokio::sync::mpsc;
use tokio::time::Instant;
use tonic::Code;
use tonic::transport::Channel;

impl GroupConsumer {
    /// Joins if need be, and takes in one response. Called only when nothing is left.
    pub(super) async fn advance(&mut self) -> Result<(), Error> {
        if let Some(until) = self.wait_until {
            tokio::time::sleep_until(until).await;
            self.wait_until = None;
        }
        if self.stream.is_none() {
            match self.connect().await {
                Ok(stream) => self.stream = Some(stream),
                Err(error) => return self.on_broken(error),
            }
        }
        self.grant();
        self.take_response().await
    }

    pub(super) async fn take_response(&mut self) -> Result<(), Error> {
        let Some(stream) = &mut self.stream else { return Ok(()) };
        let event = match stream.responses.message().await {
            Ok(Some(response)) => response.event,
            Ok(None) => return self.on_broken(Error::disconnected("the broker ended the stream")),
            Err(status) => return self.on_broken(status.into()),
        };
        match event {
            Some(consume_response::Event::Records(records)) => self.on_records(records),
            Some(consume_response::Event::Failed(failed)) => {
                let error = Error::from(failed.error.unwrap_or_default());
                let name = format!("{}-{}", failed.topic, failed.partition);
                self.queue.push_back(Item::Failed(error.about(&name)));
            }
            Some(consume_response::Event::Assigned(assigned)) => self.on_assigned(assigned),
            Some(consume_response::Event::Revoked(revoked)) => self.on_revoked(revoked),
            Some(consume_response::Event::Committed(committed)) => {
                self.done.insert(committed.id, committed.error.map(Error::from));
            }
            Some(consume_response::Event::Started(started)) => {
                self.backoff.reset();
                if let Some(group) = &mut self.start.group {
                    // After a break, or when the broker comes back, it is the same member and gets what it had.
                    group.member_id = started.member_id;
                }
            }
            None => {} // something newer than this client
        }
        Ok(())
    }

    /// Kept when whoever waits gives up: a call that is made twice joins twice.
    async fn connect(&mut self) -> Result<Stream, Error> {
        let (stub, start, owed) = (&self.stub, &self.start, &mut self.owed);
        let connecting = self.connecting.get_or_insert_with(|| {
            *owed = 0;
            Connecting(Box::pin(join(stub.clone(), start.clone())))
        });
        let stream = connecting.0.as_mut().await;
        self.connecting = None;
        stream
    }

    fn on_records(&mut self, records: v1::ConsumedRecords) {
        let reached = |key: &Key| self.assignment.get(key).map(|position| position.next_offset);
        let sets: Vec<_> = Arrived::all(records, reached).collect();
        for set in &sets {
            if let Some(position) = self.assignment.get_mut(&set.key()) {
                position.high_watermark = set.high_watermark;
            }
        }
        self.queue.extend(sets.into_iter().map(Item::Set));
    }

    fn on_assigned(&mut self, assigned: v1::PartitionsAssigned) {
        let positions: Vec<_> = assigned.partitions.into_iter().map(Position::from).collect();
        for position in &positions {
            self.assignment.insert((position.topic.clone(), position.partition), position.clone());
        }
        self.queue.push_back(Item::Event(GroupEvent::Assigned(positions)));
    }

    fn on_revoked(&mut self, revoked: v1::PartitionsRevoked) {
        let keys = revoked.partitions.into_iter().flat_map(|v1::TopicPartitions { topic, partitions }| {
            let topic: Arc<str> = topic.into();
            partitions.into_iter().map(move |partition| (topic.clone(), partition))
        });
        let keys: Vec<Key> = keys.collect();
        match revoked.lost {
            true => self.lose(keys),
            false => self.queue.push_back(Item::Event(GroupEvent::Revoked(keys))),
        }
    }

    /// These are somebody else's: what has arrived of them is not returned.
    fn lose(&mut self, keys: Vec<Key>) {
        let gone: BTreeSet<&Key> = keys.iter().collect();
        self.assignment.retain(|key, _| !gone.contains(key));
        self.handled.retain(|key, _| !gone.contains(key));
        self.release.retain(|key| !gone.contains(key));
        let mut credit = 0;
        self.queue.retain(|item| match item {
            Item::Set(set) if gone.contains(&set.key()) => {
                credit += set.credit;
                false
            }
            Item::Event(GroupEvent::Revoked(revoked)) => !revoked.iter().all(|key| gone.contains(key)),
            Item::Set(_) | Item::Event(_) | Item::Failed(_) => true,
        });
        self.owed += credit;
        self.queue.push_back(Item::Event(GroupEvent::Lost(keys)));
    }

    /// A batch that came is damaged: the member joins anew.
    pub(super) fn on_damage(&mut self, error: Error) -> Error {
        let broken = Error::disconnected(error.message.clone());
        self.on_broken(broken).err().unwrap_or(error)
    }

    /// The call is over: it is made again where that can help.
    fn on_broken(&mut self, error: Error) -> Result<(), Error> {
        self.stream = None;
        self.done.clear();
        self.queue.retain(|item| matches!(item, Item::Failed(_)));
        let had: Vec<Key> = self.assignment.keys().cloned().collect();
        if !had.is_empty() {
            self.lose(had);
        }
        self.handled.clear();
        self.release.clear();
        // A broker that stops says UNAVAILABLE or resets the stream.
        if error.disconnected || error.retriable || error.code == Code::Unavailable {
            let wait = self.backoff.next().max(error.retry_after.unwrap_or_default());
            tracing::warn!(%error, ?wait, "the member of a group was interrupted; it joins anew");
            self.wait_until = Some(Instant::now() + wait);
            return Ok(());
        }
        self.ended = true;
        Err(error)
    }
}

async fn join(mut stub: LogClient<Channel>, start: v1::ConsumeStart) -> Result<Stream, Error> {
    let (requests, mut outbound) = mpsc::unbounded_channel();
    let start = consume_request::Request::Start(start);
    let _ = requests.send(v1::ConsumeRequest { request: Some(start) }); // the channel is open
    let outbound = stream::poll_fn(move |cx| outbound.poll_recv(cx));
    let responses = stub.consume(outbound).await?.into_inner();
    Ok(Stream { requests, responses })
}
