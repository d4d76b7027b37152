//! What a producer does next: a state machine, fed with records, answers and time, that says what to send.
//!
//! Records gather in one open batch for each partition. A batch is closed when it is full or has lingered, is given its number when it
//! is first sent, and keeps that until it is known what became of it: sent again, it is appended once. When a batch of a partition
//! fails, those behind it that are under way fail with it, as the broker takes them in order only; nothing more is sent to the
//! partition until all of them are back, and then they go out in their order. A producer whose numbers have a gap, because a
//! batch was given up that may have been appended, asks for another id when nothing is in doubt any more.

use super::queue::{Batch, Identity, Open, Queue, pop_if};
use super::{Options, Promise};
use crate::backoff::Backoff;
use crate::error::Error;
use crate::partitioner::Sticky;
use crate::record::Record;
use millrace_proto::batch::{Builder, RecordHeader};
use millrace_proto::grpc::v1;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::oneshot;
use tonic::Code;

/// Bytes of batches that share a request.
const REQUEST: usize = 1 << 20;
/// After this time it is asked again how many partitions a topic has. Kafka's `metadata.max.age.ms`.
const METADATA_AGE: Duration = Duration::from_secs(300);

/// What is to be done.
#[derive(Debug, PartialEq)]
pub(super) enum Action {
    /// Ask how many partitions a topic has, and tell [`Core::on_described`].
    Describe(Arc<str>),
    /// Ask for a producer id, and tell [`Core::on_identity`].
    InitProducer,
    /// Send this; the answers go to [`Core::on_result`].
    Send(v1::ProduceRequest),
    /// Give the stream up: it does not answer in time. [`Core::on_broken`] is not told.
    Hang,
}

/// A partition by name.
type Place = (Arc<str>, i32);

pub(super) struct Core {
    options: Options,
    topics: BTreeMap<Arc<str>, Topic>,
    queues: BTreeMap<Place, Queue>,
    /// Those with something to send.
    busy: BTreeSet<Place>,
    /// In the order of sending, which is that of the answers.
    in_flight: VecDeque<InFlight>,
    identity: Identity,
    /// Nothing is asked, nor sent, before: the broker was out of reach.
    not_before: Duration,
    backoff: Backoff,
    next_id: i64,
    /// Of the next record.
    next_number: u64,
    /// Whoever waits until every record with a smaller number has its answer.
    flushes: Vec<(u64, oneshot::Sender<()>)>,
    /// No more records will come: nothing lingers.
    closing: bool,
    random: Box<dyn FnMut() -> u64 + Send>,
}

#[derive(Default)]
struct Topic {
    /// How many partitions it has, as far as is known.
    count: Option<i32>,
    /// When that is to be asked again; `None` if it never was answered.
    ask_at: Option<Duration>,
    asking: bool,
    waiting: VecDeque<Handed>,
    sticky: Sticky,
}

/// A record as it was handed over.
struct Handed {
    record: Record,
    promise: Promise,
    number: u64,
    since: Duration,
}

struct InFlight {
    id: i64,
    place: Place,
    batch: Batch,
}

impl Core {
    pub(super) fn new(options: Options, random: Box<dyn FnMut() -> u64 + Send>) -> Self {
        let identity = if options.idempotence { Identity::Wanted } else { Identity::Off };
        Core {
            options,
            topics: BTreeMap::new(),
            queues: BTreeMap::new(),
            busy: BTreeSet::new(),
            in_flight: VecDeque::new(),
            identity,
            not_before: Duration::ZERO,
            backoff: Backoff::default(),
            next_id: 0,
            next_number: 0,
            flushes: Vec::new(),
            closing: false,
            random,
        }
    }

    /// Whether everything that was handed over has its answer.
    pub(super) fn is_idle(&self) -> bool {
        self.in_flight.is_empty()
            && self.busy.is_empty()
            && self.topics.values().all(|topic| topic.waiting.is_empty())
    }

    /// No more records will come.
    pub(super) fn close(&mut self) {
        self.closing = true;
    }

    /// Takes a record.
    pub(super) fn on_record(&mut self, record: Record, promise: Promise, now: Duration) {
        let number = self.next_number;
        self.next_number += 1;
        let name: Arc<str> = record.topic.as_str().into();
        let handed = Handed { record, promise, number, since: now };
        match handed.record.partition {
            Some(partition) => self.put((name, partition), handed, now),
            None => {
                self.topics.entry(name.clone()).or_default().waiting.push_back(handed);
                self.spread(&name, now);
            }
        }
    }

    /// Tells `done` when everything that was handed over before has its answer.
    pub(super) fn on_flush(&mut self, done: oneshot::Sender<()>) {
        self.flushes.push((self.next_number, done));
        self.finish_flushes();
    }

