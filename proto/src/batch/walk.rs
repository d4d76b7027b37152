//! One pass over the records of a batch without copying keys or values, in memory or while they decompress.

use super::validate::Limits;
use super::varint::{self, MAX_LEN_32, MAX_LEN_64};
use super::{BatchError, Header, MAX_RECORD_ERRORS, NO_TIMESTAMP};
use super::{RecordError, RecordFault, RecordReason, RejectedRecords};
use crate::compression::{Codec, Decompressor};

/// Bytes in front of the walk.
pub(super) trait Source {
    /// The next bytes, not yet consumed: at least `want` of them unless fewer are left.
    fn peek(&mut self, want: usize) -> Result<&[u8], BatchError>;
    /// Consumes bytes that were peeked at.
    fn advance(&mut self, count: usize);
    /// Consumes `count` bytes, and tells whether there were as many.
    fn skip(&mut self, count: u64) -> Result<bool, BatchError>;
}

/// Records that lie in memory.
impl Source for &[u8] {
    #[inline]
    fn peek(&mut self, _want: usize) -> Result<&[u8], BatchError> {
        Ok(self)
    }

    #[inline]
    fn advance(&mut self, count: usize) {
        *self = &self[count..];
    }

    #[inline]
    fn skip(&mut self, count: u64) -> Result<bool, BatchError> {
        let rest = usize::try_from(count).ok().and_then(|count| self.get(count..));
        if let Some(rest) = rest {
            *self = rest;
        }
        Ok(rest.is_some())
    }
}

/// Records that come out of a decompressor, a fixed window at a time.
pub(super) struct Window<'a> {
    inner: Decompressor<'a>,
    codec: Codec,
    buffer: Box<[u8; Window::SIZE]>,
    start: usize,
    end: usize,
    ended: bool,
}

impl<'a> Window<'a> {
    /// Large enough to make calls into a codec rare, small enough to stay in the core's own cache.
    const SIZE: usize = 32 * 1024;

    pub(super) fn new(inner: Decompressor<'a>, codec: Codec) -> Self {
        Window { inner, codec, buffer: Box::new([0; Self::SIZE]), start: 0, end: 0, ended: false }
    }

    /// Reads once more, behind what is left; tells whether anything came.
    fn fill(&mut self) -> Result<bool, BatchError> {
        if self.ended {
            return Ok(false);
        }
        self.buffer.copy_within(self.start..self.end, 0);
        self.end -= self.start;
        self.start = 0;
        let read = self
            .inner
            .read(&mut self.buffer[self.end..])
            .map_err(|error| BatchError::from_compression(error, self.codec))?;
        self.ended = read == 0;
        self.end += read;
        Ok(!self.ended)
    }
}

impl Source for Window<'_> {
    #[inline]
    fn peek(&mut self, want: usize) -> Result<&[u8], BatchError> {
        while self.end - self.start < want && self.fill()? {}
        Ok(&self.buffer[self.start..self.end])
    }

    #[inline]
    fn advance(&mut self, count: usize) {
        self.start += count;
    }

    fn skip(&mut self, mut count: u64) -> Result<bool, BatchError> {
        loop {
            let held = (self.end - self.start) as u64;
            if count <= held {
                self.start += count as usize;
                return Ok(true);
            }
            count -= held;
            self.start = self.end;
            if !self.fill()? {
                return Ok(false);
            }
        }
    }
}

/// What the records of a batch say together.
pub(super) struct Walked {
    pub(super) first_timestamp: i64,
    pub(super) max_timestamp: i64,
    pub(super) max_timestamp_delta: i32,
    pub(super) null_key: bool,
}

/// The fields of one record that a leader looks at.
struct Fields {
    timestamp_delta: i64,
    offset_delta: i32,
    null_key: bool,
}

/// Walks all records that `header` declares and nothing else.
pub(super) fn walk<S: Source>(
    source: &mut S,
    header: &Header,
    limits: &Limits,
) -> Result<Walked, BatchError> {
    let mut walked = Walked {
        first_timestamp: NO_TIMESTAMP,
        max_timestamp: NO_TIMESTAMP,
        max_timestamp_delta: -1,
        null_key: false,
    };
    let mut rejected = RejectedRecords { total: 0, first: Vec::new(), timestamps: false };
    for index in 0..header.record_count {
        let fields = Walk { source, left: 0 }.record(index)?;
        if fields.offset_delta != index {
            return Err(malformed(
                index,
                RecordFault::OffsetDelta { expected: index, found: fields.offset_delta },
            ));
        }
        let timestamp = header
            .base_timestamp
            .checked_add(fields.timestamp_delta)
            .ok_or_else(|| malformed(index, RecordFault::Range))?;
        if index == 0 {
            walked.first_timestamp = timestamp;
        }
        if timestamp > walked.max_timestamp {
            walked.max_timestamp = timestamp;
            walked.max_timestamp_delta = index;
        }
        walked.null_key |= fields.null_key;
        if let Some(reason) = judge(fields.null_key, timestamp, limits) {
            reject(&mut rejected, RecordError { index, reason });
        }
    }
    if !source.peek(1)?.is_empty() {
        return Err(BatchError::Trailing { record_count: header.record_count });
    }
    if rejected.total > 0 { Err(BatchError::Rejected(rejected)) } else { Ok(walked) }
}

