//! The compressions that Kafka's batches use, each framed as Kafka's clients frame it, inflating under caps.
//!
//! | codec | framing |
//! |---|---|
//! | gzip | RFC 1952, one member or several |
//! | snappy | snappy-java's blocks (written and read), or one bare block as librdkafka sends it (read) |
//! | lz4 | the LZ4 frame format, one frame, blocks independent (written and read) or linked (read) |
//! | zstd | RFC 8878, one frame or several, windows up to 128 MiB |
//!
//! A [`Decompressor`] never yields more than its caps allow. It holds one block at a time: the memory that a stranger's bytes
//! can claim is bounded by the caps for snappy, by 12 MiB for lz4 (its largest blocks, linked), by 64 KiB for gzip,
//! and for zstd by what was yielded plus 256 KiB (a larger window is address space that nothing touches).

mod lz4;
mod snappy;

use bytes::{BufMut, BytesMut};
use std::fmt;
use std::io::{self, Read, Write};
use zstd::zstd_safe::CParameter;

/// A compression type, by Kafka's names.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Codec {
    /// Not compressed.
    #[default]
    None,
    /// gzip.
    Gzip,
    /// snappy.
    Snappy,
    /// LZ4.
    Lz4,
    /// zstd (KIP-110).
    Zstd,
}

impl Codec {
    /// All of them, by number.
    pub const ALL: [Codec; 5] = [Codec::None, Codec::Gzip, Codec::Snappy, Codec::Lz4, Codec::Zstd];

    /// The number in a batch's attributes.
    pub const fn id(self) -> u8 {
        match self {
            Codec::None => 0,
            Codec::Gzip => 1,
            Codec::Snappy => 2,
            Codec::Lz4 => 3,
            Codec::Zstd => 4,
        }
    }

    /// The codec with that number.
    pub fn from_id(id: u8) -> Option<Codec> {
        Self::ALL.get(usize::from(id)).copied()
    }

    /// The name in `compression.type` and `--compression-codec`.
    pub const fn name(self) -> &'static str {
        match self {
            Codec::None => "none",
            Codec::Gzip => "gzip",
            Codec::Snappy => "snappy",
            Codec::Lz4 => "lz4",
            Codec::Zstd => "zstd",
        }
    }

    /// The codec with that name, in any case.
    pub fn from_name(name: &str) -> Option<Codec> {
        Self::ALL.into_iter().find(|codec| codec.name().eq_ignore_ascii_case(name))
    }
}

impl fmt::Display for Codec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// How far a compressed block may inflate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Caps {
    /// Never more than this many bytes.
    pub max_bytes: usize,
    /// Nor more than this many times the compressed size, beyond [`Caps::free_bytes`].
    pub max_ratio: usize,
    /// So many bytes pass whatever the ratio: a small block of one repeated byte is nobody's attack.
    pub free_bytes: usize,
}

impl Default for Caps {
    /// 128 MiB in all, a hundredfold, and 8 MiB free.
    ///
    /// A batch of the default `max.message.bytes` (1 MiB) that inflates a hundredfold reaches 100 MiB: within the absolute cap,
    /// and at the 1 GB/s that the slower codecs manage it holds a core for 0.1 s. Ordinary text and JSON inflate 3 to 20 times.
    /// The 8 MiB are what a producer with Kafka's largest usual `max.request.size` collects before it compresses.
    fn default() -> Self {
        Caps { max_bytes: 128 << 20, max_ratio: 100, free_bytes: 8 << 20 }
    }
}

impl Caps {
    /// The most bytes that `compressed` bytes may inflate to.
    pub fn limit(&self, compressed: usize) -> usize {
        compressed.saturating_mul(self.max_ratio).max(self.free_bytes).min(self.max_bytes)
    }
}

/// Why bytes do not decompress.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum CompressionError {
    /// They are not what the codec writes, or are cut short, or something follows.
    #[error("the compressed bytes are damaged")]
    Corrupt,
    /// They inflate past the caps.
    #[error("the bytes decompress to more than {limit} bytes")]
    TooLarge {
        /// The limit for these bytes.
        limit: usize,
    },
}

