//! What a leader checks before it appends a batch that a client sent, and recovery before it trusts one on disk.
//!
//! The order of the checks is Kafka's, so that a batch with two faults gets the same error code.

use super::header::check_magic;
use super::walk::{Walked, Window, walk};
use super::{BatchError, Header, TimestampType, last_sequence};
use crate::compression::{Caps, Codec, Decompressor};

/// What the topic and the request allow.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// `max.message.bytes`: the largest batch, header included, compressed as it comes.
    pub max_batch_bytes: usize,
    /// How far compressed records may inflate.
    pub caps: Caps,
    /// Whether every record needs a key (`cleanup.policy` includes `compact`).
    pub keys_required: bool,
    /// The accepted timestamps, both ends included, in milliseconds since 1970; `None` accepts all. From
    /// `message.timestamp.before.max.ms` and `.after.max.ms`; only meant for topics with CreateTime. Records
    /// without a timestamp (-1) pass.
    pub timestamps: Option<(i64, i64)>,
    /// Whether the request may carry zstd (produce version 7 and later).
    pub zstd: bool,
}

impl Default for Limits {
    /// Kafka's defaults: 1 MiB and the batch overhead of 12 bytes, any timestamp, no key needed, zstd welcome.
    fn default() -> Self {
        Limits {
            max_batch_bytes: 1024 * 1024 + Header::LENGTH_OVERHEAD,
            caps: Caps::default(),
            keys_required: false,
            timestamps: None,
            zstd: true,
        }
    }
}

/// All that a leader needs to know about a batch that it may append.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Checked {
    /// Bytes of the batch, header included.
    pub size: usize,
    /// Number of records, at least 1; offsets and sequence numbers that the batch takes.
    pub record_count: i32,
    /// How the records are compressed.
    pub codec: Codec,
    /// Timestamp of the first record, in milliseconds since 1970, or -1.
    pub first_timestamp: i64,
    /// The largest timestamp of the records, whatever the header says; -1 when none has one.
    pub max_timestamp: i64,
    /// Which record has it (the first of equals), relative to the base offset; -1 when none has a timestamp.
    pub max_timestamp_offset_delta: i32,
    /// Whether the header claims another maximum. A leader corrects it, as Kafka's does: see
    /// [`super::stamp_max_timestamp`].
    pub max_timestamp_differs: bool,
    /// Id of the idempotent producer, or -1.
    pub producer_id: i64,
    /// Epoch of the idempotent producer, or -1.
    pub producer_epoch: i16,
    /// Sequence number of the first record, or -1.
    pub base_sequence: i32,
    /// Whether the batch belongs to a transaction.
    pub transactional: bool,
    /// Whether any record has no key.
    pub null_key: bool,
}

impl Checked {
    /// Offset of the last record, relative to the base offset.
    pub fn last_offset_delta(&self) -> i32 {
        self.record_count - 1
    }

    /// Sequence number of the last record, or -1 for a batch without sequence numbers.
    pub fn last_sequence(&self) -> i32 {
        last_sequence(self.base_sequence, self.last_offset_delta())
    }

    /// Whether the producer is idempotent.
    pub fn has_producer_id(&self) -> bool {
        self.producer_id > super::NO_PRODUCER_ID
    }
}

/// Checks a batch that a client sent for one partition; `bytes` must be exactly that batch.
///
/// Compressed records are decompressed through a fixed window, under the caps, to be walked like the others.
/// Costs one pass for the CRC and a look at each record's lengths.
///
/// # Errors
/// The first fault found; see [`BatchError::code`] for what the producer is told.
pub fn validate(bytes: &[u8], limits: &Limits) -> Result<Checked, BatchError> {
    let header = check_envelope(bytes, limits)?;
    check_crc(&header, bytes)?;
    check_header(&header)?;
    let codec = header.codec()?;
    let walked = walk_records(bytes, &header, codec, limits)?;
    Ok(Checked {
        size: bytes.len(),
        record_count: header.record_count,
        codec,
        first_timestamp: walked.first_timestamp,
        max_timestamp: walked.max_timestamp,
        max_timestamp_offset_delta: walked.max_timestamp_delta,
        max_timestamp_differs: walked.max_timestamp != header.max_timestamp,
        producer_id: header.producer_id,
        producer_epoch: header.producer_epoch,
        base_sequence: header.base_sequence,
        transactional: header.is_transactional(),
        null_key: walked.null_key,
    })
}

