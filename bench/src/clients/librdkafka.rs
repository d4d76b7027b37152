//! librdkafka, the client under most of Kafka's users.

use super::work::{Follower, Following, Ledger, Sending};
use crate::error::{Error, Result};
use crate::measure::latency::Latencies;
use crate::measure::window::Through;
use crate::wire::produce::Outcome;
use crate::workload::Load;
use millrace_proto::compression::Codec;
use rdkafka::ClientContext;
use rdkafka::config::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{DeliveryResult, Message};
use rdkafka::producer::{BaseProducer, BaseRecord, NoCustomPartitioner, Producer, ProducerContext};
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};
use rdkafka::util::Timeout;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

/// How long what is in flight may take once the window is closed.
const DRAIN: Duration = Duration::from_secs(60);

impl From<KafkaError> for Error {
    fn from(error: KafkaError) -> Self {
        Self::Answer(format!("librdkafka: {error}"))
    }
}

fn config(address: &str) -> ClientConfig {
    let mut config = ClientConfig::new();
    config.set("bootstrap.servers", address).set("client.id", "millrace-bench");
    config
}

/// When a record was to leave, and its payload.
type Sent = Box<(Instant, u64)>;

struct Answers<'a, 'w> {
    ledger: &'a Mutex<Ledger<'w>>,
    failed: &'a Mutex<Option<Error>>,
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl ClientContext for Answers<'_, '_> {
    // Errors come with the records that they concern.
    fn error(&self, _error: KafkaError, _reason: &str) {}
}

impl ProducerContext<NoCustomPartitioner> for Answers<'_, '_> {
    type DeliveryOpaque = Sent;

    fn delivery(&self, result: &DeliveryResult<'_>, sent: Sent) {
        let (since, payload) = *sent;
        let taken = match result {
            Ok(message) => {
                let offset = Some(message.offset()).filter(|offset| *offset >= 0);
                locked(self.ledger).acknowledged(message.partition(), offset, since, payload)
            }
            Err((error, _)) => Err(Error::from(error.clone())),
        };
        if let Err(error) = taken {
            locked(self.failed).get_or_insert(error);
        }
    }
}

/// Sends until the window closes, with a producer of its own for each connection of the load.
pub fn produce(address: &str, sending: &Sending<'_>) -> Result<Outcome> {
    let ledger = Mutex::new(Ledger::new(sending));
    let failed = Mutex::new(None);
    thread::scope(|scope| {
        let one = |number| {
            let (ledger, failed) = (&ledger, &failed);
            scope.spawn(move || one(address, sending, number, Answers { ledger, failed }))
        };
        let threads: Vec<_> = (0..sending.load.connections).map(one).collect();
        let ended = |_| Error::Target("a producer's thread ended".to_owned());
        threads.into_iter().try_for_each(|thread| thread.join().map_err(ended)?)
    })?;
    match locked(&failed).take() {
        Some(error) => Err(error),
        None => Ok(ledger.into_inner().unwrap_or_else(PoisonError::into_inner).close()),
    }
}

fn one(address: &str, sending: &Sending<'_>, number: usize, answers: Answers<'_, '_>) -> Result<()> {
    let (load, failed) = (sending.load, answers.failed);
    let producer: BaseProducer<Answers<'_, '_>> =
        producer_config(address, load).create_with_context(answers)?;
    let (mut sent, mut group, mut due) = (0, 0, number as u64);
    while !sending.window.is_closed() && locked(failed).is_none() {
        let mut since = Instant::now();
        if let Some(schedule) = sending.schedule {
            since = schedule.due(due);
            due += load.connections as u64;
            // Answers are taken while there is nothing to send.
            loop {
                let left = since.saturating_duration_since(Instant::now());
                if left.is_zero() {
                    break;
                }
                producer.poll(Timeout::After(left));
            }
        }
        let partition = sending.partition(number, group);
        group += 1;
        for _ in 0..load.records_per_request {
            if sending.schedule.is_none() {
                since = Instant::now();
            }
            let (key, value) = sending.record(sent, since);
            sent += 1;
            let payload = (value.len() + key.as_ref().map_or(0, bytes::Bytes::len)) as u64;
            let mut record = BaseRecord::with_opaque_to(sending.topic, Box::new((since, payload)))
                .payload(&value[..])
                .partition(partition);
            if let Some(key) = &key {
                record = record.key(&key[..]);
            }
            while let Err((error, refused)) = producer.send(record) {
                if error.rdkafka_error_code() != Some(RDKafkaErrorCode::QueueFull) {
                    return Err(error.into());
                }
                producer.poll(Duration::from_millis(1));
                record = refused;
            }
        }
        producer.poll(Duration::ZERO);
    }
    producer.flush(DRAIN)?;
    Ok(())
}

/// Its defaults, but for what the load says.
fn producer_config(address: &str, load: &Load) -> ClientConfig {
    let mut config = config(address);
    config.set("acks", load.acks.to_string());
    config.set("linger.ms", load.linger().as_millis().to_string());
    config.set("max.in.flight.requests.per.connection", load.depth.to_string());
    let codec = match load.compression {
        Codec::None => "none".to_owned(),
        codec => codec.to_string(),
    };
    config.set("compression.codec", codec);
    config
}

/// Reads; returns latencies, and how many records there were.
pub fn consume(address: &str, following: Following<'_>) -> Result<(Latencies, u64)> {
    thread::scope(|scope| {
        let one = |number| scope.spawn(move || read_one(address, following, number));
        let threads: Vec<_> =
            (0..following.connections.min(following.partitions as usize)).map(one).collect();
        let (mut latencies, mut records) = (Latencies::new(), 0);
        for thread in threads {
            let ended = |_| Error::Target("a consumer's thread ended".to_owned());
            let (found, count) = thread.join().map_err(ended)??;
            latencies.add(&found);
            records += count;
        }
        Ok((latencies, records))
    })
}

fn read_one(address: &str, following: Following<'_>, number: usize) -> Result<(Latencies, u64)> {
    let mut config = config(address);
    config.set("group.id", "millrace-bench").set("enable.auto.commit", "false");
    config.set("enable.auto.offset.store", "false");
    config.set("fetch.message.max.bytes", following.message_bytes.to_string());
    let consumer: BaseConsumer = config.create()?;
    let mine = || (number as i32..following.partitions as i32).step_by(following.connections);
    let mut follower = Follower::new(following.partitions, following.stamped, following.window);
    loop {
        let mut places = TopicPartitionList::new();
        for partition in mine() {
            places.add_partition_offset(following.topic, partition, Offset::Offset(0))?;
        }
        consumer.assign(&places)?;
        let mut seen = Through::default();
        while !follower.is_through(mine()) {
            let stopped = following.around && following.window.is_closed();
            if stopped || following.window.failed() {
                return Ok((follower.latencies, follower.records));
            }
            if let Some(ends) = following.ends.get() {
                follower.ends_at(ends);
            }
            if let Some(message) = consumer.poll(Duration::from_millis(50)) {
                let message = message?;
                let value = message.payload().unwrap_or_default();
                follower.read(message.partition(), message.offset(), value, Instant::now())?;
                let payload = (value.len() + message.key_len()) as u64;
                seen = Through {
                    requests: seen.requests + 1,
                    records: seen.records + 1,
                    payload: seen.payload + payload,
                    wire: seen.wire + payload,
                };
            }
            // Behind producers, what goes through is counted where it is produced.
            if following.around && seen.records >= 64 {
                following.window.add(std::mem::take(&mut seen));
            }
        }
        if !following.around {
            return Ok((follower.latencies, follower.records));
        }
        follower.rewind();
    }
}