    /// Gives a topic's records their partitions, if it is known how many there are.
    fn spread(&mut self, name: &Arc<str>, now: Duration) {
        let batch_size = self.options.batch_size;
        while let Some(topic) = self.topics.get_mut(name)
            && let Some(count) = topic.count
            && let Some(handed) = topic.waiting.pop_front()
        {
            let sizes = (handed.record.size(), batch_size);
            let random = &mut *self.random;
            let partitioner = &self.options.partitioner;
            let partition = partitioner.choose(&handed.record, count, &mut topic.sticky, sizes, random);
            self.put((name.clone(), partition), handed, now);
        }
    }

    /// Puts a record into its partition's open batch.
    fn put(&mut self, place: Place, handed: Handed, now: Duration) {
        let Handed { record, promise, number, since } = handed;
        let queue = self.queues.entry(place.clone()).or_default();
        let headers: Vec<RecordHeader<'_>> = record
            .headers
            .iter()
            .map(|header| RecordHeader { key: header.key.as_bytes(), value: header.value.as_deref() })
            .collect();
        let (key, value) = (record.key.as_deref(), record.value.as_deref());
        let size = Builder::upper_bound(key, value, &headers);
        if size > self.options.max_request_size {
            let (most, name) = (self.options.max_request_size, name(&place));
            let text =
                format!("{name}: a record of {size} bytes, more than max_request_size ({most}) allows");
            let error =
                Error { reason: "MESSAGE_TOO_LARGE".into(), ..Error::new(Code::InvalidArgument, text) };
            return promise.keep(Err(error));
        }
        if queue.open.as_ref().is_some_and(|open| open.builder.size() + size > self.options.batch_size) {
            queue.close(&self.options);
        }
        let open = queue.open.get_or_insert_with(|| Open {
            builder: Builder::new(),
            promises: Vec::new(),
            number,
            since: since.min(now),
        });
        let timestamp = record.timestamp_ms.unwrap_or_else(|| (self.options.wall_clock)());
        match open.builder.push(timestamp, key, value, &headers) {
            Ok(()) => open.promises.push(promise),
            Err(error) => {
                promise.keep(Err(Error::new(Code::InvalidArgument, error.to_string()).about(&name(&place))));
            }
        }
        if queue.open.as_ref().is_some_and(|open| open.promises.is_empty()) {
            queue.open = None;
        }
        if queue.has_work() {
            self.busy.insert(place);
        }
        self.finish_flushes();
    }

    /// What to do now; to be asked until there is nothing.
    pub(super) fn next_action(&mut self, now: Duration) -> Option<Action> {
        self.expire(now);
        if self.in_flight.iter().any(|sent| sent.batch.is_late(now, &self.options)) {
            self.on_broken(&Error::disconnected("the broker did not answer in time"), now);
            return Some(Action::Hang);
        }
        if now < self.not_before {
            return None;
        }
        if let Some((name, topic)) = self.topics.iter_mut().find(|(_, topic)| topic.is_to_be_asked(now)) {
            topic.asking = true;
            return Some(Action::Describe(name.clone()));
        }
        if self.identity == Identity::Wanted && !self.busy.is_empty() && !self.is_anything_numbered() {
            self.identity = Identity::Asked;
            return Some(Action::InitProducer);
        }
        self.request(now).map(Action::Send)
    }

    /// Whether there is a batch of which it is not known what became of it.
    fn is_anything_numbered(&self) -> bool {
        let waiting = self.busy.iter().filter_map(|place| self.queues.get(place)).flat_map(|q| &q.waiting);
        let mut all = waiting.chain(self.in_flight.iter().map(|sent| &sent.batch));
        all.any(|batch| batch.sequence.is_some())
    }

    /// Batches that may go now, as many as fit into a request.
    fn request(&mut self, now: Duration) -> Option<v1::ProduceRequest> {
        let flush = self.flushes.iter().map(|(upto, _)| *upto).max().unwrap_or(0);
        let places: Vec<Place> = self.busy.iter().cloned().collect();
        let (mut batches, mut bytes) = (Vec::new(), 0);
        for place in places {
            let Some(queue) = self.queues.get_mut(&place) else { continue };
            while bytes < REQUEST
                && let Some(mut batch) = queue.take(&self.options, self.identity, (now, flush), self.closing)
            {
                batch.number_it(queue, self.identity);
                queue.in_flight += 1;
                bytes += batch.bytes.len();
                let id = self.next_id;
                self.next_id += 1;
                batches.push(v1::ProduceBatch {
                    id,
                    topic: place.0.to_string(),
                    partition: Some(place.1),
                    record_batch: Some(batch.bytes.clone()),
                    ..v1::ProduceBatch::default()
                });
                self.in_flight.push_back(InFlight { id, place: place.clone(), batch });
            }
            if !queue.has_work() {
                self.busy.remove(&place);
            }
        }
        (!batches.is_empty()).then_some(v1::ProduceRequest { options: None, batches })
    }

