//! How each Rust type a field can have looks on the wire.

use std::fmt;

use uuid::Uuid;

use super::{
    Decode, DecodeError, DecodeNullable, Decoder, Encode, EncodeNullable, Encoder, MAX_STRING, Malformed,
    Version,
};

macro_rules! fixed_size {
    ($($ty:ty, $method:ident, $size:literal;)*) => {$(
        impl Encode for $ty {
            fn encode(&self, e: &mut Encoder, _: Version) {
                e.$method(*self);
            }
        }

        impl<'de> Decode<'de> for $ty {
            fn min_size(_: Version) -> usize {
                $size
            }

            fn decode(d: &mut Decoder<'de>, _: Version) -> Result<Self, DecodeError> {
                d.$method()
            }
        }
    )*};
}

fixed_size! {
    i8, i8, 1;
    i16, i16, 2;
    u16, u16, 2;
    i32, i32, 4;
    i64, i64, 8;
    Uuid, uuid, 16;
}

impl Encode for bool {
    fn encode(&self, e: &mut Encoder, _: Version) {
        e.i8(i8::from(*self));
    }
}

impl<'de> Decode<'de> for bool {
    fn min_size(_: Version) -> usize {
        1
    }

    fn decode(d: &mut Decoder<'de>, _: Version) -> Result<Self, DecodeError> {
        d.bool()
    }
}

/// The length of a string: 16 bits in classic versions.
fn string_length(d: &mut Decoder<'_>, v: Version) -> Result<Option<usize>, DecodeError> {
    if v.flexible {
        return d.compact_length();
    }
    let length = d.i16()?;
    d.classic_length(i32::from(length))
}

/// The length of bytes or the count of an array: 32 bits in classic versions.
fn long_length(d: &mut Decoder<'_>, v: Version) -> Result<Option<usize>, DecodeError> {
    if v.flexible {
        return d.compact_length();
    }
    let length = d.i32()?;
    d.classic_length(length)
}

/// Writes the length of bytes or the count of an array, `None` for null.
fn encode_long_length(length: Option<usize>, e: &mut Encoder, v: Version) {
    match length {
        Some(length) if v.flexible => e.uvarint(length as u32 + 1),
        Some(length) => e.i32(length as i32),
        None if v.flexible => e.uvarint(0),
        None => e.i32(-1),
    }
}

/// The least bytes of a length in front of something, when `classic` bytes are used in classic versions.
fn length_size(v: Version, classic: usize) -> usize {
    if v.flexible { 1 } else { classic }
}

fn not_null<T>(d: &Decoder<'_>, value: Option<T>) -> Result<T, DecodeError> {
    value.ok_or_else(|| d.error(Malformed::Null))
}

impl Encode for &str {
    /// What is beyond Kafka's longest string is cut off, at a character's boundary.
    fn encode(&self, e: &mut Encoder, v: Version) {
        let text = cut_to_max(self);
        match v.flexible {
            true => e.uvarint(text.len() as u32 + 1),
            false => e.i16(text.len() as i16),
        }
        e.raw(text.as_bytes());
    }
}

/// As much of `text` as Kafka's longest string holds.
fn cut_to_max(text: &str) -> &str {
    let mut end = text.len().min(MAX_STRING);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    &text[..end]
}

impl EncodeNullable for &str {
    fn encode_null(e: &mut Encoder, v: Version) {
        match v.flexible {
            true => e.uvarint(0),
            false => e.i16(-1),
        }
    }
}

impl<'de: 'a, 'a> Decode<'de> for &'a str {
    fn min_size(v: Version) -> usize {
        length_size(v, 2)
    }

    fn decode(d: &mut Decoder<'de>, v: Version) -> Result<Self, DecodeError> {
        let value = Self::decode_nullable(d, v)?;
        not_null(d, value)
    }
}

impl<'de: 'a, 'a> DecodeNullable<'de> for &'a str {
    fn decode_nullable(d: &mut Decoder<'de>, v: Version) -> Result<Option<Self>, DecodeError> {
        let Some(length) = string_length(d, v)? else { return Ok(None) };
        if length > MAX_STRING {
            return Err(d.error(Malformed::LongString(length)));
        }
        let start = d.clone();
        let bytes = d.take(length)?;
        std::str::from_utf8(bytes).map(Some).map_err(|_| start.error(Malformed::NotUtf8))
    }
}