/// Checks that a whole, undamaged batch is at the start of `bytes`, and returns its header; more may follow.
///
/// # Errors
/// Those of [`Header::parse`], [`BatchError::Size`] when the batch is cut short, [`BatchError::Crc`].
pub fn verify(bytes: &[u8]) -> Result<Header, BatchError> {
    let header = Header::parse(bytes)?;
    let Some(batch) = bytes.get(..header.size()) else {
        return Err(BatchError::Size { declared: header.size(), given: bytes.len() });
    };
    check_crc(&header, batch)?;
    Ok(header)
}

/// Checks that the bytes are one batch in the one format, of an acceptable size.
fn check_envelope(bytes: &[u8], limits: &Limits) -> Result<Header, BatchError> {
    // Up to the magic the format is common to all versions; Kafka sees no batch in less.
    if bytes.len() <= Header::MAGIC_AT {
        return Err(BatchError::NoBatch { given: bytes.len() });
    }
    let length = i32::from_be_bytes([bytes[8], bytes[9], bytes[10], bytes[11]]);
    /// The least length that any message format has.
    const LEAST_LENGTH: i32 = 14;
    if length < LEAST_LENGTH {
        return Err(BatchError::Length { length });
    }
    check_magic(bytes[Header::MAGIC_AT] as i8)?;
    let declared = Header::LENGTH_OVERHEAD + length as usize;
    if declared > bytes.len() {
        return Err(BatchError::Size { declared, given: bytes.len() });
    }
    let Some(head) = bytes[..declared].first_chunk() else {
        return Err(BatchError::Length { length });
    };
    let header = Header::decode(head);
    if !limits.zstd && header.attributes.codec_id() == Codec::Zstd.id() {
        return Err(BatchError::ZstdTooOld);
    }
    if declared < bytes.len() {
        return Err(BatchError::Size { declared, given: bytes.len() });
    }
    if header.base_offset != 0 {
        return Err(BatchError::BaseOffset { base_offset: header.base_offset });
    }
    if declared > limits.max_batch_bytes {
        return Err(BatchError::TooLarge { size: declared, max: limits.max_batch_bytes });
    }
    Ok(header)
}

fn check_crc(header: &Header, batch: &[u8]) -> Result<(), BatchError> {
    let computed = crc32c::crc32c(&batch[Header::ATTRIBUTES_AT..]);
    if computed == header.crc { Ok(()) } else { Err(BatchError::Crc { stored: header.crc, computed }) }
}

/// Checks the fields that a client may have set wrongly although it sent what it meant.
fn check_header(header: &Header) -> Result<(), BatchError> {
    let Header { record_count, last_offset_delta, producer_id, base_sequence, .. } = *header;
    if record_count <= 0 || last_offset_delta != record_count - 1 {
        return Err(BatchError::Count { record_count, last_offset_delta });
    }
    if header.is_control() {
        return Err(BatchError::Control);
    }
    if header.has_producer_id() && base_sequence < 0 {
        return Err(BatchError::Sequence { producer_id, base_sequence });
    }
    match header.timestamp_type() {
        TimestampType::CreateTime => Ok(()),
        TimestampType::LogAppendTime => Err(BatchError::LogAppendTime),
    }
}

fn walk_records(bytes: &[u8], header: &Header, codec: Codec, limits: &Limits) -> Result<Walked, BatchError> {
    let mut records = &bytes[Header::SIZE..];
    if codec == Codec::None {
        return walk(&mut records, header, limits);
    }
    let inner = Decompressor::new(codec, records, &limits.caps)
        .map_err(|error| BatchError::from_compression(error, codec))?;
    walk(&mut Window::new(inner, codec), header, limits)
}

#[cfg(test)]
#[path = "validate_test.rs"]
mod tests;
