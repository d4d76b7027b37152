//! Random numbers from a seed: xoshiro256**, and the few shapes of draw the simulation needs.

use std::ops::RangeInclusive;

/// A stream of random numbers. The same seed gives the same stream, on every platform.
#[derive(Clone, Debug)]
pub struct Rng([u64; 4]);

/// SplitMix64's output function: every bit of `value` reaches every bit of the result.
pub(super) fn mix(value: u64) -> u64 {
    let value = value.wrapping_add(0x9E37_79B9_7F4A_7C15);
    let value = (value ^ (value >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    let value = (value ^ (value >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    value ^ (value >> 31)
}

impl Rng {
    /// The stream that belongs to `seed`.
    pub fn new(seed: u64) -> Self {
        let mut state = seed;
        Self(std::array::from_fn(|_| {
            state = state.wrapping_add(0x9E37_79B9_7F4A_7C15);
            mix(state)
        }))
    }

    /// An independent stream for a part of the world, so that more draws in one part never change another.
    pub(super) fn part(seed: u64, name: &str, number: u64) -> Self {
        let name = name.bytes().fold(0, |hash, byte| mix(hash ^ u64::from(byte)));
        Self::new(mix(seed) ^ mix(name ^ mix(number)))
    }

    /// 64 random bits.
    pub fn bits(&mut self) -> u64 {
        let [a, b, c, d] = &mut self.0;
        let result = b.wrapping_mul(5).rotate_left(7).wrapping_mul(9);
        let shifted = *b << 17;
        *c ^= *a;
        *d ^= *b;
        *b ^= *c;
        *a ^= *d;
        *c ^= shifted;
        *d = d.rotate_left(45);
        result
    }

    /// A number below `bound`, which must not be 0. (Multiply-shift; its bias is far below what a simulation can see.)
    pub fn below(&mut self, bound: u64) -> u64 {
        assert!(bound > 0, "no number is below 0");
        ((u128::from(self.bits()) * u128::from(bound)) >> 64) as u64
    }

    /// An index into something of length `len`, which must not be 0.
    pub fn index(&mut self, len: usize) -> usize {
        self.below(len as u64) as usize
    }

    /// A number in `range`, ends included.
    pub fn within(&mut self, range: RangeInclusive<u64>) -> u64 {
        match (range.end() - range.start()).checked_add(1) {
            Some(width) => range.start() + self.below(width),
            None => self.bits(),
        }
    }

    /// True with this probability (0.0 to 1.0).
    pub fn chance(&mut self, probability: f64) -> bool {
        // Draws even when the answer is certain: switching a fault on does not shift the rest of the stream.
        ((self.bits() >> 11) as f64) * (1.0 / (1u64 << 53) as f64) < probability
    }

    /// Fills `bytes` with random ones.
    pub fn fill(&mut self, bytes: &mut [u8]) {
        for chunk in bytes.chunks_mut(8) {
            chunk.copy_from_slice(&self.bits().to_le_bytes()[..chunk.len()]);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn streams_repeat_and_parts_differ() {
        let draw = |mut rng: Rng| (0..8).map(|_| rng.bits()).collect::<Vec<_>>();
        assert_eq!(draw(Rng::new(7)), draw(Rng::new(7)));
        assert_ne!(draw(Rng::new(7)), draw(Rng::new(8)));
        assert_ne!(draw(Rng::part(7, "disk", 0)), draw(Rng::part(7, "disk", 1)));
        assert_ne!(draw(Rng::part(7, "disk", 0)), draw(Rng::part(7, "net", 0)));
    }

    #[test]
    fn draws_stay_in_their_range() {
        let mut rng = Rng::new(1);
        let drawn: Vec<u64> = (0..1000).map(|_| rng.within(3..=5)).collect();
        assert!([3, 4, 5].iter().all(|n| drawn.contains(n)) && drawn.iter().all(|n| (3..=5).contains(n)));
        assert!((0..1000).all(|_| !rng.chance(0.0)) && (0..1000).all(|_| rng.chance(1.0)));
        let half = (0..10_000).filter(|_| rng.chance(0.5)).count();
        assert!((4_500..5_500).contains(&half), "{half}");
    }
}
