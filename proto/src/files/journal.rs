//! `millrace.journal-<number>-<shard>`, ours: what the logs of a shard wanted durable at one time, written once for all of them.
//!
//! A file of two halves, each a row of frames that begin at multiples of [`JOURNAL_BLOCK`]. A frame: mark `MRJF`, version i16 (1),
//! CRC-32C of what follows u32, length of the frame u32, run u128 (one process's), generation u64 (one use of a half), sequence
//! u64 (0 for the first of its generation, then counting), number of entries i32; per entry topic id u128, partition i32, base
//! offset i64, end offset i64, length u32; then the bytes of the entries, whole record batches, in the same order. All
//! big-endian. A half holds the frames of one generation, up to the first that does not follow.

use super::FormatError;
use super::reader::{Reader, seal_over};
use bytes::{BufMut, Bytes, BytesMut};
use uuid::Uuid;

/// Frames begin at multiples of this.
pub const JOURNAL_BLOCK: u64 = 4096;

const MARK: [u8; 4] = *b"MRJF";
const VERSION: i16 = 1;
const CRC_AT: usize = 6;
const HEAD_SIZE: usize = 50;
const ENTRY_SIZE: usize = 40;

/// Where a frame belongs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct JournalPlace {
    /// The process that wrote it.
    pub run: u128,
    /// The use of a half; later ones have larger numbers.
    pub generation: u64,
    /// How many frames of this generation come before.
    pub sequence: u64,
}

/// Batches of one log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JournalEntry {
    /// The topic.
    pub topic_id: Uuid,
    /// The partition.
    pub partition: i32,
    /// Where the log ended before.
    pub base: i64,
    /// Where it ended behind them.
    pub end: i64,
    /// Their bytes, in one or more pieces.
    pub bytes: Vec<Bytes>,
}

impl JournalEntry {
    fn len(&self) -> usize {
        self.bytes.iter().map(Bytes::len).sum()
    }
}

/// A frame that was read.
#[derive(Debug, PartialEq, Eq)]
pub struct JournalFrame {
    /// Where it belongs.
    pub place: JournalPlace,
    /// What it holds; the bytes of each in one piece.
    pub entries: Vec<JournalEntry>,
    /// Its length; the next one begins at the multiple of [`JOURNAL_BLOCK`] behind.
    pub len: u64,
}

/// How many bytes a frame takes with entries of so many bytes together.
pub fn journal_frame_len(entries: usize, bytes: usize) -> u64 {
    (HEAD_SIZE + entries * ENTRY_SIZE + bytes) as u64
}

/// The pieces of a frame, in order; what the entries hold is not copied.
pub fn encode_journal_frame(place: JournalPlace, entries: &[JournalEntry]) -> Vec<Bytes> {
    let bytes = entries.iter().map(JournalEntry::len).sum();
    let mut head = BytesMut::with_capacity(HEAD_SIZE + ENTRY_SIZE * entries.len());
    head.put_slice(&MARK);
    head.put_i16(VERSION);
    head.put_u32(0); // the CRC, below
    head.put_u32(journal_frame_len(entries.len(), bytes) as u32);
    head.put_u128(place.run);
    head.put_u64(place.generation);
    head.put_u64(place.sequence);
    head.put_i32(entries.len() as i32);
    for entry in entries {
        head.put_u128(entry.topic_id.as_u128());
        head.put_i32(entry.partition);
        head.put_i64(entry.base);
        head.put_i64(entry.end);
        head.put_u32(entry.len() as u32);
    }
    let bodies = || entries.iter().flat_map(|entry| &entry.bytes);
    seal_over(&mut head, CRC_AT, bodies());
    std::iter::once(head.freeze()).chain(bodies().cloned()).collect()
}