/// Decompresses a block piece by piece.
pub struct Decompressor<'a> {
    inner: Inner<'a>,
    left: usize,
    limit: usize,
}

enum Inner<'a> {
    None(&'a [u8]),
    Gzip(Box<flate2::bufread::MultiGzDecoder<&'a [u8]>>),
    Snappy(snappy::Reader<'a>),
    Lz4(Box<lz4::Reader<'a>>),
    Zstd(zstd::Decoder<'static, &'a [u8]>),
}

impl<'a> Decompressor<'a> {
    /// The largest window of a zstd frame, as a power of two: what Kafka's clients and zstd itself accept by default.
    const ZSTD_WINDOW_LOG_MAX: u32 = 27;

    /// Begins to decompress `bytes`.
    ///
    /// # Errors
    /// [`CompressionError::Corrupt`] when the first bytes already tell.
    pub fn new(codec: Codec, bytes: &'a [u8], caps: &Caps) -> Result<Self, CompressionError> {
        let limit = caps.limit(bytes.len());
        let inner = match codec {
            Codec::None => Inner::None(bytes),
            Codec::Gzip => Inner::Gzip(Box::new(flate2::bufread::MultiGzDecoder::new(bytes))),
            Codec::Snappy => Inner::Snappy(snappy::Reader::new(bytes)),
            Codec::Lz4 => Inner::Lz4(Box::new(lz4::Reader::new(bytes)?)),
            Codec::Zstd => Inner::Zstd(zstd_decoder(bytes).map_err(|_| CompressionError::Corrupt)?),
        };
        Ok(Decompressor { inner, left: limit, limit })
    }

    /// Writes the next decompressed bytes to the front of `out` and tells how many; 0 at the end, when `out` has room.
    ///
    /// # Errors
    /// Both of [`CompressionError`].
    pub fn read(&mut self, out: &mut [u8]) -> Result<usize, CompressionError> {
        let read = match &mut self.inner {
            Inner::None(bytes) => bytes.read(out).map_err(corrupt)?,
            Inner::Gzip(gzip) => gzip.read(out).map_err(corrupt)?,
            // Told beforehand: a snappy block is inflated as a whole.
            Inner::Snappy(snappy) => match snappy.read(out, self.left)? {
                Some(read) => read,
                None => return Err(CompressionError::TooLarge { limit: self.limit }),
            },
            Inner::Lz4(lz4) => lz4.read(out)?,
            Inner::Zstd(zstd) => zstd.read(out).map_err(corrupt)?,
        };
        self.left = self.left.checked_sub(read).ok_or(CompressionError::TooLarge { limit: self.limit })?;
        Ok(read)
    }
}

fn zstd_decoder(bytes: &[u8]) -> io::Result<zstd::Decoder<'static, &[u8]>> {
    let mut decoder = zstd::Decoder::with_buffer(bytes)?;
    decoder.window_log_max(Decompressor::ZSTD_WINDOW_LOG_MAX)?;
    Ok(decoder)
}

fn corrupt(_: io::Error) -> CompressionError {
    CompressionError::Corrupt
}

/// Decompresses all of `bytes` into `out`, whose content is replaced.
///
/// # Errors
/// Both of [`CompressionError`]; `out` then holds what came before the fault.
pub fn decompress(
    codec: Codec,
    bytes: &[u8],
    caps: &Caps,
    out: &mut Vec<u8>,
) -> Result<(), CompressionError> {
    /// Room that is made when `out` is full; beyond it `Vec` doubles.
    const STEP: usize = 32 * 1024;
    let mut inner = Decompressor::new(codec, bytes, caps)?;
    out.clear();
    let mut filled = 0;
    loop {
        if filled == out.len() {
            // Into capacity that is there already, else a little more, so that a small batch stays small.
            let room = (out.capacity() - filled).clamp(STEP, 32 * STEP);
            out.resize(filled + room, 0);
        }
        match inner.read(&mut out[filled..]) {
            Ok(0) => break,
            Ok(read) => filled += read,
            Err(error) => {
                out.truncate(filled);
                return Err(error);
            }
        }
    }
    out.truncate(filled);
    Ok(())
}

/// Appends `bytes`, compressed at the codec's default level, to `out`.
///
/// # Errors
/// Only when the codec's library finds no memory.
pub fn compress(codec: Codec, bytes: &[u8], out: &mut BytesMut) -> io::Result<()> {
    let mut compressor = Compressor::new(codec, None, out.writer())?;
    compressor.write_all(bytes)?;
    compressor.finish().map(drop)
}

/// zstd's levels above this one take up to 700 MB of tables, however little there is to compress. They search as thoroughly as they do
/// in the tables of this level, some 90 MB, which look 8 MiB back.
const ZSTD_LARGEST_TABLES: i32 = 19;
const ZSTD_TABLES: [CParameter; 3] =
    [CParameter::WindowLog(23), CParameter::ChainLog(24), CParameter::HashLog(22)];

/// Compresses what is written to it, and writes that on.
pub enum Compressor<W: Write> {
    /// As it is.
    None(W),
    /// Gzip.
    Gzip(flate2::write::GzEncoder<W>),
    /// Snappy, in snappy-java's blocks.
    Snappy(Box<snappy::Writer<W>>),
    /// An LZ4 frame.
    Lz4(Box<lz4::Writer<W>>),
    /// A zstd frame.
    Zstd(zstd::Encoder<'static, W>),
}

impl<W: Write> Compressor<W> {
    /// Begins, at a level of gzip (0 to 9) or zstd; the other codecs have one level. `None` is the codec's own.
    ///
    /// # Errors
    /// The writer's, and when the codec's library finds no memory.
    pub fn new(codec: Codec, level: Option<i32>, writer: W) -> io::Result<Self> {
        Ok(match codec {
            Codec::None => Compressor::None(writer),
            Codec::Gzip => {
                let level = level.and_then(|level| u32::try_from(level).ok()).map(|level| level.min(9));
                let level = level.map_or_else(flate2::Compression::default, flate2::Compression::new);
                Compressor::Gzip(flate2::write::GzEncoder::new(writer, level))
            }
            Codec::Snappy => Compressor::Snappy(Box::new(snappy::Writer::new(writer)?)),
            Codec::Lz4 => Compressor::Lz4(Box::new(lz4::writer(writer))),
            Codec::Zstd => {
                let level = level.unwrap_or(zstd::DEFAULT_COMPRESSION_LEVEL);
                let mut encoder = zstd::Encoder::new(writer, level)?;
                if level > ZSTD_LARGEST_TABLES {
                    ZSTD_TABLES.into_iter().try_for_each(|table| encoder.set_parameter(table))?;
                }
                Compressor::Zstd(encoder)
            }
        })
    }

    /// Writes what is left, and gives the writer back.
    ///
    /// # Errors
    /// As [`Compressor::new`].
    pub fn finish(self) -> io::Result<W> {
        match self {
            Compressor::None(writer) => Ok(writer),
            Compressor::Gzip(gzip) => gzip.finish(),
            Compressor::Snappy(snappy) => snappy.finish(),
            Compressor::Lz4(lz4) => Ok(lz4.finish()?),
            Compressor::Zstd(zstd) => zstd.finish(),
        }
    }
}

impl<W: Write> Write for Compressor<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Compressor::None(writer) => writer.write(bytes),
            Compressor::Gzip(gzip) => gzip.write(bytes),
            Compressor::Snappy(snappy) => snappy.write(bytes),
            Compressor::Lz4(lz4) => lz4.write(bytes),
            Compressor::Zstd(zstd) => zstd.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
#[path = "compression_test.rs"]
mod tests;
