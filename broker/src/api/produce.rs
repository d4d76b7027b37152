//! Produce (0), versions 3-13: appends record batches.
//!
//! Every batch is checked on the connection's core (envelope, CRC, records walked) and then handed to its partition's
//! shard; this API is started in request order, so appends of one connection keep it. acks=0 is never answered: an
//! error closes the connection. acks=1 is answered when the batch is written, acks=all when the high watermark has
//! passed it. Errors of a partition carry base offset -1; from version 8 on, with the records that are to blame.

use super::Call;
use super::errors::WireError;
use crate::config::topic::Rules;
use crate::intake::{self, Taken};
use crate::net::budget::Reservation;
use crate::shard::Shard;
use crate::shard::calls::{ProduceFailure, ProducePart};
use crate::shard::partition_driver::PartitionId;
use crate::shard::router::Pending;
use crate::shard::tickets::ProduceOutcome;
use bytes::BytesMut;
use millrace_io::Io;
use millrace_logic::meta::names::is_internal;
use millrace_logic::meta::{Image, Topic};
use millrace_logic::partition::{Acks, Appended, ProduceError};
use millrace_proto::kafka::api::decode_request;
use millrace_proto::kafka::error::ErrorCode;
use millrace_proto::kafka::messages::produce::{
    BatchIndexAndErrorMessage, PartitionProduceData, PartitionProduceResponse, ProduceRequest,
    ProduceResponse, TopicProduceData, TopicProduceResponse,
};
use millrace_proto::kafka::wire::range_in;
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;
use uuid::Uuid;

/// From this version on a topic is named by its id.
const TOPIC_IDS: i16 = 13;
/// From this version on transaction errors are TRANSACTION_ABORTABLE (KIP-890).
const TRANSACTION_ABORTABLE: i16 = 11;
/// From this version on batches may be compressed with zstd (KIP-110).
const ZSTD: i16 = 7;

/// A refused batch: what the client is told.
struct Refused {
    code: ErrorCode,
    message: Option<String>,
    records: Vec<(i32, String)>,
}

impl From<ErrorCode> for Refused {
    fn from(code: ErrorCode) -> Self {
        Self { code, message: None, records: Vec::new() }
    }
}

impl From<intake::Refused> for Refused {
    fn from(refused: intake::Refused) -> Self {
        let error = match refused {
            intake::Refused::Batch(error) => error,
            intake::Refused::LargerThanSegment => return ErrorCode::RecordListTooLarge.into(),
            // Of the errors that every client retries, the one that promises nothing.
            intake::Refused::NoMemory => {
                let message = Some(refused.to_string());
                return Self { code: ErrorCode::RequestTimedOut, message, records: Vec::new() };
            }
        };
        let records = error.record_errors().iter().map(|record| (record.index, record.reason.to_string()));
        Self { code: WireError::code(&error), message: Some(error.to_string()), records: records.collect() }
    }
}

/// One partition of the request.
struct Part {
    index: i32,
    /// `None` when it was handed to its shard.
    refused: Option<Refused>,
}

/// One topic of the request, without a borrow of the frame: that is given away in batches.
struct TopicParts {
    name: String,
    topic_id: Uuid,
    parts: Vec<Part>,
}

/// A batch that passed its checks, still in the frame.
struct Admitted {
    id: PartitionId,
    taken: Taken,
    range: Range<usize>,
}

/// Starts a request whose body begins at `body` in the frame. `false` when the connection cannot go on.
pub(super) async fn start<I: Io>(call: Call<I>, frame: BytesMut, body: usize) -> bool {
    let (plan, admitted, acks, timeout) = {
        let request: ProduceRequest<'_> = match decode_request(&frame[body..], call.version) {
            Ok(request) => request,
            Err(error) => {
                call.close(&error);
                return false;
            }
        };
        let timeout = Duration::from_millis(request.timeout_ms.max(0) as u64);
        let acks = Acks::from_wire(request.acks);
        let (plan, admitted) = check(&call, &request, &frame, acks);
        (plan, admitted, acks, timeout)
    };
    let (parts, held) = take_batches(frame, admitted);
    // Without an answer the request still holds its bytes until they are written.
    let wait = if acks == Some(Acks::All) { Acks::All } else { Acks::Leader };
    let pending = call.shard.produce(parts, wait, timeout).await;
    call.later(|call| async move {
        finish(call, plan, pending, acks).await;
        drop(held);
    });
    true
}

fn check<I: Io>(
    call: &Call<I>,
    request: &ProduceRequest<'_>,
    frame: &[u8],
    acks: Option<Acks>,
) -> (Vec<TopicParts>, Vec<Admitted>) {
    let image = call.shard.image();
    let mut admitted = Vec::new();
    let topics = request.topic_data.iter().map(|data| {
        let topic = find_topic(&image, data, call.version);
        let rules = topic.as_ref().map(|topic| call.shard.rules(topic)).ok();
        let parts = data.partition_data.iter().map(|partition| {
            let checked = match acks {
                None => Err(ErrorCode::InvalidRequiredAcks.into()),
                Some(_) => check_batch(call, topic.as_ref().copied(), rules.as_ref(), partition),
            };
            let refused = match checked {
                Ok((id, taken, records)) => {
                    admitted.push(Admitted { id, taken, range: range_in(frame, records) });
                    None
                }
                Err(refused) => Some(refused),
            };
            Part { index: partition.index, refused }
        });
        let parts = parts.collect();
        TopicParts { name: data.name.to_owned(), topic_id: data.topic_id, parts }
    });
    let topics = topics.collect();
    (topics, admitted)
}