/// Whether the topic accepts a well-formed record; Kafka looks at the key first.
#[inline]
fn judge(null_key: bool, timestamp: i64, limits: &Limits) -> Option<RecordReason> {
    if null_key && limits.keys_required {
        return Some(RecordReason::NullKey);
    }
    let (min, max) = limits.timestamps?;
    let outside = timestamp != NO_TIMESTAMP && !(min..=max).contains(&timestamp);
    outside.then_some(RecordReason::Timestamp { timestamp, min, max })
}

#[cold]
fn reject(rejected: &mut RejectedRecords, error: RecordError) {
    rejected.total += 1;
    rejected.timestamps |= matches!(error.reason, RecordReason::Timestamp { .. });
    if rejected.first.len() < MAX_RECORD_ERRORS {
        rejected.first.push(error);
    }
}

#[cold]
fn malformed(index: i32, fault: RecordFault) -> BatchError {
    BatchError::Malformed { index, fault }
}

/// A record that is being walked: no field may reach beyond the length that the record declares.
struct Walk<'s, S> {
    source: &'s mut S,
    left: u64,
}

/// A fault of the record at hand, or one of the whole batch.
enum Stop {
    Record(RecordFault),
    Batch(BatchError),
}

impl From<RecordFault> for Stop {
    fn from(fault: RecordFault) -> Self {
        Stop::Record(fault)
    }
}

impl From<BatchError> for Stop {
    fn from(error: BatchError) -> Self {
        Stop::Batch(error)
    }
}

impl<S: Source> Walk<'_, S> {
    #[inline]
    fn record(mut self, index: i32) -> Result<Fields, BatchError> {
        self.fields().map_err(|stop| match stop {
            Stop::Record(fault) => malformed(index, fault),
            Stop::Batch(error) => error,
        })
    }

    #[inline]
    fn fields(&mut self) -> Result<Fields, Stop> {
        self.left = MAX_LEN_32 as u64;
        let length = self.varint()?;
        self.left = u64::try_from(length).map_err(|_| RecordFault::Negative(length))?;
        self.skip(1)?; // attributes: unused in this format
        let timestamp_delta = self.varlong()?;
        let offset_delta = self.varint()?;
        let null_key = self.nullable()?;
        self.nullable()?;
        self.headers()?;
        match self.left {
            0 => Ok(Fields { timestamp_delta, offset_delta, null_key }),
            left => Err(RecordFault::Length(left).into()),
        }
    }

    #[inline]
    fn headers(&mut self) -> Result<(), Stop> {
        let count = self.varint()?;
        if count < 0 {
            return Err(RecordFault::Negative(count).into());
        }
        if count as u64 > self.left {
            return Err(RecordFault::HeaderCount(count).into());
        }
        for _ in 0..count {
            let key = self.varint()?;
            self.skip(u64::try_from(key).map_err(|_| RecordFault::Negative(key))?)?;
            self.nullable()?;
        }
        Ok(())
    }

    /// Skips a length (-1 for null) and as many bytes; tells whether it was null.
    #[inline]
    fn nullable(&mut self) -> Result<bool, Stop> {
        match self.varint()? {
            -1 => Ok(true),
            length => {
                self.skip(u64::try_from(length).map_err(|_| RecordFault::Negative(length))?)?;
                Ok(false)
            }
        }
    }

    #[inline]
    fn skip(&mut self, count: u64) -> Result<(), Stop> {
        self.left = self.left.checked_sub(count).ok_or(RecordFault::Truncated)?;
        if self.source.skip(count)? { Ok(()) } else { Err(RecordFault::Truncated.into()) }
    }

    #[inline]
    fn varint(&mut self) -> Result<i32, Stop> {
        let (value, len) = varint::decode_32(self.source.peek(MAX_LEN_32)?)?;
        self.took(len)?;
        Ok(value)
    }

    #[inline]
    fn varlong(&mut self) -> Result<i64, Stop> {
        let (value, len) = varint::decode_64(self.source.peek(MAX_LEN_64)?)?;
        self.took(len)?;
        Ok(value)
    }

    #[inline]
    fn took(&mut self, len: usize) -> Result<(), RecordFault> {
        self.left = self.left.checked_sub(len as u64).ok_or(RecordFault::Truncated)?;
        self.source.advance(len);
        Ok(())
    }
}
