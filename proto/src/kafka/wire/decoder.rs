//! Reading: a checked cursor over a frame. Nothing here trusts a length, and nothing panics.

use thiserror::Error;
use uuid::Uuid;

/// Why a frame cannot be read, and where.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("malformed at byte {at}: {why}")]
pub struct DecodeError {
    /// Offset in the slice the decoder was made from.
    pub at: usize,
    /// What was found there.
    pub why: Malformed,
}

/// What can be wrong with bytes that should be a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum Malformed {
    /// The message ends before its field does.
    #[error("{wanted} bytes expected, {left} left")]
    Truncated {
        /// Bytes the field takes.
        wanted: usize,
        /// Bytes the frame still holds.
        left: usize,
    },
    /// More elements are announced than the rest of the frame could hold.
    #[error("{count} elements announced, {left} bytes left")]
    TooMany {
        /// Elements, or tagged fields, announced.
        count: usize,
        /// Bytes the frame still holds.
        left: usize,
    },
    /// The message's vectors would take more memory than [`super::memory_limit`] allows for its length.
    #[error("the message is made of too many small elements: {wanted} bytes of memory wanted, {left} left")]
    Memory {
        /// Bytes of memory that the next vector takes.
        wanted: usize,
        /// Bytes of memory that the message may still take.
        left: usize,
    },
    /// A length below -1.
    #[error("negative length {0}")]
    NegativeLength(i32),
    /// Null where the message version allows none.
    #[error("null is not allowed here")]
    Null,
    /// A string longer than Kafka allows.
    #[error("string of {0} bytes; {max} are allowed", max = super::MAX_STRING)]
    LongString(usize),
    /// A string that is not UTF-8.
    #[error("string is not UTF-8")]
    NotUtf8,
    /// A variable-length integer of more than 32 bits.
    #[error("variable-length integer exceeds 32 bits")]
    LongVarint,
    /// Tagged fields must come in ascending order, each once (KIP-482).
    #[error("tagged field {0} is repeated or out of order")]
    TagOrder(u32),
    /// A tagged field whose content is shorter than its announced size.
    #[error("tagged field {tag} leaves {left} bytes unread")]
    TagSize {
        /// The tag.
        tag: u32,
        /// Bytes the field's type did not use.
        left: usize,
    },
    /// Bytes behind the end of the message.
    #[error("{0} bytes left behind the message")]
    Trailing(usize),
    /// The message is not spoken in this version.
    #[error("version {0} is not known")]
    UnknownVersion(i16),
    /// A metadata record's frame (KRaft) is not one that is known.
    #[error("metadata record type {api_key} in version {version} is not known")]
    UnknownRecord {
        /// The record's type.
        api_key: u32,
        /// The record's version.
        version: u32,
    },
}

/// A cursor over one frame, or a part of it.
#[derive(Clone, Debug)]
pub struct Decoder<'a> {
    bytes: &'a [u8],
    at: usize,
    /// Bytes of memory that vectors may still take.
    memory: usize,
}

