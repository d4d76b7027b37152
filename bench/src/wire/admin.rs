//! One question after the other, over a connection that blocks: topics, offsets, brokers. Nothing here is timed.

use crate::error::{Doing, Error, Result};
use millrace_proto::kafka::api::{Request, decode_response};
use millrace_proto::kafka::error::ErrorCode;
use millrace_proto::kafka::frame;
use millrace_proto::kafka::header::{decode_response_header, encode_request};
use millrace_proto::kafka::messages::create_topics::{
    CreatableTopic, CreatableTopicConfig, CreateTopicsRequest, CreateTopicsResponse,
};
use millrace_proto::kafka::messages::delete_topics::{DeleteTopicsRequest, DeleteTopicsResponse};
use millrace_proto::kafka::messages::list_offsets::{
    EARLIEST, LATEST, ListOffsetsPartition, ListOffsetsRequest, ListOffsetsResponse, ListOffsetsTopic,
};
use millrace_proto::kafka::messages::metadata::{MetadataRequest, MetadataResponse};
use std::io::{Read, Write};
use std::net::{TcpStream, ToSocketAddrs};
use std::ops::Range;
use std::thread;
use std::time::{Duration, Instant};
use uuid::Uuid;

/// What the harness calls itself.
pub const CLIENT: &str = "millrace-bench";

/// Answers of the largest topics are far smaller.
const LARGEST_ANSWER: usize = 64 << 20;
/// How long one answer may take: the creation of thousands of partitions is slow.
const PATIENCE: Duration = Duration::from_secs(180);
/// How long a new topic's partitions may be without a leader.
const LEADERS: Duration = Duration::from_secs(60);

/// A connection for questions.
#[derive(Debug)]
pub struct Admin {
    stream: TcpStream,
    asked: i32,
}

impl Admin {
    /// Connects.
    pub fn connect(address: &str) -> Result<Self> {
        let stream = connect(address)?;
        stream.set_read_timeout(Some(PATIENCE)).doing(address)?;
        Ok(Self { stream, asked: 0 })
    }

    /// Sends a request and returns the body of its answer.
    pub(super) fn ask<R: Request>(&mut self, version: i16, request: &R) -> Result<Vec<u8>> {
        let api = R::KEY;
        self.asked += 1;
        let frame = encode_request(version, self.asked, Some(CLIENT), request);
        let frame = frame.map_err(|why| Error::Usage(why.to_string()))?;
        self.stream.write_all(&frame).doing(format_args!("sending {api}"))?;
        let mut prefix = [0; frame::PREFIX];
        self.stream.read_exact(&mut prefix).doing(format_args!("waiting for the answer to {api}"))?;
        let size = frame::size(prefix, LARGEST_ANSWER).map_err(|why| Error::unreadable(api, why))?;
        let mut answer = vec![0; size];
        self.stream.read_exact(&mut answer).doing(format_args!("reading the answer to {api}"))?;
        let header = decode_response_header::<R::Response<'_>>(&answer, version);
        let (correlation_id, body) = header.map_err(|why| Error::unreadable(api, why))?;
        if correlation_id != self.asked {
            return Err(Error::unreadable(api, "it answers another request"));
        }
        Ok(body.to_vec())
    }

    /// How many brokers there are.
    pub fn brokers(&mut self) -> Result<usize> {
        let request = MetadataRequest { topics: Some(Vec::new()), ..MetadataRequest::default() };
        let body = self.ask(12, &request)?;
        let answer: MetadataResponse<'_> =
            decode_response(&body, 12).map_err(|why| Error::unreadable("Metadata", why))?;
        Ok(answer.brokers.len())
    }

