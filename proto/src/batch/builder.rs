//! Makes batches: for records that come by gRPC, for the metadata log, and for tests.

use super::stamp::seal;
use super::{
    Attributes, Header, NO_LEADER_EPOCH, NO_PRODUCER_EPOCH, NO_PRODUCER_ID, NO_SEQUENCE, NO_TIMESTAMP,
};
use super::{RecordHeader, varint};
use crate::compression::{self, Codec};
use bytes::{BufMut, BytesMut};

/// The idempotent producer that a batch is from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Producer {
    /// Producer id, not negative.
    pub id: i64,
    /// Producer epoch, not negative.
    pub epoch: i16,
    /// Sequence number of the first record, not negative; -1 only in control batches.
    pub base_sequence: i32,
}

/// How a batch is finished. The default is an uncompressed batch as a plain producer sends it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Options {
    /// How the records are compressed.
    pub codec: Codec,
    /// The idempotent producer, if any.
    pub producer: Option<Producer>,
    /// Whether the batch belongs to a transaction.
    pub transactional: bool,
    /// Whether the records are control records.
    pub control: bool,
    /// Offset of the first record; 0 in what producers send.
    pub base_offset: i64,
    /// The leader's epoch; -1 in what producers send.
    pub leader_epoch: i32,
}

impl Default for Options {
    fn default() -> Self {
        Options {
            codec: Codec::None,
            producer: None,
            transactional: false,
            control: false,
            base_offset: 0,
            leader_epoch: NO_LEADER_EPOCH,
        }
    }
}

/// Why a batch cannot be made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BuildError {
    /// No record was pushed.
    #[error("a batch needs at least one record")]
    Empty,
    /// The format's lengths are 32-bit integers.
    #[error("a record or batch of {size} bytes does not fit the format; its limit is {}", i32::MAX)]
    TooLarge {
        /// Bytes it would take.
        size: usize,
    },
    /// The distance of a record's timestamp to the first one's is beyond 64 bits.
    #[error("timestamp {timestamp} is too far from the batch's first timestamp {first}")]
    Timestamp {
        /// Milliseconds since 1970.
        timestamp: i64,
        /// Timestamp of the first record.
        first: i64,
    },
    /// The codec failed, which takes a lack of memory.
    #[error("the records could not be compressed as {codec}")]
    Compress {
        /// The codec asked for.
        codec: Codec,
    },
}

/// Collects records, already encoded, behind room for a header; an uncompressed batch is finished without a copy.
#[derive(Debug)]
pub struct Builder {
    buffer: BytesMut,
    count: i32,
    first_timestamp: i64,
    max_timestamp: i64,
}

impl Default for Builder {
    fn default() -> Self {
        Self::new()
    }
}

impl Builder {
    /// An empty batch.
    pub fn new() -> Self {
        Self::with_capacity(0)
    }

    /// An empty batch with room for about `bytes` of records.
    pub fn with_capacity(bytes: usize) -> Self {
        let mut buffer = BytesMut::with_capacity(Header::SIZE.saturating_add(bytes));
        buffer.put_bytes(0, Header::SIZE);
        Builder { buffer, count: 0, first_timestamp: NO_TIMESTAMP, max_timestamp: NO_TIMESTAMP }
    }

    /// Number of records so far.
    pub fn count(&self) -> i32 {
        self.count
    }

    /// Whether there is no record yet.
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// Bytes of the batch so far, header included, before compression.
    pub fn size(&self) -> usize {
        self.buffer.len()
    }

