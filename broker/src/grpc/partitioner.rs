//! Which partition a record goes to when it names none: as Kafka's default partitioner has it, so that a key has one
//! partition whichever protocol it comes by.

use std::cell::Cell;

/// Partitions for keys, and for batches without keys.
pub(super) struct Partitioner {
    next: Cell<u64>,
}

impl Partitioner {
    /// `seed` decides where records without a key begin.
    pub(super) fn new(seed: u64) -> Self {
        Self { next: Cell::new(seed) }
    }

    /// The partition of a key. `count` is positive.
    pub(super) fn of_key(key: &[u8], count: i32) -> i32 {
        ((murmur2(key) & 0x7fff_ffff) % count.max(1) as u32) as i32
    }

    /// One partition for the records of a batch that have no key, in turn. `count` is positive.
    pub(super) fn of_batch(&self, count: i32) -> i32 {
        let turn = self.next.get();
        self.next.set(turn.wrapping_add(1));
        (turn % count.max(1) as u64) as i32
    }
}

/// MurmurHash2, 32 bits, with the seed of Kafka's clients.
fn murmur2(bytes: &[u8]) -> u32 {
    const M: u32 = 0x5bd1_e995;
    let mut hash = 0x9747_b28c ^ bytes.len() as u32;
    let (words, tail) = bytes.as_chunks::<4>();
    for word in words {
        let word = u32::from_le_bytes(*word).wrapping_mul(M);
        hash = hash.wrapping_mul(M) ^ (word ^ (word >> 24)).wrapping_mul(M);
    }
    if !tail.is_empty() {
        let last = tail.iter().rev().fold(0, |last, byte| (last << 8) | u32::from(*byte));
        hash = (hash ^ last).wrapping_mul(M);
    }
    hash = (hash ^ (hash >> 13)).wrapping_mul(M);
    hash ^ (hash >> 15)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hashes_as_kafka_clients_do() {
        // What Java's client computes.
        for (text, hash) in [
            ("21", -973932308),
            ("foobar", -790332482),
            ("a-little-bit-long-string", -985981536),
            ("a-little-bit-longer-string", -1486304829),
            ("lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8", -58897971),
            ("abc", 479470107),
        ] {
            assert_eq!(murmur2(text.as_bytes()) as i32, hash, "{text}");
        }
    }

    #[test]
    fn batches_take_turns() {
        let partitioner = Partitioner::new(u64::MAX);
        let turns: Vec<_> = (0..4).map(|_| partitioner.of_batch(3)).collect();
        assert_eq!(turns, [0, 0, 1, 2]);
    }
}
