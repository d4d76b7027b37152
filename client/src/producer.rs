//! Sending records: they gather into batches while earlier batches are under way, and each gets its answer.
//!
//! One task per producer owns everything. `core` decides what to send when, over one `queue` for each
//! partition; `driver` does it. Records wait for room in the
//! producer's memory before they get there, so nothing in it grows without bound.

mod core;
mod driver;
mod queue;

use crate::error::Error;
use crate::partitioner::Partitioner;
use crate::record::{Compression, Record};
use driver::{Command, Driver};
use millrace_proto::grpc::v1;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot};
use tonic::Code;
use tonic::transport::Channel;

/// When a record counts as sent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Acks {
    /// When the broker has taken it. There is no offset, and what happens later is not reported.
    None,
    /// When the partition's leader has written it; a power cut may still lose it.
    Leader,
    /// When it is durable on every in-sync replica.
    #[default]
    All,
}

/// How records are sent.
#[derive(Clone, Debug)]
pub(crate) struct Options {
    acks: Acks,
    request_timeout: Duration,
    delivery_timeout: Duration,
    batch_size: usize,
    max_request_size: usize,
    linger: Duration,
    max_in_flight: usize,
    compression: Compression,
    idempotence: bool,
    partitioner: Partitioner,
    /// Milliseconds since 1970.
    wall_clock: fn() -> i64,
}

impl Default for Options {
    /// What Kafka's Java producer has.
    fn default() -> Self {
        Options {
            acks: Acks::All,
            request_timeout: Duration::from_secs(30),
            delivery_timeout: Duration::from_secs(120),
            batch_size: 16 << 10,
            max_request_size: 1 << 20,
            linger: Duration::from_millis(5),
            max_in_flight: 5,
            compression: Compression::None,
            idempotence: true,
            partitioner: Partitioner::default(),
            wall_clock,
        }
    }
}

fn wall_clock() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.ok().and_then(|since| i64::try_from(since.as_millis()).ok()).unwrap_or(-1)
}

/// A producer in the making. See [`crate::Client::producer`]. The names and defaults are those of Kafka's Java producer.
#[derive(Clone, Debug)]
pub struct ProducerBuilder {
    channel: Channel,
    options: Options,
    buffer_memory: usize,
    max_block: Duration,
}

impl ProducerBuilder {
    pub(crate) fn new(channel: Channel) -> Self {
        Self {
            channel,
            options: Options::default(),
            buffer_memory: 32 << 20,
            max_block: Duration::from_secs(60),
        }
    }

    /// When a record counts as sent. Default: [`Acks::All`]. With less, batches are not numbered: see
    /// [`idempotence`](Self::idempotence).
    pub fn acks(mut self, acks: Acks) -> Self {
        self.options.acks = acks;
        self
    }

    /// Numbers the batches, so that one that is sent again is appended once and in its place. Default: yes, with [`Acks::All`].
    pub fn idempotence(mut self, idempotence: bool) -> Self {
        self.options.idempotence = idempotence;
        self
    }

    /// How long the broker may take to acknowledge a batch. Default: 30 s.
    pub fn request_timeout(mut self, timeout: Duration) -> Self {
        self.options.request_timeout = timeout;
        self
    }

    /// How long a record may take, from the moment it is handed over, with all attempts. Default: 120 s.
    pub fn delivery_timeout(mut self, timeout: Duration) -> Self {
        self.options.delivery_timeout = timeout;
        self
    }

    /// Up to how many bytes of records gather in one batch, before compression. A larger record is a batch of its own. Default: 16 KiB.
    pub fn batch_size(mut self, bytes: usize) -> Self {
        self.options.batch_size = bytes;
        self
    }

    /// The largest record, before compression; a larger one fails. The broker takes messages of up to 16 MiB. Default: 1 MiB.
    pub fn max_request_size(mut self, bytes: usize) -> Self {
        self.options.max_request_size = bytes;
        self
    }

    /// How long a batch waits for more records when it is not full. Default: 5 ms.
    pub fn linger(mut self, time: Duration) -> Self {
        self.options.linger = time;
        self
    }

    /// How many batches of one partition may be under way at once; at most 5 when they are numbered, as the broker remembers so many.
    /// Default: 5.
    pub fn max_in_flight(mut self, batches: usize) -> Self {
        self.options.max_in_flight = batches.max(1);
        self
    }

    /// How batches are compressed. Default: not at all.
    pub fn compression(mut self, compression: Compression) -> Self {
        self.options.compression = compression;
        self
    }

    /// Chooses the partition of records that name none, from the record and the number of partitions. Default: by the key's murmur2 hash,
    /// as every Kafka client does; without a key, one partition after the other, each for a batch.
    pub fn partitioner(mut self, choose: impl Fn(&Record, i32) -> i32 + Send + Sync + 'static) -> Self {
        self.options.partitioner = Partitioner::Custom(Arc::new(choose));
        self
    }

