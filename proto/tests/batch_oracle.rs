//! The `kafka-protocol` crate reads what we build, and we read what it builds: same records, every codec.

use bytes::{Bytes, BytesMut};
use kafka_protocol::indexmap::IndexMap;
use kafka_protocol::protocol::StrBytes;
use kafka_protocol::records::{
    self as theirs, Compression, RecordBatchDecoder, RecordBatchEncoder, RecordEncodeOptions,
};
use millrace_proto::batch::{self, Builder, Limits, Options, Producer, RecordHeader};
use millrace_proto::compression::{Caps, Codec};
use proptest::prelude::*;

/// One record, owned by neither side.
#[derive(Debug, Clone, PartialEq)]
struct Plain {
    timestamp: i64,
    key: Option<Vec<u8>>,
    value: Option<Vec<u8>>,
    headers: Vec<(String, Option<Vec<u8>>)>,
}

fn compression(codec: Codec) -> Compression {
    match codec {
        Codec::None => Compression::None,
        Codec::Gzip => Compression::Gzip,
        Codec::Snappy => Compression::Snappy,
        Codec::Lz4 => Compression::Lz4,
        Codec::Zstd => Compression::Zstd,
    }
}

fn field(longest: usize) -> impl Strategy<Value = Option<Vec<u8>>> {
    let random = prop::collection::vec(any::<u8>(), 0..longest);
    let repeated = (any::<u8>(), 0..longest * 8).prop_map(|(byte, len)| vec![byte; len]);
    prop::option::of(prop_oneof![random, repeated])
}

/// Their decoder keeps headers in a map: keys are distinct.
fn headers() -> impl Strategy<Value = Vec<(String, Option<Vec<u8>>)>> {
    prop::collection::btree_map("[a-zé]{0,6}", field(8), 0..4).prop_map(|map| map.into_iter().collect())
}

fn record() -> impl Strategy<Value = Plain> {
    let timestamp = prop_oneof![Just(-1), 0i64..4_000_000_000_000];
    (timestamp, field(40), field(3000), headers()).prop_map(|(timestamp, key, value, headers)| Plain {
        timestamp,
        key,
        value,
        headers,
    })
}

fn producer() -> impl Strategy<Value = Option<Producer>> {
    let some = (0i64.., 0i16.., 0i32..1_000_000).prop_map(|(id, epoch, base_sequence)| Producer {
        id,
        epoch,
        base_sequence,
    });
    prop::option::of(some)
}

fn build(records: &[Plain], options: &Options) -> BytesMut {
    let mut builder = Builder::new();
    for record in records {
        let headers: Vec<_> = record
            .headers
            .iter()
            .map(|(key, value)| RecordHeader { key: key.as_bytes(), value: value.as_deref() })
            .collect();
        builder.push(record.timestamp, record.key.as_deref(), record.value.as_deref(), &headers).unwrap();
    }
    builder.finish(options).unwrap()
}

fn to_theirs(record: &Plain, index: usize, options: &Options) -> theirs::Record {
    let producer = options.producer;
    theirs::Record {
        transactional: options.transactional,
        control: false,
        delete_horizon: false,
        partition_leader_epoch: -1,
        producer_id: producer.map_or(-1, |producer| producer.id),
        producer_epoch: producer.map_or(-1, |producer| producer.epoch),
        timestamp_type: theirs::TimestampType::Creation,
        offset: index as i64,
        sequence: producer.map_or(-1, |producer| producer.base_sequence) + index as i32,
        timestamp: record.timestamp,
        key: record.key.clone().map(Bytes::from),
        value: record.value.clone().map(Bytes::from),
        headers: record
            .headers
            .iter()
            .map(|(key, value)| (StrBytes::from_string(key.clone()), value.clone().map(Bytes::from)))
            .collect::<IndexMap<_, _>>(),
    }
}

fn from_theirs(record: theirs::Record) -> Plain {
    let owned = |bytes: Option<Bytes>| bytes.map(|bytes| bytes.to_vec());
    Plain {
        timestamp: record.timestamp,
        key: owned(record.key),
        value: owned(record.value),
        headers: record.headers.into_iter().map(|(key, value)| (key.to_string(), owned(value))).collect(),
    }
}

