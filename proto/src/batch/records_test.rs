//! Records in, the same records out; and what happens to damage.

use super::*;
use crate::batch::stamp::seal;
use crate::batch::{BuildError, Builder, Options, stamp, stamp_log_append_time};

type Plain<'a> = (i64, Option<&'a [u8]>, Option<&'a [u8]>, &'a [RecordHeader<'a>]);

const HEADERS: &[RecordHeader<'_>] = &[
    RecordHeader { key: b"trace", value: Some(b"1") },
    RecordHeader { key: b"", value: None },
    RecordHeader { key: b"trace", value: Some(b"") },
];

const RECORDS: &[Plain<'_>] = &[
    (5000, None, None, &[]),
    (4000, Some(b""), Some(b""), &[]),
    (-1, Some(b"key"), Some(b"value"), HEADERS),
    (-7, Some(&[0xff; 300]), Some(&[0; 70_000]), &[]),
];

fn build(options: &Options) -> Vec<u8> {
    let mut builder = Builder::new();
    for &(timestamp, key, value, headers) in RECORDS {
        builder.push(timestamp, key, value, headers).unwrap();
    }
    builder.finish(options).unwrap().to_vec()
}

#[test]
fn records_come_back_from_every_codec() {
    for codec in Codec::ALL {
        let mut bytes = build(&Options { codec, ..Options::default() });
        stamp(&mut bytes, 100, 1);
        bytes.extend([9; 10]); // whatever follows in a file
        let mut scratch = b"left over".to_vec();
        let iter = records(&bytes, &mut scratch, &Caps::default()).unwrap();
        assert_eq!(iter.header().record_count, RECORDS.len() as i32);
        let read: Vec<_> = iter.map(Result::unwrap).collect();
        assert_eq!(read.len(), RECORDS.len());
        for (i, (record, &(timestamp, key, value, headers))) in read.iter().zip(RECORDS).enumerate() {
            assert_eq!((record.offset, record.timestamp), (100 + i as i64, timestamp));
            assert_eq!((record.key, record.value), (key, value));
            assert_eq!(record.headers.len(), headers.len());
            assert!(record.headers.clone().eq(headers.iter().copied()));
        }
    }
}

#[test]
fn log_append_time_is_every_records_timestamp() {
    let mut bytes = build(&Options::default());
    stamp_log_append_time(&mut bytes, 42);
    let mut scratch = Vec::new();
    let mut iter = records(&bytes, &mut scratch, &Caps::default()).unwrap();
    assert!(iter.all(|record| record.unwrap().timestamp == 42));
}

#[test]
fn an_iteration_ends_with_its_first_error() {
    let mut bytes = build(&Options::default());
    bytes[Header::SIZE] = 0x01; // length -1
    seal(&mut bytes);
    let mut scratch = Vec::new();
    let read: Vec<_> = records(&bytes, &mut scratch, &Caps::default()).unwrap().collect();
    assert_eq!(read, [Err(BatchError::Malformed { index: 0, fault: RecordFault::Negative(-1) })]);

    let mut fewer = build(&Options::default());
    fewer[57..61].copy_from_slice(&1i32.to_be_bytes());
    let read: Vec<_> = records(&fewer, &mut scratch, &Caps::default()).unwrap().collect();
    assert_eq!(read.len(), 2);
    assert_eq!(read[1], Err(BatchError::Trailing { record_count: 1 }));
}

#[test]
fn a_batch_may_be_empty_after_compaction() {
    let header = Header {
        base_offset: 10,
        length: 49,
        last_offset_delta: 4,
        record_count: 0,
        ..Header::parse(&build(&Options::default())).unwrap()
    };
    let mut scratch = Vec::new();
    assert_eq!(records(&header.encode(), &mut scratch, &Caps::default()).unwrap().count(), 0);
}

#[test]
fn caps_bound_the_scratch() {
    for codec in [Codec::Gzip, Codec::Snappy, Codec::Lz4, Codec::Zstd] {
        let bytes = build(&Options { codec, ..Options::default() });
        let caps = Caps { max_bytes: 10_000, max_ratio: 1000, free_bytes: 0 };
        let mut scratch = Vec::new();
        let error = records(&bytes, &mut scratch, &caps).unwrap_err();
        assert_eq!(error, BatchError::DecompressedTooLarge { limit: 10_000 });
        assert!(scratch.capacity() <= 128 * 1024, "{codec} took {}", scratch.capacity());
    }
}

#[test]
fn a_builder_refuses_what_the_format_cannot_hold() {
    assert_eq!(Builder::new().finish(&Options::default()), Err(BuildError::Empty));
    let mut builder = Builder::new();
    builder.push(i64::MIN, None, None, &[]).unwrap();
    let size = builder.size();
    let far = BuildError::Timestamp { timestamp: 0, first: i64::MIN };
    assert_eq!(builder.push(0, None, None, &[]), Err(far));
    assert_eq!((builder.count(), builder.size()), (1, size));
}

#[test]
fn the_upper_bound_is_one() {
    for &(timestamp, key, value, headers) in RECORDS {
        let mut builder = Builder::new();
        builder.push(0, None, None, &[]).unwrap();
        let before = builder.size();
        builder.push(timestamp, key, value, headers).unwrap();
        let took = builder.size() - before;
        let bound = Builder::upper_bound(key, value, headers);
        assert!(took <= bound && bound <= took + 20, "{took} {bound}");
    }
}
