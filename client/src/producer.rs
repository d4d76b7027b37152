//! Sending records: they gather into batches while earlier batches are under way, and each gets its answer.
//!
//! One task per producer owns everything: the open batches, the batches in flight, and the stream. Records wait for
//! room in the producer's memory before they get there, so nothing in it grows without bound.

mod driver;

use crate::error::Error;
use crate::record::Record;
use crate::stubs::log_client::LogClient;
use driver::{Command, Driver, Promise};
use millrace_proto::grpc::v1;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tokio::sync::{Semaphore, mpsc, oneshot};
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
#[derive(Clone, Copy, Debug)]
pub(crate) struct Options {
    acks: Acks,
    timeout: Duration,
    batch_bytes: usize,
    in_flight: usize,
}

/// A producer in the making. See [`crate::Client::producer`].
#[derive(Clone, Debug)]
pub struct ProducerBuilder {
    stub: LogClient<Channel>,
    options: Options,
    buffer_bytes: usize,
}

impl ProducerBuilder {
    pub(crate) fn new(stub: LogClient<Channel>) -> Self {
        let options = Options {
            acks: Acks::All,
            timeout: Duration::from_secs(30),
            // A quarter of Kafka's default `max.message.bytes`: batches of one topic share it among partitions.
            batch_bytes: 256 << 10,
            // As many as Kafka's producer: enough to hide the round trip.
            in_flight: 5,
        };
        Self { stub, options, buffer_bytes: 32 << 20 }
    }

    /// When a record counts as sent. Default: [`Acks::All`].
    pub fn acks(mut self, acks: Acks) -> Self {
        self.options.acks = acks;
        self
    }

    /// How long the broker may take to acknowledge a batch. Default: 30 s.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.options.timeout = timeout;
        self
    }

    /// Up to how many bytes of records gather in one batch. A larger record is a batch of its own. Default: 256 KiB.
    pub fn batch_bytes(mut self, bytes: usize) -> Self {
        self.options.batch_bytes = bytes;
        self
    }

    /// How many batches may be under way at once. With 1, a batch that fails is never overtaken by a later one.
    /// Default: 5.
    pub fn in_flight(mut self, batches: usize) -> Self {
        self.options.in_flight = batches.max(1);
        self
    }

    /// How many bytes of records may wait for their answer before [`Producer::send`] waits. Default: 32 MiB.
    pub fn buffer_bytes(mut self, bytes: usize) -> Self {
        self.buffer_bytes = bytes.clamp(1, u32::MAX as usize).min(Semaphore::MAX_PERMITS);
        self
    }

    /// Starts the producer's task on the current tokio runtime. It connects when the first record is sent.
    pub fn build(self) -> Producer {
        let (commands, receiver) = mpsc::unbounded_channel();
        tokio::spawn(Driver::new(self.stub, self.options, receiver).run());
        Producer {
            commands,
            memory: Arc::new(Semaphore::new(self.buffer_bytes)),
            buffer_bytes: self.buffer_bytes,
        }
    }
}

/// Sends records. Cheap to clone; clones share the stream. When the last one is dropped, what was sent still goes out.
#[derive(Clone, Debug)]
pub struct Producer {
    // Bounded by the memory that every record in it holds.
    commands: mpsc::UnboundedSender<Command>,
    memory: Arc<Semaphore>,
    buffer_bytes: usize,
}

impl Producer {
    /// Hands a record over, waiting for room if too much is under way. Records for one partition are appended in the order
    /// in which they were handed over. What became of it is in the [`Delivery`], which need not be awaited in turn.
    ///
    /// A record whose delivery fails with [`Error::disconnected`] may or may not have been appended.
    ///
    /// # Errors
    /// The producer's task has ended, with its runtime.
    pub async fn send(&self, record: Record) -> Result<Delivery, Error> {
        let bytes = record.size().min(self.buffer_bytes) as u32;
        let memory = self.memory.clone().acquire_many_owned(bytes).await.map_err(|_| ended())?;
        let (done, outcome) = oneshot::channel();
        self.commands.send(Command::Send(record, Promise::new(done, memory))).map_err(|_| ended())?;
        Ok(Delivery(outcome))
    }

    /// Waits until everything that was handed over before has its answer. The answers are in the deliveries.
    ///
    /// # Errors
    /// As [`Producer::send`].
    pub async fn flush(&self) -> Result<(), Error> {
        let (done, flushed) = oneshot::channel();
        self.commands.send(Command::Flush(done)).map_err(|_| ended())?;
        flushed.await.map_err(|_| ended())
    }
}

fn ended() -> Error {
    Error::new(Code::Cancelled, "the producer's task has ended")
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
        let timeout = i32::try_from(self.timeout.as_millis()).unwrap_or(i32::MAX);
        v1::ProduceOptions { acks: acks as i32, timeout_ms: Some(timeout) }
    }
}

#[cfg(test)]
#[path = "producer_test.rs"]
mod tests;
