//! `millrace.v1.Log/Produce` and `/Publish`: requests become record batches, batches go to their partitions in the
//! order they came, results go back in the same order.

use super::backend::{Acks, Backend, Produced};
use super::batches::{Choice, Part, SplitError, split, whole};
use super::call::{Call, Held, Received, Responses};
use super::limits::Limits;
use super::partitioner::Partitioner;
use super::status::{Error, Status, malformed};
use futures_util::future::{Either, LocalBoxFuture, join_all, select};
use futures_util::stream::{FuturesOrdered, Stream, StreamExt};
use millrace_proto::batch::Producer;
use millrace_proto::grpc::records_in::{Malformed, ProduceBatch, ProduceRequest, PublishRequest};
use millrace_proto::grpc::v1;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::task::Poll;
use std::time::Duration;

/// `timeout_ms` when none is given: Kafka's `request.timeout.ms` of producers.
const DEFAULT_TIMEOUT: Duration = Duration::from_secs(30);
/// Results that share a response at most.
const RESULTS_TOGETHER: usize = 256;

#[derive(Clone, Copy)]
struct Options {
    acks: Acks,
    timeout: Duration,
}

/// Appends the batches of a stream.
pub(super) async fn produce<B: Backend>(backend: &B, limits: &Limits, call: Call) -> Result<(), Status> {
    let Call { path, requests, responses } = call;
    let mut requests = pin!(requests.into_stream(Ok));
    let mut producer = Appender {
        backend,
        path,
        options: None,
        partitioner: Partitioner::new(backend.random()),
        most: limits.unacknowledged_batches,
        results: FuturesOrdered::new(),
        responses,
    };
    let outcome = loop {
        match producer.next(requests.as_mut()).await {
            Ok(Some(received)) => {
                if let Err(status) = producer.on_request(received).await {
                    break Err(status);
                }
            }
            Ok(None) => break Ok(()),
            Err(status) => break Err(status),
        }
    };
    // What was taken is answered, however the call ends.
    while !producer.results.is_empty() {
        producer.answer_some().await?;
    }
    outcome
}

struct Appender<'a, B> {
    backend: &'a B,
    path: Rc<str>,
    /// Set by the first request.
    options: Option<Options>,
    partitioner: Partitioner,
    most: usize,
    results: FuturesOrdered<LocalBoxFuture<'static, v1::ProduceResult>>,
    responses: Responses,
}

impl<B: Backend> Appender<'_, B> {
    /// The next request; answers batches meanwhile, and reads none while too many are unanswered.
    async fn next(
        &mut self,
        mut requests: Pin<&mut impl Stream<Item = Result<Received, Status>>>,
    ) -> Result<Option<Received>, Status> {
        loop {
            if self.results.is_empty() {
                return requests.next().await.transpose();
            }
            while self.results.len() >= self.most {
                self.answer_some().await?;
            }
            let results = match select(pin!(some(&mut self.results)), requests.next()).await {
                Either::Left((results, _)) => results,
                Either::Right((request, _)) => return request.transpose(),
            };
            self.responses.send(&v1::ProduceResponse { results }).await?;
        }
    }

    async fn answer_some(&mut self) -> Result<(), Status> {
        let results = some(&mut self.results).await;
        self.responses.send(&v1::ProduceResponse { results }).await
    }

    async fn on_request(&mut self, received: Received) -> Result<(), Status> {
        let path = self.path.clone();
        let Received { bytes, held } = received;
        let held = Rc::new(held);
        let request = ProduceRequest::parse(&bytes).map_err(|error| malformed(&path, error))?;
        let options = match (self.options, &request.options) {
            (None, given) => *self.options.insert(options(given.as_ref())?),
            (Some(options), None) => options,
            (Some(_), Some(_)) => {
                return Err(Status::invalid("options", "only the first request may have them"));
            }
        };
        for (index, batch) in request.batches().enumerate() {
            let batch = batch.map_err(|error| malformed(&path, error))?;
            if batch.topic.is_empty() {
                return Err(Status::invalid(format!("batches[{index}].topic"), "must not be empty"));
            }
            while self.results.len() >= self.most {
                self.answer_some().await?;
            }
            let parts = match split_batch(self.backend, &self.partitioner, &batch).await {
                Err(SplitError::Malformed(error)) => return Err(malformed(&path, error)),
                Err(SplitError::Empty) => return Err(no_records(format!("batches[{index}].records"))),
                Err(SplitError::Field(field, why)) => {
                    return Err(Status::invalid(format!("batches[{index}].{field}"), why));
                }
                Err(SplitError::Refused(error)) => Err(error),
                Ok(parts) => Ok(parts),
            };
            self.results.push_back(self.append(&batch, parts, options, held.clone()));
        }
        Ok(())
    }

    /// The result of one batch, some time. Polled in the order of the batches.
    fn append(
        &self,
        batch: &ProduceBatch<'_>,
        parts: Result<Vec<Part>, Error>,
        options: Options,
        held: Rc<Held>,
    ) -> LocalBoxFuture<'static, v1::ProduceResult> {
        let id = batch.id;
        match parts {
            Err(error) => {
                let error = Some(error.in_stream());
                Box::pin(async move { v1::ProduceResult { id, error, partitions: Vec::new() } })
            }
            Ok(parts) => {
                let appended = append_parts(self.backend, batch.topic, parts, options);
                Box::pin(async move {
                    let partitions = appended.await.into_iter().map(result).collect();
                    drop(held);
                    v1::ProduceResult { id, error: None, partitions }
                })
            }
        }
    }
}