impl<'a> Decoder<'a> {
    /// Starts at the first of `bytes`.
    pub fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, at: 0, memory: super::memory_limit(bytes.len()) }
    }

    /// Bytes not read yet.
    pub fn left(&self) -> usize {
        self.bytes.len() - self.at
    }

    /// The bytes not read yet, without reading them.
    pub fn rest(&self) -> &'a [u8] {
        &self.bytes[self.at..]
    }

    /// Ends the message: nothing may be left.
    pub fn finish(self) -> Result<(), DecodeError> {
        match self.left() {
            0 => Ok(()),
            left => Err(self.error(Malformed::Trailing(left))),
        }
    }

    /// An error at the current position.
    pub fn error(&self, why: Malformed) -> DecodeError {
        DecodeError { at: self.at, why }
    }

    /// The next `wanted` bytes.
    pub fn take(&mut self, wanted: usize) -> Result<&'a [u8], DecodeError> {
        let left = self.left();
        if wanted > left {
            return Err(self.error(Malformed::Truncated { wanted, left }));
        }
        let start = self.at;
        self.at += wanted;
        Ok(&self.bytes[start..self.at])
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], DecodeError> {
        let mut out = [0; N];
        out.copy_from_slice(self.take(N)?);
        Ok(out)
    }

    /// A signed byte.
    pub fn i8(&mut self) -> Result<i8, DecodeError> {
        self.array().map(i8::from_be_bytes)
    }

    /// A big-endian signed 16-bit number.
    pub fn i16(&mut self) -> Result<i16, DecodeError> {
        self.array().map(i16::from_be_bytes)
    }

    /// A big-endian unsigned 16-bit number.
    pub fn u16(&mut self) -> Result<u16, DecodeError> {
        self.array().map(u16::from_be_bytes)
    }

    /// A big-endian signed 32-bit number.
    pub fn i32(&mut self) -> Result<i32, DecodeError> {
        self.array().map(i32::from_be_bytes)
    }

    /// A big-endian signed 64-bit number.
    pub fn i64(&mut self) -> Result<i64, DecodeError> {
        self.array().map(i64::from_be_bytes)
    }

    /// A byte that is true unless it is 0.
    pub fn bool(&mut self) -> Result<bool, DecodeError> {
        self.i8().map(|byte| byte != 0)
    }

    /// 16 bytes, most significant first.
    pub fn uuid(&mut self) -> Result<Uuid, DecodeError> {
        self.array().map(Uuid::from_bytes)
    }

    /// An unsigned number in groups of 7 bits, least significant first; at most 32 bits.
    pub fn uvarint(&mut self) -> Result<u32, DecodeError> {
        let mut value = 0u32;
        for shift in [0, 7, 14, 21, 28] {
            let [byte] = self.array()?;
            let group = u32::from(byte & 0x7f);
            if shift == 28 && byte > 0x0f {
                break;
            }
            value |= group << shift;
            if byte & 0x80 == 0 {
                return Ok(value);
            }
        }
        Err(self.error(Malformed::LongVarint))
    }

    /// A compact length (KIP-482): one more than the length, 0 for null.
    pub(super) fn compact_length(&mut self) -> Result<Option<usize>, DecodeError> {
        Ok(self.uvarint()?.checked_sub(1).map(|length| length as usize))
    }

    /// A classic length that was read from its 16 or 32 bits: -1 for null.
    pub(super) fn classic_length(&self, length: i32) -> Result<Option<usize>, DecodeError> {
        match usize::try_from(length) {
            Ok(length) => Ok(Some(length)),
            Err(_) if length == -1 => Ok(None),
            Err(_) => Err(self.error(Malformed::NegativeLength(length))),
        }
    }

    /// The number of elements that follow, when each takes at least `min_size` bytes.
    pub(super) fn check_count(&self, count: usize, min_size: usize) -> Result<usize, DecodeError> {
        let left = self.left();
        if count > left / min_size.max(1) {
            return Err(self.error(Malformed::TooMany { count, left }));
        }
        Ok(count)
    }

    /// Takes the memory of a vector of `count` elements, `size` bytes each, out of what the message may have.
    pub(super) fn claim(&mut self, count: usize, size: usize) -> Result<(), DecodeError> {
        let wanted = count.saturating_mul(size);
        let left = self.memory;
        self.memory =
            left.checked_sub(wanted).ok_or_else(|| self.error(Malformed::Memory { wanted, left }))?;
        Ok(())
    }

    /// Reads a section of tagged fields, handing each one that it knows to `field`.
    ///
    /// `field` answers whether it read the tag's content; one that it does not know is skipped.
    pub fn tagged_fields(
        &mut self,
        mut field: impl FnMut(u32, &mut Decoder<'a>) -> Result<bool, DecodeError>,
    ) -> Result<(), DecodeError> {
        let announced = self.uvarint()? as usize;
        let count = self.check_count(announced, 2)?;
        let mut least = 0u64;
        for _ in 0..count {
            let tag = self.uvarint()?;
            if u64::from(tag) < least {
                return Err(self.error(Malformed::TagOrder(tag)));
            }
            least = u64::from(tag) + 1;
            self.tagged_field(tag, &mut field)?;
        }
        Ok(())
    }

    fn tagged_field(
        &mut self,
        tag: u32,
        field: &mut impl FnMut(u32, &mut Decoder<'a>) -> Result<bool, DecodeError>,
    ) -> Result<(), DecodeError> {
        let size = self.uvarint()? as usize;
        self.take(size)?;
        let mut content = Decoder { bytes: &self.bytes[..self.at], at: self.at - size, memory: self.memory };
        let known = field(tag, &mut content)?;
        self.memory = content.memory;
        match content.left() {
            left if known && left > 0 => Err(content.error(Malformed::TagSize { tag, left })),
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn varints_of_every_length() {
        for (bytes, value) in [
            (&[0][..], 0),
            (&[0x7f], 127),
            (&[0x80, 1], 128),
            (&[0xff, 0xff, 0xff, 0xff, 0x0f], u32::MAX),
            (&[0x80, 0x80, 0x80, 0x80, 0x00], 0),
        ] {
            assert_eq!(Decoder::new(bytes).uvarint(), Ok(value));
        }
    }

    #[test]
    fn a_varint_beyond_32_bits_is_refused() {
        for bytes in [[0xff, 0xff, 0xff, 0xff, 0x1f], [0x80, 0x80, 0x80, 0x80, 0x80]] {
            let error = Decoder::new(&bytes).uvarint().unwrap_err();
            assert_eq!(error.why, Malformed::LongVarint);
        }
    }

    #[test]
    fn a_failed_take_reads_nothing() {
        let mut d = Decoder::new(&[1, 2, 3]);
        assert_eq!(
            d.take(4).unwrap_err(),
            DecodeError { at: 0, why: Malformed::Truncated { wanted: 4, left: 3 } }
        );
        assert_eq!(d.take(3), Ok(&[1, 2, 3][..]));
    }

    #[test]
    fn tagged_fields_are_read_or_skipped() {
        // Tag 1 (one byte, known), tag 7 (two bytes, unknown), tag 9 (empty, unknown).
        let bytes = [3, 1, 1, 42, 7, 2, 0, 0, 9, 0];
        let mut found = None;
        let mut d = Decoder::new(&bytes);
        d.tagged_fields(|tag, d| match tag {
            1 => d.i8().map(|value| found = Some(value)).map(|()| true),
            _ => Ok(false),
        })
        .unwrap();
        assert_eq!(found, Some(42));
        assert_eq!(d.finish(), Ok(()));
    }

    #[test]
    fn tagged_fields_must_ascend() {
        for bytes in [[2, 3, 0, 3, 0], [2, 3, 0, 1, 0]] {
            let error = Decoder::new(&bytes).tagged_fields(|_, _| Ok(false)).unwrap_err();
            assert!(matches!(error.why, Malformed::TagOrder(_)), "{error}");
        }
    }

    #[test]
    fn a_tagged_field_is_confined_to_its_size() {
        let read =
            |bytes: &[u8]| Decoder::new(bytes).tagged_fields(|_, d| d.i16().map(|_| true)).unwrap_err().why;
        assert_eq!(read(&[1, 0, 3, 1, 2, 3]), Malformed::TagSize { tag: 0, left: 1 });
        assert_eq!(read(&[1, 0, 1, 1, 2, 3]), Malformed::Truncated { wanted: 2, left: 1 });
    }

    #[test]
    fn a_count_of_tagged_fields_is_bounded_by_the_frame() {
        let error =
            Decoder::new(&[0xff, 0xff, 0xff, 0xff, 0x0f, 0]).tagged_fields(|_, _| Ok(false)).unwrap_err();
        assert_eq!(error.why, Malformed::TooMany { count: u32::MAX as usize, left: 1 });
    }

    #[test]
    fn what_is_left_is_an_error_at_the_end() {
        assert_eq!(Decoder::new(&[9]).finish().unwrap_err().why, Malformed::Trailing(1));
    }
}
