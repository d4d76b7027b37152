//! What records hold: a number that no other record of the world has, and bytes that follow from it, so that whoever
//! reads a record knows which one it is and whether it is whole.

use millrace_io::simulated::Rng;

/// Bytes of the number.
const NUMBER: usize = 8;

/// The value of the record with this number.
pub fn value(number: u64) -> Vec<u8> {
    let mut rng = Rng::new(number);
    // Mostly a line of text; sometimes more than the size from which batches are no longer copied.
    let filler = if rng.chance(0.02) { rng.within(8_000..=60_000) } else { rng.within(0..=300) };
    let mut value = vec![0; NUMBER + filler as usize];
    value[..NUMBER].copy_from_slice(&number.to_be_bytes());
    rng.fill(&mut value[NUMBER..]);
    value
}

/// The number of the record with this value; `None` if it is not what was written.
pub fn number(found: &[u8]) -> Option<u64> {
    let number = u64::from_be_bytes(*found.first_chunk::<NUMBER>()?);
    (value(number) == found).then_some(number)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_tells_its_number_and_damage_shows() {
        for wanted in [0, 1, 77, u64::MAX] {
            let mut written = value(wanted);
            assert_eq!(number(&written), Some(wanted));
            written[0] ^= 1;
            assert_eq!(number(&written), None);
        }
        assert_eq!(number(b"short"), None);
    }
}
