//! The primitive types of Kafka's protocol, read from a borrowed frame and written to a growing one.
//!
//! A version of a message is either *classic* (lengths of 16 or 32 bits) or *flexible* (compact lengths and tagged fields,
//! KIP-482). [`Version`] tells every field which.

mod decoder;
mod encoder;
mod types;

use std::ops::Range;

pub use decoder::{DecodeError, Decoder, Malformed};
pub use encoder::{EncodedFrame, Encoder, Hole};
pub use types::{Nullable, Records};

/// The longest string Kafka allows, in bytes, whichever way its length is written.
pub const MAX_STRING: usize = i16::MAX as usize;

/// Decoding a body allocates at most this many times its bytes, in total: vectors of borrowed fields are larger than the
/// shortest of elements they are read from. Bodies that carry records take far less than their own size.
pub const MEMORY_FACTOR: usize = 32;

/// The most memory, in bytes, that decoding a body of `len` bytes may take: for short ones [`MEMORY_FACTOR`] times as
/// much, for long ones not much more than honest elements need (a partition to fetch takes twice its bytes, a topic with
/// a name of a few letters eight times).
pub const fn memory_limit(len: usize) -> usize {
    const FREE: usize = 128 * 1024;
    let (short, long) = (len.saturating_mul(MEMORY_FACTOR), len.saturating_mul(4).saturating_add(FREE));
    if short < long { short } else { long }
}

/// The version of the message being read or written, and whether that version is flexible.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Version {
    /// The number on the wire.
    pub number: i16,
    /// Compact lengths and tagged fields are in use (KIP-482).
    pub flexible: bool,
}

/// A value that can be written in every version of the messages that hold it.
///
/// Encoding never fails: what a version cannot express is left out, or written as the type's empty value.
pub trait Encode {
    /// Appends the value.
    fn encode(&self, e: &mut Encoder, v: Version);
}

/// A value that can be read, borrowing from a frame that lives for `'de`.
pub trait Decode<'de>: Sized {
    /// The fewest bytes a value takes in version `v`: never 0, so that a count of elements is bounded by bytes left.
    fn min_size(v: Version) -> usize;

    /// Reads one value.
    fn decode(d: &mut Decoder<'de>, v: Version) -> Result<Self, DecodeError>;
}

/// A type whose absence has a form of its own on the wire; `Option` of it can be written.
pub trait EncodeNullable: Encode {
    /// Appends null.
    fn encode_null(e: &mut Encoder, v: Version);
}

/// A type whose absence has a form of its own on the wire; `Option` of it can be read.
pub trait DecodeNullable<'de>: Decode<'de> {
    /// Reads one value or null.
    fn decode_nullable(d: &mut Decoder<'de>, v: Version) -> Result<Option<Self>, DecodeError>;
}

/// Writes a nullable value in a version that knows no null: `None` becomes the empty value.
pub(super) fn encode_required<T: Encode + Default>(value: &Option<T>, e: &mut Encoder, v: Version) {
    match value {
        Some(value) => value.encode(e, v),
        None => T::default().encode(e, v),
    }
}

/// Reads a nullable value in a version that knows no null.
pub(super) fn decode_required<'de, T: Decode<'de>>(
    d: &mut Decoder<'de>,
    v: Version,
) -> Result<Option<T>, DecodeError> {
    T::decode(d, v).map(Some)
}

/// Where `part`, a slice decoded from `frame`, lies in it: the way to split an owned frame into what it carries.
///
/// # Panics
/// When `part` does not lie within `frame`: the two do not belong together.
pub fn range_in(frame: &[u8], part: &[u8]) -> Range<usize> {
    let start = part.as_ptr().addr().wrapping_sub(frame.as_ptr().addr());
    let inside = start <= frame.len() && part.len() <= frame.len() - start;
    assert!(inside, "{} bytes do not lie within the frame of {} bytes", part.len(), frame.len());
    start..start + part.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_part_is_found_in_its_frame() {
        let frame = [0u8, 1, 2, 3, 4];
        assert_eq!(range_in(&frame, &frame[1..4]), 1..4);
        assert_eq!(range_in(&frame, &frame), 0..5);
        assert_eq!(range_in(&frame, &frame[5..]), 5..5);
    }

    #[test]
    #[should_panic(expected = "do not lie within")]
    fn a_stranger_is_not_found() {
        let both = [0u8; 8];
        let (frame, stranger) = both.split_at(4);
        range_in(frame, &stranger[1..]);
    }
}
