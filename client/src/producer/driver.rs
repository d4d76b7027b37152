//! The producer's task: records in, batches out, answers back to whoever waits for them.

use super::{Options, Placed};
use crate::error::Error;
use crate::record::Record;
use crate::stubs::log_client::LogClient;
use futures_util::stream;
use millrace_proto::grpc::v1;
use std::collections::VecDeque;
use tokio::sync::mpsc::{self, UnboundedReceiver};
use tokio::sync::{OwnedSemaphorePermit, oneshot};
use tonic::Code;
use tonic::transport::Channel;

/// What the task is told.
#[derive(Debug)]
pub(super) enum Command {
    Send(Record, Promise),
    Flush(oneshot::Sender<()>),
}

/// The answer that a record waits for, and the memory that it holds until then.
#[derive(Debug)]
pub(super) struct Promise {
    done: oneshot::Sender<Result<Placed, Error>>,
    _memory: OwnedSemaphorePermit,
}

impl Promise {
    pub(super) fn new(done: oneshot::Sender<Result<Placed, Error>>, memory: OwnedSemaphorePermit) -> Self {
        Self { done, _memory: memory }
    }

    fn keep(self, outcome: Result<Placed, Error>) {
        // Nobody has to wait for it.
        let _ = self.done.send(outcome);
    }
}

/// A batch that still takes records.
struct OpenBatch {
    topic: String,
    records: Vec<v1::Record>,
    promises: Vec<Promise>,
    bytes: usize,
}

/// A batch under way.
struct InFlight {
    id: i64,
    topic: String,
    promises: Vec<Promise>,
}

/// A call to the broker.
struct Stream {
    requests: mpsc::Sender<v1::ProduceRequest>,
    events: mpsc::Receiver<Result<v1::ProduceResponse, Error>>,
}

pub(super) struct Driver {
    stub: LogClient<Channel>,
    options: Options,
    commands: UnboundedReceiver<Command>,
    open: VecDeque<OpenBatch>,
    in_flight: VecDeque<InFlight>,
    stream: Option<Stream>,
    /// The id of the next batch; ids ascend.
    next_id: i64,
    /// Whoever waits until all batches with smaller ids have their answer.
    flushes: Vec<(i64, oneshot::Sender<()>)>,
}

impl Driver {
    pub(super) fn new(
        stub: LogClient<Channel>,
        options: Options,
        commands: UnboundedReceiver<Command>,
    ) -> Self {
        let (open, in_flight) = (VecDeque::new(), VecDeque::new());
        Self { stub, options, commands, open, in_flight, stream: None, next_id: 0, flushes: Vec::new() }
    }

    /// Until nobody can send any more and everything has its answer.
    pub(super) async fn run(mut self) {
        let mut closed = false;
        while !closed || !self.open.is_empty() || !self.in_flight.is_empty() {
            tokio::select! {
                command = self.commands.recv(), if !closed => match command {
                    Some(command) => self.take_all(command),
                    None => closed = true,
                },
                event = next_event(&mut self.stream) => match event {
                    Some(Ok(response)) => self.on_response(response),
                    Some(Err(error)) => self.on_broken(&error),
                    None => self.on_broken(&Error::disconnected("the broker ended the stream")),
                },
            }
            while self.in_flight.len() < self.options.in_flight && self.send_batch() {}
            self.finish_flushes();
        }
    }

    /// This command and all that wait behind it: they share batches.
    fn take_all(&mut self, first: Command) {
        self.take(first);
        while let Ok(command) = self.commands.try_recv() {
            self.take(command);
        }
    }

    fn take(&mut self, command: Command) {
        match command {
            Command::Flush(done) => self.flushes.push((self.next_id + self.open.len() as i64, done)),
            Command::Send(mut record, promise) => {
                let bytes = record.size();
                let topic = std::mem::take(&mut record.topic);
                let limit = self.options.batch_bytes;
                // The topic's last batch: an earlier one with room would let the record overtake others.
                let last = self.open.iter_mut().rev().find(|batch| batch.topic == topic);
                match last.filter(|batch| batch.bytes + bytes <= limit) {
                    Some(batch) => batch.push(record, promise, bytes),
                    None => {
                        let mut batch =
                            OpenBatch { topic, records: Vec::new(), promises: Vec::new(), bytes: 0 };
                        batch.push(record, promise, bytes);
                        self.open.push_back(batch);
                    }
                }
            }
        }
    }

