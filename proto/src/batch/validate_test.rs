//! Every check of a leader, each with the fault that it is there for and Kafka's error code.

use super::*;
use crate::batch::stamp::seal;
use crate::batch::{
    Attributes, Builder, MAX_RECORD_ERRORS, Options, Producer, RecordFault, RecordReason, varint,
};
use bytes::BufMut;

/// Three records with timestamps 1000, 3000 and 2000; the second has no key.
fn sample(options: &Options) -> Vec<u8> {
    let mut builder = Builder::new();
    builder.push(1000, Some(b"k"), Some(b"one"), &[]).unwrap();
    builder.push(3000, None, Some(b""), &[]).unwrap();
    builder.push(2000, Some(b""), None, &[]).unwrap();
    builder.finish(options).unwrap().to_vec()
}

fn plain() -> Vec<u8> {
    sample(&Options::default())
}

/// The sample with another header, its CRC right.
fn with_header(change: impl FnOnce(&mut Header)) -> Vec<u8> {
    let mut bytes = plain();
    let mut header = Header::parse(&bytes).unwrap();
    change(&mut header);
    bytes[..Header::SIZE].copy_from_slice(&header.encode());
    seal(&mut bytes);
    bytes
}

/// A batch that declares `count` records and has these bytes behind its header, its CRC right.
fn with_records(count: i32, codec: Codec, records: &[u8]) -> Vec<u8> {
    let header = Header {
        length: (Header::SIZE - Header::LENGTH_OVERHEAD + records.len()) as i32,
        attributes: Attributes::new(codec, false, false),
        record_count: count,
        last_offset_delta: count - 1,
        ..Header::parse(&plain()).unwrap()
    };
    let mut bytes = [&header.encode()[..], records].concat();
    seal(&mut bytes);
    bytes
}

fn record(body: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    varint::put_32(&mut out, body.len() as i32);
    out.put_slice(body);
    out
}

/// The error and its code.
fn refused(bytes: &[u8], limits: &Limits) -> (BatchError, i16) {
    let error = validate(bytes, limits).unwrap_err();
    (error.clone(), error.code())
}

fn refused_by_default(bytes: &[u8]) -> (BatchError, i16) {
    refused(bytes, &Limits::default())
}

#[test]
fn facts_are_those_of_the_records() {
    for codec in Codec::ALL {
        let producer = Some(Producer { id: 77, epoch: 3, base_sequence: i32::MAX - 1 });
        let bytes = sample(&Options { codec, producer, transactional: true, ..Options::default() });
        let checked = validate(&bytes, &Limits::default()).unwrap();
        let expected = Checked {
            size: bytes.len(),
            record_count: 3,
            codec,
            first_timestamp: 1000,
            max_timestamp: 3000,
            max_timestamp_offset_delta: 1,
            max_timestamp_differs: false,
            producer_id: 77,
            producer_epoch: 3,
            base_sequence: i32::MAX - 1,
            transactional: true,
            null_key: true,
        };
        assert_eq!(checked, expected);
        assert_eq!((checked.last_offset_delta(), checked.last_sequence()), (2, 0));
    }
}

#[test]
fn known_bytes_of_a_java_producer_pass() {
    // One record: timestamp 1700000000000, key "k", value "v", header h=x.
    let bytes = [
        &[0, 0, 0, 0, 0, 0, 0, 0][..],
        &[0, 0, 0, 62],
        &[0xff, 0xff, 0xff, 0xff],
        &[2],
        &[0, 0, 0, 0],
        &[0, 0],
        &[0, 0, 0, 0],
        &[0, 0, 0x01, 0x8b, 0xcf, 0xe5, 0x68, 0x00],
        &[0, 0, 0x01, 0x8b, 0xcf, 0xe5, 0x68, 0x00],
        &[0xff; 8],
        &[0xff; 2],
        &[0xff; 4],
        &[0, 0, 0, 1],
        &[0x18, 0, 0, 0, 0x02, b'k', 0x02, b'v', 0x02, 0x02, b'h', 0x02, b'x'],
    ];
    let mut bytes = bytes.concat();
    seal(&mut bytes);
    let checked = validate(&bytes, &Limits::default()).unwrap();
    assert_eq!((checked.size, checked.max_timestamp, checked.null_key), (74, 1_700_000_000_000, false));
    // And they are what is built here from the same record.
    let mut builder = Builder::new();
    let header = crate::batch::RecordHeader { key: b"h", value: Some(b"x") };
    builder.push(1_700_000_000_000, Some(b"k"), Some(b"v"), &[header]).unwrap();
    assert_eq!(builder.finish(&Options::default()).unwrap(), bytes);
}