/// Reads the frame that begins with the first of `bytes`.
/// # Errors
/// Why there is none: the end of a half, as a rule.
pub fn parse_journal_frame(bytes: &Bytes) -> Result<JournalFrame, FormatError> {
    let unmarked = bytes.strip_prefix(&MARK).ok_or(FormatError::Mark)?;
    let version = Reader::new(unmarked).i16()?;
    if version != VERSION {
        return Err(FormatError::Version { found: i64::from(version), supported: i64::from(VERSION) });
    }
    // Its length is read behind the checksum that covers it: what it says is believed only if that agrees.
    let len = bytes.get(CRC_AT + 4..CRC_AT + 8).ok_or(FormatError::Truncated)?;
    let len = u32::from_be_bytes(len.try_into().expect("four bytes")) as usize;
    let frame = bytes.get(..len).filter(|frame| frame.len() >= HEAD_SIZE).ok_or(FormatError::Truncated)?;
    let mut fields = Reader::new(&frame[CRC_AT..]);
    fields.check_crc()?;
    let _len = fields.i32()?;
    let place = JournalPlace {
        run: fields.u128()?,
        generation: fields.i64()? as u64,
        sequence: fields.i64()? as u64,
    };
    let count = fields.count(ENTRY_SIZE)?;
    let mut at = HEAD_SIZE + count * ENTRY_SIZE;
    let mut entries = Vec::with_capacity(count);
    for _ in 0..count {
        let topic_id = Uuid::from_u128(fields.u128()?);
        let (partition, base, end) = (fields.i32()?, fields.i64()?, fields.i64()?);
        let taken = fields.i32()? as u32 as usize;
        let behind = at.checked_add(taken).filter(|behind| *behind <= len).ok_or(FormatError::Truncated)?;
        entries.push(JournalEntry { topic_id, partition, base, end, bytes: vec![bytes.slice(at..behind)] });
        at = behind;
    }
    match len - at {
        0 => Ok(JournalFrame { place, entries, len: len as u64 }),
        left => Err(FormatError::Trailing(left)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn entry(partition: i32, base: i64, bytes: &[&'static [u8]]) -> JournalEntry {
        let bytes = bytes.iter().map(|piece| Bytes::from_static(piece)).collect();
        JournalEntry { topic_id: Uuid::from_u128(7), partition, base, end: base + 3, bytes }
    }

    fn joined(frame: &[Bytes]) -> Bytes {
        frame.concat().into()
    }

    #[test]
    fn a_frame_is_read_as_it_was_written() {
        let place = JournalPlace { run: 1 << 100, generation: 2, sequence: 3 };
        let entries = [entry(0, 5, &[b"abc", b"", b"de"]), entry(9, 1 << 40, &[]), entry(1, 0, &[b"f"])];
        let mut bytes = joined(&encode_journal_frame(place, &entries)).to_vec();
        assert_eq!(bytes.len() as u64, journal_frame_len(3, 6));
        bytes.extend_from_slice(&[0xff; 100]);
        let frame = parse_journal_frame(&bytes.into()).unwrap();
        assert_eq!((frame.place, frame.len), (place, journal_frame_len(3, 6)));
        let read: Vec<_> = frame.entries.iter().map(|e| (e.partition, e.base, e.bytes.concat())).collect();
        assert_eq!(read, [(0, 5, b"abcde".to_vec()), (9, 1 << 40, vec![]), (1, 0, b"f".to_vec())]);
    }

    proptest! {
        #[test]
        fn no_changed_byte_goes_unnoticed(at in 0usize..200, bit in 0u8..8, cut in 0usize..200) {
            let place = JournalPlace { run: 9, generation: 8, sequence: 7 };
            let whole = joined(&encode_journal_frame(place, &[entry(0, 5, &[b"some bytes", b"more of them"])]));
            prop_assert!(parse_journal_frame(&whole.slice(..cut.min(whole.len() - 1))).is_err());
            let mut changed = whole.to_vec();
            let at = at % changed.len();
            changed[at] ^= 1 << bit;
            prop_assert!(parse_journal_frame(&changed.into()).is_err());
        }
    }
}
