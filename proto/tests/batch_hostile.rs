//! Damaged and made-up bytes: nothing panics, and whatever the leader accepts a reader can read.

use millrace_proto::batch::{self, Builder, Header, Limits, Options, RecordHeader};
use millrace_proto::compression::{Caps, Codec, decompress};
use millrace_proto::files;
use uuid::Uuid;

/// Xorshift: the same bytes on every run.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    fn below(&mut self, end: usize) -> usize {
        (self.next() % end as u64) as usize
    }

    /// A byte, often one that means something.
    fn byte(&mut self) -> u8 {
        const TELLING: [u8; 8] = [0x00, 0x01, 0x02, 0x7f, 0x80, 0xff, b' ', b'\n'];
        if self.below(2) == 0 { TELLING[self.below(8)] } else { self.next() as u8 }
    }

    fn bytes(&mut self, longest: usize) -> Vec<u8> {
        let length = self.below(longest + 1);
        (0..length).map(|_| self.byte()).collect()
    }

    /// Some bytes overwritten, removed, repeated or cut off.
    fn mutate(&mut self, bytes: &mut Vec<u8>, from: usize) {
        for _ in 0..1 + self.below(4) {
            if bytes.len() <= from {
                return;
            }
            let at = from + self.below(bytes.len() - from);
            match self.below(10) {
                0 => bytes.truncate(at),
                1 => drop(bytes.remove(at)),
                2 => bytes.insert(at, self.byte()),
                3 => {
                    let piece = bytes[at..bytes.len().min(at + 40)].to_vec();
                    bytes.splice(at..at, piece);
                }
                4 => bytes[at] ^= 1 << self.below(8),
                _ => bytes[at] = self.byte(),
            }
        }
    }
}

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

/// What a file is read with, reduced to whether it could be.
type Parser = fn(&[u8]) -> bool;

#[test]
fn mutated_files() {
    let id = Uuid::from_u128(0x123e4567_e89b_12d3_a456_426614174000);
    let meta = files::MetaProperties { cluster_id: "c=1".to_owned(), node_id: 1, directory_id: Some(id) };
    let offsets = [files::PartitionOffset { topic: "orders".to_owned(), partition: 3, offset: 1 << 40 }];
    let epochs =
        [files::LeaderEpoch { epoch: 1, start_offset: 0 }, files::LeaderEpoch { epoch: 5, start_offset: 9 }];
    let samples: [(Vec<u8>, Parser); 6] = [
        (meta.encode().into(), |bytes| files::MetaProperties::parse(bytes).is_ok()),
        (files::PartitionMetadata { topic_id: id }.encode().into(), |bytes| {
            files::PartitionMetadata::parse(bytes).is_ok()
        }),
        (files::DataFormat::CURRENT.encode().into(), |bytes| files::DataFormat::parse(bytes).is_ok()),
        (files::encode_offsets(&offsets).into(), |bytes| files::parse_offsets(bytes).is_ok()),
        (files::encode_leader_epochs(&epochs).into(), |bytes| files::parse_leader_epochs(bytes).is_ok()),
        (files::CleanShutdown { broker_epoch: 12 }.encode().into(), |bytes| {
            files::CleanShutdown::parse(bytes).is_ok()
        }),
    ];
    let mut random = Random(13);
    for (sample, parse) in samples {
        assert!(parse(&sample));
        for _ in 0..10_000 {
            let mut bytes = sample.clone();
            random.mutate(&mut bytes, 0);
            parse(&bytes);
            parse(&random.bytes(60));
        }
    }
}

#[test]
fn mutated_snapshots() {
    let entry = files::ProducerEntry {
        producer_id: 1,
        producer_epoch: 0,
        last_sequence: 5,
        last_offset: 9,
        offset_delta: 0,
        timestamp: 77,
        coordinator_epoch: -1,
        current_txn_first_offset: -1,
    };
    let batch = files::RecentBatch { last_sequence: 5, last_offset: 9, offset_delta: 0, timestamp: 77 };
    let recent = files::RecentBatches { producer_id: 1, producer_epoch: 0, batches: vec![batch; 5] };
    let snapshot = files::encode_producer_snapshot(&[entry; 3]);
    let companion = files::encode_recent_batches(&[recent.clone(), recent]);
    let mut random = Random(17);
    for _ in 0..20_000 {
        for (sample, crc_at) in [(&snapshot, 2), (&companion, 6)] {
            let mut bytes = sample.clone();
            random.mutate(&mut bytes, crc_at + 4);
            if bytes.len() > crc_at + 4 {
                let crc = crc32c::crc32c(&bytes[crc_at + 4..]);
                bytes[crc_at..crc_at + 4].copy_from_slice(&crc.to_be_bytes());
            }
            let _ = files::parse_producer_snapshot(&bytes);
            let _ = files::parse_recent_batches(&bytes);
        }
    }
}
