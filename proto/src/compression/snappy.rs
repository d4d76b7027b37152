//! Snappy in snappy-java's blocks: a 16-byte head (magic, version, least version), then blocks, each behind its length
//! as a big-endian i32. librdkafka sends one bare snappy block instead, which has no such magic.

use super::CompressionError;
use std::io::{self, Write};

const MAGIC: [u8; 8] = *b"\x82SNAPPY\0";
const HEAD_SIZE: usize = 16;
/// Version and least version that reads it, as snappy-java writes them.
const VERSIONS: [u8; 8] = [0, 0, 0, 1, 0, 0, 0, 1];
/// Bytes in a block before compression, snappy-java's default.
const BLOCK_SIZE: usize = 32 * 1024;
/// No element of the format yields more than 64 bytes from 3: a block that claims more is damaged.
const MAX_RATIO: usize = 22;

/// Inflates block by block.
pub(super) struct Reader<'a> {
    rest: &'a [u8],
    framed: bool,
    block: Vec<u8>,
    read: usize,
}

impl<'a> Reader<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Reader { rest: bytes, framed: bytes.starts_with(&MAGIC), block: Vec::new(), read: 0 }
    }

    /// Copies the next bytes; `None` when the next block would inflate to more than `left` bytes.
    pub(super) fn read(&mut self, out: &mut [u8], left: usize) -> Result<Option<usize>, CompressionError> {
        while self.read == self.block.len() {
            let Some(compressed) = self.next_block()? else {
                return Ok(Some(0));
            };
            let size = snap::raw::decompress_len(compressed).map_err(|_| CompressionError::Corrupt)?;
            if size > compressed.len().saturating_mul(MAX_RATIO) {
                return Err(CompressionError::Corrupt);
            }
            if size > left {
                return Ok(None);
            }
            self.inflate(compressed, size)?;
        }
        let count = out.len().min(self.block.len() - self.read);
        out[..count].copy_from_slice(&self.block[self.read..self.read + count]);
        self.read += count;
        Ok(Some(count))
    }

    fn inflate(&mut self, compressed: &[u8], size: usize) -> Result<(), CompressionError> {
        self.read = 0;
        self.block.clear();
        self.block.resize(size, 0);
        match snap::raw::Decoder::new().decompress(compressed, &mut self.block) {
            Ok(written) if written == size => Ok(()),
            _ => Err(CompressionError::Corrupt),
        }
    }

    /// Cuts the next block off; heads may repeat where streams were joined.
    fn next_block(&mut self) -> Result<Option<&'a [u8]>, CompressionError> {
        if !self.framed {
            let bare = std::mem::take(&mut self.rest);
            return Ok((!bare.is_empty()).then_some(bare));
        }
        while self.rest.starts_with(&MAGIC) {
            self.rest = self.rest.get(HEAD_SIZE..).ok_or(CompressionError::Corrupt)?;
        }
        if self.rest.is_empty() {
            return Ok(None);
        }
        let (length, rest) = self.rest.split_first_chunk().ok_or(CompressionError::Corrupt)?;
        let length = usize::try_from(i32::from_be_bytes(*length)).map_err(|_| CompressionError::Corrupt)?;
        let (block, rest) = rest.split_at_checked(length).ok_or(CompressionError::Corrupt)?;
        self.rest = rest;
        Ok(Some(block))
    }
}

/// Writes snappy-java's blocks.
pub struct Writer<W: Write> {
    writer: W,
    block: Vec<u8>,
    compressed: Vec<u8>,
    encoder: snap::raw::Encoder,
}

impl<W: Write> Writer<W> {
    pub(super) fn new(mut writer: W) -> io::Result<Self> {
        writer.write_all(&MAGIC)?;
        writer.write_all(&VERSIONS)?;
        let encoder = snap::raw::Encoder::new();
        Ok(Writer { writer, block: Vec::new(), compressed: Vec::new(), encoder })
    }

    pub(super) fn finish(mut self) -> io::Result<W> {
        self.write_block()?;
        Ok(self.writer)
    }

    fn write_block(&mut self) -> io::Result<()> {
        if self.block.is_empty() {
            return Ok(());
        }
        self.compressed.resize(snap::raw::max_compress_len(self.block.len()), 0);
        let size = self.encoder.compress(&self.block, &mut self.compressed)?;
        self.writer.write_all(&(size as i32).to_be_bytes())?;
        self.writer.write_all(&self.compressed[..size])?;
        self.block.clear();
        Ok(())
    }
}

impl<W: Write> Write for Writer<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let fits = bytes.len().min(BLOCK_SIZE - self.block.len());
        self.block.extend_from_slice(&bytes[..fits]);
        if self.block.len() == BLOCK_SIZE {
            self.write_block()?;
        }
        Ok(fits)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