    /// When [`next_action`](Self::next_action) should be asked again though nothing happened.
    pub(super) fn next_deadline(&self, now: Duration) -> Option<Duration> {
        let queues = self.busy.iter().filter_map(|place| self.queues.get(place));
        let lingering = queues.clone().filter_map(|q| Some(q.open.as_ref()?.since + self.options.linger));
        let backing_off = queues.clone().map(|queue| queue.not_before);
        let oldest = queues.filter_map(Queue::oldest).chain(self.in_flight.iter().map(|s| s.batch.since));
        let handed = self.topics.values().filter_map(|topic| Some(topic.waiting.front()?.since));
        let late = oldest.chain(handed).map(|since| since + self.options.delivery_timeout);
        let asked = self.topics.values().filter(|topic| topic.count.is_none()).filter_map(|t| t.ask_at);
        // What is past was looked at: it waits for something to happen.
        lingering
            .chain(backing_off)
            .chain(late)
            .chain(asked)
            .chain([self.not_before])
            .filter(|at| *at > now)
            .min()
    }

    /// How many partitions a topic has, or why that is not known.
    pub(super) fn on_described(&mut self, name: &Arc<str>, outcome: Result<i32, Error>, now: Duration) {
        let Some(topic) = self.topics.get_mut(name) else { return };
        topic.asking = false;
        match outcome {
            Ok(count) => (topic.count, topic.ask_at) = (Some(count.max(1)), Some(now + METADATA_AGE)),
            // The broker creates it for its first record, or says that it does not. Then it is asked again.
            Err(error) if error.reason == "UNKNOWN_TOPIC_OR_PARTITION" => topic.count = Some(1),
            Err(error) if !is_final(&error) => {
                topic.ask_at = Some(now + self.backoff.next());
                return;
            }
            Err(error) => {
                let error = error.about(name);
                topic.waiting.drain(..).for_each(|handed| handed.promise.keep(Err(error.clone())));
            }
        }
        self.spread(name, now);
        self.finish_flushes();
    }

    /// Who the producer is now, or why that is not known.
    pub(super) fn on_identity(&mut self, outcome: Result<(i64, i16), Error>, now: Duration) {
        match outcome {
            Ok((id, epoch)) => {
                self.identity = Identity::Known(id, epoch);
                self.queues.values_mut().for_each(|queue| queue.next_sequence = 0);
                self.reachable();
            }
            Err(error) if !is_final(&error) => {
                self.identity = Identity::Wanted;
                self.not_before = now + self.backoff.next();
            }
            Err(error) => {
                self.identity = Identity::Wanted;
                for place in std::mem::take(&mut self.busy) {
                    let queue = self.queues.entry(place).or_default();
                    queue.close(&self.options);
                    queue.waiting.drain(..).for_each(|batch| batch.fail(&error));
                }
                self.finish_flushes();
            }
        }
    }

    /// What became of the oldest batch under way. `Err` if it is another's answer.
    pub(super) fn on_result(&mut self, result: v1::ProduceResult, now: Duration) -> Result<(), Error> {
        let Some(sent) = pop_if(&mut self.in_flight, |sent| sent.id == result.id) else {
            let message = format!("the broker answered batch {}, which is not the next one", result.id);
            return Err(Error::new(Code::Internal, message));
        };
        let InFlight { place, batch, .. } = sent;
        self.reachable();
        let failed = result.error.or_else(|| result.partitions.first().and_then(|part| part.error.clone()));
        let queue = self.queues.entry(place.clone()).or_default();
        queue.in_flight -= 1;
        match (failed.map(Error::from), result.partitions.first()) {
            (None, Some(part)) => {
                queue.backoff.reset();
                batch.answer(part);
                self.on_success(&place, now);
            }
            (None, None) => {
                batch.fail(&Error::new(
                    Code::Internal,
                    "the broker's answer does not say where the records are",
                ));
            }
            (Some(error), _) => self.on_failure(&place, batch, error, now),
        }
        if let Some(queue) = self.queues.get_mut(&place) {
            if queue.in_flight == 0 {
                (queue.stalled, queue.renumber) = (false, false);
            }
            if queue.has_work() {
                self.busy.insert(place);
            }
        }
        self.finish_flushes();
        Ok(())
    }

    fn on_success(&mut self, place: &Place, now: Duration) {
        // A topic that this made has as many partitions as the broker gives it.
        if let Some(topic) = self.topics.get_mut(&place.0).filter(|topic| topic.ask_at.is_none()) {
            topic.ask_at = Some(now);
        }
    }

