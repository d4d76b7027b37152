//! Requests and batches as clients send them.

use bytes::{Bytes, BytesMut};
use millrace_proto::batch::{Builder, Options};
use millrace_proto::kafka::header::encode_request;
use millrace_proto::kafka::messages::fetch::{FetchPartition, FetchRequest, FetchTopic};
use millrace_proto::kafka::messages::produce::{PartitionProduceData, ProduceRequest, TopicProduceData};
use uuid::Uuid;

/// With topic ids, as Kafka's own clients of release 4.3 send it.
pub const PRODUCE_VERSION: i16 = 13;
/// The same.
pub const FETCH_VERSION: i16 = 17;

const TOPIC: Uuid = Uuid::from_u128(0x6d69_6c6c_7261_6365);
const CLIENT: &str = "millrace-micro";

/// A batch of so many records of so many bytes.
pub fn batch(records: usize, bytes: usize) -> BytesMut {
    let value = vec![b'v'; bytes];
    let mut builder = Builder::new();
    for at in 0..records {
        builder.push(1_700_000_000_000 + at as i64, None, Some(&value), &[]).expect("a small record");
    }
    builder.finish(&Options::default()).expect("a small batch")
}

/// A Produce request with one such batch, as it comes without its length prefix.
pub fn produce(records: usize, bytes: usize) -> Bytes {
    let batch = batch(records, bytes);
    let partition = PartitionProduceData { index: 3, records: Some(&batch) };
    let topic = TopicProduceData { topic_id: TOPIC, partition_data: vec![partition], ..Default::default() };
    let request =
        ProduceRequest { acks: 1, timeout_ms: 30_000, topic_data: vec![topic], ..ProduceRequest::default() };
    without_length(encode_request(PRODUCE_VERSION, 7, Some(CLIENT), &request).expect("a request").freeze())
}

/// A full Fetch request for so many partitions of a topic.
pub fn fetch(partitions: i32) -> Bytes {
    let wanted = |partition| FetchPartition {
        partition,
        fetch_offset: 1_000_000,
        partition_max_bytes: 1 << 20,
        ..FetchPartition::default()
    };
    let topic = FetchTopic {
        topic_id: TOPIC,
        partitions: (0..partitions).map(wanted).collect(),
        ..FetchTopic::default()
    };
    let request =
        FetchRequest { max_wait_ms: 500, min_bytes: 1, topics: vec![topic], ..FetchRequest::default() };
    without_length(encode_request(FETCH_VERSION, 7, Some(CLIENT), &request).expect("a request").freeze())
}

fn without_length(frame: Bytes) -> Bytes {
    frame.slice(millrace_proto::kafka::frame::PREFIX..)
}
