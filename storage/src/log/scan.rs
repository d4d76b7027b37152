//! Reading a segment's file from the front: header by header, or every byte with its checksum.

use bytes::Bytes;
use millrace_io::Io;
use millrace_proto::batch::{self, Header};
use std::io::Result;
use std::ops::Range;

/// Enough for the batches between two index entries, when only boundaries are sought.
pub(super) const SMALL_WINDOW: usize = 4 << 10;
/// For reading everything.
pub(super) const LARGE_WINDOW: usize = 1 << 20;
/// Batches up to this size are checked in one piece, as nearly all are; larger ones are streamed.
const WHOLE_BATCH: usize = 4 << 20;

/// What was found at a position.
pub(super) enum Found {
    /// A batch whose header makes sense and that fits into the file.
    Batch(Header),
    /// The end of the file.
    End,
    /// Something else, and why it is no batch.
    Bad(String),
}

/// A cursor over a segment's batches.
pub(super) struct Walker<I: Io> {
    io: I,
    file: I::File,
    /// Every batch's offsets must lie within.
    offsets: Range<i64>,
    /// The file is read up to here.
    size: u64,
    window_len: usize,
    window: Bytes,
    window_at: u64,
    /// The position of the next batch.
    pub(super) position: u64,
    /// Bytes read from the file so far.
    pub(super) bytes_read: u64,
}

impl<I: Io> Walker<I> {
    /// A cursor at the front of a segment of `size` bytes that holds no offsets but these.
    pub(super) fn new(io: I, file: I::File, offsets: Range<i64>, size: u64, window_len: usize) -> Self {
        let window = Bytes::new();
        Walker { io, file, offsets, size, window_len, window, window_at: 0, position: 0, bytes_read: 0 }
    }

    /// The same, somewhere else.
    pub(super) fn at(mut self, position: u64) -> Self {
        self.position = position;
        self
    }

    /// The file is read up to here.
    pub(super) fn size(&self) -> u64 {
        self.size
    }

    /// Looks at the header at the current position, without moving.
    pub(super) async fn look(&mut self) -> Result<Found> {
        if self.position >= self.size {
            return Ok(Found::End);
        }
        let left = self.size - self.position;
        let head = self.bytes(self.position, Header::SIZE.min(left as usize)).await?;
        let header = match Header::parse(&head) {
            Ok(header) => header,
            Err(e) if head.iter().all(|b| *b == 0) => return Ok(Found::Bad(format!("zeros ({e})"))),
            Err(e) => return Ok(Found::Bad(e.to_string())),
        };
        Ok(match implausible(&header, &self.offsets, left) {
            Some(why) => Found::Bad(why),
            None => Found::Batch(header),
        })
    }

    /// The whole batch that [`look`](Self::look) has found.
    pub(super) async fn batch(&mut self, header: &Header) -> Result<Bytes> {
        self.bytes(self.position, header.size()).await
    }

    /// Moves behind a batch that [`look`](Self::look) has found.
    pub(super) fn skip(&mut self, header: &Header) {
        self.position += header.size() as u64;
    }

    /// The next batch's position and header, or `None` at the end of what can be read as batches.
    pub(super) async fn next(&mut self) -> Result<Option<(u64, Header)>> {
        let at = self.position;
        Ok(match self.look().await? {
            Found::Batch(header) => {
                self.skip(&header);
                Some((at, header))
            }
            Found::End | Found::Bad(_) => None,
        })
    }

    /// Whether the bytes of the batch at the current position are what its checksum says.
    pub(super) async fn checks_out(&mut self, header: &Header) -> Result<bool> {
        if header.size() <= WHOLE_BATCH {
            let bytes = self.bytes(self.position, header.size()).await?;
            return Ok(batch::verify(&bytes).is_ok());
        }
        let (mut at, end) = (self.position + CRC_FROM, self.position + header.size() as u64);
        let mut crc = 0;
        while at < end {
            let len = (end - at).min(self.window_len as u64) as usize;
            let bytes = self.bytes(at, len).await?;
            if bytes.len() < len {
                return Ok(false);
            }
            crc = crc32c::crc32c_append(crc, &bytes);
            at += len as u64;
        }
        Ok(crc == header.crc)
    }

    /// Moves forward, byte by byte, to the next position where a batch begins that checks out and is
    /// `wanted`.
    pub(super) async fn find_batch(&mut self, wanted: impl Fn(&Header) -> bool) -> Result<Option<Header>> {
        while self.position < self.size {
            if self.may_begin_here().await?
                && let Found::Batch(header) = self.look().await?
                && wanted(&header)
                && self.checks_out(&header).await?
            {
                return Ok(Some(header));
            }
            self.position += 1;
        }
        Ok(None)
    }

    /// A quick look at the magic byte spares nearly all positions a parse.
    async fn may_begin_here(&mut self) -> Result<bool> {
        let bytes = self.bytes(self.position + MAGIC_AT, 1).await?;
        Ok(bytes.first() == Some(&(Header::MAGIC as u8)))
    }

    /// Bytes of the file; fewer only where it ends.
    async fn bytes(&mut self, at: u64, len: usize) -> Result<Bytes> {
        let inside = at >= self.window_at && at + len as u64 <= self.window_at + self.window.len() as u64;
        if !inside {
            let left = self.size.saturating_sub(at);
            let wanted = (len.max(self.window_len) as u64).min(left) as usize;
            self.window = self.io.read_at(&self.file, at, wanted).await?;
            self.window_at = at;
            self.bytes_read += self.window.len() as u64;
        }
        let start = (at - self.window_at) as usize;
        Ok(self.window.slice(start..(start + len).min(self.window.len())))
    }
}

/// The first byte that a batch's checksum covers, and where its magic is (record batch format, KIP-98).
const CRC_FROM: u64 = 21;
const MAGIC_AT: u64 = 16;

/// Why a header cannot be that of a batch in this segment with `left` bytes before the end of the file.
fn implausible(header: &Header, offsets: &Range<i64>, left: u64) -> Option<String> {
    if header.size() as u64 > left {
        return Some(format!("a batch of {} bytes where {left} are left", header.size()));
    }
    let relative = header.last_offset().checked_sub(offsets.start);
    let fits = relative.is_some_and(|r| i32::try_from(r).is_ok()) && header.next_offset() <= offsets.end;
    if header.base_offset < offsets.start || header.last_offset_delta < 0 || !fits {
        let (from, to) = (header.base_offset, header.last_offset());
        return Some(format!("a batch with offsets {from} to {to} in a segment that holds {offsets:?}"));
    }
    None
}