#[test]
fn a_wrong_maximum_is_told_not_refused() {
    for claimed in [-1, 0, 2999, 3001, i64::MAX] {
        let checked =
            validate(&with_header(|header| header.max_timestamp = claimed), &Limits::default()).unwrap();
        assert_eq!((checked.max_timestamp, checked.max_timestamp_differs), (3000, true));
    }
}

#[test]
fn records_without_timestamps_have_no_maximum() {
    let mut builder = Builder::new();
    builder.push(-1, None, None, &[]).unwrap();
    builder.push(-1, None, None, &[]).unwrap();
    let limits = Limits { timestamps: Some((0, 10)), ..Limits::default() };
    let checked = validate(&builder.finish(&Options::default()).unwrap(), &limits).unwrap();
    assert_eq!(
        (checked.first_timestamp, checked.max_timestamp, checked.max_timestamp_offset_delta),
        (-1, -1, -1)
    );
    assert!(!checked.max_timestamp_differs);
}

#[test]
fn anything_but_exactly_one_batch_is_refused() {
    let bytes = plain();
    for given in 0..17 {
        assert_eq!(refused_by_default(&bytes[..given]), (BatchError::NoBatch { given }, 87));
    }
    for given in 17..bytes.len() {
        assert_eq!(
            refused_by_default(&bytes[..given]),
            (BatchError::Size { declared: bytes.len(), given }, 87)
        );
    }
    for more in [&[0][..], &bytes] {
        let more = [&bytes, more].concat();
        let size = BatchError::Size { declared: bytes.len(), given: more.len() };
        assert_eq!(refused_by_default(&more), (size, 87));
    }
}

#[test]
fn lengths_that_no_batch_has_are_damage() {
    for length in [i32::MIN, -1, 0, 13, 14, 48] {
        let mut bytes = plain();
        bytes[8..12].copy_from_slice(&length.to_be_bytes());
        assert_eq!(refused_by_default(&bytes), (BatchError::Length { length }, 2));
    }
    let mut bytes = plain();
    bytes[8..12].copy_from_slice(&i32::MAX.to_be_bytes());
    assert_eq!(refused_by_default(&bytes).1, 87);
}

#[test]
fn magics_other_than_two_are_refused() {
    for (magic, code) in [(0u8, 87), (1, 87), (3, 2), (255, 2)] {
        let mut bytes = plain();
        bytes[Header::MAGIC_AT] = magic;
        assert_eq!(refused_by_default(&bytes).1, code);
    }
}

#[test]
fn any_flipped_bit_under_the_crc_is_found() {
    let bytes = plain();
    for bit in 8 * Header::CRC_AT..8 * bytes.len() {
        let mut damaged = bytes.clone();
        damaged[bit / 8] ^= 1 << (bit % 8);
        assert!(matches!(refused_by_default(&damaged), (BatchError::Crc { .. }, 2)), "bit {bit}");
    }
}

#[test]
fn size_is_judged_before_the_crc_and_after_the_base_offset() {
    let mut bytes = plain();
    bytes[Header::CRC_AT] ^= 1;
    let (size, max) = (bytes.len(), bytes.len() - 1);
    let limits = Limits { max_batch_bytes: max, ..Limits::default() };
    assert_eq!(refused(&bytes, &limits), (BatchError::TooLarge { size, max }, 10));
    bytes[7] = 5;
    assert_eq!(refused(&bytes, &limits), (BatchError::BaseOffset { base_offset: 5 }, 87));
    let limits = Limits { max_batch_bytes: size, ..limits };
    assert!(validate(&plain(), &limits).is_ok());
}

#[test]
fn counts_must_agree() {
    for (record_count, last_offset_delta) in
        [(0, -1), (-1, -2), (3, 3), (3, 1), (2, 2), (i32::MIN, i32::MAX), (3, -1)]
    {
        let bytes = with_header(|header| {
            header.record_count = record_count;
            header.last_offset_delta = last_offset_delta;
        });
        assert_eq!(refused_by_default(&bytes), (BatchError::Count { record_count, last_offset_delta }, 87));
    }
}

#[test]
fn what_only_brokers_may_say_is_refused() {
    let control = sample(&Options { control: true, ..Options::default() });
    assert_eq!(refused_by_default(&control), (BatchError::Control, 87));
    let stamped = with_header(|header| {
        header.attributes = header.attributes.with_timestamp_type(TimestampType::LogAppendTime);
    });
    assert_eq!(refused_by_default(&stamped), (BatchError::LogAppendTime, 32));
}

