//! The records of a batch, borrowed from its bytes or from the scratch that they were decompressed into.

use super::varint;
use super::{Attributes, BatchError, Header, RecordFault, TimestampType};
use crate::compression::{Caps, Codec, decompress};
use bytes::{Buf, Bytes};

/// One record; key, value and headers are borrowed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record<'a> {
    /// Absolute offset.
    pub offset: i64,
    /// Milliseconds since 1970, or -1. The append time for batches with LogAppendTime.
    pub timestamp: i64,
    /// The key, or null.
    pub key: Option<&'a [u8]>,
    /// The value, or null (a tombstone in a compacted topic).
    pub value: Option<&'a [u8]>,
    /// The headers in the order of the producer.
    pub headers: RecordHeaders<'a>,
}

/// One header of a record. Keys may repeat, and nothing checks that they are UTF-8, which they should be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RecordHeader<'a> {
    /// The key, which may be empty.
    pub key: &'a [u8],
    /// The value, or null.
    pub value: Option<&'a [u8]>,
}

/// The headers of one record, already checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RecordHeaders<'a> {
    rest: &'a [u8],
    left: i32,
}

impl<'a> Iterator for RecordHeaders<'a> {
    type Item = RecordHeader<'a>;

    fn next(&mut self) -> Option<RecordHeader<'a>> {
        if self.left == 0 {
            return None;
        }
        self.left -= 1;
        // Checked when the record was read; damage would end the iteration early.
        take_header(&mut self.rest).ok()
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.left as usize, Some(self.left as usize))
    }
}

impl ExactSizeIterator for RecordHeaders<'_> {}

/// Iterates over the records of one batch. After an error it yields nothing more.
#[derive(Debug, Clone)]
pub struct RecordIter<'a> {
    header: Header,
    rest: &'a [u8],
    index: i32,
}

/// The records of the batch at the start of `batch`; what follows it is ignored.
///
/// Uncompressed records are borrowed from `batch`. Compressed ones are decompressed into `scratch`, whose
/// content is replaced, and borrowed from there; `caps` bounds its growth. The CRC is not checked: see
/// [`super::verify`]. Offsets may have gaps, as compaction leaves them.
///
/// # Errors
/// Those of [`Header::parse`], [`BatchError::Size`] when the batch is cut short, and those of decompression.
pub fn records<'a>(
    batch: &'a [u8],
    scratch: &'a mut Vec<u8>,
    caps: &Caps,
) -> Result<RecordIter<'a>, BatchError> {
    let header = Header::parse(batch)?;
    let Some(payload) = batch.get(Header::SIZE..header.size()) else {
        return Err(BatchError::Size { declared: header.size(), given: batch.len() });
    };
    let rest = match header.codec()? {
        Codec::None => payload,
        codec => {
            decompress(codec, payload, caps, scratch)
                .map_err(|error| BatchError::from_compression(error, codec))?;
            scratch
        }
    };
    Ok(RecordIter { header, rest, index: 0 })
}

/// The bits of a batch's attributes that name its codec.
const CODEC_BITS: i16 = 0x07;

/// The batch at the start of `batch` with its records uncompressed, for whoever wants to keep what [`records`] borrows. Its CRC is still
/// that of the compressed ones; `caps` bounds how large it gets.
///
/// # Errors
/// Those of [`records`].
pub fn inflate(batch: &[u8], caps: &Caps) -> Result<Vec<u8>, BatchError> {
    let mut header = Header::parse(batch)?;
    let codec = header.codec()?;
    let cut_short = || BatchError::Size { declared: header.size(), given: batch.len() };
    let payload = batch.get(Header::SIZE..header.size()).ok_or_else(cut_short)?;
    let mut plain = Vec::new();
    decompress(codec, payload, caps, &mut plain)
        .map_err(|error| BatchError::from_compression(error, codec))?;
    let length = Header::SIZE - Header::LENGTH_OVERHEAD + plain.len();
    header.length = i32::try_from(length).map_err(|_| cut_short())?;
    header.attributes = Attributes(header.attributes.0 & !CODEC_BITS);
    plain.splice(0..0, header.encode());
    Ok(plain)
}

/// The records of a batch that is kept, one at a time: for whoever cannot borrow it for as long as it is read. Holds nothing but the batch.
#[derive(Debug, Clone)]
pub struct RecordCursor {
    header: Header,
    rest: Bytes,
    index: i32,
}

