//! What the tests of Kafka's protocol share: raw bytes from a seed.

/// `len` bytes that are always the same for `seed` (SplitMix64), mostly printable so that strings come out of them.
pub fn pool(seed: u64, len: usize) -> Vec<u8> {
    let mut state = seed;
    let mut next = move || {
        state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = state;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    };
    (0..len)
        .map(|_| {
            let [byte, kind, ..] = next().to_le_bytes();
            if kind < 192 { byte & 0x7f } else { byte }
        })
        .collect()
}
