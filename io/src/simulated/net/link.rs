//! The way from one host to another: how long it takes, how it cuts data up, and whether it is cut itself.

use super::super::faults::Latency;
use super::super::rng::Rng;
use std::time::Duration;

/// Settings of one direction between two hosts.
#[derive(Clone, Copy, Debug)]
pub struct Link {
    /// How long a packet takes. Packets of one connection never overtake each other.
    pub delay: Latency,
    /// Bytes per second of one connection. `None` is endless.
    pub bandwidth: Option<u64>,
    /// The largest piece that arrives at once, in bytes. Pieces are of seeded size, often tiny.
    pub largest_piece: u64,
    /// How many bytes a connection holds between sender and reader. A sender waits when they are under way or unread.
    pub buffer: u64,
}

impl Default for Link {
    fn default() -> Self {
        let delay = Latency { rare: 0.001, ..Latency::micros(20, 200, 10) };
        Self { delay, bandwidth: None, largest_piece: 16 << 10, buffer: 128 << 10 }
    }
}

impl Link {
    /// How many of `left` bytes the next piece has. `left` must not be 0.
    pub(super) fn piece(&self, left: u64, rng: &mut Rng) -> u64 {
        let largest = left.min(self.largest_piece.max(1));
        match rng.below(4) {
            // Small enough to split a length prefix.
            0 => rng.within(1..=largest.min(16)),
            1 | 2 => rng.within(1..=largest),
            _ => largest,
        }
    }

    /// How long the line is busy with so many bytes, in nanoseconds.
    pub(super) fn occupied(&self, bytes: u64) -> u64 {
        let Some(bandwidth) = self.bandwidth else { return 0 };
        let time = u128::from(bytes) * Duration::from_secs(1).as_nanos() / u128::from(bandwidth.max(1));
        u64::try_from(time).unwrap_or(u64::MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_are_never_empty_and_never_too_large() {
        let link = Link { largest_piece: 100, ..Link::default() };
        let mut rng = Rng::new(3);
        for left in 1..400 {
            let piece = link.piece(left, &mut rng);
            assert!(piece >= 1 && piece <= left && piece <= 100);
        }
    }

    #[test]
    fn a_line_is_busy_as_long_as_its_bytes_take() {
        let link = Link { bandwidth: Some(1000), ..Link::default() };
        assert_eq!(link.occupied(500), 500_000_000);
        assert_eq!(Link::default().occupied(500), 0);
    }
}
