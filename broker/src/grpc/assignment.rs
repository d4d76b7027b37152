//! What a consuming stream was asked to read, resolved: partitions, offsets, limits.

use super::backend::{Backend, Position};
use super::limits::Limits;
use super::status::{Error, Status};
use futures_util::stream::{self, StreamExt, TryStreamExt};
use millrace_proto::grpc::v1;
use millrace_proto::grpc::v1::partition_start::Position as Start;
use millrace_proto::kafka::error::ErrorCode;
use std::collections::HashSet;
use std::rc::Rc;
use std::time::Duration;

/// What gRPC clients accept by default.
const DEFAULT_MESSAGE: usize = 4 << 20;
/// The smallest `max_message_bytes` that makes sense: a response's head with a topic's name, and some records.
const SMALLEST_MESSAGE: usize = 1024;
/// Kafka's `fetch.max.wait.ms` default.
const DEFAULT_WAIT: Duration = Duration::from_millis(500);
/// Where a stream waits for any record at all, nothing is gained by answering it with none.
const LONGEST_WAIT: Duration = Duration::from_secs(60);
/// Positions that are asked for at once.
const LOOKUPS: usize = 64;

/// A partition that is being read.
#[derive(Clone, Debug)]
pub(super) struct Assigned {
    pub(super) topic: Rc<str>,
    pub(super) partition: i32,
    /// The next offset to send.
    pub(super) next_offset: i64,
    /// As it was when last seen.
    pub(super) high_watermark: i64,
}

/// How a stream is read for.
#[derive(Debug)]
pub(super) struct Manner {
    /// What may still be sent; `None`: whatever HTTP/2 lets through.
    pub(super) credit: Option<i64>,
    pub(super) min_bytes: usize,
    pub(super) max_wait: Duration,
    pub(super) max_message: usize,
    /// Whole record batches are sent, not records.
    pub(super) whole_batches: bool,
}

pub(super) fn manner(start: &v1::ConsumeStart) -> Result<Manner, Status> {
    let positive = |field: &str, number: i32| {
        usize::try_from(number).map_err(|_| {
            Status::invalid(format!("start.{field}"), format!("is {number}; must not be negative"))
        })
    };
    if let Some(credit) = start.credit_bytes.filter(|credit| *credit < 0) {
        return Err(Status::invalid("start.credit_bytes", format!("is {credit}; must not be negative")));
    }
    let min_bytes = start.min_bytes.map_or(Ok(1), |bytes| positive("min_bytes", bytes))?;
    let max_wait = match start.max_wait_ms {
        None => DEFAULT_WAIT,
        Some(wait) => Duration::from_millis(positive("max_wait_ms", wait)? as u64),
    };
    let max_message =
        start.max_message_bytes.map_or(Ok(DEFAULT_MESSAGE), |bytes| positive("max_message_bytes", bytes))?;
    if max_message < SMALLEST_MESSAGE {
        let text = format!("is {max_message}; must be at least {SMALLEST_MESSAGE}");
        return Err(Status::invalid("start.max_message_bytes", text));
    }
    let max_wait = if min_bytes <= 1 { LONGEST_WAIT } else { max_wait };
    Ok(Manner {
        credit: start.credit_bytes,
        min_bytes: min_bytes.max(1),
        max_wait,
        max_message,
        whole_batches: start.record_batches,
    })
}

/// The partitions with their offsets, in the order asked for.
pub(super) async fn resolve(
    backend: &impl Backend,
    limits: &Limits,
    starts: Vec<v1::PartitionStart>,
) -> Result<Vec<Assigned>, Status> {
    let mut wanted = Vec::new();
    let mut seen = HashSet::new();
    for (index, start) in starts.into_iter().enumerate() {
        let field = |name: &str| format!("start.partitions[{index}].{name}");
        if start.topic.is_empty() {
            return Err(Status::invalid(field("topic"), "must not be empty"));
        }
        let topic: Rc<str> = start.topic.as_str().into();
        // Reading creates nothing: a name that does not exist is more often mistyped than early.
        let count = backend.partitions(&topic).ok_or_else(|| {
            Error::new(ErrorCode::UnknownTopicOrPartition, format!("there is no topic {topic:?}"))
        })?;
        let partitions = match start.partition {
            None => 0..count,
            Some(partition) if (0..count).contains(&partition) => partition..partition + 1,
            Some(partition) => {
                let text = format!("topic {topic:?} has no partition {partition}, only 0 to {}", count - 1);
                return Err(Error::new(ErrorCode::UnknownTopicOrPartition, text).into());
            }
        };
        for partition in partitions {
            if !seen.insert((topic.clone(), partition)) {
                return Err(Status::invalid(
                    field("partition"),
                    format!("{topic}-{partition} is named twice"),
                ));
            }
            wanted.push((topic.clone(), partition, start.position));
        }
        if wanted.len() > limits.consumed_partitions {
            let most = limits.consumed_partitions;
            let text = format!("more than {most} partitions; read the others by another call");
            return Err(Status::invalid("start.partitions", text));
        }
    }
    if wanted.is_empty() {
        return Err(Status::invalid("start.partitions", "needs at least one partition"));
    }
    let lookups = wanted.into_iter().map(|(topic, partition, start)| find(backend, topic, partition, start));
    Ok(stream::iter(lookups).buffered(LOOKUPS).try_collect().await?)
}

async fn find(
    backend: &impl Backend,
    topic: Rc<str>,
    partition: i32,
    start: Option<Start>,
) -> Result<Assigned, Error> {
    let at = |position| backend.list_offset(&topic, partition, position);
    let high_watermark = at(Position::End).await?;
    let next_offset = match start {
        Some(Start::Edge(edge)) if edge == v1::Edge::Beginning as i32 => at(Position::Beginning).await?,
        None | Some(Start::Edge(_)) => high_watermark,
        Some(Start::TimestampMs(time)) => at(Position::Timestamp(time)).await?,
        Some(Start::Offset(offset)) => {
            let log_start = at(Position::Beginning).await?;
            if !(log_start..=high_watermark).contains(&offset) {
                return Err(out_of_range(&topic, partition, offset, log_start, high_watermark));
            }
            offset
        }
    };
    Ok(Assigned { topic, partition, next_offset, high_watermark })
}

fn out_of_range(topic: &str, partition: i32, offset: i64, log_start: i64, high_watermark: i64) -> Error {
    let text = format!(
        "{topic}-{partition} has no offset {offset}: it holds {log_start} to {high_watermark}; start at an edge"
    );
    Error::new(ErrorCode::OffsetOutOfRange, text)
        .with("topic", topic)
        .with("partition", partition)
        .with("log_start_offset", log_start)
        .with("high_watermark", high_watermark)
}

pub(super) fn started(assigned: &[Assigned]) -> v1::ConsumeStarted {
    let position = |part: &Assigned| v1::PartitionPosition {
        topic: part.topic.to_string(),
        partition: part.partition,
        next_offset: part.next_offset,
        high_watermark: part.high_watermark,
    };
    v1::ConsumeStarted { partitions: assigned.iter().map(position).collect(), member_id: String::new() }
}