#[test]
fn producers_need_sequences() {
    let bytes = with_header(|header| (header.producer_id, header.base_sequence) = (9, -1));
    assert_eq!(refused_by_default(&bytes), (BatchError::Sequence { producer_id: 9, base_sequence: -1 }, 87));
    let bytes = with_header(|header| (header.producer_id, header.base_sequence) = (9, 0));
    assert!(validate(&bytes, &Limits::default()).is_ok());
}

#[test]
fn codecs_that_do_not_exist_or_came_later_are_refused() {
    for id in 5..8 {
        let bytes = with_header(|header| header.attributes = Attributes(id));
        assert_eq!(refused_by_default(&bytes), (BatchError::UnknownCodec { id: id as u8 }, 76));
    }
    let zstd = sample(&Options { codec: Codec::Zstd, ..Options::default() });
    let limits = Limits { zstd: false, ..Limits::default() };
    assert_eq!(refused(&zstd, &limits), (BatchError::ZstdTooOld, 76));
    assert!(validate(&plain(), &limits).is_ok());
}

#[test]
fn records_that_do_not_decompress_are_invalid() {
    for codec in [Codec::Gzip, Codec::Snappy, Codec::Lz4, Codec::Zstd] {
        let bytes = with_records(1, codec, b"\x0e\0\0\0\x01\x01\0 nothing that a codec would write");
        assert_eq!(refused_by_default(&bytes), (BatchError::Decompress { codec }, 87), "{codec}");
    }
}

#[test]
fn records_that_inflate_too_far_are_too_large() {
    let builder = || {
        let mut builder = Builder::new();
        builder.push(0, None, Some(&[0; 100_000]), &[]).unwrap();
        builder
    };
    for codec in [Codec::Gzip, Codec::Snappy, Codec::Lz4, Codec::Zstd] {
        let bytes = builder().finish(&Options { codec, ..Options::default() }).unwrap();
        let caps = Caps { max_bytes: 100_000, max_ratio: usize::MAX, free_bytes: 0 };
        let limits = Limits { caps, ..Limits::default() };
        assert_eq!(
            refused(&bytes, &limits),
            (BatchError::DecompressedTooLarge { limit: 100_000 }, 10),
            "{codec}"
        );
        let caps = Caps { max_bytes: 101_000, ..caps };
        assert!(validate(&bytes, &Limits { caps, ..limits }).is_ok(), "{codec}");
    }
}

#[test]
fn malformed_records_are_named() {
    let good: &[u8] = &[0, 0, 0, 1, 1, 0];
    let fault = |index, fault| (BatchError::Malformed { index, fault }, 87);
    let one = |body: &[u8]| refused_by_default(&with_records(1, Codec::None, &record(body)));
    assert!(validate(&with_records(1, Codec::None, &record(good)), &Limits::default()).is_ok());

    assert_eq!(one(&[0, 0, 2, 1, 1, 0]), fault(0, RecordFault::OffsetDelta { expected: 0, found: 1 }));
    assert_eq!(one(&[0, 0, 0, 3, 1, 0]), fault(0, RecordFault::Negative(-2)));
    assert_eq!(one(&[0, 0, 0, 1, 3, 0]), fault(0, RecordFault::Negative(-2)));
    assert_eq!(one(&[0, 0, 0, 1, 1, 1]), fault(0, RecordFault::Negative(-1)));
    assert_eq!(one(&[0, 0, 0, 1, 1, 2, 1, 1]), fault(0, RecordFault::Negative(-1)));
    assert_eq!(one(&[0, 0, 0, 1, 1, 2]), fault(0, RecordFault::HeaderCount(1)));
    assert_eq!(one(&[0, 0, 0, 1, 1, 0, 0]), fault(0, RecordFault::Length(1)));
    assert_eq!(one(&[0, 0, 0, 2, b'k', 4, b'v', 0]), fault(0, RecordFault::Truncated));
    assert_eq!(one(&[0, 0, 0, 1, 1]), fault(0, RecordFault::Truncated));
    assert_eq!(one(&[]), fault(0, RecordFault::Truncated));
    assert_eq!(
        one(&[0, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x02]),
        fault(0, RecordFault::Varint)
    );
    // The largest timestamp delta, on top of the base timestamp of 1000.
    let far = [0, 0xfe, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01, 0, 1, 1, 0];
    assert_eq!(one(&far), fault(0, RecordFault::Range));

    let raw = |count, bytes: &[u8]| refused_by_default(&with_records(count, Codec::None, bytes));
    assert_eq!(raw(1, &[0x01]), fault(0, RecordFault::Negative(-1)));
    assert_eq!(raw(1, &[0xfe, 0xff, 0xff, 0xff, 0x0f, 0, 0]), fault(0, RecordFault::Truncated));
    assert_eq!(raw(1, &[]), fault(0, RecordFault::Truncated));
    assert_eq!(raw(i32::MAX, &record(good)), fault(1, RecordFault::Truncated));
    let twice = [record(good), record(good)].concat();
    assert_eq!(raw(2, &twice), fault(1, RecordFault::OffsetDelta { expected: 1, found: 0 }));
    assert_eq!(raw(1, &twice), (BatchError::Trailing { record_count: 1 }, 87));
}