impl Encode for &[u8] {
    fn encode(&self, e: &mut Encoder, v: Version) {
        encode_long_length(Some(self.len()), e, v);
        e.raw(self);
    }
}

impl EncodeNullable for &[u8] {
    fn encode_null(e: &mut Encoder, v: Version) {
        encode_long_length(None, e, v);
    }
}

impl<'de: 'a, 'a> Decode<'de> for &'a [u8] {
    fn min_size(v: Version) -> usize {
        length_size(v, 4)
    }

    fn decode(d: &mut Decoder<'de>, v: Version) -> Result<Self, DecodeError> {
        let value = Self::decode_nullable(d, v)?;
        not_null(d, value)
    }
}

impl<'de: 'a, 'a> DecodeNullable<'de> for &'a [u8] {
    fn decode_nullable(d: &mut Decoder<'de>, v: Version) -> Result<Option<Self>, DecodeError> {
        let Some(length) = long_length(d, v)? else { return Ok(None) };
        d.take(length).map(Some)
    }
}

impl<T: Encode> Encode for Vec<T> {
    fn encode(&self, e: &mut Encoder, v: Version) {
        encode_long_length(Some(self.len()), e, v);
        self.iter().for_each(|element| element.encode(e, v));
    }
}

impl<T: Encode> EncodeNullable for Vec<T> {
    fn encode_null(e: &mut Encoder, v: Version) {
        encode_long_length(None, e, v);
    }
}

impl<'de, T: Decode<'de>> Decode<'de> for Vec<T> {
    fn min_size(v: Version) -> usize {
        length_size(v, 4)
    }

    fn decode(d: &mut Decoder<'de>, v: Version) -> Result<Self, DecodeError> {
        let value = Self::decode_nullable(d, v)?;
        not_null(d, value)
    }
}

impl<'de, T: Decode<'de>> DecodeNullable<'de> for Vec<T> {
    fn decode_nullable(d: &mut Decoder<'de>, v: Version) -> Result<Option<Self>, DecodeError> {
        let Some(announced) = long_length(d, v)? else { return Ok(None) };
        let count = d.check_count(announced, T::min_size(v))?;
        d.claim(count, size_of::<T>())?;
        let mut elements = Vec::with_capacity(count);
        for _ in 0..count {
            elements.push(T::decode(d, v)?);
        }
        Ok(Some(elements))
    }
}

impl<T: EncodeNullable> Encode for Option<T> {
    fn encode(&self, e: &mut Encoder, v: Version) {
        match self {
            Some(value) => value.encode(e, v),
            None => T::encode_null(e, v),
        }
    }
}

impl<'de, T: DecodeNullable<'de>> Decode<'de> for Option<T> {
    fn min_size(v: Version) -> usize {
        T::min_size(v)
    }

    fn decode(d: &mut Decoder<'de>, v: Version) -> Result<Self, DecodeError> {
        T::decode_nullable(d, v)
    }
}

/// A part that may be missing: -1 in one byte says so, 1 comes before one that is there.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Nullable<T>(pub Option<T>);

impl<T: Encode> Encode for Nullable<T> {
    fn encode(&self, e: &mut Encoder, v: Version) {
        match &self.0 {
            Some(part) => {
                e.i8(1);
                part.encode(e, v);
            }
            None => e.i8(-1),
        }
    }
}

impl<'de, T: Decode<'de>> Decode<'de> for Nullable<T> {
    fn min_size(_: Version) -> usize {
        1
    }

    fn decode(d: &mut Decoder<'de>, v: Version) -> Result<Self, DecodeError> {
        if d.i8()? < 0 { Ok(Self(None)) } else { T::decode(d, v).map(|part| Self(Some(part))) }
    }
}

/// The batches of one partition in a fetch response.
///
/// A broker answers "none" with empty bytes, as Kafka's does: some clients take null badly.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
pub enum Records<'a> {
    /// Null.
    #[default]
    Null,
    /// The bytes themselves.
    Bytes(&'a [u8]),
    /// Bytes that are sent from elsewhere (a file): written as their length and a [`Hole`](super::Hole). Never decoded.
    Elsewhere {
        /// How many they are.
        len: usize,
    },
}

impl fmt::Debug for Records<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Null => f.write_str("None"),
            Self::Bytes(bytes) => f.debug_tuple("Bytes").field(bytes).finish(),
            Self::Elsewhere { len } => write!(f, "Elsewhere({len})"),
        }
    }
}