    /// Sends the oldest open batch, if there is one.
    fn send_batch(&mut self) -> bool {
        let Some(OpenBatch { topic, records, promises, .. }) = self.open.pop_front() else { return false };
        let id = self.next_id;
        self.next_id += 1;
        let options = self.stream.is_none().then(|| self.options.message());
        let stream =
            self.stream.get_or_insert_with(|| open_stream(self.stub.clone(), self.options.in_flight));
        let batch = v1::ProduceBatch { id, topic: topic.clone(), records, ..v1::ProduceBatch::default() };
        // There is room for as many as may be in flight. If the call has ended, its last event says why, and
        // that is this batch's answer too.
        let _ = stream.requests.try_send(v1::ProduceRequest { options, batches: vec![batch] });
        self.in_flight.push_back(InFlight { id, topic, promises });
        true
    }

    fn on_response(&mut self, response: v1::ProduceResponse) {
        for result in response.results {
            match self.in_flight.pop_front() {
                Some(batch) if batch.id == result.id => batch.answer(result),
                unexpected => {
                    self.in_flight.extend(unexpected);
                    let message =
                        format!("the broker answered batch {}, which is not the next one", result.id);
                    return self.on_broken(&Error::new(Code::Internal, message));
                }
            }
        }
    }

    /// What is under way stays unanswered; what comes later gets a new call.
    fn on_broken(&mut self, error: &Error) {
        self.stream = None;
        for batch in self.in_flight.drain(..) {
            batch.fail(error);
        }
    }

    fn finish_flushes(&mut self) {
        let answered = self.in_flight.front().map_or(self.next_id, |batch| batch.id);
        for (_, done) in self.flushes.extract_if(.., |(id, _)| *id <= answered) {
            // Nobody has to wait for it.
            let _ = done.send(());
        }
    }
}

impl OpenBatch {
    fn push(&mut self, record: Record, promise: Promise, bytes: usize) {
        self.records.push(record.into_message());
        self.promises.push(promise);
        self.bytes += bytes;
    }
}

impl InFlight {
    fn fail(self, error: &Error) {
        let error = error.clone().about(&self.topic);
        self.promises.into_iter().for_each(|promise| promise.keep(Err(error.clone())));
    }

    fn answer(self, result: v1::ProduceResult) {
        if let Some(error) = result.error {
            return self.fail(&error.into());
        }
        let mut promises: Vec<Option<Promise>> = self.promises.into_iter().map(Some).collect();
        for part in result.partitions {
            let all = part.record_indexes.is_empty();
            let count = if all { promises.len() } else { part.record_indexes.len() };
            for nth in 0..count {
                let index = if all { nth } else { part.record_indexes[nth] as usize };
                let Some(promise) = promises.get_mut(index).and_then(Option::take) else { continue };
                promise.keep(match &part.error {
                    Some(error) => {
                        let name = format!("{}-{}", self.topic, part.partition);
                        Err(Error::from(error.clone()).about(&name))
                    }
                    None => Ok(Placed {
                        partition: part.partition,
                        offset: part.base_offset.map(|base| base + nth as i64),
                        log_append_time_ms: part.log_append_time_ms,
                    }),
                });
            }
        }
        for promise in promises.into_iter().flatten() {
            promise.keep(Err(Error::new(Code::Internal, "the broker's answer does not mention this record")));
        }
    }
}

/// Waits for ever while there is no stream.
async fn next_event(stream: &mut Option<Stream>) -> Option<Result<v1::ProduceResponse, Error>> {
    match stream {
        Some(stream) => stream.events.recv().await,
        None => std::future::pending().await,
    }
}

/// Starts a call. Its task ends when the call does, or when the stream is dropped.
fn open_stream(mut stub: LogClient<Channel>, in_flight: usize) -> Stream {
    let (requests, mut outbound) = mpsc::channel(in_flight);
    let (sender, events) = mpsc::channel(in_flight);
    tokio::spawn(async move {
        let outbound = stream::poll_fn(move |cx| outbound.poll_recv(cx));
        let mut inbound = match stub.produce(outbound).await {
            Ok(response) => response.into_inner(),
            Err(status) => {
                // The driver may be gone: then nobody waits for an answer.
                let _ = sender.send(Err(status.into())).await;
                return;
            }
        };
        while let Some(event) = inbound.message().await.map_err(Error::from).transpose() {
            let last = event.is_err();
            if sender.send(event).await.is_err() || last {
                return;
            }
        }
    });
    Stream { requests, events }
}
