//! `<offset>.snapshot`, version 1: the state of a partition's idempotent producers before that offset, as Kafka keeps it:
//! version i16, CRC-32C of what follows u32, number of entries i32, entries of 46 bytes, all big-endian.

use super::FormatError;
use super::reader::{Reader, seal};
use bytes::BufMut;

/// What is known of one producer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ProducerEntry {
    /// Producer id.
    pub producer_id: i64,
    /// Producer epoch.
    pub producer_epoch: i16,
    /// Sequence number of the last record, or -1.
    pub last_sequence: i32,
    /// Offset of the last record, or -1.
    pub last_offset: i64,
    /// Records in the last batch, less one.
    pub offset_delta: i32,
    /// Largest timestamp of the last batch, in milliseconds since 1970.
    pub timestamp: i64,
    /// Epoch of the coordinator that wrote the last marker, or -1.
    pub coordinator_epoch: i32,
    /// First offset of the open transaction, or -1.
    pub current_txn_first_offset: i64,
}

const VERSION: i16 = 1;
const CRC_AT: usize = 2;
const HEAD_SIZE: usize = 10;
const ENTRY_SIZE: usize = 46;

/// The bytes of the file.
pub fn encode_producer_snapshot(entries: &[ProducerEntry]) -> Vec<u8> {
    let mut file = Vec::with_capacity(HEAD_SIZE + ENTRY_SIZE * entries.len());
    file.put_i16(VERSION);
    file.put_u32(0); // the CRC, below
    file.put_i32(entries.len() as i32);
    for entry in entries {
        file.put_i64(entry.producer_id);
        file.put_i16(entry.producer_epoch);
        file.put_i32(entry.last_sequence);
        file.put_i64(entry.last_offset);
        file.put_i32(entry.offset_delta);
        file.put_i64(entry.timestamp);
        file.put_i32(entry.coordinator_epoch);
        file.put_i64(entry.current_txn_first_offset);
    }
    seal(&mut file, CRC_AT);
    file
}

/// The entries of the file.
///
/// # Errors
/// Another version, a CRC that does not match, a file that is too short or too long.
pub fn parse_producer_snapshot(file: &[u8]) -> Result<Vec<ProducerEntry>, FormatError> {
    let mut reader = Reader::new(file);
    let version = reader.i16()?;
    if version != VERSION {
        return Err(FormatError::Version { found: i64::from(version), supported: i64::from(VERSION) });
    }
    reader.check_crc()?;
    let count = reader.count(ENTRY_SIZE)?;
    let entries = (0..count).map(|_| parse_entry(&mut reader)).collect::<Result<_, _>>()?;
    reader.finish()?;
    Ok(entries)
}

fn parse_entry(reader: &mut Reader<'_>) -> Result<ProducerEntry, FormatError> {
    Ok(ProducerEntry {
        producer_id: reader.i64()?,
        producer_epoch: reader.i16()?,
        last_sequence: reader.i32()?,
        last_offset: reader.i64()?,
        offset_delta: reader.i32()?,
        timestamp: reader.i64()?,
        coordinator_epoch: reader.i32()?,
        current_txn_first_offset: reader.i64()?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(producer_id: i64) -> ProducerEntry {
        ProducerEntry {
            producer_id,
            producer_epoch: 2,
            last_sequence: 3,
            last_offset: 4,
            offset_delta: 5,
            timestamp: 6,
            coordinator_epoch: -1,
            current_txn_first_offset: -1,
        }
    }

    #[test]
    fn fields_are_where_kafka_has_them() {
        let file = encode_producer_snapshot(&[entry(1)]);
        let expected: [&[u8]; 9] = [
            &[0, 0, 0, 1],
            &[0, 0, 0, 0, 0, 0, 0, 1],
            &[0, 2],
            &[0, 0, 0, 3],
            &[0, 0, 0, 0, 0, 0, 0, 4],
            &[0, 0, 0, 5],
            &[0, 0, 0, 0, 0, 0, 0, 6],
            &[0xff; 4],
            &[0xff; 8],
        ];
        let rest = expected.concat();
        assert_eq!(file.len(), 10 + 46);
        assert_eq!(file[..2], [0, 1]);
        assert_eq!(file[2..6], crc32c::crc32c(&rest).to_be_bytes());
        assert_eq!(file[6..], rest);
    }

    #[test]
    fn entries_come_back() {
        for count in [0, 1, 1000] {
            let entries: Vec<_> = (0..count).map(entry).collect();
            assert_eq!(parse_producer_snapshot(&encode_producer_snapshot(&entries)), Ok(entries));
        }
    }

    #[test]
    fn damage_is_told() {
        let file = encode_producer_snapshot(&[entry(1), entry(2)]);
        for cut in 0..file.len() {
            assert!(parse_producer_snapshot(&file[..cut]).is_err(), "cut to {cut}");
        }
        for at in 0..file.len() {
            let mut damaged = file.clone();
            damaged[at] ^= 0x10;
            assert!(parse_producer_snapshot(&damaged).is_err(), "damaged at {at}");
        }
        let with_count = |count: i32, extra: &[u8]| {
            let mut file = [&file[..], extra].concat();
            file[6..10].copy_from_slice(&count.to_be_bytes());
            seal(&mut file, CRC_AT);
            parse_producer_snapshot(&file)
        };
        assert_eq!(
            with_count(i32::MAX, &[]),
            Err(FormatError::Count { declared: i64::from(i32::MAX), found: 2 })
        );
        assert_eq!(with_count(-1, &[]), Err(FormatError::Count { declared: -1, found: 2 }));
        assert_eq!(with_count(2, &[0]), Err(FormatError::Trailing(1)));
    }
}
