//! Each codec against itself, against known bytes and against damage.

use super::*;

fn sample() -> Vec<u8> {
    (0..200_000u32).flat_map(|i| if i % 7 == 0 { i.to_le_bytes() } else { *b"milr" }).collect()
}

fn compressed(codec: Codec, bytes: &[u8]) -> Vec<u8> {
    let mut out = BytesMut::new();
    compress(codec, bytes, &mut out).unwrap();
    out.to_vec()
}

fn inflated(codec: Codec, bytes: &[u8]) -> Result<Vec<u8>, CompressionError> {
    let mut out = vec![1, 2, 3];
    decompress(codec, bytes, &Caps::default(), &mut out).map(|()| out)
}

#[test]
fn numbers_and_names_are_kafkas() {
    for (id, name) in ["none", "gzip", "snappy", "lz4", "zstd"].into_iter().enumerate() {
        let codec = Codec::from_id(id as u8).unwrap();
        assert_eq!((codec.id() as usize, codec.to_string().as_str()), (id, name));
        assert_eq!(Codec::from_name(&name.to_uppercase()), Some(codec));
    }
    assert_eq!(Codec::from_id(5), None);
    assert_eq!(Codec::from_name("brotli"), None);
}

#[test]
fn every_codec_gives_back_what_it_took() {
    for codec in Codec::ALL {
        for size in [0, 1, 100, 32 * 1024, 32 * 1024 + 1, 64 * 1024, 800_000] {
            let plain = &sample()[..size];
            assert_eq!(inflated(codec, &compressed(codec, plain)).as_deref(), Ok(plain), "{codec} {size}");
        }
    }
}

#[test]
fn a_block_that_is_cut_is_damaged() {
    let plain = &sample()[..150_000];
    for codec in [Codec::Gzip, Codec::Snappy, Codec::Lz4, Codec::Zstd] {
        let whole = compressed(codec, plain);
        for cut in (1..64).chain([whole.len() / 2, whole.len() - 9, whole.len() - 4, whole.len() - 1]) {
            match inflated(codec, &whole[..cut]) {
                Err(_) => {}
                // snappy-java's blocks have no end mark: a stream may end behind any head or block.
                Ok(_) if codec == Codec::Snappy && cut == 16 => {}
                Ok(_) => panic!("{codec} cut to {cut} bytes passed"),
            }
        }
    }
}

#[test]
fn lz4_needs_its_end_mark_and_nothing_behind_it() {
    let whole = compressed(Codec::Lz4, b"abc");
    assert_eq!(whole[whole.len() - 4..], [0; 4]);
    assert_eq!(inflated(Codec::Lz4, &whole[..whole.len() - 4]), Err(CompressionError::Corrupt));
    assert_eq!(inflated(Codec::Lz4, &[&whole[..], &[0]].concat()), Err(CompressionError::Corrupt));
    // Flags: version 1, blocks independent, no checksums of blocks; 64 KiB at most: what Kafka's Java consumer reads.
    assert_eq!(whole[..6], [0x04, 0x22, 0x4d, 0x18, 0x60, 0x40]);
}

#[test]
fn linked_lz4_blocks_are_read() {
    use lz4_flex::frame::{BlockMode, BlockSize, FrameEncoder, FrameInfo};
    let plain = sample();
    for block_size in [BlockSize::Max64KB, BlockSize::Max4MB] {
        let info = FrameInfo::new()
            .block_mode(BlockMode::Linked)
            .block_size(block_size)
            .block_checksums(true)
            .content_checksum(true);
        let mut encoder = FrameEncoder::with_frame_info(info, Vec::new());
        encoder.write_all(&plain).unwrap();
        let mut whole = encoder.finish().unwrap();
        assert_eq!(inflated(Codec::Lz4, &whole).as_deref(), Ok(&plain[..]));
        *whole.last_mut().unwrap() ^= 1;
        assert_eq!(inflated(Codec::Lz4, &whole), Err(CompressionError::Corrupt));
    }
}

#[test]
fn snappy_comes_bare_framed_and_joined() {
    let plain = &sample()[..100_000];
    let bare = snap::raw::Encoder::new().compress_vec(plain).unwrap();
    assert_eq!(inflated(Codec::Snappy, &bare).as_deref(), Ok(plain));
    let framed = compressed(Codec::Snappy, plain);
    assert_eq!(framed[..16], *b"\x82SNAPPY\0\0\0\0\x01\0\0\0\x01");
    assert_eq!(inflated(Codec::Snappy, &[&framed[..], &framed].concat()), Ok([plain, plain].concat()));
}

#[test]
fn gzip_and_zstd_may_be_joined() {
    for codec in [Codec::Gzip, Codec::Zstd] {
        let part = compressed(codec, b"abc");
        assert_eq!(inflated(codec, &[&part[..], &part].concat()).as_deref(), Ok(&b"abcabc"[..]), "{codec}");
        assert_eq!(
            inflated(codec, &[&part[..], b"garbage"].concat()),
            Err(CompressionError::Corrupt),
            "{codec}"
        );
    }
}

#[test]
fn caps_hold_to_the_byte() {
    let plain = vec![7; 100_000];
    for codec in Codec::ALL {
        let block = compressed(codec, &plain);
        let caps = |max_bytes| Caps { max_bytes, max_ratio: usize::MAX, free_bytes: 0 };
        let mut out = Vec::new();
        assert_eq!(decompress(codec, &block, &caps(100_000), &mut out), Ok(()), "{codec}");
        let too_large = Err(CompressionError::TooLarge { limit: 99_999 });
        assert_eq!(decompress(codec, &block, &caps(99_999), &mut out), too_large, "{codec}");
    }
}

#[test]
fn the_ratio_counts_beyond_the_free_bytes() {
    let caps = Caps { max_bytes: 1000, max_ratio: 10, free_bytes: 50 };
    assert_eq!([0, 5, 6, 99, 101, usize::MAX].map(|len| caps.limit(len)), [50, 50, 60, 990, 1000, 1000]);
}

#[test]
fn a_snappy_block_may_not_claim_what_the_format_cannot_yield() {
    // 4 GiB - 1 claimed by six bytes.
    let claim = [0xff, 0xff, 0xff, 0xff, 0x0f, 0x00];
    assert_eq!(inflated(Codec::Snappy, &claim), Err(CompressionError::Corrupt));
}

#[test]
fn zstd_windows_beyond_the_limit_are_refused() {
    // A frame head with an unknown content size and a window of 2^28 bytes, then one raw block, the last.
    let frame = |log: u8| [0x28, 0xb5, 0x2f, 0xfd, 0x00, (log - 10) << 3, 0x09, 0x00, 0x00, b'x'];
    assert_eq!(inflated(Codec::Zstd, &frame(27)).as_deref(), Ok(&b"x"[..]));
    assert_eq!(inflated(Codec::Zstd, &frame(28)), Err(CompressionError::Corrupt));
}
