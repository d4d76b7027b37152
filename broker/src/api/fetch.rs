//! Fetch (1), versions 4-18: reads record batches, whole ones, from page cache to socket.
//!
//! Waits up to max wait for min bytes, woken by the event and never by polling; at least one batch is returned whole
//! if there is any. Sessions (KIP-227): the answer to an incremental request holds what changed; a session is known on the
//! core that opened it, elsewhere it is FETCH_SESSION_ID_NOT_FOUND and the client opens another. From version 13 topics are
//! named by id; an unknown one is UNKNOWN_TOPIC_ID. An offset between watermark and end is no error, but finds nothing yet.

use super::Call;
use super::errors::WireError;
use crate::net::responses::{Answer, Piece};
use crate::shard::calls::{FetchPart, Fetched};
use crate::shard::fetch::Fetch;
use crate::shard::partition_driver::PartitionId;
use bytes::Bytes;
use futures_util::future::{Either, select};
use millrace_io::Io;
use millrace_logic::fetch_sessions::{Asked, Outcome, Plan, TopicKey, Wanted};
use millrace_logic::meta::Image;
use millrace_logic::partition::{Isolation, LeaderEpoch};
use millrace_proto::kafka::error::ErrorCode;
use millrace_proto::kafka::header::encode_response;
use millrace_proto::kafka::messages::fetch::{
    EpochEndOffset, FetchPartition, FetchRequest, FetchResponse, FetchableTopicResponse, PartitionData,
    Records,
};
use millrace_proto::kafka::wire::EncodedFrame;
use millrace_storage::Extent;
use std::pin::pin;
use std::time::Duration;
use uuid::Uuid;

/// From this version on a topic is named by its id.
const TOPIC_IDS: i16 = 13;

/// No client waits longer; what is asked beyond is cut.
const LONGEST_WAIT: Duration = Duration::from_secs(600);

pub(super) fn start<I: Io>(call: Call<I>, request: FetchRequest<'_>) {
    let Some(isolation) = Isolation::from_wire(request.isolation_level) else {
        return call.close(&format_args!("isolation level {} is not 0 or 1", request.isolation_level));
    };
    let now = call.shard.io().now();
    let begun = call.shard.fetch_sessions().begin(asked(&request, call.version), now);
    let plan = match begun {
        Ok(plan) => plan,
        Err(error) => {
            let error_code = call.error(error.code());
            return call.answer(&FetchResponse { error_code, ..FetchResponse::default() });
        }
    };
    let image = call.shard.image();
    let (mut parts, mut refused) = (Vec::with_capacity(plan.wanted.len()), Vec::new());
    for wanted in &plan.wanted {
        match part(&image, wanted) {
            Ok(part) => {
                parts.push(part);
                refused.push(None);
            }
            Err(code) => refused.push(Some(code)),
        }
    }
    let most = call.shard.config().limits.fetch_max_bytes as u64;
    let fetch = Fetch {
        parts,
        min_bytes: request.min_bytes.max(0) as u64,
        max_bytes: (request.max_bytes.max(0) as u64).min(most),
        max_wait: Duration::from_millis(request.max_wait_ms.max(0) as u64).min(LONGEST_WAIT),
        isolation,
    };
    let io = call.shard.io().clone();
    io.spawn(finish(call, plan, refused, fetch));
}

/// The request as its session sees it.
fn asked(request: &FetchRequest<'_>, version: i16) -> Asked {
    let by_id = version >= TOPIC_IDS;
    let key = |name: &str, id: Uuid| if by_id { TopicKey::Id(id) } else { TopicKey::Name(name.into()) };
    let wanted = |topic: &TopicKey, partition: &FetchPartition| Wanted {
        topic: topic.clone(),
        partition: partition.partition,
        offset: partition.fetch_offset,
        max_bytes: partition.partition_max_bytes,
        current_epoch: partition.current_leader_epoch,
        last_fetched_epoch: partition.last_fetched_epoch,
    };
    let mut asked = Asked {
        id: request.session_id,
        epoch: request.session_epoch,
        by_id,
        wanted: Vec::with_capacity(request.topics.iter().map(|topic| topic.partitions.len()).sum()),
        forgotten: Vec::new(),
    };
    for topic in &request.topics {
        let key = key(topic.topic, topic.topic_id);
        asked.wanted.extend(topic.partitions.iter().map(|partition| wanted(&key, partition)));
    }
    for topic in &request.forgotten_topics_data {
        let key = key(topic.topic, topic.topic_id);
        asked.forgotten.extend(topic.partitions.iter().map(|partition| (key.clone(), *partition)));
    }
    asked
}

/// What to read of a partition, or why it is not read.
fn part(image: &Image, wanted: &Wanted) -> Result<FetchPart, ErrorCode> {
    let known = match &wanted.topic {
        TopicKey::Id(id) => image.topic_by_id(*id).ok_or(ErrorCode::UnknownTopicId)?,
        TopicKey::Name(name) => image.topic(name).ok_or(ErrorCode::UnknownTopicOrPartition)?,
    };
    if !(0..known.partitions.len() as i32).contains(&wanted.partition) {
        return Err(ErrorCode::UnknownTopicOrPartition);
    }
    Ok(FetchPart {
        id: PartitionId { topic: known.id, partition: wanted.partition },
        offset: wanted.offset,
        max_bytes: wanted.max_bytes.max(0) as u64,
        epoch: LeaderEpoch::from_wire(wanted.current_epoch),
        last_fetched: LeaderEpoch::from_wire(wanted.last_fetched_epoch),
    })
}

