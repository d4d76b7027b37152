//! The records of one request batch, split by partition into Kafka record batches: one copy per payload, no
//! allocation per record.

use super::partitioner::Partitioner;
use super::status::Error;
use bytes::BytesMut;
use millrace_proto::batch::{BuildError, Builder, Options, Producer};
use millrace_proto::grpc::records_in::{Malformed, Records};
use millrace_proto::kafka::error::ErrorCode;
use millrace_proto::kafka::partition::partition_of_key;
use std::collections::BTreeMap;

/// Records that go to one partition.
#[derive(Debug)]
pub(super) struct Part {
    pub(super) partition: i32,
    /// A whole record batch.
    pub(super) batch: BytesMut,
    /// Which of the request's records they are; empty: all of them.
    pub(super) indexes: Vec<u32>,
}

/// Why records cannot be split.
#[derive(Debug)]
pub(super) enum SplitError {
    /// There are none.
    Empty,
    /// The request is damaged.
    Malformed(Malformed),
    /// A field of the batch is not what it may be: which, and why.
    Field(&'static str, String),
    /// They are understood and refused.
    Refused(Error),
}

impl From<Malformed> for SplitError {
    fn from(error: Malformed) -> Self {
        Self::Malformed(error)
    }
}

/// How to choose.
pub(super) struct Choice<'a> {
    pub(super) topic: &'a str,
    /// How many partitions the topic has.
    pub(super) count: i32,
    /// For records that name none.
    pub(super) partition: Option<i32>,
    pub(super) partitioner: &'a Partitioner,
    /// The timestamp of records that bring none.
    pub(super) now: i64,
    /// The idempotent producer that the records are from; all of them go to one partition then.
    pub(super) producer: Option<Producer>,
}

#[derive(Default)]
struct Filling {
    builder: Builder,
    indexes: Vec<u32>,
}

/// Splits `records`, in order, by ascending partition.
pub(super) fn split(records: &Records<'_>, choice: &Choice<'_>) -> Result<Vec<Part>, SplitError> {
    let mut parts = BTreeMap::<i32, Filling>::new();
    let mut headers = Vec::new();
    let mut keyless = None;
    for (index, record) in records.iter().enumerate() {
        let record = record?;
        let partition = match (record.partition.or(choice.partition), record.key) {
            (Some(partition), _) => check(partition, index, choice)?,
            (None, Some(key)) => partition_of_key(key, choice.count),
            (None, None) => *keyless.get_or_insert_with(|| choice.partitioner.of_batch(choice.count)),
        };
        record.headers(&mut headers)?;
        if choice.producer.is_some() && choice.partition != Some(partition) {
            let why =
                format!("record {index} is for partition {partition}: a numbered batch is for one partition");
            return Err(SplitError::Field("records", why));
        }
        let part = parts.entry(partition).or_default();
        part.indexes.push(index as u32); // a request is far smaller than 4 Gi records
        let timestamp = record.timestamp_ms.unwrap_or(choice.now);
        part.builder
            .push(timestamp, record.key, record.value, &headers)
            .map_err(|error| refused(error, choice.topic))?;
    }
    let options = Options { producer: choice.producer, ..Options::default() };
    let single = parts.len() == 1;
    let parts = parts.into_iter().map(|(partition, filling)| {
        let batch = filling.builder.finish(&options).map_err(|error| refused(error, choice.topic))?;
        Ok::<_, SplitError>(Part {
            partition,
            batch,
            indexes: if single { Vec::new() } else { filling.indexes },
        })
    });
    let parts: Vec<Part> = parts.collect::<Result<_, SplitError>>()?;
    if parts.is_empty() { Err(SplitError::Empty) } else { Ok(parts) }
}

/// A whole batch for one partition, as it came; what is in it is checked where it is appended.
pub(super) fn whole(batch: &[u8], choice: &Choice<'_>) -> Result<Vec<Part>, SplitError> {
    let partition = check(choice.partition.unwrap_or_default(), 0, choice)?;
    Ok(vec![Part { partition, batch: BytesMut::from(batch), indexes: Vec::new() }])
}

fn check(partition: i32, index: usize, choice: &Choice<'_>) -> Result<i32, SplitError> {
    if (0..choice.count).contains(&partition) {
        return Ok(partition);
    }
    let (topic, count) = (choice.topic, choice.count);
    let message =
        format!("record {index}: topic {topic:?} has no partition {partition}, only 0 to {}", count - 1);
    Err(SplitError::Refused(Error::new(ErrorCode::UnknownTopicOrPartition, message)))
}

fn refused(error: BuildError, topic: &str) -> SplitError {
    let code = match error {
        BuildError::Timestamp { .. } => ErrorCode::InvalidTimestamp,
        BuildError::Empty | BuildError::TooLarge { .. } => ErrorCode::MessageTooLarge,
        BuildError::Compress { .. } => ErrorCode::UnknownServerError,
    };
    SplitError::Refused(Error::new(code, format!("records for topic {topic:?}: {error}")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;
    use millrace_proto::batch::records;
    use millrace_proto::compression::Caps;
    use millrace_proto::grpc::records_in::PublishRequest;
    use millrace_proto::grpc::v1;
    use prost::Message;

    fn record(key: Option<&'static str>, partition: Option<i32>) -> v1::Record {
        v1::Record { key: key.map(Bytes::from), partition, ..Default::default() }
    }

    fn split(records: Vec<v1::Record>, partition: Option<i32>) -> Result<Vec<Part>, SplitError> {
        let bytes = v1::PublishRequest { records, ..Default::default() }.encode_to_vec();
        let request = PublishRequest::parse(&bytes).expect("encoded above");
        let partitioner = Partitioner::new(5);
        super::split(
            &request.records,
            &Choice { topic: "t", count: 3, partition, partitioner: &partitioner, now: 42, producer: None },
        )
    }

    #[test]
    fn every_record_goes_where_it_should() {
        let given = vec![
            record(Some("foobar"), None),
            record(None, None),
            record(Some("foobar"), Some(0)),
            record(None, None),
        ];
        let parts = split(given, None).expect("fine");
        let keyed = partition_of_key(b"foobar", 3);
        assert_eq!(keyed, (-790332482_i32 as u32 & 0x7fff_ffff) as i32 % 3);
        let of =
            |index: u32| parts.iter().find(|part| part.indexes.contains(&index)).map(|part| part.partition);
        assert_eq!((of(0), of(1), of(2), of(3)), (Some(keyed), Some(2), Some(0), Some(2)));
        let mut scratch = Vec::new();
        let last = parts.last().expect("some");
        let stamps: Vec<_> = records(&last.batch, &mut scratch, &Caps::default())
            .expect("a batch")
            .map(|record| record.expect("a record").timestamp)
            .collect();
        assert!(!stamps.is_empty() && stamps.iter().all(|stamp| *stamp == 42));
    }

    #[test]
    fn one_partition_needs_no_indexes() {
        let parts = split(vec![record(None, None), record(Some("k"), None)], Some(1)).expect("fine");
        assert_eq!((parts.len(), parts[0].partition, parts[0].indexes.len()), (1, 1, 0));
    }

    #[test]
    fn what_cannot_be_is_refused() {
        assert!(matches!(split(vec![], None), Err(SplitError::Empty)));
        for partition in [-1, 3] {
            let Err(SplitError::Refused(error)) = split(vec![record(None, Some(partition))], None) else {
                panic!("there are three")
            };
            assert_eq!(error.code, ErrorCode::UnknownTopicOrPartition);
        }
    }
}