fn find_topic<'i>(
    image: &'i Image,
    data: &TopicProduceData<'_>,
    version: i16,
) -> Result<&'i Arc<Topic>, ErrorCode> {
    let topic = match version >= TOPIC_IDS {
        true => image.topic_by_id(data.topic_id).ok_or(ErrorCode::UnknownTopicId),
        false => image.topic(data.name).ok_or(ErrorCode::UnknownTopicOrPartition),
    }?;
    match is_internal(&topic.name) {
        // Only the broker writes there.
        true => Err(ErrorCode::InvalidTopicException),
        false => Ok(topic),
    }
}

fn check_batch<'r, I: Io>(
    call: &Call<I>,
    topic: Result<&Arc<Topic>, &ErrorCode>,
    rules: Option<&Rules>,
    data: &PartitionProduceData<'r>,
) -> Result<(PartitionId, Taken, &'r [u8]), Refused> {
    let topic = topic.map_err(|code| *code)?;
    if !(0..topic.partitions.len() as i32).contains(&data.index) {
        return Err(ErrorCode::UnknownTopicOrPartition.into());
    }
    let rules = rules.ok_or(ErrorCode::UnknownTopicOrPartition)?;
    let records = data.records.unwrap_or_default();
    let taken = intake::take(&call.shard, rules, records, call.version >= ZSTD)?;
    Ok((PartitionId { topic: topic.id, partition: data.index }, taken, records))
}

/// Cuts the batches out of the frame, each owned alone, without copying; what was given another codec takes their place, and holds its
/// share of the budget until it is answered.
fn take_batches(mut frame: BytesMut, admitted: Vec<Admitted>) -> (Vec<ProducePart>, Vec<Reservation>) {
    let (mut at, mut all_held) = (0, Vec::new());
    let cut = admitted.into_iter().map(|Admitted { id, taken: Taken { checked, recompressed }, range }| {
        let _between = frame.split_to(range.start - at);
        at = range.end;
        let mut batch = frame.split_to(range.len());
        if let Some((other, held)) = recompressed {
            batch = other;
            all_held.push(held);
        }
        ProducePart { id, batch, checked }
    });
    (cut.collect(), all_held)
}

async fn finish<I: Io>(
    call: Call<I>,
    plan: Vec<TopicParts>,
    pending: Pending<ProduceOutcome>,
    acks: Option<Acks>,
) {
    let outcomes = pending.all(Shard::<I>::lost_produce).await;
    if acks == Some(Acks::None) {
        let refused = plan.iter().flat_map(|t| &t.parts).find_map(|p| p.refused.as_ref().map(|r| r.code));
        let failed = outcomes.iter().find_map(|o| o.as_ref().err().map(WireError::code));
        return match refused.or(failed) {
            // The producer learns that something is wrong, and refreshes its metadata.
            Some(code) => {
                call.error(code);
                call.close(&format_args!("acks=0 and {code:?}"));
            }
            None => call.finish(crate::net::responses::Answer::Nothing),
        };
    }
    let mut outcomes = outcomes.into_iter();
    let responses = plan.iter().map(|topic| TopicProduceResponse {
        name: &topic.name,
        topic_id: topic.topic_id,
        partition_responses: topic.parts.iter().map(|part| respond(&call, part, &mut outcomes)).collect(),
    });
    let response = ProduceResponse { responses: responses.collect(), ..ProduceResponse::default() };
    call.answer(&response);
}

fn respond<'p, I: Io>(
    call: &Call<I>,
    part: &'p Part,
    outcomes: &mut impl Iterator<Item = ProduceOutcome>,
) -> PartitionProduceResponse<'p> {
    let response = PartitionProduceResponse { index: part.index, base_offset: -1, ..Default::default() };
    if let Some(refused) = &part.refused {
        let record = |(index, message): &'p (i32, String)| BatchIndexAndErrorMessage {
            batch_index: *index,
            batch_index_error_message: Some(message),
        };
        return PartitionProduceResponse {
            error_code: call.error(refused.code),
            record_errors: refused.records.iter().map(record).collect(),
            error_message: refused.message.as_deref(),
            ..response
        };
    }
    match outcomes.next() {
        Some(Ok(Appended { base_offset, log_append_time, log_start })) => PartitionProduceResponse {
            error_code: ErrorCode::None,
            base_offset: base_offset.get(),
            log_append_time_ms: log_append_time.unwrap_or(-1),
            log_start_offset: log_start.get(),
            ..response
        },
        Some(Err(failure)) => {
            PartitionProduceResponse { error_code: call.error(code_of(&failure, call.version)), ..response }
        }
        None => PartitionProduceResponse { error_code: ErrorCode::UnknownServerError, ..response },
    }
}

fn code_of(failure: &ProduceFailure, version: i16) -> ErrorCode {
    match failure {
        ProduceFailure::Refused(ProduceError::Transactional) if version >= TRANSACTION_ABORTABLE => {
            ErrorCode::TransactionAbortable
        }
        failure => failure.code(),
    }
}