async fn finish<I: Io>(call: Call<I>, plan: Plan, refused: Vec<Option<ErrorCode>>, mut fetch: Fetch) {
    if refused.iter().any(Option::is_some) {
        // There is something to tell already.
        fetch.max_wait = Duration::ZERO;
    }
    let lost = call.ticket.lost();
    let mut found = match select(pin!(call.shard.fetch(fetch)), pin!(lost)).await {
        Either::Left((found, _)) => found.into_iter(),
        // Nobody waits for it any more.
        Either::Right(_) => return,
    };
    let answers: Vec<_> = plan
        .wanted
        .iter()
        .zip(refused)
        .map(|(wanted, refused)| match refused {
            Some(code) => failed(wanted.partition, code),
            None => answer(wanted.partition, found.next()),
        })
        .collect();
    let outcomes: Vec<_> = answers.iter().map(|(data, files)| outcome(data, files)).collect();
    let (now, shard) = (call.shard.io().now(), &call.shard);
    // Half of the bits at most: ids are positive.
    let mut random = || (shard.io().random() >> 33) as i32;
    let told = shard.fetch_sessions().finish(&plan, &outcomes, now, &mut random);
    let mut response = FetchResponse { session_id: told.id, ..FetchResponse::default() };
    let mut extents = Vec::new();
    let included = plan.wanted.iter().zip(answers).zip(told.included).filter(|(_, included)| *included);
    let mut last = None;
    for ((wanted, (data, files)), _) in included {
        if data.error_code != ErrorCode::None {
            call.error(data.error_code);
        }
        if !files.is_empty() {
            extents.push(files);
        }
        if last.replace(&wanted.topic) != Some(&wanted.topic) {
            let (topic, topic_id) = match &wanted.topic {
                TopicKey::Name(name) => (&**name, Uuid::nil()),
                TopicKey::Id(id) => ("", *id),
            };
            let partitions = Vec::with_capacity(1);
            response.responses.push(FetchableTopicResponse { topic, topic_id, partitions });
        }
        let topic = response.responses.last_mut().expect("pushed above, if not before");
        topic.partitions.push(data);
    }
    match encode_response(call.version, call.correlation_id, &response) {
        Ok(frame) => call.finish(Answer::Send(pieces(frame, extents))),
        Err(error) => call.close(&error),
    }
}

/// What is said of a partition, and the files with its records.
type PartAnswer<F> = (PartitionData<'static>, Vec<Extent<F>>);

fn failed<F>(partition_index: i32, error_code: ErrorCode) -> PartAnswer<F> {
    let data = PartitionData {
        partition_index,
        error_code,
        high_watermark: -1,
        records: Records::Elsewhere { len: 0 },
        ..PartitionData::default()
    };
    (data, Vec::new())
}

fn answer<F>(partition_index: i32, found: Option<Fetched<F>>) -> PartAnswer<F> {
    let part = match found {
        Some(Ok(part)) => part,
        Some(Err(failure)) => return failed(partition_index, failure.code()),
        None => return failed(partition_index, ErrorCode::UnknownServerError),
    };
    let diverging = part
        .diverging
        .as_ref()
        .map(|end| EpochEndOffset { epoch: end.epoch.get(), end_offset: end.end.get() });
    let data = PartitionData {
        partition_index,
        error_code: ErrorCode::None,
        high_watermark: part.bounds.high_watermark.get(),
        last_stable_offset: part.bounds.stable.get(),
        log_start_offset: part.bounds.log_start.get(),
        diverging_epoch: diverging.unwrap_or_default(),
        records: Records::Elsewhere { len: part.bytes() as usize },
        ..PartitionData::default()
    };
    (data, part.extents)
}

/// What a session compares.
fn outcome<F>(data: &PartitionData<'_>, files: &[Extent<F>]) -> Outcome {
    let diverges = data.diverging_epoch != EpochEndOffset::default();
    Outcome {
        high_watermark: data.high_watermark,
        log_start: data.log_start_offset,
        has_news: !files.is_empty() || data.error_code != ErrorCode::None || diverges,
        has_records: !files.is_empty(),
    }
}

/// The response with its holes filled by ranges of files.
fn pieces<F>(frame: EncodedFrame, extents: Vec<Vec<Extent<F>>>) -> Vec<Piece<F>> {
    let mut head: Bytes = frame.head.freeze();
    let mut pieces = Vec::with_capacity(2 * frame.holes.len() + 1);
    let mut at = 0;
    debug_assert_eq!(frame.holes.len(), extents.len(), "one hole for each partition with records");
    for (hole, files) in frame.holes.iter().zip(extents) {
        let before = head.split_to(hole.at - at);
        at = hole.at;
        pieces.push(Piece::Memory(before));
        pieces.extend(files.into_iter().map(|extent| Piece::File {
            file: extent.file,
            position: extent.position,
            len: extent.len,
            recent: extent.recent,
        }));
    }
    if !head.is_empty() {
        pieces.push(Piece::Memory(head));
    }
    pieces
}