#[test]
fn a_field_may_not_borrow_from_the_next_record() {
    // The first value reaches one byte into the second record, which is there.
    let records = [&[0x10, 0, 0, 0, 1, 6, b'v', b'v', b'v'][..], &record(&[0, 0, 2, 1, 1, 0])].concat();
    let malformed = BatchError::Malformed { index: 0, fault: RecordFault::Truncated };
    for codec in Codec::ALL {
        let mut block = bytes::BytesMut::new();
        crate::compression::compress(codec, &records, &mut block).unwrap();
        assert_eq!(refused_by_default(&with_records(2, codec, &block)).0, malformed, "{codec}");
    }
}

#[test]
fn compacted_topics_name_records_without_keys() {
    let limits = Limits { keys_required: true, ..Limits::default() };
    for codec in Codec::ALL {
        let (error, code) = refused(&sample(&Options { codec, ..Options::default() }), &limits);
        assert_eq!(code, 87);
        let [only] = error.record_errors() else { panic!("{error}") };
        assert_eq!((only.index, only.reason), (1, RecordReason::NullKey));
    }
}

#[test]
fn timestamps_out_of_range_are_named() {
    let limits = Limits { timestamps: Some((1000, 2999)), ..Limits::default() };
    let (error, code) = refused(&plain(), &limits);
    assert_eq!(code, 32);
    let [only] = error.record_errors() else { panic!("{error}") };
    assert_eq!(only.reason, RecordReason::Timestamp { timestamp: 3000, min: 1000, max: 2999 });
    let limits = Limits { timestamps: Some((1000, 3000)), ..Limits::default() };
    assert!(validate(&plain(), &limits).is_ok());
    // The key is judged first, but any timestamp decides the code.
    let limits = Limits { timestamps: Some((1500, 2500)), keys_required: true, ..Limits::default() };
    let (error, code) = refused(&plain(), &limits);
    assert_eq!((code, error.record_errors().len()), (32, 2));
}

#[test]
fn the_list_of_refused_records_is_short() {
    let mut builder = Builder::new();
    for _ in 0..1000 {
        builder.push(0, None, None, &[]).unwrap();
    }
    let bytes = builder.finish(&Options::default()).unwrap();
    let (error, _) = refused(&bytes, &Limits { keys_required: true, ..Limits::default() });
    assert_eq!(error.record_errors().len(), MAX_RECORD_ERRORS);
    assert!(error.to_string().starts_with("1000 records were refused"), "{error}");
}

#[test]
fn records_larger_than_the_window_are_walked() {
    for size in [32 * 1024 - 16, 32 * 1024, 32 * 1024 + 1, 300_000] {
        let value: Vec<u8> = (0..size).map(|i: u64| (i * i % 251) as u8).collect();
        for codec in Codec::ALL {
            let mut builder = Builder::new();
            for timestamp in 0..3 {
                builder.push(timestamp, Some(b"key"), Some(&value), &[]).unwrap();
            }
            let bytes = builder.finish(&Options { codec, ..Options::default() }).unwrap();
            let checked = validate(&bytes, &Limits::default()).unwrap();
            assert_eq!((checked.record_count, checked.max_timestamp_offset_delta), (3, 2), "{codec} {size}");
        }
    }
}

#[test]
fn verify_finds_the_batch_at_the_front() {
    let bytes = plain();
    let header = Header::parse(&bytes).unwrap();
    assert_eq!(verify(&[&bytes[..], &[1, 2, 3]].concat()), Ok(header));
    let given = bytes.len() - 1;
    assert_eq!(verify(&bytes[..given]), Err(BatchError::Size { declared: bytes.len(), given }));
    // Control batches, gaps and stamped offsets are fine on disk.
    let stored = with_header(|header| (header.base_offset, header.last_offset_delta) = (500, 10));
    assert_eq!(verify(&stored).unwrap().next_offset(), 511);
    let mut damaged = bytes;
    *damaged.last_mut().unwrap() ^= 1;
    assert!(matches!(verify(&damaged), Err(BatchError::Crc { .. })));
}
