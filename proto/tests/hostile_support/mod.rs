//! Bytes that nobody meant, the same on every run.

/// Xorshift: the same bytes on every run.
pub struct Random(pub u64);

impl Random {
    /// The next bits.
    pub fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    /// A number below `end`.
    pub fn below(&mut self, end: usize) -> usize {
        (self.next() % end as u64) as usize
    }

    /// A byte, often one that means something.
    pub fn byte(&mut self) -> u8 {
        const TELLING: [u8; 8] = [0x00, 0x01, 0x02, 0x7f, 0x80, 0xff, b' ', b'\n'];
        if self.below(2) == 0 { TELLING[self.below(8)] } else { self.next() as u8 }
    }

    /// Up to so many bytes.
    pub fn bytes(&mut self, longest: usize) -> Vec<u8> {
        let length = self.below(longest + 1);
        (0..length).map(|_| self.byte()).collect()
    }

    /// Some bytes from `from` on overwritten, removed, repeated or cut off.
    pub fn mutate(&mut self, bytes: &mut Vec<u8>, from: usize) {
        for _ in 0..1 + self.below(4) {
            if bytes.len() <= from {
                return;
            }
            let at = from + self.below(bytes.len() - from);
            match self.below(10) {
                0 => bytes.truncate(at),
                1 => drop(bytes.remove(at)),
                2 => bytes.insert(at, self.byte()),
                3 => {
                    let piece = bytes[at..bytes.len().min(at + 40)].to_vec();
                    bytes.splice(at..at, piece);
                }
                4 => bytes[at] ^= 1 << self.below(8),
                _ => bytes[at] = self.byte(),
            }
        }
    }
}
