//! The 61 bytes in front of every record batch.

use super::{BatchError, NO_PRODUCER_ID, NO_TIMESTAMP};
use crate::compression::Codec;

/// When a batch's timestamps were taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TimestampType {
    /// By the producer; every record has its own.
    CreateTime,
    /// By the leader on append; every record's timestamp is the batch's maximum.
    LogAppendTime,
}

/// The attribute bits of a batch (bits 7 to 15 are unused).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Attributes(pub i16);

impl Attributes {
    const CODEC: i16 = 0b111;
    const LOG_APPEND_TIME: i16 = 1 << 3;
    const TRANSACTIONAL: i16 = 1 << 4;
    const CONTROL: i16 = 1 << 5;
    const DELETE_HORIZON: i16 = 1 << 6;

    /// Attributes of a batch made here.
    pub fn new(codec: Codec, transactional: bool, control: bool) -> Self {
        let mut bits = codec.id() as i16;
        if transactional {
            bits |= Self::TRANSACTIONAL;
        }
        if control {
            bits |= Self::CONTROL;
        }
        Attributes(bits)
    }

    /// The number in the codec bits, which may be one that no codec has.
    pub fn codec_id(self) -> u8 {
        (self.0 & Self::CODEC) as u8
    }

    /// See [`TimestampType`].
    pub fn timestamp_type(self) -> TimestampType {
        if self.0 & Self::LOG_APPEND_TIME == 0 {
            TimestampType::CreateTime
        } else {
            TimestampType::LogAppendTime
        }
    }

    /// Whether the batch belongs to a transaction.
    pub fn is_transactional(self) -> bool {
        self.0 & Self::TRANSACTIONAL != 0
    }

    /// Whether the records are control records (markers), which clients never see.
    pub fn is_control(self) -> bool {
        self.0 & Self::CONTROL != 0
    }

    /// Whether the base timestamp is the time from which compaction may drop the batch's tombstones (KIP-534).
    pub fn has_delete_horizon(self) -> bool {
        self.0 & Self::DELETE_HORIZON != 0
    }

    /// The same bits, but the base timestamp is such a time.
    pub fn with_delete_horizon(self) -> Self {
        Attributes(self.0 | Self::DELETE_HORIZON)
    }

    /// The same bits with another codec.
    pub fn with_codec(self, codec: Codec) -> Self {
        Attributes(self.0 & !Self::CODEC | codec.id() as i16)
    }

    /// The same bits with another timestamp type.
    pub fn with_timestamp_type(self, timestamp_type: TimestampType) -> Self {
        match timestamp_type {
            TimestampType::CreateTime => Attributes(self.0 & !Self::LOG_APPEND_TIME),
            TimestampType::LogAppendTime => Attributes(self.0 | Self::LOG_APPEND_TIME),
        }
    }
}

/// The header of a v2 record batch. All integers are big-endian on the wire; the magic, always 2, is not kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Header {
    /// Offset of the first record as it was produced; compaction may have removed that record since.
    pub base_offset: i64,
    /// Bytes behind this field; at least 49. See [`Header::size`] for the whole batch.
    pub length: i32,
    /// Epoch of the leader that appended the batch. Not covered by the CRC.
    pub leader_epoch: i32,
    /// CRC-32C of everything from the attributes to the end.
    pub crc: u32,
    /// Codec, timestamp type and flags.
    pub attributes: Attributes,
    /// Offset of the last record as it was produced, relative to the base offset.
    pub last_offset_delta: i32,
    /// Milliseconds since 1970 that the records' timestamps are relative to.
    pub base_timestamp: i64,
    /// The largest timestamp of the records, or the append time. Milliseconds since 1970.
    pub max_timestamp: i64,
    /// Id of the idempotent producer, or -1.
    pub producer_id: i64,
    /// Epoch of the idempotent producer, or -1.
    pub producer_epoch: i16,
    /// Sequence number of the first record, or -1.
    pub base_sequence: i32,
    /// Number of records that are in the batch now.
    pub record_count: i32,
}

impl Header {
    /// Bytes of an encoded header.
    pub const SIZE: usize = 61;
    /// Bytes in front of what [`Header::length`] counts: the base offset and the length itself.
    pub const LENGTH_OVERHEAD: usize = 12;
    /// The one message format that is stored.
    pub const MAGIC: i8 = 2;
    /// Position of the leader epoch.
    pub(super) const LEADER_EPOCH_AT: usize = 12;
    /// Position of the magic.
    pub(super) const MAGIC_AT: usize = 16;
    /// Position of the CRC.
    pub(super) const CRC_AT: usize = 17;
    /// Position of the attributes, the first byte that the CRC covers.
    pub(super) const ATTRIBUTES_AT: usize = 21;
    /// Position of the largest timestamp.
    pub(super) const MAX_TIMESTAMP_AT: usize = 35;

