//! The producer's task: does what [`Core`] says, and tells it what came of it.

use super::core::{Action, Core};
use super::{Options, Promise};
use crate::error::Error;
use crate::record::Record;
use crate::stubs::log_client::LogClient;
use crate::topics::Topics;
use futures_util::future::BoxFuture;
use futures_util::stream::{self, FuturesUnordered, StreamExt};
use millrace_proto::grpc::v1;
use std::hash::{BuildHasher, Hasher, RandomState};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc::{self, UnboundedReceiver};
use tokio::sync::oneshot;
use tokio::time::Instant;
use tonic::transport::Channel;

/// What the task is told.
#[derive(Debug)]
pub(super) enum Command {
    Send(Record, Promise),
    Flush(oneshot::Sender<()>),
}

/// What was asked of the broker beside the stream.
enum Answer {
    Described(Arc<str>, Result<i32, Error>),
    Identity(Result<(i64, i16), Error>),
}

/// A call to the broker.
struct Stream {
    requests: mpsc::UnboundedSender<v1::ProduceRequest>,
    events: mpsc::Receiver<Result<v1::ProduceResponse, Error>>,
}

pub(super) struct Driver {
    channel: Channel,
    options: v1::ProduceOptions,
    commands: UnboundedReceiver<Command>,
    core: Core,
    stream: Option<Stream>,
    asked: FuturesUnordered<BoxFuture<'static, Answer>>,
    began: Instant,
}

impl Driver {
    pub(super) fn new(channel: Channel, options: Options, commands: UnboundedReceiver<Command>) -> Self {
        let message = options.message();
        // The standard library's keys are random enough for this.
        let random = Box::new(|| RandomState::new().build_hasher().finish());
        let (core, asked) = (Core::new(options, random), FuturesUnordered::new());
        Self { channel, options: message, commands, core, stream: None, asked, began: Instant::now() }
    }

    fn now(&self) -> Duration {
        self.began.elapsed()
    }

    /// Until nobody can send any more and everything has its answer.
    pub(super) async fn run(mut self) {
        let mut closed = false;
        while !closed || !self.core.is_idle() {
            while let Some(action) = self.core.next_action(self.now()) {
                self.act(action);
            }
            if closed && self.core.is_idle() {
                break;
            }
            let deadline = self.core.next_deadline(self.now()).map(|at| self.began + at);
            tokio::select! {
                command = self.commands.recv(), if !closed => match command {
                    Some(command) => self.take_all(command),
                    None => {
                        closed = true;
                        self.core.close();
                    }
                },
                event = next_event(&mut self.stream) => self.on_event(event),
                Some(answer) = self.asked.next() => self.on_answer(answer),
                () = until(deadline) => {}
            }
        }
    }

    /// This command and all that wait behind it: they share batches.
    fn take_all(&mut self, first: Command) {
        let now = self.now();
        let mut next = Some(first);
        while let Some(command) = next {
            match command {
                Command::Send(record, promise) => self.core.on_record(record, promise, now),
                Command::Flush(done) => self.core.on_flush(done),
            }
            next = self.commands.try_recv().ok();
        }
    }

    fn act(&mut self, action: Action) {
        match action {
            Action::Send(mut request) => {
                request.options = self.stream.is_none().then_some(self.options);
                let channel = &self.channel;
                let stream = self.stream.get_or_insert_with(|| open_stream(LogClient::new(channel.clone())));
                // If the call has ended, its last event says why, and that is these batches' answer too.
                let _ = stream.requests.send(request);
            }
            Action::Hang => self.stream = None,
            Action::Describe(name) => {
                let topics = Topics::new(self.channel.clone());
                self.asked.push(Box::pin(async move {
                    let count = topics.partition_count(&name).await;
                    Answer::Described(name, count)
                }));
            }
            Action::InitProducer => {
                let mut log = LogClient::new(self.channel.clone());
                self.asked.push(Box::pin(async move {
                    let answer = log.init_producer(v1::InitProducerRequest {}).await;
                    Answer::Identity(answer.map_err(Error::from).map(|answer| {
                        let v1::InitProducerResponse { producer_id, producer_epoch } = answer.into_inner();
                        (producer_id, producer_epoch as i16)
                    }))
                }));
            }
        }
    }

    fn on_answer(&mut self, answer: Answer) {
        let now = self.now();
        match answer {
            Answer::Described(name, count) => self.core.on_described(&name, count, now),
            Answer::Identity(identity) => self.core.on_identity(identity, now),
        }
    }

    fn on_event(&mut self, event: Option<Result<v1::ProduceResponse, Error>>) {
        let now = self.now();
        let broken = match event {
            Some(Ok(response)) => {
                let mut results = response.results.into_iter();
                results.find_map(|result| self.core.on_result(result, now).err())
            }
            Some(Err(error)) => Some(error),
            None => Some(Error::disconnected("the broker ended the stream")),
        };
        if let Some(error) = broken {
            self.stream = None;
            self.core.on_broken(&error, now);
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

async fn until(deadline: Option<Instant>) {
    match deadline {
        Some(deadline) => tokio::time::sleep_until(deadline).await,
        None => std::future::pending().await,
    }
}

/// Responses that wait for the driver.
const RESPONSES: usize = 16;

/// Starts a call. Its task ends when the call does, or when the stream is dropped. What is in it is bounded by the producer's memory.
fn open_stream(mut stub: LogClient<Channel>) -> Stream {
    let (requests, mut outbound) = mpsc::unbounded_channel();
    let (sender, events) = mpsc::channel(RESPONSES);
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