/// At least one result, and those that are there with it. For a queue that is not empty.
async fn some<T>(results: &mut FuturesOrdered<impl Future<Output = T>>) -> Vec<T> {
    let mut ready = Vec::new();
    std::future::poll_fn(|cx| {
        while ready.len() < RESULTS_TOGETHER {
            match results.poll_next_unpin(cx) {
                Poll::Ready(Some(result)) => ready.push(result),
                _ => break,
            }
        }
        if ready.is_empty() { Poll::Pending } else { Poll::Ready(()) }
    })
    .await;
    ready
}

async fn split_batch(
    backend: &impl Backend,
    partitioner: &Partitioner,
    batch: &ProduceBatch<'_>,
) -> Result<Vec<Part>, SplitError> {
    let ProduceBatch { topic, partition, records, sequence, record_batch, .. } = batch;
    let count = partition_count(backend, topic).await.map_err(SplitError::Refused)?;
    let (partition, now) = (*partition, backend.wall_clock());
    let producer = sequence.as_ref().map(producer_of).transpose()?;
    if (producer.is_some() || record_batch.is_some()) && partition.is_none() {
        return Err(SplitError::Field("partition", "must be set with `sequence` or `record_batch`".into()));
    }
    let choice = Choice { topic, count, partition, partitioner, now, producer };
    match record_batch {
        None => split(records, &choice),
        Some(_) if producer.is_some() => Err(SplitError::Field(
            "sequence",
            "belongs to `records`; a `record_batch` carries its own numbers".into(),
        )),
        Some(_) if records.iter().next().is_some() => {
            Err(SplitError::Field("record_batch", "is there as well as `records`; send one of them".into()))
        }
        Some(bytes) => whole(bytes, &choice),
    }
}

fn producer_of(sequence: &v1::ProducerSequence) -> Result<Producer, SplitError> {
    let v1::ProducerSequence { producer_id, producer_epoch, base_sequence } = *sequence;
    let epoch = i16::try_from(producer_epoch).ok().filter(|epoch| *epoch >= 0);
    match epoch {
        Some(epoch) if producer_id >= 0 && base_sequence >= 0 => {
            Ok(Producer { id: producer_id, epoch, base_sequence })
        }
        _ => Err(SplitError::Field(
            "sequence",
            format!(
                "is {producer_id}, {producer_epoch}, {base_sequence}; none may be negative, \
                 and the epoch is at most {}",
                i16::MAX
            ),
        )),
    }
}

async fn partition_count(backend: &impl Backend, topic: &str) -> Result<i32, Error> {
    match backend.partitions(topic) {
        Some(count) => Ok(count),
        None => backend.ensure_topic(topic).await,
    }
}

/// What became of one part.
struct Appended {
    partition: i32,
    indexes: Vec<u32>,
    outcome: Result<Produced, Error>,
}

