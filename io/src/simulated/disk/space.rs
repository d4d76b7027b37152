//! How much of the disk a file holds, in blocks of 4 KiB.

use std::ops::Range;

/// What the disk gives out at once, in bytes.
pub(super) const BLOCK: u64 = 4096;

/// The blocks that a file holds.
#[derive(Default)]
pub(super) struct Blocks {
    held: Vec<bool>,
    count: u64,
}

fn covering(offset: u64, len: u64) -> Range<usize> {
    if len == 0 {
        return 0..0;
    }
    (offset / BLOCK) as usize..(offset + len).div_ceil(BLOCK) as usize
}

impl Blocks {
    pub(super) fn count(&self) -> u64 {
        self.count
    }

    /// How many blocks the range lacks.
    pub(super) fn missing(&self, offset: u64, len: u64) -> u64 {
        let range = covering(offset, len);
        let wanted = range.len();
        let held = self.held.get(range.start..range.end.min(self.held.len())).unwrap_or_default();
        (wanted - held.iter().filter(|held| **held).count()) as u64
    }

    /// How many bytes from `offset` on can be written with only `spare` further blocks.
    pub(super) fn writable(&self, offset: u64, len: u64, mut spare: u64) -> u64 {
        for block in covering(offset, len) {
            if self.held.get(block).copied().unwrap_or_default() {
                continue;
            }
            if spare == 0 {
                return (block as u64 * BLOCK).saturating_sub(offset);
            }
            spare -= 1;
        }
        len
    }

    pub(super) fn hold(&mut self, offset: u64, len: u64) {
        let range = covering(offset, len);
        if range.end > self.held.len() {
            self.held.resize(range.end, false);
        }
        for held in &mut self.held[range] {
            self.count += u64::from(!*held);
            *held = true;
        }
    }

    /// Gives everything behind `len` bytes back.
    pub(super) fn cut(&mut self, len: u64) {
        let keep = len.div_ceil(BLOCK) as usize;
        if keep < self.held.len() {
            self.count -= self.held.drain(keep..).filter(|held| *held).count() as u64;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_are_counted_once_and_given_back() {
        let mut blocks = Blocks::default();
        assert_eq!(blocks.missing(100, 5000), 2);
        blocks.hold(100, 5000);
        assert_eq!((blocks.count(), blocks.missing(0, 3 * BLOCK)), (2, 1));
        blocks.hold(0, 3 * BLOCK);
        assert_eq!(blocks.count(), 3);
        blocks.cut(1);
        assert_eq!((blocks.count(), blocks.missing(0, 3 * BLOCK)), (1, 2));
        assert_eq!(blocks.missing(7, 0), 0);
    }

    #[test]
    fn a_full_disk_takes_what_fits() {
        let mut blocks = Blocks::default();
        blocks.hold(0, BLOCK);
        assert_eq!(blocks.writable(10, 2 * BLOCK, 0), BLOCK - 10);
        assert_eq!(blocks.writable(10, 2 * BLOCK, 1), 2 * BLOCK - 10);
        assert_eq!(blocks.writable(10, 2 * BLOCK, 2), 2 * BLOCK);
        assert_eq!(blocks.writable(5 * BLOCK + 1, 10, 0), 0);
    }
}