    /// How many bytes of records may wait for their answer before [`Producer::send`] waits. Default: 32 MiB.
    pub fn buffer_memory(mut self, bytes: usize) -> Self {
        self.buffer_memory = bytes.clamp(1, u32::MAX as usize).min(Semaphore::MAX_PERMITS);
        self
    }

    /// How long [`Producer::send`] waits for room. Default: 60 s.
    pub fn max_block(mut self, time: Duration) -> Self {
        self.max_block = time;
        self
    }

    /// Starts the producer's task on the current tokio runtime. It connects when the first record is sent.
    pub fn build(mut self) -> Producer {
        self.options.idempotence &= self.options.acks == Acks::All;
        if self.options.idempotence {
            self.options.max_in_flight = self.options.max_in_flight.min(5);
        }
        let (commands, receiver) = mpsc::unbounded_channel();
        tokio::spawn(Driver::new(self.channel, self.options, receiver).run());
        Producer {
            commands,
            memory: Arc::new(Semaphore::new(self.buffer_memory)),
            buffer_memory: self.buffer_memory,
            max_block: self.max_block,
        }
    }
}

/// Sends records. Cheap to clone; clones share the stream. When the last one is dropped, what was sent still goes out.
#[derive(Clone, Debug)]
pub struct Producer {
    // Bounded by the memory that every record in it holds.
    commands: mpsc::UnboundedSender<Command>,
    memory: Arc<Semaphore>,
    buffer_memory: usize,
    max_block: Duration,
}

impl Producer {
    /// Hands a record over, waiting for room if too much is under way. Records for one partition are appended in the order
    /// in which they were handed over. What became of it is in the [`Delivery`], which need not be awaited in turn.
    ///
    /// A record whose delivery fails because its time is over may or may not have been appended.
    ///
    /// # Errors
    /// There was no room in time, or the producer's task has ended, with its runtime.
    pub async fn send(&self, record: Record) -> Result<Delivery, Error> {
        let bytes = record.size().min(self.buffer_memory) as u32;
        let room = tokio::time::timeout(self.max_block, self.memory.clone().acquire_many_owned(bytes)).await;
        let memory = room.map_err(|_| self.no_room())?.map_err(|_| ended())?;
        let (done, outcome) = oneshot::channel();
        self.commands.send(Command::Send(record, Promise::new(done, memory))).map_err(|_| ended())?;
        Ok(Delivery(outcome))
    }

    fn no_room(&self) -> Error {
        let (bytes, waited) = (self.buffer_memory, self.max_block.as_millis());
        let message =
            format!("{bytes} bytes of records are unanswered, and there was no room within {waited} ms");
        Error { retriable: true, ..Error::new(Code::ResourceExhausted, message) }
    }

    /// Waits until everything that was handed over before has its answer; nothing of it lingers. The answers are in the deliveries.
    ///
    /// # Errors
    /// The producer's task has ended.
    pub async fn flush(&self) -> Result<(), Error> {
        let (done, flushed) = oneshot::channel();
        self.commands.send(Command::Flush(done)).map_err(|_| ended())?;
        flushed.await.map_err(|_| ended())
    }
}

fn ended() -> Error {
    Error::new(Code::Cancelled, "the producer's task has ended")
}

/// The answer that a record waits for, and the memory that it holds until then.
#[derive(Debug)]
struct Promise {
    done: oneshot::Sender<Result<Placed, Error>>,
    _memory: OwnedSemaphorePermit,
}

impl Promise {
    fn new(done: oneshot::Sender<Result<Placed, Error>>, memory: OwnedSemaphorePermit) -> Self {
        Self { done, _memory: memory }
    }

    fn keep(self, outcome: Result<Placed, Error>) {
        // Nobody has to wait for it.
        let _ = self.done.send(outcome);
    }
}

/// What becomes of a record, once it is known.
#[derive(Debug)]
pub struct Delivery(oneshot::Receiver<Result<Placed, Error>>);

impl Future for Delivery {
    type Output = Result<Placed, Error>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        Poll::Ready(ready!(Pin::new(&mut self.0).poll(cx)).unwrap_or_else(|_| Err(ended())))
    }
}

/// Where a record is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Placed {
    /// The partition.
    pub partition: i32,
    /// Its offset; `None` with [`Acks::None`].
    pub offset: Option<i64>,
    /// The broker's time that it carries, in milliseconds since 1970, where the topic's `message.timestamp.type` is
    /// `LogAppendTime`.
    pub log_append_time_ms: Option<i64>,
}

impl Options {
    fn message(&self) -> v1::ProduceOptions {
        let acks = match self.acks {
            Acks::None => v1::Acks::None,
            Acks::Leader => v1::Acks::Leader,
            Acks::All => v1::Acks::All,
        };
        let timeout = i32::try_from(self.request_timeout.as_millis()).unwrap_or(i32::MAX);
        v1::ProduceOptions { acks: acks as i32, timeout_ms: Some(timeout) }
    }
}

#[cfg(test)]
#[path = "producer_test.rs"]
mod tests;