/// What became of each part. The parts' appends begin, in order, when this is first polled.
fn append_parts<B: Backend>(
    backend: &B,
    topic: &str,
    parts: Vec<Part>,
    options: Options,
) -> impl Future<Output = Vec<Appended>> + use<B> {
    let appends: Vec<_> = parts
        .into_iter()
        .map(|Part { partition, batch, indexes }| {
            let appended = backend.produce(topic, partition, batch, options.acks, options.timeout);
            async move { Appended { partition, indexes, outcome: appended.await } }
        })
        .collect();
    join_all(appends)
}

fn result(Appended { partition, indexes, outcome }: Appended) -> v1::PartitionResult {
    let (produced, error) = match outcome {
        Ok(produced) => (Some(produced), None),
        Err(error) => (None, Some(error.in_stream())),
    };
    v1::PartitionResult {
        partition,
        error,
        base_offset: produced.and_then(|produced| produced.base_offset),
        log_append_time_ms: produced.and_then(|produced| produced.log_append_time),
        record_indexes: indexes,
    }
}

/// Gives a producer an id.
pub(super) async fn init_producer(backend: &impl Backend) -> Result<v1::InitProducerResponse, Status> {
    Ok(v1::InitProducerResponse { producer_id: backend.new_producer_id().await?, producer_epoch: 0 })
}

/// Appends a few records.
pub(super) async fn publish<B: Backend>(backend: &B, mut call: Call) -> Result<(), Status> {
    let path = call.path.clone();
    let Some(received) = call.requests.recv_bytes().await? else { return Err(no_records("records")) };
    let malformed = |error: Malformed| malformed(&path, error);
    let request = PublishRequest::parse(&received.bytes).map_err(malformed)?;
    if request.topic.is_empty() {
        return Err(Status::invalid("topic", "must not be empty"));
    }
    let options =
        Options { acks: acks("acks", request.acks)?, timeout: timeout("timeout_ms", request.timeout_ms)? };
    let PublishRequest { topic, partition, records, .. } = request;
    let partitioner = Partitioner::new(backend.random());
    let batch = ProduceBatch { id: 0, topic, partition, records, sequence: None, record_batch: None };
    let parts = split_batch(backend, &partitioner, &batch).await.map_err(|error| match error {
        SplitError::Malformed(error) => malformed(error),
        SplitError::Empty => no_records("records"),
        SplitError::Field(field, why) => Status::invalid(field, why),
        SplitError::Refused(error) => error.into(),
    })?;
    let mut partitions = Vec::with_capacity(parts.len());
    for appended in append_parts(backend, topic, parts, options).await {
        if let Err(error) = appended.outcome {
            return Err(error.with("partition", appended.partition).into());
        }
        partitions.push(result(appended));
    }
    call.responses.send(&v1::PublishResponse { partitions }).await
}

fn no_records(field: impl Into<String>) -> Status {
    Status::invalid(field, "needs at least one record")
}

fn options(given: Option<&v1::ProduceOptions>) -> Result<Options, Status> {
    let given = given.copied().unwrap_or_default();
    Ok(Options {
        acks: acks("options.acks", given.acks)?,
        timeout: timeout("options.timeout_ms", given.timeout_ms)?,
    })
}

fn acks(field: &str, number: i32) -> Result<Acks, Status> {
    match v1::Acks::try_from(number) {
        Ok(v1::Acks::Unspecified | v1::Acks::All) => Ok(Acks::All),
        Ok(v1::Acks::Leader) => Ok(Acks::Leader),
        Ok(v1::Acks::None) => Ok(Acks::None),
        Err(_) => {
            Err(Status::invalid(field, format!("is {number}; there are ACKS_NONE, ACKS_LEADER and ACKS_ALL")))
        }
    }
}

fn timeout(field: &str, given: Option<i32>) -> Result<Duration, Status> {
    let Some(given) = given else { return Ok(DEFAULT_TIMEOUT) };
    let millis = u64::try_from(given)
        .map_err(|_| Status::invalid(field, format!("is {given}; must not be negative")))?;
    Ok(Duration::from_millis(millis))
}
