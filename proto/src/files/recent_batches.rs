//! `<offset>.batches`, ours: the last five batches of each producer, by which duplicates are recognised, before that offset.
//! Kafka's snapshot keeps only the last one, so that a retry that crosses a restart is refused there; here it is answered.
//!
//! Mark `MRPB`, version i16 (1), CRC-32C of what follows u32, number of producers i32; per producer its id i64, epoch i16,
//! number of batches u8, and those from oldest to newest, 24 bytes each. All big-endian.

use super::FormatError;
use super::reader::{Reader, seal};
use bytes::BufMut;

/// How many batches are kept of a producer: as many as Kafka's producer has in flight at most.
pub const RECENT_BATCHES: usize = 5;

/// The last batches of one producer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RecentBatches {
    /// Producer id.
    pub producer_id: i64,
    /// Producer epoch.
    pub producer_epoch: i16,
    /// From oldest to newest; [`RECENT_BATCHES`] at most.
    pub batches: Vec<RecentBatch>,
}

/// One batch of an idempotent producer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RecentBatch {
    /// Sequence number of its last record.
    pub last_sequence: i32,
    /// Offset of its last record.
    pub last_offset: i64,
    /// Its number of records, less one.
    pub offset_delta: i32,
    /// Its largest timestamp, in milliseconds since 1970.
    pub timestamp: i64,
}

const MARK: [u8; 4] = *b"MRPB";
const VERSION: i16 = 1;
const CRC_AT: usize = 6;
const HEAD_SIZE: usize = 14;
const PRODUCER_SIZE: usize = 11;
const BATCH_SIZE: usize = 24;

/// The bytes of the file. Of a producer with more than [`RECENT_BATCHES`] only the newest are written.
pub fn encode_recent_batches(producers: &[RecentBatches]) -> Vec<u8> {
    let each = PRODUCER_SIZE + RECENT_BATCHES * BATCH_SIZE;
    let mut file = Vec::with_capacity(HEAD_SIZE + each * producers.len());
    file.put_slice(&MARK);
    file.put_i16(VERSION);
    file.put_u32(0); // the CRC, below
    file.put_i32(producers.len() as i32);
    for producer in producers {
        let batches = &producer.batches[producer.batches.len().saturating_sub(RECENT_BATCHES)..];
        file.put_i64(producer.producer_id);
        file.put_i16(producer.producer_epoch);
        file.put_u8(batches.len() as u8);
        for batch in batches {
            file.put_i32(batch.last_sequence);
            file.put_i64(batch.last_offset);
            file.put_i32(batch.offset_delta);
            file.put_i64(batch.timestamp);
        }
    }
    seal(&mut file, CRC_AT);
    file
}

/// The producers of the file.
///
/// # Errors
/// Another kind of file, a newer version, a CRC that does not match, a file that is too short or too long.
pub fn parse_recent_batches(file: &[u8]) -> Result<Vec<RecentBatches>, FormatError> {
    let unmarked = file.strip_prefix(&MARK).ok_or(FormatError::Mark)?;
    let mut reader = Reader::new(unmarked);
    let version = reader.i16()?;
    if version != VERSION {
        return Err(FormatError::Version { found: i64::from(version), supported: i64::from(VERSION) });
    }
    reader.check_crc()?;
    let count = reader.count(PRODUCER_SIZE)?;
    let producers = (0..count).map(|_| parse_producer(&mut reader)).collect::<Result<_, _>>()?;
    reader.finish()?;
    Ok(producers)
}

fn parse_producer(reader: &mut Reader<'_>) -> Result<RecentBatches, FormatError> {
    let producer_id = reader.i64()?;
    let producer_epoch = reader.i16()?;
    let count = usize::from(reader.u8()?);
    if count > RECENT_BATCHES {
        return Err(FormatError::Count { declared: count as i64, found: RECENT_BATCHES });
    }
    let batches = (0..count).map(|_| parse_batch(reader)).collect::<Result<_, _>>()?;
    Ok(RecentBatches { producer_id, producer_epoch, batches })
}

fn parse_batch(reader: &mut Reader<'_>) -> Result<RecentBatch, FormatError> {
    Ok(RecentBatch {
        last_sequence: reader.i32()?,
        last_offset: reader.i64()?,
        offset_delta: reader.i32()?,
        timestamp: reader.i64()?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn producer(producer_id: i64, batches: i32) -> RecentBatches {
        let batch = |i| RecentBatch {
            last_sequence: i,
            last_offset: i64::from(i) + 100,
            offset_delta: 1,
            timestamp: -1,
        };
        RecentBatches { producer_id, producer_epoch: 7, batches: (0..batches).map(batch).collect() }
    }

    #[test]
    fn known_bytes() {
        let file = encode_recent_batches(&[producer(9, 1)]);
        let rest: [&[u8]; 8] = [
            &[0, 0, 0, 1],
            &[0, 0, 0, 0, 0, 0, 0, 9],
            &[0, 7],
            &[1],
            &[0, 0, 0, 0],
            &[0, 0, 0, 0, 0, 0, 0, 100],
            &[0, 0, 0, 1],
            &[0xff; 8],
        ];
        let rest = rest.concat();
        let crc = crc32c::crc32c(&rest).to_be_bytes();
        assert_eq!(file, [&b"MRPB"[..], &[0, 1], &crc, &rest].concat());
    }

    #[test]
    fn producers_come_back() {
        let producers: Vec<_> = (0..100).map(|id| producer(id, id as i32 % 6)).collect();
        assert_eq!(parse_recent_batches(&encode_recent_batches(&producers)), Ok(producers));
        assert_eq!(parse_recent_batches(&encode_recent_batches(&[])), Ok(vec![]));
    }

    #[test]
    fn the_newest_five_are_kept() {
        let read = parse_recent_batches(&encode_recent_batches(&[producer(1, 8)])).unwrap();
        assert_eq!(read[0].batches, producer(1, 8).batches[3..]);
    }

    #[test]
    fn damage_is_told() {
        let file = encode_recent_batches(&[producer(1, 5), producer(2, 0)]);
        for cut in 0..file.len() {
            assert!(parse_recent_batches(&file[..cut]).is_err(), "cut to {cut}");
        }
        for at in 0..file.len() {
            let mut damaged = file.clone();
            damaged[at] ^= 0x01;
            assert!(parse_recent_batches(&damaged).is_err(), "damaged at {at}");
        }
        let resealed = |at: usize, byte: u8| {
            let mut file = file.clone();
            file[at] = byte;
            seal(&mut file, CRC_AT);
            parse_recent_batches(&file)
        };
        assert_eq!(resealed(HEAD_SIZE + 10, 6), Err(FormatError::Count { declared: 6, found: 5 }));
        assert!(matches!(resealed(CRC_AT + 4, 0x7f), Err(FormatError::Count { .. })));
        assert!(matches!(resealed(HEAD_SIZE - 1, 1), Err(FormatError::Trailing(_))));
    }
}
