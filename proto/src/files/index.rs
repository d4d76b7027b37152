//! Entries of the sparse indexes beside a segment. Integers are big-endian; offsets are relative to the segment's base.

/// An entry of `.index`: the batch that ends with this offset begins at this position.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct OffsetIndexEntry {
    /// Last offset of the batch, relative to the segment's base offset.
    pub relative_offset: u32,
    /// Position of the batch in the segment file, in bytes.
    pub position: u32,
}

impl OffsetIndexEntry {
    /// Bytes of an entry.
    pub const SIZE: usize = 8;

    /// The bytes of the entry.
    pub fn encode(&self) -> [u8; Self::SIZE] {
        let mut bytes = [0; Self::SIZE];
        bytes[..4].copy_from_slice(&self.relative_offset.to_be_bytes());
        bytes[4..].copy_from_slice(&self.position.to_be_bytes());
        bytes
    }

    /// The entry in these bytes.
    pub fn decode(bytes: &[u8; Self::SIZE]) -> Self {
        let [a, b, c, d, e, f, g, h] = *bytes;
        OffsetIndexEntry {
            relative_offset: u32::from_be_bytes([a, b, c, d]),
            position: u32::from_be_bytes([e, f, g, h]),
        }
    }

    /// All whole entries in `bytes`, in order.
    pub fn all(bytes: &[u8]) -> impl ExactSizeIterator<Item = Self> + '_ {
        bytes.as_chunks().0.iter().map(Self::decode)
    }
}

/// An entry of `.timeindex`: no record up to this offset has a larger timestamp.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct TimeIndexEntry {
    /// The largest timestamp so far, in milliseconds since 1970.
    pub timestamp: i64,
    /// Offset relative to the segment's base offset.
    pub relative_offset: u32,
}

impl TimeIndexEntry {
    /// Bytes of an entry.
    pub const SIZE: usize = 12;

    /// The bytes of the entry.
    pub fn encode(&self) -> [u8; Self::SIZE] {
        let mut bytes = [0; Self::SIZE];
        bytes[..8].copy_from_slice(&self.timestamp.to_be_bytes());
        bytes[8..].copy_from_slice(&self.relative_offset.to_be_bytes());
        bytes
    }

    /// The entry in these bytes.
    pub fn decode(bytes: &[u8; Self::SIZE]) -> Self {
        let [a, b, c, d, e, f, g, h, i, j, k, l] = *bytes;
        TimeIndexEntry {
            timestamp: i64::from_be_bytes([a, b, c, d, e, f, g, h]),
            relative_offset: u32::from_be_bytes([i, j, k, l]),
        }
    }

    /// All whole entries in `bytes`, in order.
    pub fn all(bytes: &[u8]) -> impl ExactSizeIterator<Item = Self> + '_ {
        bytes.as_chunks().0.iter().map(Self::decode)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_have_kafkas_bytes() {
        let offset = OffsetIndexEntry { relative_offset: 0x0102_0304, position: 0x0506_0708 };
        assert_eq!(offset.encode(), [1, 2, 3, 4, 5, 6, 7, 8]);
        let time = TimeIndexEntry { timestamp: 0x0102_0304_0506_0708, relative_offset: 0x090a_0b0c };
        assert_eq!(time.encode(), [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12]);
    }

    #[test]
    fn a_torn_last_entry_is_left_out() {
        let entries = [(1, 2), (3, 4)]
            .map(|(relative_offset, position)| OffsetIndexEntry { relative_offset, position });
        let mut bytes = entries.map(|entry| entry.encode()).concat();
        assert!(OffsetIndexEntry::all(&bytes).eq(entries));
        bytes.pop();
        assert!(OffsetIndexEntry::all(&bytes).eq([entries[0]]));

        let entries = [(1, 2), (-3, 4)]
            .map(|(timestamp, relative_offset)| TimeIndexEntry { timestamp, relative_offset });
        let mut bytes = entries.map(|entry| entry.encode()).concat();
        assert!(TimeIndexEntry::all(&bytes).eq(entries));
        bytes.truncate(13);
        assert!(TimeIndexEntry::all(&bytes).eq([entries[0]]));
    }
}
