//! Writing: a growing frame, with holes where bytes will be sent from somewhere else.

use bytes::{BufMut, BytesMut};
use uuid::Uuid;

/// A place in an encoded frame where `len` bytes that are not in its head belong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Hole {
    /// Position in [`EncodedFrame::head`]: the bytes go before the byte that is there now.
    pub at: usize,
    /// How many bytes the frame's size counts for it.
    pub len: usize,
}

/// A whole frame, size prefix included, but for the bytes of its holes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EncodedFrame {
    /// Everything that is not in a hole.
    pub head: BytesMut,
    /// In the order of the frame.
    pub holes: Vec<Hole>,
}

impl EncodedFrame {
    /// The bytes the frame takes on the wire, holes and size prefix included.
    pub fn wire_len(&self) -> usize {
        self.head.len() + self.holes.iter().map(|hole| hole.len).sum::<usize>()
    }
}

/// The number of tagged fields written so far, kept in the frame itself.
pub(crate) struct TagSection {
    count_at: usize,
}

/// Appends values to a buffer. Never fails; see [`Encode`](super::Encode) for what it does instead.
#[derive(Debug, Default)]
pub struct Encoder {
    buf: BytesMut,
    holes: Vec<Hole>,
}

impl Encoder {
    /// Starts with an empty buffer of `capacity` bytes.
    pub fn with_capacity(capacity: usize) -> Self {
        Self { buf: BytesMut::with_capacity(capacity), holes: Vec::new() }
    }

    /// What was written, when nothing was left for later.
    ///
    /// # Panics
    /// In debug builds, when there are holes: only a frame may have them.
    pub fn into_bytes(self) -> BytesMut {
        debug_assert!(self.holes.is_empty(), "bytes are missing");
        self.buf
    }

    /// Starts a frame: leaves room for its size.
    pub(crate) fn start_frame(capacity: usize) -> Self {
        let mut e = Self::with_capacity(capacity);
        e.buf.put_i32(0);
        e
    }

    /// Ends a frame begun by [`start_frame`](Self::start_frame): fills in its size, holes counted.
    ///
    /// # Panics
    /// When the frame is larger than Kafka's 31-bit size can say: limits far below that are the caller's part.
    pub(crate) fn into_frame(self) -> EncodedFrame {
        let mut frame = EncodedFrame { head: self.buf, holes: self.holes };
        let size = i32::try_from(frame.wire_len() - 4).expect("a frame is smaller than 2 GiB");
        frame.head[..4].copy_from_slice(&size.to_be_bytes());
        frame
    }

    /// A signed byte.
    pub fn i8(&mut self, value: i8) {
        self.buf.put_i8(value);
    }

    /// A big-endian signed 16-bit number.
    pub fn i16(&mut self, value: i16) {
        self.buf.put_i16(value);
    }

    /// A big-endian unsigned 16-bit number.
    pub fn u16(&mut self, value: u16) {
        self.buf.put_u16(value);
    }

    /// A big-endian signed 32-bit number.
    pub fn i32(&mut self, value: i32) {
        self.buf.put_i32(value);
    }

    /// A big-endian signed 64-bit number.
    pub fn i64(&mut self, value: i64) {
        self.buf.put_i64(value);
    }

    /// 16 bytes, most significant first.
    pub fn uuid(&mut self, value: Uuid) {
        self.raw(value.as_bytes());
    }

    /// Bytes as they are.
    pub fn raw(&mut self, bytes: &[u8]) {
        self.buf.put_slice(bytes);
    }

    /// An unsigned number in groups of 7 bits, least significant first.
    pub fn uvarint(&mut self, value: u32) {
        let (bytes, len) = uvarint_bytes(value);
        self.raw(&bytes[..len]);
    }

    /// Leaves out `len` bytes that whoever sends the frame has at hand.
    pub fn hole(&mut self, len: usize) {
        if len > 0 {
            self.holes.push(Hole { at: self.buf.len(), len });
        }
    }

    /// Starts a section of tagged fields; each is then added by [`tagged_field`](Self::tagged_field).
    pub(crate) fn tag_section(&mut self) -> TagSection {
        let count_at = self.buf.len();
        self.buf.put_u8(0);
        TagSection { count_at }
    }

    /// Adds a field to a section of at most 127 (no message has nearly as many); tags must ascend.
    pub(crate) fn tagged_field(&mut self, section: &TagSection, tag: u32, content: impl FnOnce(&mut Self)) {
        self.buf[section.count_at] += 1;
        self.uvarint(tag);
        let start = self.buf.len();
        content(self);
        let end = self.buf.len();
        let (size, len) = uvarint_bytes((end - start) as u32);
        self.raw(&size[..len]);
        self.buf[start..].rotate_right(len);
    }
}

fn uvarint_bytes(mut value: u32) -> ([u8; 5], usize) {
    let mut bytes = [0; 5];
    let mut len = 0;
    loop {
        let group = (value & 0x7f) as u8;
        value >>= 7;
        bytes[len] = if value == 0 { group } else { group | 0x80 };
        len += 1;
        if value == 0 {
            return (bytes, len);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kafka::wire::Decoder;

    #[test]
    fn varints_round_trip() {
        for value in [0, 1, 127, 128, 16383, 16384, 1 << 21, 1 << 28, u32::MAX] {
            let mut e = Encoder::default();
            e.uvarint(value);
            let bytes = e.into_bytes();
            let mut d = Decoder::new(&bytes);
            assert_eq!(d.uvarint(), Ok(value));
            assert_eq!(d.finish(), Ok(()));
        }
    }

    #[test]
    fn a_frame_counts_its_holes() {
        let mut e = Encoder::start_frame(64);
        e.i32(7);
        e.hole(1000);
        e.i8(1);
        let frame = e.into_frame();
        assert_eq!(frame.head[..4], 1005i32.to_be_bytes());
        assert_eq!(frame.holes, [Hole { at: 8, len: 1000 }]);
        assert_eq!(frame.wire_len(), 1009);
    }

    #[test]
    fn tagged_fields_carry_their_size() {
        let mut e = Encoder::default();
        let tags = e.tag_section();
        e.tagged_field(&tags, 2, |e| e.i16(5));
        e.tagged_field(&tags, 200, |e| e.raw(&[9; 130]));
        let bytes = e.into_bytes();
        assert_eq!(bytes[..5], [2, 2, 2, 0, 5]);
        assert_eq!(bytes[5..9], [0xc8, 1, 0x82, 1]);
        assert_eq!(bytes[9..], [9; 130]);
    }
}
