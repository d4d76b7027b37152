//! Where each key was written last: a table of fixed size, by the keys' 128-bit hashes.
//!
//! A key costs 24 bytes, whatever its length. Two keys of one hash would be taken for one; among a billion of them that happens
//! once in 10^20 times, and the hash is seeded anew for each pass, so that nobody can look for such keys.

use twox_hash::XxHash3_128;

#[derive(Clone, Copy)]
struct Slot {
    hash: [u64; 2],
    /// One more than the offset; 0 is an empty slot.
    offset: u64,
}

/// The latest offset of each key.
pub(super) struct LatestOffsets {
    slots: Vec<Slot>,
    len: usize,
    most: usize,
    seed: u64,
}

impl LatestOffsets {
    /// Bytes of a key's slot.
    pub(super) const SLOT: usize = size_of::<Slot>();

    /// A table for `keys` keys, if that takes no more than `memory` bytes; for as many as fit into these otherwise. It gets as full as
    /// `load` says, more than 0 and less than 1: the fuller, the longer it takes to find a place.
    pub(super) fn new(keys: u64, memory: usize, load: f64, seed: u64) -> Self {
        let load = load.clamp(0.01, 0.99);
        let wanted = ((keys as f64 / load).ceil() as usize).saturating_add(1);
        let slots = wanted.min(memory / Self::SLOT).max(1);
        let empty = Slot { hash: [0; 2], offset: 0 };
        LatestOffsets { slots: vec![empty; slots], len: 0, most: (slots as f64 * load) as usize, seed }
    }

    /// Notes that `key` was written at `offset`, which is above all before; `false` if there is no room for another key.
    pub(super) fn insert(&mut self, key: &[u8], offset: i64) -> bool {
        let hash = self.hash(key);
        let at = self.place(hash);
        if self.slots[at].offset == 0 {
            if self.len >= self.most {
                return false;
            }
            self.len += 1;
        }
        self.slots[at] = Slot { hash, offset: offset as u64 + 1 };
        true
    }

    /// The offset at which `key` was written last, as far as it was noted.
    pub(super) fn latest(&self, key: &[u8]) -> Option<i64> {
        let slot = self.slots[self.place(self.hash(key))];
        slot.offset.checked_sub(1).map(|offset| offset as i64)
    }

    fn hash(&self, key: &[u8]) -> [u64; 2] {
        let hash = XxHash3_128::oneshot_with_seed(self.seed, key);
        [hash as u64, (hash >> 64) as u64]
    }

    /// The slot of this hash, or the empty one where it belongs.
    fn place(&self, hash: [u64; 2]) -> usize {
        // As many high bits of a product as there are slots: no division.
        let mut at = ((u128::from(hash[0]) * self.slots.len() as u128) >> 64) as usize;
        // There always is an empty slot: the table is never filled beyond `most`.
        while self.slots[at].offset != 0 && self.slots[at].hash != hash {
            at = if at + 1 == self.slots.len() { 0 } else { at + 1 };
        }
        at
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_offset_counts() {
        let mut keys = LatestOffsets::new(1000, 1 << 20, 0.9, 7);
        for offset in 0..3000 {
            assert!(keys.insert(format!("k{}", offset % 1000).as_bytes(), offset));
        }
        for key in 0..1000 {
            assert_eq!(keys.latest(format!("k{key}").as_bytes()), Some(2000 + key));
        }
        assert_eq!(keys.latest(b"k1000"), None);
        assert_eq!(keys.latest(b""), None);
    }

    #[test]
    fn a_full_table_still_knows_its_keys() {
        let mut keys = LatestOffsets::new(u64::MAX, 100 * LatestOffsets::SLOT, 0.9, 1);
        let fitted = (0..1000).take_while(|n: &i64| keys.insert(&n.to_be_bytes(), *n)).count() as i64;
        assert_eq!(fitted, 90);
        assert!(keys.insert(&5i64.to_be_bytes(), 2000), "a known key takes no room");
        assert_eq!(keys.latest(&5i64.to_be_bytes()), Some(2000));
        assert_eq!(keys.latest(&90i64.to_be_bytes()), None);
        assert_eq!(LatestOffsets::new(10, 0, 0.9, 0).latest(b"k"), None);
        assert!(!LatestOffsets::new(10, 0, 0.9, 0).insert(b"k", 1));
    }
}