    /// Bytes that a record takes at most, for whoever fills batches up to a limit.
    pub fn upper_bound(key: Option<&[u8]>, value: Option<&[u8]>, headers: &[RecordHeader<'_>]) -> usize {
        body_size(i64::MIN, i32::MAX, key, value, headers).saturating_add(varint::MAX_LEN_32)
    }

    /// Adds a record. `timestamp` is in milliseconds since 1970, or -1 for none.
    ///
    /// # Errors
    /// [`BuildError::TooLarge`] and [`BuildError::Timestamp`]; the batch is then as before.
    pub fn push(
        &mut self,
        timestamp: i64,
        key: Option<&[u8]>,
        value: Option<&[u8]>,
        headers: &[RecordHeader<'_>],
    ) -> Result<(), BuildError> {
        let first = if self.count == 0 { timestamp } else { self.first_timestamp };
        let delta = timestamp.checked_sub(first).ok_or(BuildError::Timestamp { timestamp, first })?;
        let length = body_size(delta, self.count, key, value, headers);
        let size = self.buffer.len().saturating_add(length).saturating_add(varint::MAX_LEN_32);
        // Everything below is smaller than this sum, and so are all lengths that are written.
        if size > i32::MAX as usize || self.count == i32::MAX {
            return Err(BuildError::TooLarge { size });
        }
        self.buffer.reserve(length + varint::MAX_LEN_32);
        varint::put_32(&mut self.buffer, length as i32);
        self.buffer.put_u8(0);
        varint::put_64(&mut self.buffer, delta);
        varint::put_32(&mut self.buffer, self.count);
        put_nullable(&mut self.buffer, key);
        put_nullable(&mut self.buffer, value);
        varint::put_32(&mut self.buffer, headers.len() as i32);
        for header in headers {
            put_nullable(&mut self.buffer, Some(header.key));
            put_nullable(&mut self.buffer, header.value);
        }
        self.first_timestamp = first;
        self.max_timestamp = self.max_timestamp.max(timestamp);
        self.count += 1;
        Ok(())
    }

    /// Compresses the records, writes the header, and returns the batch.
    ///
    /// # Errors
    /// [`BuildError::Empty`], [`BuildError::TooLarge`] when compression made the batch too large, and
    /// [`BuildError::Compress`].
    pub fn finish(self, options: &Options) -> Result<BytesMut, BuildError> {
        if self.count == 0 {
            return Err(BuildError::Empty);
        }
        let mut batch = match options.codec {
            Codec::None => self.buffer,
            codec => compressed(&self.buffer, codec)?,
        };
        let length = batch.len() - Header::LENGTH_OVERHEAD;
        let producer = options.producer.unwrap_or(Producer {
            id: NO_PRODUCER_ID,
            epoch: NO_PRODUCER_EPOCH,
            base_sequence: NO_SEQUENCE,
        });
        let header = Header {
            base_offset: options.base_offset,
            length: i32::try_from(length).map_err(|_| BuildError::TooLarge { size: batch.len() })?,
            leader_epoch: options.leader_epoch,
            crc: 0,
            attributes: Attributes::new(options.codec, options.transactional, options.control),
            last_offset_delta: self.count - 1,
            base_timestamp: self.first_timestamp,
            max_timestamp: self.max_timestamp,
            producer_id: producer.id,
            producer_epoch: producer.epoch,
            base_sequence: producer.base_sequence,
            record_count: self.count,
        };
        batch[..Header::SIZE].copy_from_slice(&header.encode());
        seal(&mut batch);
        Ok(batch)
    }
}

fn compressed(plain: &[u8], codec: Codec) -> Result<BytesMut, BuildError> {
    let mut batch = BytesMut::with_capacity(Header::SIZE + plain.len() / 2);
    batch.put_bytes(0, Header::SIZE);
    compression::compress(codec, &plain[Header::SIZE..], &mut batch)
        .map_err(|_| BuildError::Compress { codec })?;
    Ok(batch)
}

/// Bytes of a record behind its length. Saturates, so that nothing absurd looks small.
fn body_size(
    timestamp_delta: i64,
    offset_delta: i32,
    key: Option<&[u8]>,
    value: Option<&[u8]>,
    headers: &[RecordHeader<'_>],
) -> usize {
    let fixed = 1 + varint::len(timestamp_delta) + varint::len(i64::from(offset_delta));
    let count = varint::len(headers.len() as i64);
    let ends = nullable_size(key).saturating_add(nullable_size(value)).saturating_add(fixed + count);
    headers.iter().fold(ends, |sum, header| {
        sum.saturating_add(nullable_size(Some(header.key))).saturating_add(nullable_size(header.value))
    })
}

fn nullable_size(bytes: Option<&[u8]>) -> usize {
    bytes.map_or(1, |bytes| varint::len(bytes.len() as i64) + bytes.len())
}

fn put_nullable(out: &mut BytesMut, bytes: Option<&[u8]>) {
    match bytes {
        None => varint::put_32(out, -1),
        Some(bytes) => {
            varint::put_32(out, bytes.len() as i32);
            out.put_slice(bytes);
        }
    }
}
