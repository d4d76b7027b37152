//! LZ4 frames. Kafka's Java consumer reads independent blocks only, so those are what is written.

use super::CompressionError;
use lz4_flex::frame::{BlockMode, BlockSize, FrameDecoder, FrameEncoder, FrameInfo};
use std::io::{self, Read, Write};

/// What a frame begins with; the decoder knows older formats too, which Kafka's clients do not read.
const MAGIC: [u8; 4] = 0x184d_2204_u32.to_le_bytes();

/// Reads exactly one frame.
pub(super) struct Reader<'a> {
    decoder: FrameDecoder<Input<'a>>,
}

/// The frame's bytes. The decoder takes a frame that is cut between two blocks for a whole one; it
/// shows by asking for more than there is, which nobody does who has seen the end mark.
struct Input<'a> {
    rest: &'a [u8],
    starved: bool,
}

impl Read for Input<'_> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        self.starved |= self.rest.is_empty() && !out.is_empty();
        self.rest.read(out)
    }
}

impl<'a> Reader<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Result<Self, CompressionError> {
        if !bytes.starts_with(&MAGIC) {
            return Err(CompressionError::Corrupt);
        }
        Ok(Reader { decoder: FrameDecoder::new(Input { rest: bytes, starved: false }) })
    }

    pub(super) fn read(&mut self, out: &mut [u8]) -> Result<usize, CompressionError> {
        if out.is_empty() {
            return Ok(0);
        }
        let read = self.decoder.read(out).map_err(|_| CompressionError::Corrupt)?;
        let input = self.decoder.get_ref();
        let whole = input.rest.is_empty() && !input.starved;
        if read == 0 && !whole { Err(CompressionError::Corrupt) } else { Ok(read) }
    }
}

/// Writes one frame.
pub type Writer<W> = FrameEncoder<W>;

pub(super) fn writer<W: Write>(writer: W) -> Writer<W> {
    let info = FrameInfo::new().block_mode(BlockMode::Independent).block_size(BlockSize::Max64KB);
    FrameEncoder::with_frame_info(info, writer)
}
