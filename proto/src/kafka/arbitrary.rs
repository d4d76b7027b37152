//! Values of every message, made from raw bytes: for tests and fuzzers, behind the feature `arbitrary`.

use arbitrary::{Result, Unstructured};
use uuid::Uuid;

use super::error::ErrorCode;
use super::wire::{Nullable, Records};

/// A value made from bytes, borrowing from them. Fields take any value, whether a version has them or not.
pub trait Sample<'de>: Sized {
    /// Makes one. Few bytes make small values; running out of them is no error.
    fn sample(u: &mut Unstructured<'de>) -> Result<Self>;
}

macro_rules! integers {
    ($($ty:ty),*) => {$(
        impl<'de> Sample<'de> for $ty {
            /// Half of them at the edges, where codecs go wrong.
            fn sample(u: &mut Unstructured<'de>) -> Result<Self> {
                match u.arbitrary::<u8>()? {
                    0..32 => Ok(0),
                    32..64 => Ok(<$ty>::MAX),
                    64..96 => Ok(<$ty>::MIN),
                    96..128 => Ok((0 as $ty).wrapping_sub(1)),
                    _ => u.arbitrary(),
                }
            }
        }
    )*};
}

integers!(i8, i16, u16, i32, i64);

impl<'de> Sample<'de> for bool {
    fn sample(u: &mut Unstructured<'de>) -> Result<Self> {
        u.arbitrary()
    }
}

impl<'de> Sample<'de> for Uuid {
    fn sample(u: &mut Unstructured<'de>) -> Result<Self> {
        u.arbitrary().map(Uuid::from_bytes)
    }
}

impl<'de> Sample<'de> for ErrorCode {
    fn sample(u: &mut Unstructured<'de>) -> Result<Self> {
        u.choose(ErrorCode::ALL).copied()
    }
}

/// Up to 300 bytes, mostly few: beyond 127 a compact length takes two bytes.
fn sample_bytes<'de>(u: &mut Unstructured<'de>) -> Result<&'de [u8]> {
    let most = if u.ratio(1u8, 16)? { 300 } else { 12 };
    let len = u.int_in_range(0..=most)?.min(u.len());
    u.bytes(len)
}

impl<'de: 'a, 'a> Sample<'de> for &'a [u8] {
    fn sample(u: &mut Unstructured<'de>) -> Result<Self> {
        sample_bytes(u)
    }
}

impl<'de: 'a, 'a> Sample<'de> for &'a str {
    /// As much of the bytes as is UTF-8.
    fn sample(u: &mut Unstructured<'de>) -> Result<Self> {
        let bytes = sample_bytes(u)?;
        let valid = std::str::from_utf8(bytes).map_or_else(|error| error.valid_up_to(), str::len);
        Ok(std::str::from_utf8(&bytes[..valid]).unwrap_or_default())
    }
}

impl<'de, T: Sample<'de>> Sample<'de> for Option<T> {
    fn sample(u: &mut Unstructured<'de>) -> Result<Self> {
        if u.ratio(1u8, 4)? { Ok(None) } else { T::sample(u).map(Some) }
    }
}

impl<'de, T: Sample<'de>> Sample<'de> for Nullable<T> {
    fn sample(u: &mut Unstructured<'de>) -> Result<Self> {
        Option::sample(u).map(Self)
    }
}

impl<'de, T: Sample<'de>> Sample<'de> for Vec<T> {
    /// Up to 4 elements, now and then up to 150: beyond 126 a compact count takes two bytes.
    fn sample(u: &mut Unstructured<'de>) -> Result<Self> {
        let most = if u.ratio(1u8, 32)? { 150 } else { 4 };
        let count = u.int_in_range(0..=most)?;
        (0..count).map(|_| T::sample(u)).collect()
    }
}

impl<'de: 'a, 'a> Sample<'de> for Records<'a> {
    /// Never elsewhere: such bytes cannot be read back.
    fn sample(u: &mut Unstructured<'de>) -> Result<Self> {
        Ok(Option::<&[u8]>::sample(u)?.map_or(Records::Null, Records::Bytes))
    }
}
