//! A batch without some of its records, as compaction leaves it: the others keep their offsets, timestamps and bytes, and
//! the batch keeps the offsets that it covers, whatever is left in it.

use super::records::{RecordIter, records};
use super::stamp::seal;
use super::{
    Attributes, BatchError, Header, NO_PRODUCER_EPOCH, NO_PRODUCER_ID, NO_SEQUENCE, NO_TIMESTAMP, Record,
    TimestampType, varint,
};
use crate::compression::{self, Caps, Codec};
use bytes::{BufMut, Bytes, BytesMut};
use std::ops::Range;

/// What is left of a batch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Retained {
    /// Everything: the batch is as it should be.
    All,
    /// These bytes, in its place.
    Some(Bytes),
    /// No record.
    None,
}

/// Takes records out of batches. Kept for its memory: one for many batches.
#[derive(Debug, Default)]
pub struct Retain {
    scratch: Vec<u8>,
    /// The bytes of the records that stay, and their timestamps.
    kept: Vec<(Range<usize>, i64)>,
}

impl Retain {
    /// Shows each record of the batch at the start of `batch` to `keep`, and makes the batch without those that it refuses. If a tombstone
    /// stays and the batch does not say yet from when on its tombstones may go, `delete_horizon` (milliseconds since 1970) is noted in
    /// it (KIP-534). The CRC of what comes in is not checked: see [`super::verify`].
    ///
    /// # Errors
    /// Those of [`records`], and of its iterator; the batch is best left alone then.
    pub fn records(
        &mut self,
        batch: &[u8],
        caps: &Caps,
        delete_horizon: i64,
        mut keep: impl FnMut(&Record<'_>) -> bool,
    ) -> Result<Retained, BatchError> {
        self.kept.clear();
        let mut iter = records(batch, &mut self.scratch, caps)?;
        let (header, plain) = (*iter.header(), iter.rest());
        let mut tombstones = false;
        while let Some((bytes, record)) = next_with_bytes(&mut iter, plain.len()) {
            let record = record?;
            if keep(&record) {
                tombstones |= record.value.is_none();
                self.kept.push((bytes, record.timestamp));
            }
        }
        if self.kept.is_empty() {
            return Ok(Retained::None);
        }
        let horizon =
            (tombstones && !header.attributes.has_delete_horizon()).then_some(delete_horizon).filter(
                |horizon| self.kept.iter().all(|(_, timestamp)| timestamp.checked_sub(*horizon).is_some()),
            );
        if self.kept.len() == header.record_count as usize && horizon.is_none() {
            return Ok(Retained::All);
        }
        rebuild(&header, plain, &self.kept, horizon).map(Retained::Some)
    }
}

fn next_with_bytes<'a>(
    iter: &mut RecordIter<'a>,
    len: usize,
) -> Option<(Range<usize>, Result<Record<'a>, BatchError>)> {
    let start = len - iter.rest().len();
    let record = iter.next()?;
    Some((start..len - iter.rest().len(), record))
}

fn rebuild(
    header: &Header,
    plain: &[u8],
    kept: &[(Range<usize>, i64)],
    horizon: Option<i64>,
) -> Result<Bytes, BatchError> {
    let mut attributes = header.attributes;
    let create_time = header.timestamp_type() == TimestampType::CreateTime;
    let size: usize = kept.iter().map(|(bytes, _)| bytes.len() + varint::MAX_LEN_64).sum();
    let mut batch = BytesMut::with_capacity(Header::SIZE + size);
    batch.put_bytes(0, Header::SIZE);
    for (bytes, timestamp) in kept {
        let record = &plain[bytes.clone()];
        match horizon {
            Some(horizon) if create_time => put_with_delta(&mut batch, record, timestamp - horizon)?,
            _ => batch.put_slice(record),
        }
    }
    let codec = header.codec()?;
    if codec != Codec::None {
        let mut smaller = BytesMut::with_capacity(batch.len() / 2);
        smaller.put_bytes(0, Header::SIZE);
        match compression::compress(codec, &batch[Header::SIZE..], &mut smaller) {
            Ok(()) => batch = smaller,
            // It takes a lack of memory; the records are as good without.
            Err(_) => attributes = attributes.with_codec(Codec::None),
        }
    }
    let newest = kept.iter().map(|(_, timestamp)| *timestamp).max().unwrap_or(NO_TIMESTAMP);
    let mut base_timestamp = header.base_timestamp;
    if let Some(horizon) = horizon {
        (attributes, base_timestamp) = (attributes.with_delete_horizon(), horizon);
    }
    let left = Header {
        attributes,
        base_timestamp,
        length: i32::try_from(batch.len() - Header::LENGTH_OVERHEAD).unwrap_or(i32::MAX),
        max_timestamp: if create_time { newest } else { header.max_timestamp },
        record_count: kept.len() as i32,
        ..*header
    };
    batch[..Header::SIZE].copy_from_slice(&left.encode());
    seal(&mut batch);
    Ok(batch.freeze())
}

/// Puts a record with another distance to its batch's base timestamp.
fn put_with_delta(batch: &mut BytesMut, record: &[u8], delta: i64) -> Result<(), BatchError> {
    let fault = |fault| BatchError::Malformed { index: 0, fault };
    let (_, length) = varint::decode_32(record).map_err(fault)?;
    let attributes = record[length];
    let behind = length + 1;
    let (_, used) = varint::decode_64(&record[behind..]).map_err(fault)?;
    let rest = &record[behind + used..];
    let size = 1 + varint::len(delta) + rest.len();
    varint::put_32(batch, i32::try_from(size).unwrap_or(i32::MAX));
    batch.put_u8(attributes);
    varint::put_64(batch, delta);
    batch.put_slice(rest);
    Ok(())
}

/// The batch of `header` without any record: offsets, producer and sequence numbers stay, so that a producer's state can be
/// rebuilt from it.
pub fn emptied(header: &Header) -> Bytes {
    let attributes = Attributes::new(Codec::None, header.is_transactional(), header.is_control());
    sealed(Header {
        attributes: attributes.with_timestamp_type(header.timestamp_type()),
        base_timestamp: NO_TIMESTAMP,
        ..*header
    })
}

/// A batch without records that stands for the offsets from `base_offset` up to `last_offset`, of which none is there any more.
///
/// # Panics
/// When the offsets are not in order, or so far apart that no batch covers them.
pub fn placeholder(base_offset: i64, last_offset: i64, leader_epoch: i32) -> Bytes {
    let delta = i32::try_from(last_offset - base_offset).ok().filter(|delta| *delta >= 0);
    sealed(Header {
        base_offset,
        length: 0,
        leader_epoch,
        crc: 0,
        attributes: Attributes::default(),
        last_offset_delta: delta.expect("a segment's offsets fit"),
        base_timestamp: NO_TIMESTAMP,
        max_timestamp: NO_TIMESTAMP,
        producer_id: NO_PRODUCER_ID,
        producer_epoch: NO_PRODUCER_EPOCH,
        base_sequence: NO_SEQUENCE,
        record_count: 0,
    })
}

/// A header on its own as a batch without records.
fn sealed(header: Header) -> Bytes {
    let length = (Header::SIZE - Header::LENGTH_OVERHEAD) as i32;
    let mut batch = BytesMut::from(&Header { length, record_count: 0, ..header }.encode()[..]);
    seal(&mut batch);
    batch.freeze()
}

#[cfg(test)]
#[path = "retain_test.rs"]
mod tests;
