//! Records in gRPC requests: the views accept nothing that the generated messages refuse, and say the same.

use millrace_proto::batch::RecordHeader;
use millrace_proto::grpc::records_in::{
    Malformed, ProduceBatch, ProduceRequest, PublishRequest, Record, Records,
};
use millrace_proto::grpc::v1;
use prost::Message;

/// Bodies of `Produce` and of `Publish`.
pub fn records(data: &[u8]) {
    produce_body(data);
    publish_body(data);
}

/// The body of a `Produce` request. Whether it was understood.
pub fn produce_body(data: &[u8]) -> bool {
    let Ok(ours) = produce(data) else { return false };
    assert_eq!(v1::ProduceRequest::decode(data), Ok(ours));
    true
}

/// The body of a `Publish` request. Whether it was understood.
pub fn publish_body(data: &[u8]) -> bool {
    let Ok(ours) = publish(data) else { return false };
    assert_eq!(v1::PublishRequest::decode(data), Ok(ours));
    true
}

fn produce(data: &[u8]) -> Result<v1::ProduceRequest, Malformed> {
    let request = ProduceRequest::parse(data)?;
    let batches = request.batches().map(|batch| {
        let ProduceBatch { id, topic, partition, records, sequence, record_batch } = batch?;
        let record_batch = record_batch.map(|bytes| bytes.to_vec().into());
        let (topic, records) = (topic.to_owned(), all(&records)?);
        Ok(v1::ProduceBatch { id, topic, partition, records, sequence, record_batch })
    });
    Ok(v1::ProduceRequest { options: request.options, batches: batches.collect::<Result<_, _>>()? })
}

fn publish(data: &[u8]) -> Result<v1::PublishRequest, Malformed> {
    let PublishRequest { topic, partition, records, acks, timeout_ms } = PublishRequest::parse(data)?;
    let (topic, records) = (topic.to_owned(), all(&records)?);
    Ok(v1::PublishRequest { topic, partition, records, acks, timeout_ms })
}

fn all(records: &Records<'_>) -> Result<Vec<v1::Record>, Malformed> {
    let mut headers = Vec::new();
    records.iter().map(|record| owned(&record?, &mut headers)).collect()
}

fn owned<'a>(record: &Record<'a>, headers: &mut Vec<RecordHeader<'a>>) -> Result<v1::Record, Malformed> {
    let copy = |bytes: Option<&[u8]>| bytes.map(|bytes| bytes.to_vec().into());
    record.headers(headers)?;
    let header = |header: &RecordHeader<'_>| v1::Header {
        key: String::from_utf8_lossy(header.key).into_owned(),
        value: copy(header.value),
    };
    Ok(v1::Record {
        key: copy(record.key),
        value: copy(record.value),
        headers: headers.iter().map(header).collect(),
        timestamp_ms: record.timestamp_ms,
        partition: record.partition,
    })
}