impl RecordCursor {
    /// Of the batch at the start of `batch`, which is not compressed: see [`inflate`].
    ///
    /// # Errors
    /// Those of [`Header::parse`], and [`BatchError::Size`] when the batch is cut short.
    pub fn new(batch: &Bytes) -> Result<Self, BatchError> {
        let header = Header::parse(batch)?;
        if header.size() > batch.len() {
            return Err(BatchError::Size { declared: header.size(), given: batch.len() });
        }
        Ok(Self { header, rest: batch.slice(Header::SIZE..header.size()), index: 0 })
    }

    /// What `read` makes of the next record, and of the bytes that its parts lie in.
    ///
    /// # Errors
    /// As [`RecordIter`]'s, after which there is nothing more.
    pub fn next<T>(&mut self, read: impl FnOnce(Record<'_>, &Bytes) -> T) -> Option<Result<T, BatchError>> {
        let mut iter = RecordIter { header: self.header, rest: &self.rest, index: self.index };
        let made = iter.next().map(|record| record.map(|record| read(record, &self.rest)));
        let (left, index) = (iter.rest.len(), iter.index);
        self.rest.advance(self.rest.len() - left);
        self.index = index;
        made
    }
}

impl<'a> RecordIter<'a> {
    /// The header of the batch.
    pub fn header(&self) -> &Header {
        &self.header
    }

    /// The bytes of the records to come.
    pub(super) fn rest(&self) -> &'a [u8] {
        self.rest
    }

    fn read(&mut self) -> Result<Record<'a>, RecordFault> {
        let length = take_varint(&mut self.rest)?;
        let mut body = take(&mut self.rest, length)?;
        take(&mut body, 1)?; // attributes: unused in this format
        let (timestamp_delta, used) = varint::decode_64(body)?;
        body = &body[used..];
        let offset_delta = take_varint(&mut body)?;
        let key = take_nullable(&mut body)?;
        let value = take_nullable(&mut body)?;
        let headers = take_headers(&mut body)?;
        if !body.is_empty() {
            return Err(RecordFault::Length(body.len() as u64));
        }
        let offset =
            self.header.base_offset.checked_add(i64::from(offset_delta)).ok_or(RecordFault::Range)?;
        let timestamp = match self.header.timestamp_type() {
            TimestampType::LogAppendTime => self.header.max_timestamp,
            TimestampType::CreateTime => {
                self.header.base_timestamp.checked_add(timestamp_delta).ok_or(RecordFault::Range)?
            }
        };
        Ok(Record { offset, timestamp, key, value, headers })
    }
}

impl<'a> Iterator for RecordIter<'a> {
    type Item = Result<Record<'a>, BatchError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.index >= self.header.record_count {
            let trailing = !self.rest.is_empty();
            self.rest = &[];
            let record_count = self.header.record_count;
            return trailing.then_some(Err(BatchError::Trailing { record_count }));
        }
        let index = self.index;
        self.index += 1;
        let record = self.read();
        if record.is_err() {
            self.index = self.header.record_count;
            self.rest = &[];
        }
        Some(record.map_err(|fault| BatchError::Malformed { index, fault }))
    }
}

fn take_headers<'a>(rest: &mut &'a [u8]) -> Result<RecordHeaders<'a>, RecordFault> {
    let count = take_varint(rest)?;
    if count < 0 {
        return Err(RecordFault::Negative(count));
    }
    if count as usize > rest.len() {
        return Err(RecordFault::HeaderCount(count));
    }
    let headers = RecordHeaders { rest, left: count };
    for _ in 0..count {
        take_header(rest)?;
    }
    Ok(headers)
}

fn take_header<'a>(rest: &mut &'a [u8]) -> Result<RecordHeader<'a>, RecordFault> {
    let key_length = take_varint(rest)?;
    Ok(RecordHeader { key: take(rest, key_length)?, value: take_nullable(rest)? })
}

fn take_nullable<'a>(rest: &mut &'a [u8]) -> Result<Option<&'a [u8]>, RecordFault> {
    match take_varint(rest)? {
        -1 => Ok(None),
        length => take(rest, length).map(Some),
    }
}

fn take_varint(rest: &mut &[u8]) -> Result<i32, RecordFault> {
    let (value, used) = varint::decode_32(rest)?;
    *rest = &rest[used..];
    Ok(value)
}

fn take<'a>(rest: &mut &'a [u8], length: i32) -> Result<&'a [u8], RecordFault> {
    let length = usize::try_from(length).map_err(|_| RecordFault::Negative(length))?;
    let (taken, behind) = rest.split_at_checked(length).ok_or(RecordFault::Truncated)?;
    *rest = behind;
    Ok(taken)
}

#[cfg(test)]
#[path = "records_test.rs"]
mod tests;
