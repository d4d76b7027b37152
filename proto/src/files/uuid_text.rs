//! UUIDs as Kafka writes them: 22 characters of URL-safe base64 without padding (RFC 4648 section 5).

use uuid::Uuid;

const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
const LENGTH: usize = 22;
/// 22 characters hold 132 bits: the last character's low four are zero.
const SPARE_BITS: u32 = 4;

/// The 22 characters of a UUID.
pub fn encode_uuid(uuid: Uuid) -> String {
    let bits = uuid.as_u128();
    let character = |i: usize| {
        let shift = 6 * (LENGTH - 1 - i) as u32;
        let index = if shift == 0 { bits << SPARE_BITS } else { bits >> (shift - SPARE_BITS) };
        char::from(ALPHABET[(index & 63) as usize])
    };
    (0..LENGTH).map(character).collect()
}

/// The UUID in exactly 22 characters, as [`encode_uuid`] writes it; `None` for anything else.
pub fn decode_uuid(text: &str) -> Option<Uuid> {
    let (last, body) = text.as_bytes().split_last()?;
    if body.len() != LENGTH - 1 {
        return None;
    }
    let mut bits = 0u128;
    for &byte in body {
        bits = bits << 6 | u128::from(digit(byte)?);
    }
    let last = u128::from(digit(*last)?);
    let spare = last & ((1 << SPARE_BITS) - 1);
    (spare == 0).then(|| Uuid::from_u128(bits << (6 - SPARE_BITS) | last >> SPARE_BITS))
}

fn digit(byte: u8) -> Option<u8> {
    match byte {
        b'A'..=b'Z' => Some(byte - b'A'),
        b'a'..=b'z' => Some(byte - b'a' + 26),
        b'0'..=b'9' => Some(byte - b'0' + 52),
        b'-' => Some(62),
        b'_' => Some(63),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_texts() {
        for (text, value) in [
            ("AAAAAAAAAAAAAAAAAAAAAA", 0),
            ("AAAAAAAAAAAAAAAAAAAAAQ", 1),
            ("_____________________w", u128::MAX),
            ("Ej5FZ-ibEtOkVkJmFBdAAA", 0x123e4567_e89b_12d3_a456_426614174000),
        ] {
            assert_eq!(encode_uuid(Uuid::from_u128(value)), text);
            assert_eq!(decode_uuid(text), Some(Uuid::from_u128(value)));
        }
    }

    #[test]
    fn every_bit_survives() {
        for bit in 0..128 {
            let uuid = Uuid::from_u128(1 << bit);
            assert_eq!(decode_uuid(&encode_uuid(uuid)), Some(uuid));
        }
    }

    #[test]
    fn anything_else_is_refused() {
        for text in [
            "",
            "AAAA",
            "AAAAAAAAAAAAAAAAAAAAAAA",
            "AAAAAAAAAAAAAAAAAAAAAB",
            "AAAAAAAAAAAAAAAAAAAA+A",
            "AAAAAAAAAAAAAAAAAAAAä",
        ] {
            assert_eq!(decode_uuid(text), None, "{text}");
        }
    }
}
