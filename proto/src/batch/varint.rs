//! Zig-zag variable-length integers, as records use them.

use super::RecordFault;
use bytes::BufMut;

/// Most bytes of a 32-bit integer.
pub(super) const MAX_LEN_32: usize = 5;
/// Most bytes of a 64-bit integer.
pub(super) const MAX_LEN_64: usize = 10;

/// Decodes a 32-bit integer at the start of `bytes`; also tells how many bytes it took.
#[inline]
pub(super) fn decode_32(bytes: &[u8]) -> Result<(i32, usize), RecordFault> {
    let (raw, len) = decode::<MAX_LEN_32>(bytes)?;
    let raw = u32::try_from(raw).map_err(|_| RecordFault::Varint)?;
    Ok(((raw >> 1) as i32 ^ -((raw & 1) as i32), len))
}

/// Decodes a 64-bit integer at the start of `bytes`; also tells how many bytes it took.
#[inline]
pub(super) fn decode_64(bytes: &[u8]) -> Result<(i64, usize), RecordFault> {
    let (raw, len) = decode::<MAX_LEN_64>(bytes)?;
    Ok(((raw >> 1) as i64 ^ -((raw & 1) as i64), len))
}

#[inline]
fn decode<const MAX: usize>(bytes: &[u8]) -> Result<(u64, usize), RecordFault> {
    let mut raw = 0u64;
    for (i, &byte) in bytes.iter().take(MAX).enumerate() {
        // The tenth byte has room for the topmost bit alone.
        if i == MAX_LEN_64 - 1 && byte > 1 {
            return Err(RecordFault::Varint);
        }
        raw |= u64::from(byte & 0x7f) << (7 * i);
        if byte < 0x80 {
            return Ok((raw, i + 1));
        }
    }
    Err(if bytes.len() < MAX { RecordFault::Truncated } else { RecordFault::Varint })
}

/// Appends a 32-bit integer.
#[inline]
pub(super) fn put_32(out: &mut impl BufMut, value: i32) {
    put_64(out, i64::from(value));
}

/// Appends a 64-bit integer.
#[inline]
pub(super) fn put_64(out: &mut impl BufMut, value: i64) {
    let mut raw = zigzag(value);
    while raw >= 0x80 {
        out.put_u8(raw as u8 | 0x80);
        raw >>= 7;
    }
    out.put_u8(raw as u8);
}

/// Bytes that an integer takes.
#[inline]
pub(super) fn len(value: i64) -> usize {
    (64 - (zigzag(value) | 1).leading_zeros() as usize).div_ceil(7)
}

#[inline]
fn zigzag(value: i64) -> u64 {
    ((value << 1) ^ (value >> 63)) as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_bytes() {
        for (value, bytes) in [
            (0, &[0x00][..]),
            (-1, &[0x01]),
            (1, &[0x02]),
            (63, &[0x7e]),
            (-64, &[0x7f]),
            (64, &[0x80, 0x01]),
            (i32::MAX, &[0xfe, 0xff, 0xff, 0xff, 0x0f]),
            (i32::MIN, &[0xff, 0xff, 0xff, 0xff, 0x0f]),
        ] {
            let mut out = Vec::new();
            put_32(&mut out, value);
            assert_eq!(out, bytes, "{value}");
            assert_eq!(decode_32(bytes), Ok((value, bytes.len())));
            assert_eq!(decode_64(bytes), Ok((i64::from(value), bytes.len())));
            assert_eq!(len(i64::from(value)), bytes.len());
        }
    }

    #[test]
    fn every_power_of_two_survives() {
        for shift in 0..64 {
            for value in [1i64 << shift, (1i64 << shift).wrapping_sub(1), (1i64 << shift).wrapping_neg()] {
                let mut out = Vec::new();
                put_64(&mut out, value);
                assert_eq!(decode_64(&out), Ok((value, out.len())));
                assert_eq!(len(value), out.len());
            }
        }
    }

    #[test]
    fn refuses_what_is_cut_or_too_long() {
        assert_eq!(decode_32(&[]), Err(RecordFault::Truncated));
        assert_eq!(decode_32(&[0x80, 0x80]), Err(RecordFault::Truncated));
        assert_eq!(decode_32(&[0xff, 0xff, 0xff, 0xff, 0x1f]), Err(RecordFault::Varint));
        assert_eq!(decode_32(&[0x80, 0x80, 0x80, 0x80, 0x80, 0x00]), Err(RecordFault::Varint));
        assert_eq!(decode_64(&[0xff; 11]), Err(RecordFault::Varint));
        let mut over = [0xff; 10];
        over[9] = 0x02;
        assert_eq!(decode_64(&over), Err(RecordFault::Varint));
        over[9] = 0x01;
        assert_eq!(decode_64(&over), Ok((i64::MIN, 10)));
    }
}
