//! What a leader's check allocates: nothing for plain records, a fixed amount for compressed ones, and no more for bombs.
//!
//! One test, because it counts the allocations of the whole process.

use bytes::BytesMut;
use lz4_flex::frame::{BlockMode, BlockSize, FrameEncoder, FrameInfo};
use millrace_proto::batch::{BatchError, Builder, Header, Limits, Options, validate};
use millrace_proto::compression::{Caps, Codec, compress};
use stats_alloc::{INSTRUMENTED_SYSTEM, Region, StatsAlloc};
use std::alloc::System;
use std::io::Write;

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

const MIB: usize = 1 << 20;
const COMPRESSED: [Codec; 4] = [Codec::Gzip, Codec::Snappy, Codec::Lz4, Codec::Zstd];
/// The largest of the codecs' own buffers, those of lz4 with linked blocks of 4 MiB, and the window in front of the walk.
const MOST: usize = 12 * MIB + 256 * 1024;

#[test]
fn checking_allocates_little() {
    plain_records_cost_nothing();
    more_records_cost_no_more();
    bombs_cost_no_more();
    large_claims_cost_no_more();
}

/// Allocations and allocated bytes, reallocations included, of `work`.
fn cost<T>(work: impl FnOnce() -> T) -> (usize, usize, T) {
    let region = Region::new(ALLOCATOR);
    let result = work();
    let change = region.change();
    (change.allocations + change.reallocations, change.bytes_allocated, result)
}

fn batch(codec: Codec, records: i64) -> BytesMut {
    let mut builder = Builder::new();
    for i in 0..records {
        builder.push(i, Some(&i.to_be_bytes()), Some(&[b'v'; 100]), &[]).unwrap();
    }
    builder.finish(&Options { codec, ..Options::default() }).unwrap()
}

fn plain_records_cost_nothing() {
    let bytes = batch(Codec::None, 1000);
    let (allocations, _, checked) = cost(|| validate(&bytes, &Limits::default()));
    assert_eq!((allocations, checked.unwrap().record_count), (0, 1000));
}

fn more_records_cost_no_more() {
    for codec in COMPRESSED {
        let [few, many] = [10, 8000].map(|records| {
            let bytes = batch(codec, records);
            let (allocations, _, checked) = cost(|| validate(&bytes, &Limits::default()));
            assert_eq!(checked.unwrap().record_count as i64, records);
            allocations
        });
        assert!(many <= few + 2, "{codec}: {few} allocations for 10 records, {many} for 8000");
    }
}

/// One record that claims the largest value there can be, followed by zeros without end.
fn bombs_cost_no_more() {
    for codec in COMPRESSED {
        let bomb = sealed(codec, &endless_zeros(codec, 256 * MIB));
        assert!(bomb.len() < 16 * MIB, "{codec}: {}", bomb.len());
        let caps = Caps { max_bytes: 16 * MIB, max_ratio: 100, free_bytes: MIB };
        let limits = Limits { max_batch_bytes: usize::MAX, caps, ..Limits::default() };
        let resident = most_resident();
        let (_, allocated, result) = cost(|| validate(&bomb, &limits));
        assert!(matches!(result, Err(BatchError::DecompressedTooLarge { .. })), "{codec}: {result:?}");
        assert!(allocated <= MOST, "{codec}: {allocated} bytes allocated");
        // zstd allocates behind our back; what it touches shows here.
        let grown = most_resident() - resident;
        assert!(grown <= 2 * 16 * MIB, "{codec}: {grown} bytes more resident");
    }
}

/// Heads that claim much and hold nothing.
fn large_claims_cost_no_more() {
    let lz4 = [&linked_lz4_head()[..], &[0xff, 0xff, 0x3f, 0x00]].concat();
    let claims: [(Codec, &[u8]); 3] = [
        (Codec::Snappy, &[0xff, 0xff, 0xff, 0xff, 0x0f, 0x00]),
        // One block of nearly 4 MiB is announced.
        (Codec::Lz4, &lz4),
        // A window of 128 MiB and a last raw block of 2 MiB.
        (Codec::Zstd, &[0x28, 0xb5, 0x2f, 0xfd, 0x00, 17 << 3, 0x01, 0x00, 0x80]),
    ];
    for (codec, claim) in claims {
        let bytes = sealed(codec, claim);
        let resident = most_resident();
        let (_, allocated, result) = cost(|| validate(&bytes, &Limits::default()));
        assert_eq!(result, Err(BatchError::Decompress { codec }));
        assert!(allocated <= MOST, "{codec}: {allocated} bytes allocated");
        assert!(codec != Codec::Lz4 || allocated > 8 * MIB, "the lz4 head was not believed: {allocated}");
        assert!(most_resident() - resident <= 16 * MIB, "{codec}");
    }
}

/// The head of a frame with linked blocks of 4 MiB at most, which takes the largest buffers to read.
fn linked_lz4_head() -> Vec<u8> {
    let info = FrameInfo::new().block_mode(BlockMode::Linked).block_size(BlockSize::Max4MB);
    let mut encoder = FrameEncoder::with_frame_info(info, Vec::new());
    encoder.write_all(b"x").unwrap();
    encoder.finish().unwrap()[..7].to_vec()
}

/// A compressed record of the greatest length, then so many zeros.
fn endless_zeros(codec: Codec, zeros: usize) -> Vec<u8> {
    // Length 2^31 - 1; no attributes, deltas or key; a value of 2^31 - 16.
    let mut head = vec![0xfe, 0xff, 0xff, 0xff, 0x0f, 0, 0, 0, 1, 0xe0, 0xff, 0xff, 0xff, 0x0f];
    head.resize(64 * 1024, 0);
    let piece = vec![0; MIB];
    let [first, repeated] = [head, piece].map(|plain| {
        let mut out = BytesMut::new();
        compress(codec, &plain, &mut out).unwrap();
        out.to_vec()
    });
    let repeat = |part: &[u8]| part.repeat(zeros / MIB);
    match codec {
        // A second head may follow wherever a block may.
        Codec::Gzip | Codec::Zstd | Codec::Snappy => [first, repeat(&repeated)].concat(),
        // One frame: heads of 7 bytes and end marks of 4 fall away.
        _ => {
            let blocks = repeat(&repeated[7..repeated.len() - 4]);
            [&first[..first.len() - 4], &blocks, &[0; 4]].concat()
        }
    }
}

fn sealed(codec: Codec, records: &[u8]) -> Vec<u8> {
    let header = Header {
        length: (Header::SIZE - Header::LENGTH_OVERHEAD + records.len()) as i32,
        ..Header::parse(&batch(codec, 1)).unwrap()
    };
    let mut bytes = [&header.encode()[..], records].concat();
    let crc = crc32c::crc32c(&bytes[21..]);
    bytes[17..21].copy_from_slice(&crc.to_be_bytes());
    bytes
}

/// The most memory, in bytes, that was ever resident in this process.
fn most_resident() -> usize {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    1024 * line.trim().trim_end_matches(" kB").parse::<usize>().unwrap()
}
