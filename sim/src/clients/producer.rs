//! A producer: batches to several partitions, several requests in flight. An idempotent one sends what was not
//! acknowledged again, with the same sequence numbers; the others never send anything twice.

use super::connection::{Connection, Lost};
use super::{Client, Target, admin, passes};
use crate::judge::{Fact, Promise, Stream};
use crate::payload;
use bytes::Bytes;
use millrace_io::Io;
use millrace_io::simulated::Rng;
use millrace_proto::batch::{Builder, Options, Producer as Identity};
use millrace_proto::compression::Codec;
use millrace_proto::kafka::api::decode_response;
use millrace_proto::kafka::error::ErrorCode;
use millrace_proto::kafka::messages::produce::{
    PartitionProduceData, PartitionProduceResponse, ProduceRequest, ProduceResponse, TopicProduceData,
};
use std::collections::VecDeque;
use std::time::Duration;

/// The most requests in flight, and batches per partition: as many as the broker remembers of an idempotent producer.
const IN_FLIGHT: usize = 5;
/// From this version on a topic is named by its id.
const TOPIC_IDS: i16 = 13;

/// How a producer sends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// acks=all, with sequence numbers, and again until it is acknowledged.
    Idempotent,
    /// Once, with these acks.
    Once(Promise),
}

struct Batch {
    first: u64,
    count: u64,
    sequence: i32,
    bytes: Bytes,
}

/// What goes to one partition.
struct Lane {
    target: Target,
    /// Sent or about to be, oldest first.
    unacked: VecDeque<Batch>,
    /// How many of them are under way.
    under_way: usize,
    next_sequence: i32,
    /// Something of it failed since the last time that it began at its oldest batch.
    failed: bool,
    /// Something that was sent after the closing began has been acknowledged.
    done: bool,
}

/// A producer before it runs.
pub struct Producer {
    client: Client,
    kind: Kind,
    rng: Rng,
    version: i16,
    lanes: Vec<Lane>,
    stream: Stream,
    id: Option<i64>,
    /// How often the broker had died when the connection was opened.
    crashes: u64,
}

/// A request under way: for each part its lane, and the number of its batch's first record.
type Flight = Vec<(usize, u64)>;

impl Producer {
    /// A producer to these partitions.
    pub fn new(client: Client, kind: Kind, mut rng: Rng, targets: &[Target]) -> Self {
        let lane = |target: &Target| Lane {
            target: target.clone(),
            unacked: VecDeque::new(),
            under_way: 0,
            next_sequence: 0,
            failed: false,
            done: false,
        };
        let version = rng.within(7..=13) as i16;
        let lanes = targets.iter().map(lane).collect();
        Self { client, kind, rng, version, lanes, stream: Stream(0), id: None, crashes: 0 }
    }

    /// Produces until the closing, and then until it is done.
    pub async fn run(mut self) {
        while !self.is_done() {
            if let Err(lost) = self.session().await {
                self.client.after(lost).await;
            }
            self.begin_again();
        }
    }

    /// Sends one batch to each partition, and waits for the answer.
    pub async fn send_once(mut self) -> Result<(), Lost> {
        self.stream = Stream(self.client.judge.next_number());
        let mut connection = self.connect().await?;
        let flight: Flight = (0..self.lanes.len()).map(|at| self.next_part(at)).collect();
        self.send(&mut connection, &flight).await?;
        let answer = connection.receive::<ProduceResponse<'_>>(self.version).await?;
        self.take(&answer, &flight)
    }

    async fn connect(&mut self) -> Result<Connection, Lost> {
        self.crashes = self.client.judge.crashes();
        Connection::open(&self.client.io, self.client.broker).await
    }

    fn is_done(&self) -> bool {
        self.client.closing.has_begun() && self.lanes.iter().all(|lane| lane.done && lane.unacked.is_empty())
    }

    /// What is not acknowledged is sent again, or given up.
    fn begin_again(&mut self) {
        let forget = self.kind != Kind::Idempotent || self.rng.chance(0.05);
        if forget {
            self.id = None;
        }
        for lane in &mut self.lanes {
            if forget {
                lane.unacked.clear();
                lane.next_sequence = 0;
            }
            (lane.under_way, lane.failed) = (0, false);
        }
    }

    /// One connection, until it is lost, something failed, or all is done.
    async fn session(&mut self) -> Result<(), Lost> {
        let mut connection = self.connect().await?;
        if self.kind != Kind::Idempotent {
            self.stream = Stream(self.client.judge.next_number());
        } else if self.id.is_none() {
            let Some(id) = admin::producer_id(&self.client, &mut connection).await? else { return Ok(()) };
            (self.id, self.stream) = (Some(id), Stream(self.client.judge.next_number()));
        }
        let mut flying: VecDeque<Flight> = VecDeque::new();
        loop {
            while flying.len() < IN_FLIGHT && !self.has_failed() {
                let flight = self.next_flight();
                if flight.is_empty() {
                    break;
                }
                self.send(&mut connection, &flight).await?;
                flying.push_back(flight);
                if self.rng.chance(0.3) {
                    break;
                }
            }
            let Some(flight) = flying.pop_front() else { return Ok(()) };
            let answer = connection.receive::<ProduceResponse<'_>>(self.version).await?;
            self.take(&answer, &flight)?;
            if self.rng.chance(0.5) {
                let pause = Duration::from_millis(self.rng.within(0..=60));
                self.client.io.sleep(pause).await;
            }
            if self.rng.chance(0.005) {
                return Ok(());
            }
        }
    }

    fn has_failed(&self) -> bool {
        self.lanes.iter().any(|lane| lane.failed)
    }