    fn on_failure(&mut self, place: &Place, mut batch: Batch, error: Error, now: Duration) {
        let queue = self.queues.entry(place.clone()).or_default();
        let out_of_order = matches!(
            error.reason.as_str(),
            "OUT_OF_ORDER_SEQUENCE_NUMBER" | "UNKNOWN_PRODUCER_ID" | "INVALID_PRODUCER_EPOCH"
        );
        if out_of_order && batch.sequence.is_some() {
            if !queue.stalled || queue.renumber {
                // It was not appended, whatever its number.
                batch.sequence = None;
            }
            if !queue.stalled {
                // Nor is it behind one that failed: the broker has lost count of this producer, or the producer has. None of
                // those behind it was appended either.
                self.identity = Identity::Wanted;
                queue.renumber = true;
            }
            queue.stalled = true;
            queue.put_back(batch);
        } else if error.retriable {
            // Late or not: only when it is given up it is known that nobody will ask whether it is there.
            queue.stalled = true;
            queue.not_before = now + queue.backoff.next().max(error.retry_after.unwrap_or_default());
            queue.put_back(batch);
        } else {
            if batch.sequence.is_some() {
                // Its number is never given to another: were it there after all, the other would be taken for it.
                queue.stalled = true;
                self.identity = Identity::Wanted;
            }
            batch.fail(&error.about(&name(place)));
        }
    }

    /// The stream is gone: what is under way goes again, in its order.
    pub(super) fn on_broken(&mut self, error: &Error, now: Duration) {
        for InFlight { place, batch, .. } in std::mem::take(&mut self.in_flight) {
            let queue = self.queues.entry(place.clone()).or_default();
            queue.in_flight = 0;
            if !is_final(error) {
                queue.put_back(batch);
                self.busy.insert(place);
            } else {
                let numbered = batch.sequence.is_some();
                batch.fail(&error.clone().about(&name(&place)));
                if numbered {
                    self.identity = Identity::Wanted;
                }
            }
        }
        self.queues.values_mut().for_each(|queue| (queue.stalled, queue.renumber) = (false, false));
        self.not_before = now + self.backoff.next();
        self.finish_flushes();
    }

    fn reachable(&mut self) {
        self.backoff.reset();
        self.not_before = Duration::ZERO;
    }

    /// Gives up what waits for longer than it may.
    fn expire(&mut self, now: Duration) {
        let timeout = self.options.delivery_timeout;
        let late = |since: Duration| now >= since + timeout;
        let error = || {
            let waited = format!("not delivered within {} ms", timeout.as_millis());
            Error { reason: "REQUEST_TIMED_OUT".into(), ..Error::new(Code::DeadlineExceeded, waited) }
        };
        for (name, topic) in &mut self.topics {
            while let Some(handed) = pop_if(&mut topic.waiting, |handed| late(handed.since)) {
                handed.promise.keep(Err(error().about(name)));
            }
        }
        for place in self.busy.iter().cloned().collect::<Vec<_>>() {
            let Some(queue) = self.queues.get_mut(&place) else { continue };
            if queue.open.as_ref().is_some_and(|open| late(open.since)) {
                queue.close(&self.options);
            }
            while let Some(batch) = pop_if(&mut queue.waiting, |batch| late(batch.since)) {
                if batch.sequence.is_some() {
                    // It may be there or not: what comes behind it needs numbers of another producer.
                    self.identity = Identity::Wanted;
                }
                batch.fail(&error().about(&name(&place)));
            }
            if !queue.has_work() {
                self.busy.remove(&place);
            }
        }
        self.finish_flushes();
    }

    fn finish_flushes(&mut self) {
        if self.flushes.is_empty() {
            return;
        }
        let handed = self.topics.values().filter_map(|topic| Some(topic.waiting.front()?.number));
        let queued = self.busy.iter().filter_map(|place| self.queues.get(place)?.first_number());
        let sent = self.in_flight.iter().map(|sent| sent.batch.number);
        let unanswered = handed.chain(queued).chain(sent).min().unwrap_or(u64::MAX);
        for (_, done) in self.flushes.extract_if(.., |(upto, _)| *upto <= unanswered) {
            // Nobody has to wait for it.
            let _ = done.send(());
        }
    }
}

impl Topic {
    fn is_to_be_asked(&self, now: Duration) -> bool {
        let unknown = self.count.is_none() && !self.waiting.is_empty();
        !self.asking && self.ask_at.map_or(unknown, |at| now >= at && (unknown || self.count.is_some()))
    }
}

/// Whether a call that ended so would end so again: the broker understood it, and refuses.
fn is_final(error: &Error) -> bool {
    let final_ = [Code::InvalidArgument, Code::Unimplemented, Code::Unauthenticated, Code::PermissionDenied];
    final_.contains(&error.code)
}

fn name((topic, partition): &Place) -> String {
    format!("{topic}-{partition}")
}

#[cfg(test)]
#[path = "core_test.rs"]
mod tests;
