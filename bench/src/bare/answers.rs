//! Requests of the bare server: the few that the driver sends, and no errors but those that it cannot do without.

use super::topics::Topics;
use crate::error::{Error, Result};
use bytes::BytesMut;
use millrace_proto::batch::{Header, verify};
use millrace_proto::kafka::api::{ApiKey, Request, Response, decode_request};
use millrace_proto::kafka::error::ErrorCode;
use millrace_proto::kafka::header::{RequestHeader, encode_response};
use millrace_proto::kafka::messages::create_topics::{
    CreatableTopicResult, CreateTopicsRequest, CreateTopicsResponse,
};
use millrace_proto::kafka::messages::delete_topics::{
    DeletableTopicResult, DeleteTopicsRequest, DeleteTopicsResponse,
};
use millrace_proto::kafka::messages::fetch::{
    FetchRequest, FetchResponse, FetchableTopicResponse, PartitionData, Records,
};
use millrace_proto::kafka::messages::list_offsets::{
    EARLIEST, ListOffsetsPartitionResponse, ListOffsetsRequest, ListOffsetsResponse, ListOffsetsTopicResponse,
};
use millrace_proto::kafka::messages::metadata::{MetadataResponse, MetadataResponseBroker};
use millrace_proto::kafka::messages::produce::{
    PartitionProduceResponse, ProduceRequest, ProduceResponse, TopicProduceResponse,
};
use std::fs::File;
use std::ops::Range;
use std::sync::Arc;
use uuid::Uuid;

/// What goes back.
#[derive(Debug)]
pub enum Answer {
    /// A frame.
    Bytes(BytesMut),
    /// A frame with a part of a file in it.
    File {
        /// What comes before it.
        head: BytesMut,
        file: Arc<File>,
        at: u64,
        len: usize,
        /// What comes behind it.
        tail: BytesMut,
    },
    /// Nothing: acks=0.
    Nothing,
}

/// Carries out a request. Batches are stamped where they lie.
pub fn answer(frame: &mut [u8], topics: &Topics, address: &str) -> Result<Answer> {
    let (header, _) = RequestHeader::decode(frame).map_err(unreadable)?;
    let (api, version, id) = (header.api(), header.api_version, header.correlation_id);
    match api {
        Some(ApiKey::Produce) => produce(frame, topics),
        Some(ApiKey::Fetch) => fetch(frame, topics),
        Some(ApiKey::Metadata) => metadata(version, id, address),
        Some(ApiKey::CreateTopics) => create(frame, topics),
        Some(ApiKey::ListOffsets) => list_offsets(frame, topics),
        Some(ApiKey::DeleteTopics) => delete(frame, topics),
        _ => Err(Error::Usage(format!("the bare server does not know {:?}", header.api_key))),
    }
}

fn unreadable(why: impl std::fmt::Display) -> Error {
    Error::Usage(format!("a request cannot be read: {why}"))
}