impl Encode for Records<'_> {
    fn encode(&self, e: &mut Encoder, v: Version) {
        match *self {
            Self::Null => encode_long_length(None, e, v),
            Self::Bytes(bytes) => bytes.encode(e, v),
            Self::Elsewhere { len } => {
                encode_long_length(Some(len), e, v);
                e.hole(len);
            }
        }
    }
}

impl<'de: 'a, 'a> Decode<'de> for Records<'a> {
    fn min_size(v: Version) -> usize {
        <&[u8]>::min_size(v)
    }

    fn decode(d: &mut Decoder<'de>, v: Version) -> Result<Self, DecodeError> {
        Ok(<&[u8]>::decode_nullable(d, v)?.map_or(Self::Null, Self::Bytes))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CLASSIC: Version = Version { number: 0, flexible: false };
    const FLEXIBLE: Version = Version { number: 1, flexible: true };

    fn encode(value: &impl Encode, v: Version) -> Vec<u8> {
        let mut e = Encoder::default();
        value.encode(&mut e, v);
        e.into_bytes().to_vec()
    }

    fn decode<'de, T: Decode<'de>>(bytes: &'de [u8], v: Version) -> Result<T, Malformed> {
        let mut d = Decoder::new(bytes);
        let value = T::decode(&mut d, v).map_err(|error| error.why)?;
        d.finish().map_err(|error| error.why)?;
        Ok(value)
    }

    #[test]
    fn strings_in_both_forms() {
        assert_eq!(encode(&"hé", CLASSIC), [0, 3, b'h', 0xc3, 0xa9]);
        assert_eq!(encode(&"hé", FLEXIBLE), [4, b'h', 0xc3, 0xa9]);
        assert_eq!(encode(&None::<&str>, CLASSIC), [0xff, 0xff]);
        assert_eq!(encode(&None::<&str>, FLEXIBLE), [0]);
        assert_eq!(decode(&[0, 1, b'x'], CLASSIC), Ok("x"));
        assert_eq!(decode(&[0xff, 0xff], CLASSIC), Ok(None::<&str>));
    }

    #[test]
    fn bad_strings_are_refused() {
        assert_eq!(decode::<&str>(&[0xff, 0xff], CLASSIC), Err(Malformed::Null));
        assert_eq!(decode::<&str>(&[0xff, 0xfe], CLASSIC), Err(Malformed::NegativeLength(-2)));
        assert_eq!(decode::<&str>(&[0, 1, 0xff], CLASSIC), Err(Malformed::NotUtf8));
        assert_eq!(decode::<&str>(&[0x81, 0x80, 0x02], FLEXIBLE), Err(Malformed::LongString(32768)));
    }

    #[test]
    fn a_string_too_long_is_cut_between_characters() {
        let long = "é".repeat(MAX_STRING);
        let bytes = encode(&long.as_str(), CLASSIC);
        let text: &str = decode(&bytes, CLASSIC).unwrap();
        assert_eq!(text.len(), MAX_STRING - 1);
    }

    #[test]
    fn arrays_reserve_no_more_than_the_frame_holds() {
        assert_eq!(
            decode::<Vec<i64>>(&[0x7f, 0xff, 0xff, 0xff, 1], CLASSIC),
            Err(Malformed::TooMany { count: i32::MAX as usize, left: 1 })
        );
        assert_eq!(decode(&[0, 0, 0, 2, 0, 1, 0, 2], CLASSIC), Ok(vec![1i16, 2]));
        assert_eq!(decode(&[3, 0, 1, 0, 2], FLEXIBLE), Ok(Some(vec![1i16, 2])));
        assert_eq!(decode(&[0], FLEXIBLE), Ok(None::<Vec<i16>>));
        assert_eq!(decode::<Vec<i16>>(&[0], FLEXIBLE), Err(Malformed::Null));
    }

    #[test]
    fn records_elsewhere_leave_a_hole() {
        let mut e = Encoder::start_frame(16);
        Records::Elsewhere { len: 300 }.encode(&mut e, FLEXIBLE);
        let frame = e.into_frame();
        assert_eq!(frame.head[4..], [0xad, 2]);
        assert_eq!(frame.wire_len(), 4 + 2 + 300);
    }
}
