//! Damaged and made-up bytes: nothing panics, and whatever the leader accepts a reader can read.

mod hostile_support;

use hostile_support::Random;
use millrace_proto::batch::{self, Builder, Header, Limits, Options, RecordHeader};
use millrace_proto::compression::{Caps, Codec, decompress};

const CAPS: Caps = Caps { max_bytes: 1 << 20, max_ratio: 1000, free_bytes: 1 << 16 };

fn sample(codec: Codec, records: usize) -> Vec<u8> {
    let mut builder = Builder::new();
    for i in 0..records {
        let headers = [RecordHeader { key: b"h", value: (i % 2 == 0).then_some(b"x") }];
        let value = vec![i as u8; 7 * i];
        builder.push(1000 + i as i64, (i % 3 > 0).then_some(b"key"), Some(&value), &headers).unwrap();
    }
    builder.finish(&Options { codec, ..Options::default() }).unwrap().to_vec()
}

/// Makes length and CRC right again, so that the checks behind them get their share.
fn reseal(bytes: &mut [u8]) {
    if bytes.len() >= Header::SIZE {
        let length = (bytes.len() - Header::LENGTH_OVERHEAD) as i32;
        bytes[8..12].copy_from_slice(&length.to_be_bytes());
        let crc = crc32c::crc32c(&bytes[21..]);
        bytes[17..21].copy_from_slice(&crc.to_be_bytes());
    }
}

/// Everything that reads a batch. What [`batch::validate`] accepts must be readable, and as it was described.
fn read_all(bytes: &[u8], scratch: &mut Vec<u8>) -> bool {
    let limits = Limits { caps: CAPS, ..Limits::default() };
    let checked = batch::validate(bytes, &limits);
    let verified = batch::verify(bytes);
    let read: Result<Vec<_>, _> = batch::records(bytes, scratch, &CAPS).and_then(Iterator::collect);
    let Ok(checked) = checked else {
        return false;
    };
    assert_eq!(verified.map(|header| header.size()), Ok(bytes.len()));
    let read = read.unwrap();
    assert_eq!(read.len(), checked.record_count as usize);
    assert_eq!(read[0].timestamp, checked.first_timestamp);
    assert_eq!(read.iter().map(|record| record.timestamp).max().unwrap().max(-1), checked.max_timestamp);
    assert_eq!(read.iter().any(|record| record.key.is_none()), checked.null_key);
    for (i, record) in read.iter().enumerate() {
        assert_eq!(record.offset, i as i64);
        assert_eq!(record.headers.len(), record.headers.clone().count());
    }
    true
}

#[test]
fn mutated_batches() {
    let mut random = Random(0x6d69_6c6c_7261_6365);
    let mut scratch = Vec::new();
    let (mut accepted, rounds) = (0, 15_000);
    let samples: Vec<_> =
        Codec::ALL.iter().flat_map(|&codec| [1, 3, 30].map(|count| sample(codec, count))).collect();
    for round in 0..rounds {
        let mut bytes = samples[random.below(samples.len())].clone();
        // Half of them keep their header, so that it is the records that are damaged.
        random.mutate(&mut bytes, if round % 2 == 0 { Header::SIZE } else { 0 });
        if random.below(4) > 0 {
            reseal(&mut bytes);
        }
        accepted += usize::from(read_all(&bytes, &mut scratch));
    }
    // Both outcomes are met, or this proves little.
    assert!((rounds / 100..rounds / 2).contains(&accepted), "{accepted} of {rounds} were accepted");
}

#[test]
fn truncated_batches() {
    let mut scratch = Vec::new();
    for codec in Codec::ALL {
        let whole = sample(codec, 20);
        for cut in 0..whole.len() {
            let mut bytes = whole[..cut].to_vec();
            assert!(!read_all(&bytes, &mut scratch), "{codec} cut to {cut}");
            reseal(&mut bytes);
            assert!(!read_all(&bytes, &mut scratch), "{codec} cut to {cut} and sealed");
        }
    }
}

#[test]
fn made_up_records() {
    let mut random = Random(7);
    let mut scratch = Vec::new();
    let head = sample(Codec::None, 1)[..Header::SIZE].to_vec();
    for _ in 0..15_000 {
        let mut bytes = head.clone();
        bytes[22] = random.below(8) as u8;
        let count = [1, 2, i32::MAX, random.next() as i32][random.below(4)];
        bytes[23..27].copy_from_slice(&count.wrapping_sub(1).to_be_bytes());
        bytes[57..61].copy_from_slice(&count.to_be_bytes());
        bytes.extend(random.bytes(200));
        reseal(&mut bytes);
        read_all(&bytes, &mut scratch);
    }
}

#[test]
fn made_up_compressed_bytes() {
    let starts: [(Codec, &[u8]); 8] = [
        (Codec::Gzip, &[0x1f, 0x8b, 8]),
        (Codec::Snappy, b"\x82SNAPPY\0\0\0\0\x01\0\0\0\x01"),
        (Codec::Snappy, &[]),
        (Codec::Lz4, &[0x04, 0x22, 0x4d, 0x18, 0x60, 0x40, 0x82]),
        (Codec::Lz4, &[0x04, 0x22, 0x4d, 0x18]),
        (Codec::Lz4, &[]),
        (Codec::Zstd, &[0x28, 0xb5, 0x2f, 0xfd]),
        (Codec::Zstd, &[]),
    ];
    let mut random = Random(11);
    let mut out = Vec::new();
    for _ in 0..10_000 {
        let (codec, start) = starts[random.below(starts.len())];
        let bytes = [start, &random.bytes(100)].concat();
        let _ = decompress(codec, &bytes, &CAPS, &mut out);
        assert!(out.len() <= CAPS.limit(bytes.len()));
    }
}
