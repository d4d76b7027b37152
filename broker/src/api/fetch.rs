//! Fetch (1), versions 4-18: reads record batches, whole ones, from page cache to socket.
//!
//! Waits up to max wait for min bytes, woken by the event and never by polling; at least one batch is returned whole
//! if there is any. Sessions (KIP-227) are not opened: session id 0 tells the client to send full requests, and one
//! that continues a session gets FETCH_SESSION_ID_NOT_FOUND. From version 13 topics are named by id; an unknown one is
//! UNKNOWN_TOPIC_ID. An offset between watermark and end is no error, but finds nothing yet.

use super::Call;
use super::errors::WireError;
use crate::net::responses::{Answer, Piece};
use crate::shard::calls::{FetchPart, Fetched, Found};
use crate::shard::fetch::Fetch;
use crate::shard::partition_driver::PartitionId;
use bytes::Bytes;
use futures_util::future::{Either, select};
use millrace_io::Io;
use millrace_logic::meta::Image;
use millrace_logic::partition::{Isolation, LeaderEpoch};
use millrace_proto::kafka::error::ErrorCode;
use millrace_proto::kafka::header::encode_response;
use millrace_proto::kafka::messages::fetch::{
    EpochEndOffset, FetchRequest, FetchResponse, FetchTopic, FetchableTopicResponse, PartitionData, Records,
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

/// One topic of the request.
struct TopicParts {
    name: String,
    topic_id: Uuid,
    /// Each partition's number, and why it is not read, if so.
    parts: Vec<(i32, Option<ErrorCode>)>,
}

pub(super) fn start<I: Io>(call: Call<I>, request: FetchRequest<'_>) {
    // A full request (epoch 0 or -1) needs no session; anything else continues one that was never opened.
    if request.session_id != 0 || request.session_epoch > 0 {
        let error_code = call.error(ErrorCode::FetchSessionIdNotFound);
        return call.answer(&FetchResponse { error_code, ..FetchResponse::default() });
    }
    let Some(isolation) = Isolation::from_wire(request.isolation_level) else {
        return call.close(&format_args!("isolation level {} is not 0 or 1", request.isolation_level));
    };
    let image = call.shard.image();
    let mut parts = Vec::new();
    let plan = request.topics.iter().map(|topic| plan_topic(&call, &image, topic, &mut parts)).collect();
    let most = call.shard.config().limits.fetch_max_bytes as u64;
    let fetch = Fetch {
        parts,
        min_bytes: request.min_bytes.max(0) as u64,
        max_bytes: (request.max_bytes.max(0) as u64).min(most),
        max_wait: Duration::from_millis(request.max_wait_ms.max(0) as u64).min(LONGEST_WAIT),
        isolation,
    };
    let io = call.shard.io().clone();
    io.spawn(finish(call, plan, fetch));
}

fn plan_topic<I: Io>(
    call: &Call<I>,
    image: &Image,
    topic: &FetchTopic<'_>,
    parts: &mut Vec<FetchPart>,
) -> TopicParts {
    let (known, unknown) = match call.version >= TOPIC_IDS {
        true => (image.topic_by_id(topic.topic_id), ErrorCode::UnknownTopicId),
        false => (image.topic(topic.topic), ErrorCode::UnknownTopicOrPartition),
    };
    let plan = topic.partitions.iter().map(|partition| {
        let index = partition.partition;
        let Some(known) = known else { return (index, Some(unknown)) };
        if !(0..known.partitions.len() as i32).contains(&index) {
            return (index, Some(ErrorCode::UnknownTopicOrPartition));
        }
        parts.push(FetchPart {
            id: PartitionId { topic: known.id, partition: index },
            offset: partition.fetch_offset,
            max_bytes: partition.partition_max_bytes.max(0) as u64,
            epoch: LeaderEpoch::from_wire(partition.current_leader_epoch),
            last_fetched: LeaderEpoch::from_wire(partition.last_fetched_epoch),
        });
        (index, None)
    });
    TopicParts { parts: plan.collect(), name: topic.topic.to_owned(), topic_id: topic.topic_id }
}

async fn finish<I: Io>(call: Call<I>, plan: Vec<TopicParts>, mut fetch: Fetch) {
    if plan.iter().flat_map(|topic| &topic.parts).any(|(_, refused)| refused.is_some()) {
        // There is something to tell already.
        fetch.max_wait = Duration::ZERO;
    }
    let lost = call.ticket.lost();
    let mut found = match select(pin!(call.shard.fetch(fetch)), pin!(lost)).await {
        Either::Left((found, _)) => found.into_iter(),
        // Nobody waits for it any more.
        Either::Right(_) => return,
    };
    let mut extents = Vec::new();
    let responses = plan.iter().map(|topic| FetchableTopicResponse {
        topic: &topic.name,
        topic_id: topic.topic_id,
        partitions: topic
            .parts
            .iter()
            .map(|&(index, refused)| respond(&call, index, refused, &mut found, &mut extents))
            .collect(),
    });
    let response = FetchResponse { responses: responses.collect(), ..FetchResponse::default() };
    match encode_response(call.version, call.correlation_id, &response) {
        Ok(frame) => call.finish(Answer::Send(pieces(frame, extents))),
        Err(error) => call.close(&error),
    }
}

fn respond<I: Io>(
    call: &Call<I>,
    partition_index: i32,
    refused: Option<ErrorCode>,
    found: &mut impl Iterator<Item = Fetched<I::File>>,
    extents: &mut Vec<Vec<Extent<I::File>>>,
) -> PartitionData<'static> {
    let failed = |code| PartitionData {
        partition_index,
        error_code: call.error(code),
        high_watermark: -1,
        records: Records::Elsewhere { len: 0 },
        ..PartitionData::default()
    };
    if let Some(code) = refused {
        return failed(code);
    }
    let part: Found<I::File> = match found.next() {
        Some(Ok(part)) => part,
        Some(Err(failure)) => return failed(failure.code()),
        None => return failed(ErrorCode::UnknownServerError),
    };
    let len = part.bytes() as usize;
    let diverging =
        part.diverging.map(|end| EpochEndOffset { epoch: end.epoch.get(), end_offset: end.end.get() });
    let data = PartitionData {
        partition_index,
        error_code: ErrorCode::None,
        high_watermark: part.bounds.high_watermark.get(),
        last_stable_offset: part.bounds.stable.get(),
        log_start_offset: part.bounds.log_start.get(),
        diverging_epoch: diverging.unwrap_or_default(),
        records: Records::Elsewhere { len },
        ..PartitionData::default()
    };
    if len > 0 {
        extents.push(part.extents);
    }
    data
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