fn decoded<'f, R>(frame: &'f [u8]) -> Result<(RequestHeader<'f>, R)>
where
    R: Request + millrace_proto::kafka::wire::Decode<'f>,
{
    let (header, body) = RequestHeader::decode(frame).map_err(unreadable)?;
    let request = decode_request(body, header.api_version).map_err(unreadable)?;
    Ok((header, request))
}

fn bytes<R: Response>(version: i16, id: i32, response: &R) -> Result<Answer> {
    Ok(Answer::Bytes(encode_response(version, id, response).map_err(unreadable)?.head))
}

/// What a Produce request says, with the place of its batch in the frame.
struct Produced {
    version: i16,
    id: i32,
    acks: i16,
    topic: Uuid,
    partition: i32,
    batch: Range<usize>,
    header: Header,
}

fn read_produce(frame: &[u8]) -> Result<Produced> {
    let (header, request): (_, ProduceRequest<'_>) = decoded(frame)?;
    let [topic] = &request.topic_data[..] else { return Err(unreadable("not one topic")) };
    let [partition] = &topic.partition_data[..] else { return Err(unreadable("not one partition")) };
    let batch = partition.records.ok_or_else(|| unreadable("no batch"))?;
    // It is borrowed from the frame.
    let at = batch.as_ptr().addr() - frame.as_ptr().addr();
    Ok(Produced {
        version: header.api_version,
        id: header.correlation_id,
        acks: request.acks,
        topic: topic.topic_id,
        partition: partition.index,
        batch: at..at + batch.len(),
        header: verify(batch).map_err(unreadable)?,
    })
}

fn produce(frame: &mut [u8], topics: &Topics) -> Result<Answer> {
    let produced = read_produce(frame)?;
    let topic = topics.by_id(produced.topic).ok_or_else(|| unreadable("no such topic"))?;
    let base_offset = topic.append(produced.partition, &mut frame[produced.batch], &produced.header)?;
    if produced.acks == 0 {
        return Ok(Answer::Nothing);
    }
    let partition = PartitionProduceResponse {
        index: produced.partition,
        base_offset,
        log_start_offset: 0,
        ..PartitionProduceResponse::default()
    };
    let topic = TopicProduceResponse {
        topic_id: produced.topic,
        partition_responses: vec![partition],
        ..TopicProduceResponse::default()
    };
    let response = ProduceResponse { responses: vec![topic], ..ProduceResponse::default() };
    bytes(produced.version, produced.id, &response)
}

fn fetch(frame: &[u8], topics: &Topics) -> Result<Answer> {
    let (header, request): (_, FetchRequest<'_>) = decoded(frame)?;
    let [wanted] = &request.topics[..] else { return Err(unreadable("not one topic")) };
    let [partition] = &wanted.partitions[..] else { return Err(unreadable("not one partition")) };
    let topic = topics.by_id(wanted.topic_id).ok_or_else(|| unreadable("no such topic"))?;
    let most = usize::try_from(partition.partition_max_bytes).unwrap_or(0);
    let found = topic.read(partition.partition, partition.fetch_offset, most)?;
    let data = PartitionData {
        partition_index: partition.partition,
        high_watermark: found.end,
        records: Records::Elsewhere { len: found.len },
        ..PartitionData::default()
    };
    let topic = FetchableTopicResponse {
        topic_id: wanted.topic_id,
        partitions: vec![data],
        ..FetchableTopicResponse::default()
    };
    let response = FetchResponse { responses: vec![topic], ..FetchResponse::default() };
    let whole = encode_response(header.api_version, header.correlation_id, &response).map_err(unreadable)?;
    let mut head = whole.head;
    let Some(hole) = whole.holes.first() else { return Ok(Answer::Bytes(head)) };
    let tail = head.split_off(hole.at);
    Ok(Answer::File { head, file: found.file, at: found.at, len: found.len, tail })
}

fn metadata(version: i16, id: i32, address: &str) -> Result<Answer> {
    let (host, port) = address.rsplit_once(':').ok_or_else(|| unreadable("no address"))?;
    let broker = MetadataResponseBroker { node_id: 1, host, port: port.parse().unwrap_or(0), rack: None };
    let response = MetadataResponse { brokers: vec![broker], ..MetadataResponse::default() };
    bytes(version, id, &response)
}

fn create(frame: &[u8], topics: &Topics) -> Result<Answer> {
    let (header, request): (_, CreateTopicsRequest<'_>) = decoded(frame)?;
    let mut results = Vec::new();
    for topic in &request.topics {
        let mut result = CreatableTopicResult { name: topic.name, ..CreatableTopicResult::default() };
        // Nothing is promised that is not done.
        if topic.configs.iter().all(|config| config.name == "file.delete.delay.ms") {
            result.topic_id = topics.create(topic.name, topic.num_partitions)?;
        } else {
            result.error_code = ErrorCode::InvalidConfig;
        }
        results.push(result);
    }
    let response = CreateTopicsResponse { topics: results, ..CreateTopicsResponse::default() };
    bytes(header.api_version, header.correlation_id, &response)
}

fn list_offsets(frame: &[u8], topics: &Topics) -> Result<Answer> {
    let (header, request): (_, ListOffsetsRequest<'_>) = decoded(frame)?;
    let mut answered = Vec::new();
    for wanted in &request.topics {
        let topic = topics.by_name(wanted.name);
        let mut partitions = Vec::new();
        for partition in &wanted.partitions {
            let mut found = ListOffsetsPartitionResponse {
                partition_index: partition.partition_index,
                ..ListOffsetsPartitionResponse::default()
            };
            match &topic {
                None => found.error_code = ErrorCode::UnknownTopicOrPartition,
                Some(_) if partition.timestamp == EARLIEST => found.offset = 0,
                Some(topic) => found.offset = topic.end(partition.partition_index)?,
            }
            partitions.push(found);
        }
        answered.push(ListOffsetsTopicResponse { name: wanted.name, partitions });
    }
    let response = ListOffsetsResponse { topics: answered, ..ListOffsetsResponse::default() };
    bytes(header.api_version, header.correlation_id, &response)
}

fn delete(frame: &[u8], topics: &Topics) -> Result<Answer> {
    let (header, request): (_, DeleteTopicsRequest<'_>) = decoded(frame)?;
    let result = |name: &'_ str| match topics.delete(name) {
        true => ErrorCode::None,
        false => ErrorCode::UnknownTopicOrPartition,
    };
    let mut responses = Vec::new();
    for name in request.topic_names.iter().copied() {
        let error_code = result(name);
        responses.push(DeletableTopicResult {
            name: Some(name),
            error_code,
            ..DeletableTopicResult::default()
        });
    }
    let response = DeleteTopicsResponse { responses, ..DeleteTopicsResponse::default() };
    bytes(header.api_version, header.correlation_id, &response)
}