fn from_ours(record: batch::Record<'_>) -> Plain {
    let owned = |bytes: Option<&[u8]>| bytes.map(<[u8]>::to_vec);
    Plain {
        timestamp: record.timestamp,
        key: owned(record.key),
        value: owned(record.value),
        headers: record
            .headers
            .map(|header| (String::from_utf8(header.key.to_vec()).unwrap(), owned(header.value)))
            .collect(),
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn they_read_what_we_build(
        records in prop::collection::vec(record(), 1..40),
        codec in prop::sample::select(&Codec::ALL[..]),
        producer in producer(),
        transactional: bool,
    ) {
        let options = Options { codec, producer, transactional, ..Options::default() };
        let mut bytes = build(&records, &options).freeze();
        let read = RecordBatchDecoder::decode(&mut bytes).unwrap();
        prop_assert_eq!(read.compression, compression(codec));
        for (index, record) in read.records.iter().enumerate() {
            prop_assert_eq!(record.offset, index as i64);
            prop_assert_eq!(record.transactional, transactional);
            prop_assert_eq!(record.producer_id, producer.map_or(-1, |producer| producer.id));
            prop_assert_eq!(record.producer_epoch, producer.map_or(-1, |producer| producer.epoch));
            if let Some(producer) = producer {
                prop_assert_eq!(record.sequence, producer.base_sequence + index as i32);
            }
        }
        let read: Vec<_> = read.records.into_iter().map(from_theirs).collect();
        prop_assert_eq!(read, records);
    }

    #[test]
    fn we_read_what_they_build(
        records in prop::collection::vec(record(), 1..40),
        codec in prop::sample::select(&Codec::ALL[..]),
        producer in producer(),
        transactional: bool,
    ) {
        let options = Options { codec, producer, transactional, ..Options::default() };
        let encode = RecordEncodeOptions { version: 2, compression: compression(codec) };
        let given: Vec<_> = records.iter().enumerate().map(|(i, record)| to_theirs(record, i, &options)).collect();
        let mut bytes = BytesMut::new();
        if producer.is_some() {
            RecordBatchEncoder::encode(&mut bytes, &given, &encode).unwrap();
        } else {
            // Without a producer their encoder would put every sequence number, all -1, into a batch of its own.
            let sequences = |(i, record): (usize, &theirs::Record)| theirs::Record { sequence: i as i32 - 1, ..record.clone() };
            let given: Vec<_> = given.iter().enumerate().map(sequences).collect();
            RecordBatchEncoder::encode(&mut bytes, &given, &encode).unwrap();
        }

        let checked = batch::validate(&bytes, &Limits { max_batch_bytes: usize::MAX, ..Limits::default() }).unwrap();
        let max = records.iter().map(|record| record.timestamp).max().unwrap();
        let first_with_max = records.iter().position(|record| record.timestamp == max).unwrap();
        prop_assert_eq!(checked.size, bytes.len());
        prop_assert_eq!(checked.record_count as usize, records.len());
        prop_assert_eq!(checked.codec, codec);
        prop_assert_eq!(checked.first_timestamp, records[0].timestamp);
        prop_assert_eq!(checked.max_timestamp, max);
        prop_assert_eq!(checked.max_timestamp_offset_delta, if max == -1 { -1 } else { first_with_max as i32 });
        prop_assert!(!checked.max_timestamp_differs);
        prop_assert_eq!(checked.producer_id, producer.map_or(-1, |producer| producer.id));
        prop_assert_eq!(checked.base_sequence, producer.map_or(-1, |producer| producer.base_sequence));
        prop_assert_eq!(checked.transactional, transactional);
        prop_assert_eq!(checked.null_key, records.iter().any(|record| record.key.is_none()));

        let mut scratch = Vec::new();
        let read = batch::records(&bytes, &mut scratch, &Caps::default()).unwrap();
        let read: Vec<_> = read.map(|record| from_ours(record.unwrap())).collect();
        prop_assert_eq!(read, records);
    }
}