    /// Reads the header at the start of `bytes`; the records need not be there yet.
    ///
    /// # Errors
    /// [`BatchError::NoBatch`] when fewer than 61 bytes are given, [`BatchError::Length`] when the declared
    /// length is too small for a header, and the magic errors. The CRC is not looked at: see [`super::verify`].
    pub fn parse(bytes: &[u8]) -> Result<Header, BatchError> {
        let Some(head) = bytes.first_chunk::<{ Self::SIZE }>() else {
            return Err(BatchError::NoBatch { given: bytes.len() });
        };
        check_magic(head[Self::MAGIC_AT] as i8)?;
        let header = Self::decode(head);
        if (header.length as i64) < (Self::SIZE - Self::LENGTH_OVERHEAD) as i64 {
            return Err(BatchError::Length { length: header.length });
        }
        Ok(header)
    }

    /// Reads all fields, checking none.
    pub(super) fn decode(head: &[u8; Self::SIZE]) -> Header {
        Header {
            base_offset: i64::from_be_bytes(field(head, 0)),
            length: i32::from_be_bytes(field(head, 8)),
            leader_epoch: i32::from_be_bytes(field(head, Self::LEADER_EPOCH_AT)),
            crc: u32::from_be_bytes(field(head, Self::CRC_AT)),
            attributes: Attributes(i16::from_be_bytes(field(head, Self::ATTRIBUTES_AT))),
            last_offset_delta: i32::from_be_bytes(field(head, 23)),
            base_timestamp: i64::from_be_bytes(field(head, 27)),
            max_timestamp: i64::from_be_bytes(field(head, Self::MAX_TIMESTAMP_AT)),
            producer_id: i64::from_be_bytes(field(head, 43)),
            producer_epoch: i16::from_be_bytes(field(head, 51)),
            base_sequence: i32::from_be_bytes(field(head, 53)),
            record_count: i32::from_be_bytes(field(head, 57)),
        }
    }

    /// The 61 bytes of this header; the CRC is written as it stands in the field.
    pub fn encode(&self) -> [u8; Self::SIZE] {
        let mut head = [0; Self::SIZE];
        put(&mut head, 0, self.base_offset.to_be_bytes());
        put(&mut head, 8, self.length.to_be_bytes());
        put(&mut head, Self::LEADER_EPOCH_AT, self.leader_epoch.to_be_bytes());
        head[Self::MAGIC_AT] = Self::MAGIC as u8;
        put(&mut head, Self::CRC_AT, self.crc.to_be_bytes());
        put(&mut head, Self::ATTRIBUTES_AT, self.attributes.0.to_be_bytes());
        put(&mut head, 23, self.last_offset_delta.to_be_bytes());
        put(&mut head, 27, self.base_timestamp.to_be_bytes());
        put(&mut head, Self::MAX_TIMESTAMP_AT, self.max_timestamp.to_be_bytes());
        put(&mut head, 43, self.producer_id.to_be_bytes());
        put(&mut head, 51, self.producer_epoch.to_be_bytes());
        put(&mut head, 53, self.base_sequence.to_be_bytes());
        put(&mut head, 57, self.record_count.to_be_bytes());
        head
    }

    /// Bytes of the whole batch, header included.
    pub fn size(&self) -> usize {
        Self::LENGTH_OVERHEAD + self.length.max(0) as usize
    }

    /// Offset of the last record as it was produced. Saturates on absurd input.
    pub fn last_offset(&self) -> i64 {
        self.base_offset.saturating_add(i64::from(self.last_offset_delta))
    }

    /// The offset that follows the batch. Saturates on absurd input.
    pub fn next_offset(&self) -> i64 {
        self.last_offset().saturating_add(1)
    }

    /// Sequence number of the last record, or -1 for a batch without sequence numbers.
    pub fn last_sequence(&self) -> i32 {
        last_sequence(self.base_sequence, self.last_offset_delta)
    }

    /// From when on compaction may drop the batch's tombstones, if that was noted (KIP-534). Milliseconds since 1970.
    pub fn delete_horizon(&self) -> Option<i64> {
        self.attributes.has_delete_horizon().then_some(self.base_timestamp)
    }

    /// The largest timestamp of the records that are there; `None` if there is none with a timestamp.
    pub fn newest(&self) -> Option<i64> {
        Some(self.max_timestamp).filter(|timestamp| self.record_count > 0 && *timestamp > NO_TIMESTAMP)
    }

    /// How the records are compressed.
    ///
    /// # Errors
    /// [`BatchError::UnknownCodec`] for a number that no codec has.
    pub fn codec(&self) -> Result<Codec, BatchError> {
        let id = self.attributes.codec_id();
        Codec::from_id(id).ok_or(BatchError::UnknownCodec { id })
    }

    /// See [`Attributes::timestamp_type`].
    pub fn timestamp_type(&self) -> TimestampType {
        self.attributes.timestamp_type()
    }