    /// Some lanes and the next batch of each.
    fn next_flight(&mut self) -> Flight {
        let closing = self.client.closing.has_begun();
        let mut flight = Flight::new();
        for at in 0..self.lanes.len() {
            let lane = &self.lanes[at];
            let may_add =
                lane.unacked.len() < IN_FLIGHT && !(closing && (lane.done || !lane.unacked.is_empty()));
            if lane.under_way == lane.unacked.len() && (!may_add || !(closing || self.rng.chance(0.6))) {
                continue;
            }
            flight.push(self.next_part(at));
        }
        flight
    }

    /// The next batch of a lane that is not under way yet, which it is from now on.
    fn next_part(&mut self, at: usize) -> (usize, u64) {
        if self.lanes[at].under_way == self.lanes[at].unacked.len() {
            let batch = self.next_batch(at);
            self.lanes[at].unacked.push_back(batch);
        }
        let lane = &mut self.lanes[at];
        lane.under_way += 1;
        (at, lane.unacked[lane.under_way - 1].first)
    }

    fn next_batch(&mut self, at: usize) -> Batch {
        let judge = &self.client.judge;
        let lane = &mut self.lanes[at];
        let count = if self.rng.chance(0.5) { 1 } else { self.rng.within(1..=8) };
        let mut builder = Builder::new();
        let mut first = 0;
        for index in 0..count {
            let number = judge.next_number();
            first = if index == 0 { number } else { first };
            judge.note(Fact::Sent { number, partition: lane.target.partition, stream: self.stream });
            let pushed = builder.push(self.client.io.wall_clock(), None, Some(&payload::value(number)), &[]);
            pushed.expect("small records fit");
        }
        let identity = |id| Identity { id, epoch: 0, base_sequence: lane.next_sequence };
        let codec = if self.rng.chance(0.2) { Codec::Lz4 } else { Codec::None };
        let options = Options { codec, producer: self.id.map(identity), ..Options::default() };
        let sequence = lane.next_sequence;
        lane.next_sequence += count as i32;
        Batch { first, count, sequence, bytes: builder.finish(&options).expect("a small batch").freeze() }
    }

    async fn send(&self, connection: &mut Connection, flight: &Flight) -> Result<(), Lost> {
        let topic_data = flight.iter().map(|&(at, first)| {
            let lane = &self.lanes[at];
            let batch = lane.unacked.iter().find(|batch| batch.first == first).expect("it is under way");
            let data =
                PartitionProduceData { index: lane.target.partition.index, records: Some(&batch.bytes) };
            let (name, topic_id) = (lane.target.topic.as_str(), lane.target.partition.topic);
            TopicProduceData { name, topic_id, partition_data: vec![data] }
        });
        let request = ProduceRequest {
            acks: if self.kind == Kind::Once(Promise::Written) { 1 } else { -1 },
            timeout_ms: 3_000,
            topic_data: topic_data.collect(),
            ..ProduceRequest::default()
        };
        connection.send(self.version, &request).await
    }

    fn take(&mut self, answer: &Bytes, flight: &Flight) -> Result<(), Lost> {
        let response: ProduceResponse<'_> =
            decode_response(answer, self.version).map_err(|e| Lost::Garbled(e.to_string()))?;
        let parts = response.responses.iter().flat_map(|topic| {
            topic.partition_responses.iter().map(move |part| (topic.name, topic.topic_id, part))
        });
        let parts: Vec<_> = parts.collect();
        if parts.len() != flight.len() {
            return Err(Lost::Garbled(format!("{} parts were sent, {} answered", flight.len(), parts.len())));
        }
        for ((name, topic_id, part), &(at, first)) in parts.into_iter().zip(flight) {
            let target = &self.lanes[at].target;
            let same_topic = if self.version >= TOPIC_IDS {
                topic_id == target.partition.topic
            } else {
                name == target.topic
            };
            if !same_topic || part.index != target.partition.index {
                return Err(Lost::Garbled(format!("{name} {topic_id} {} was not sent to", part.index)));
            }
            self.settle(at, first, part);
        }
        Ok(())
    }

    fn settle(&mut self, at: usize, first: u64, part: &PartitionProduceResponse<'_>) {
        let idempotent = self.kind == Kind::Idempotent;
        let lane = &mut self.lanes[at];
        let Some(place) = lane.unacked.iter().position(|batch| batch.first == first) else { return };
        match part.error_code {
            ErrorCode::None => {
                let batch = lane.unacked.remove(place).expect("found above");
                lane.under_way -= 1;
                lane.done = self.client.closing.has_begun();
                let promise = if let Kind::Once(promise) = self.kind { promise } else { Promise::Durable };
                if promise == Promise::Written && self.crashes != self.client.judge.crashes() {
                    // It was on its way when the broker died, and its promise ended there.
                    return;
                }
                let (partition, offsets) = (lane.target.partition, part.base_offset..);
                for (number, offset) in (batch.first..).take(batch.count as usize).zip(offsets) {
                    self.client.judge.note(Fact::Acked { number, partition, offset, promise });
                }
            }
            // What came before it failed: it is sent again behind that.
            ErrorCode::OutOfOrderSequenceNumber if idempotent && lane.failed => {}
            code => {
                lane.failed = true;
                if !passes(code) {
                    let (name, index) = (&lane.target.topic, lane.target.partition.index);
                    let sequence = lane.unacked[place].sequence;
                    let next = lane.next_sequence;
                    self.client
                        .nonsense(format_args!("{code:?} for {name}-{index}, sequence {sequence} of {next}"));
                }
            }
        }
    }
}
