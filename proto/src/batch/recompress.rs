//! A batch in another codec: `compression.type` of a topic that does not keep what producers chose.

use super::stamp::seal;
use super::{BatchError, Header, Limits};
use crate::compression::{Codec, CompressionError, Compressor, Decompressor};
use bytes::{BufMut, BytesMut};
use std::io::Write;

/// Bytes that are decompressed at once.
const WINDOW: usize = 16 << 10;

/// The codec that a topic's batches are to have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Recompress {
    /// The codec; [`Codec::None`] for records that are not compressed.
    pub codec: Codec,
    /// Its level, for gzip and zstd; `None` for the codec's own.
    pub level: Option<i32>,
}

/// The batch that `batch` is exactly, in that codec; `None` if it has it already, whatever the level. Everything but the codec, the
/// length and the CRC stays. Takes no more memory than the result, and that is at most `limits.max_batch_bytes`.
///
/// # Errors
/// Those of decompression, which [`super::validate`] has met before, and [`BatchError::TooLarge`].
pub fn recompress(batch: &[u8], wanted: Recompress, limits: &Limits) -> Result<Option<BytesMut>, BatchError> {
    let header = Header::parse(batch)?;
    let codec = header.codec()?;
    if codec == wanted.codec {
        return Ok(None);
    }
    let fault = |error| BatchError::from_compression(error, codec);
    let payload = batch.get(Header::SIZE..).unwrap_or_default();
    let mut plain = Decompressor::new(codec, payload, &limits.caps).map_err(fault)?;
    let mut out =
        Bounded { bytes: BytesMut::with_capacity(batch.len()), max: limits.max_batch_bytes, size: 0 };
    out.bytes.put_bytes(0, Header::SIZE);
    // What can fail about writing is its bound, and a lack of memory; then the batch is as good as it is.
    let Ok(compressor) = Compressor::new(wanted.codec, wanted.level, &mut out) else { return Ok(None) };
    let written = pump(&mut plain, compressor).map_err(fault)?;
    match written {
        Err(_) if out.size > out.max => return Err(BatchError::TooLarge { size: out.size, max: out.max }),
        Err(_) => return Ok(None),
        Ok(()) => {}
    }
    let (mut out, attributes) = (out.bytes, header.attributes.with_codec(wanted.codec));
    let length = i32::try_from(out.len() - Header::LENGTH_OVERHEAD).unwrap_or(i32::MAX);
    out[..Header::SIZE].copy_from_slice(&Header { length, attributes, ..header }.encode());
    seal(&mut out);
    Ok(Some(out))
}

/// The inner error is the writer's.
fn pump(
    plain: &mut Decompressor<'_>,
    mut compressor: Compressor<&mut Bounded>,
) -> Result<std::io::Result<()>, CompressionError> {
    let mut window = [0; WINDOW];
    loop {
        match plain.read(&mut window)? {
            0 => return Ok(compressor.finish().map(drop)),
            read => {
                if let Err(error) = compressor.write_all(&window[..read]) {
                    return Ok(Err(error));
                }
            }
        }
    }
}

/// Bytes that grow to a bound.
struct Bounded {
    bytes: BytesMut,
    max: usize,
    /// How many they were to be.
    size: usize,
}

impl Write for &mut Bounded {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.size = self.bytes.len() + bytes.len();
        if self.size > self.max {
            return Err(std::io::ErrorKind::FileTooLarge.into());
        }
        self.bytes.put_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::batch::{Builder, Options, validate};
    use crate::compression::Caps;

    const CODECS: [Codec; 5] = [Codec::None, Codec::Gzip, Codec::Snappy, Codec::Lz4, Codec::Zstd];

    fn batch(codec: Codec) -> BytesMut {
        let mut builder = Builder::new();
        for n in 0..100 {
            builder.push(n, Some(b"key"), Some(&[b'x'; 100]), &[]).unwrap();
        }
        builder.finish(&Options { codec, ..Options::default() }).unwrap()
    }

    #[test]
    fn from_every_codec_to_every_other() {
        for (from, to) in CODECS.iter().flat_map(|from| CODECS.map(|to| (*from, to))) {
            let before = batch(from);
            let wanted = Recompress { codec: to, level: None };
            let Some(after) = recompress(&before, wanted, &Limits::default()).unwrap() else {
                assert_eq!(from, to);
                continue;
            };
            let checked = validate(&after, &Limits::default()).unwrap();
            assert_eq!((checked.codec, checked.record_count), (to, 100), "from {from}");
            let back =
                recompress(&after, Recompress { codec: from, level: None }, &Limits::default()).unwrap();
            assert_eq!(back, Some(before), "{from} to {to}");
        }
    }

    #[test]
    fn levels_count() {
        let mut builder = Builder::new();
        let noise: Vec<u8> =
            (0..40_000u32).map(|n| (n.wrapping_mul(2_654_435_761) >> 24) as u8 & 15).collect();
        builder.push(0, None, Some(&noise), &[]).unwrap();
        let batch = builder.finish(&Options::default()).unwrap();
        for (codec, low, high) in [(Codec::Gzip, 0, 9), (Codec::Zstd, -50, 19)] {
            let size = |level| {
                let wanted = Recompress { codec, level: Some(level) };
                recompress(&batch, wanted, &Limits::default()).unwrap().unwrap().len()
            };
            assert!(size(high) < size(low), "{codec}");
        }
    }

    #[test]
    fn what_inflates_too_far_is_refused() {
        let wanted = Recompress { codec: Codec::None, level: None };
        let caps = Caps { max_bytes: 1000, max_ratio: 1, free_bytes: 0 };
        let refused = recompress(&batch(Codec::Zstd), wanted, &Limits { caps, ..Limits::default() });
        assert!(matches!(refused, Err(BatchError::DecompressedTooLarge { .. })), "{refused:?}");
        let limits = Limits { max_batch_bytes: 5000, ..Limits::default() };
        let refused = recompress(&batch(Codec::Zstd), wanted, &limits);
        assert!(matches!(refused, Err(BatchError::TooLarge { max: 5000, .. })), "{refused:?}");
    }
}