    /// See [`Attributes::is_transactional`].
    pub fn is_transactional(&self) -> bool {
        self.attributes.is_transactional()
    }

    /// See [`Attributes::is_control`].
    pub fn is_control(&self) -> bool {
        self.attributes.is_control()
    }

    /// Whether the producer is idempotent.
    pub fn has_producer_id(&self) -> bool {
        self.producer_id > NO_PRODUCER_ID
    }
}

/// The sequence number `last_offset_delta` records behind `base`: sequence numbers go from `i32::MAX` on to 0.
/// A `base` below zero (no sequence) stays as it is.
pub fn last_sequence(base: i32, last_offset_delta: i32) -> i32 {
    if base < 0 {
        return base;
    }
    ((i64::from(base) + i64::from(last_offset_delta)) & i64::from(i32::MAX)) as i32
}

/// Kafka's rule: magics 0 and 1 are formats of the past, anything else is damage.
pub(super) fn check_magic(magic: i8) -> Result<(), BatchError> {
    match magic {
        Header::MAGIC => Ok(()),
        0 | 1 => Err(BatchError::OldMagic { magic }),
        _ => Err(BatchError::UnknownMagic { magic }),
    }
}

fn field<const N: usize>(head: &[u8; Header::SIZE], at: usize) -> [u8; N] {
    let mut bytes = [0; N];
    bytes.copy_from_slice(&head[at..at + N]);
    bytes
}

fn put<const N: usize>(head: &mut [u8; Header::SIZE], at: usize, bytes: [u8; N]) {
    head[at..at + N].copy_from_slice(&bytes);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample() -> Header {
        Header {
            base_offset: 0x0102_0304_0506_0708,
            length: 50,
            leader_epoch: 7,
            crc: 0xdead_beef,
            attributes: Attributes(0x11),
            last_offset_delta: 4,
            base_timestamp: 1000,
            max_timestamp: 2000,
            producer_id: 9,
            producer_epoch: 3,
            base_sequence: 12,
            record_count: 5,
        }
    }

    #[test]
    fn encodes_fields_where_kafka_has_them() {
        let bytes = sample().encode();
        let expected: [&[u8]; 13] = [
            &[1, 2, 3, 4, 5, 6, 7, 8],
            &[0, 0, 0, 50],
            &[0, 0, 0, 7],
            &[2],
            &[0xde, 0xad, 0xbe, 0xef],
            &[0, 0x11],
            &[0, 0, 0, 4],
            &[0, 0, 0, 0, 0, 0, 3, 0xe8],
            &[0, 0, 0, 0, 0, 0, 7, 0xd0],
            &[0, 0, 0, 0, 0, 0, 0, 9],
            &[0, 3],
            &[0, 0, 0, 12],
            &[0, 0, 0, 5],
        ];
        assert_eq!(bytes.as_slice(), expected.concat());
        assert_eq!(Header::parse(&bytes), Ok(sample()));
    }

    #[test]
    fn reads_attribute_bits() {
        let header = sample();
        assert_eq!(header.codec(), Ok(Codec::Gzip));
        assert!(header.is_transactional() && !header.is_control());
        assert_eq!(header.timestamp_type(), TimestampType::CreateTime);
        let stamped = header.attributes.with_timestamp_type(TimestampType::LogAppendTime);
        assert_eq!(stamped.0, 0x19);
        assert_eq!(stamped.with_timestamp_type(TimestampType::CreateTime), header.attributes);
        for id in 5..8 {
            let unknown = Header { attributes: Attributes(id), ..header };
            assert_eq!(unknown.codec(), Err(BatchError::UnknownCodec { id: id as u8 }));
        }
    }

    #[test]
    fn refuses_short_input_lengths_and_magics() {
        let bytes = sample().encode();
        assert_eq!(Header::parse(&bytes[..60]), Err(BatchError::NoBatch { given: 60 }));
        for length in [i32::MIN, -1, 0, 48] {
            let bytes = Header { length, ..sample() }.encode();
            assert_eq!(Header::parse(&bytes), Err(BatchError::Length { length }));
        }
        for (magic, error) in [
            (0, BatchError::OldMagic { magic: 0 }),
            (1, BatchError::OldMagic { magic: 1 }),
            (3, BatchError::UnknownMagic { magic: 3 }),
            (-1, BatchError::UnknownMagic { magic: -1 }),
        ] {
            let mut bytes = sample().encode();
            bytes[Header::MAGIC_AT] = magic as u8;
            assert_eq!(Header::parse(&bytes), Err(error));
        }
    }

    #[test]
    fn sequences_wrap_to_zero() {
        assert_eq!(last_sequence(-1, 5), -1);
        assert_eq!(last_sequence(3, 5), 8);
        assert_eq!(last_sequence(i32::MAX, 0), i32::MAX);
        assert_eq!(last_sequence(i32::MAX, 1), 0);
        assert_eq!(last_sequence(i32::MAX - 1, 3), 1);
    }
}