    /// Creates a topic, waits until all its partitions have leaders that know it, and returns its id.
    pub fn create_topic(&mut self, name: &str, partitions: u32, configs: &[(&str, &str)]) -> Result<Uuid> {
        let configs = configs.iter().map(|&(name, value)| CreatableTopicConfig { name, value: Some(value) });
        let topic = CreatableTopic {
            name,
            num_partitions: number(partitions),
            replication_factor: 1,
            configs: configs.collect(),
            ..CreatableTopic::default()
        };
        let request = CreateTopicsRequest {
            topics: vec![topic],
            timeout_ms: 120_000,
            ..CreateTopicsRequest::default()
        };
        let body = self.ask(7, &request)?;
        let answer: CreateTopicsResponse<'_> =
            decode_response(&body, 7).map_err(|why| Error::unreadable("CreateTopics", why))?;
        let topic = answer.topics.first().ok_or_else(|| Error::unreadable("CreateTopics", "no topic"))?;
        if topic.error_code != ErrorCode::None {
            let said = topic.error_message.unwrap_or(topic.error_code.message());
            let code = topic.error_code.name();
            return Err(Error::Answer(format!("topic {name} was not created: {code}: {said}")));
        }
        let until = Instant::now() + LEADERS;
        while let Err(error) = self.offsets(name, 0..partitions, EARLIEST) {
            if Instant::now() > until {
                return Err(error);
            }
            thread::sleep(Duration::from_millis(20));
        }
        Ok(topic.topic_id)
    }

    /// The end offset of each partition, as consumers see it.
    pub fn end_offsets(&mut self, name: &str, partitions: u32) -> Result<Vec<i64>> {
        self.offsets(name, 0..partitions, LATEST)
    }

    /// That of one partition.
    pub fn end_offset(&mut self, name: &str, partition: u32) -> Result<i64> {
        Ok(self.offsets(name, partition..partition + 1, LATEST)?[0])
    }

    fn offsets(&mut self, name: &str, partitions: Range<u32>, timestamp: i64) -> Result<Vec<i64>> {
        let wanted = |partition_index| ListOffsetsPartition {
            partition_index,
            timestamp,
            ..ListOffsetsPartition::default()
        };
        let topic =
            ListOffsetsTopic { name, partitions: partitions.clone().map(|p| wanted(number(p))).collect() };
        let request =
            ListOffsetsRequest { replica_id: -1, topics: vec![topic], ..ListOffsetsRequest::default() };
        let body = self.ask(7, &request)?;
        let answer: ListOffsetsResponse<'_> =
            decode_response(&body, 7).map_err(|why| Error::unreadable("ListOffsets", why))?;
        let mut offsets = vec![None; partitions.len()];
        for found in answer.topics.iter().flat_map(|topic| &topic.partitions) {
            if found.error_code != ErrorCode::None {
                let asked = format_args!("ListOffsets of {name}-{}", found.partition_index);
                return Err(Error::code(asked, found.error_code));
            }
            let at = found.partition_index.checked_sub(number(partitions.start));
            let at = at.and_then(|at| offsets.get_mut(usize::try_from(at).ok()?));
            let place = at.ok_or_else(|| Error::unreadable("ListOffsets", "a partition too many"))?;
            *place = Some(found.offset);
        }
        let all: Option<Vec<i64>> = offsets.into_iter().collect();
        all.ok_or_else(|| Error::unreadable("ListOffsets", "a partition is missing"))
    }

    /// Deletes a topic.
    pub fn delete_topic(&mut self, name: &str) -> Result<()> {
        let request = DeleteTopicsRequest {
            topic_names: vec![name],
            timeout_ms: 120_000,
            ..DeleteTopicsRequest::default()
        };
        let body = self.ask(5, &request)?;
        let answer: DeleteTopicsResponse<'_> =
            decode_response(&body, 5).map_err(|why| Error::unreadable("DeleteTopics", why))?;
        match answer.responses.iter().find(|topic| topic.error_code != ErrorCode::None) {
            Some(topic) => Err(Error::code(format_args!("deleting topic {name}"), topic.error_code)),
            None => Ok(()),
        }
    }
}

/// Partitions are counted in 31 bits.
fn number(partitions: u32) -> i32 {
    i32::try_from(partitions).unwrap_or(i32::MAX)
}

/// A connection without Nagle's delay.
pub fn connect(address: &str) -> Result<TcpStream> {
    let mut resolved = address.to_socket_addrs().doing(format_args!("looking up {address}"))?;
    let to = resolved.next().ok_or_else(|| Error::Usage(format!("{address} has no address")))?;
    let stream = TcpStream::connect_timeout(&to, Duration::from_secs(10))
        .doing(format_args!("connecting to {address}"))?;
    stream.set_nodelay(true).doing(address)?;
    Ok(stream)
}
