//! `metadata.image`, beside the metadata log: the image at one position of the log, so that a start replays only what
//! came after. A shortcut and nothing else: the log has everything, and a file that is missing, damaged, written by
//! another version, or about another log than the one that is there, is passed over.
//!
//! A header of 30 bytes, big-endian: mark `MRMI`, format i16 (1), CRC-32C of what follows u32; the position in the log
//! (next offset i64, and of the batch before it the leader epoch i32 and the CRC u32), length of the rest u32. Then the
//! image's records as rkyv archives them, [unaligned and little-endian](content).

mod content;

use bytes::{Buf, BufMut, Bytes};
use futures_util::lock::Mutex;
use millrace_io::Io;
use millrace_logic::meta::{ApplyError, Image, MetadataRecord};
use millrace_logic::offset::{LogEnd, Offset};
use millrace_proto::batch::Header;
use millrace_proto::files::FormatError;
use millrace_storage::{Log, ReadError, read_file, write_file};
use std::cell::Cell;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::sync::Arc;

/// The file's name in the data directory.
pub(super) const METADATA_IMAGE: &str = "metadata.image";

const MARK: [u8; 4] = *b"MRMI";
/// Goes up with every change of what follows it, the archived types included. Older files are passed over, as newer ones.
const FORMAT: i16 = 1;
const CRC_AT: usize = 6;
const COVERED_AT: usize = 10;
const HEADER_SIZE: usize = 30;

/// A new image is written after this many records, or as many as the image holds if those are more: what writing costs
/// stays in proportion to what is recorded, and what a start replays to what it loads.
const EVERY: i64 = 1000;

/// A position in the metadata log. Offset and epoch name it; the CRC tells whether it is the same log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Position {
    /// The offset behind the batch.
    end: i64,
    /// The batch's leader epoch.
    leader_epoch: i32,
    /// The batch's CRC.
    batch_crc: u32,
}

impl Position {
    /// The position behind a batch.
    pub(super) fn behind(batch: &Header) -> Self {
        Self { end: batch.next_offset(), leader_epoch: batch.leader_epoch, batch_crc: batch.crc }
    }

    /// The position behind the batch that ends at `end`, or `None` where no batch does.
    pub(super) async fn at<I: Io>(log: &Log<I>, end: i64) -> Result<Option<Self>, ReadError> {
        if end <= log.log_start() || end > log.end() {
            return Ok(None);
        }
        for extent in log.read(end - 1, end, 1, true).await? {
            if let Ok(header) = Header::parse(&log.read_bytes(&extent).await?) {
                return Ok(Some(Self::behind(&header)).filter(|found| found.end == end));
            }
        }
        Ok(None)
    }
}

/// Why an image is not used.
#[derive(Debug, thiserror::Error)]
pub(super) enum Unusable {
    /// It cannot be read.
    #[error(transparent)]
    File(#[from] std::io::Error),
    /// Its header or checksum.
    #[error(transparent)]
    Format(#[from] FormatError),
    /// Its content.
    #[error("its content is malformed: {0}")]
    Content(#[from] rkyv::rancor::Error),
    /// Its records contradict each other.
    #[error(transparent)]
    Apply(#[from] ApplyError),
    /// The log does not have what the image was made of.
    #[error(
        "it is about offset {image}, where the metadata log, which ends at {log}, does not have the same batch"
    )]
    OtherLog {
        /// The image's end.
        image: i64,
        /// The log's end.
        log: i64,
    },
    /// The log cannot be read where the image ends.
    #[error(transparent)]
    Log(#[from] ReadError),
}

/// Reads the image in `dir`, if it is one of this log; `None` if there is none.
pub(super) async fn load<I: Io>(io: &I, dir: &Path, log: &Log<I>) -> Result<Option<Image>, Unusable> {
    let Some(file) = read_file(io, &dir.join(METADATA_IMAGE)).await? else { return Ok(None) };
    let (position, archive) = open(&file)?;
    if Position::at(log, position.end).await? != Some(position) {
        return Err(Unusable::OtherLog { image: position.end, log: log.end() });
    }
    let end = LogEnd::at(Offset::new(position.end));
    Ok(Some(Image::default().apply(&content::decode(archive)?, end)?))
}

/// The file's bytes.
fn seal(records: Vec<MetadataRecord>, position: Position) -> Result<Bytes, rkyv::rancor::Error> {
    let mut file = content::encode(records, vec![0; HEADER_SIZE])?;
    let length = file.len() - HEADER_SIZE;
    let mut header = &mut file[..HEADER_SIZE];
    header.put_slice(&MARK);
    header.put_i16(FORMAT);
    header.put_u32(0); // the CRC, below
    header.put_i64(position.end);
    header.put_i32(position.leader_epoch);
    header.put_u32(position.batch_crc);
    header.put_u32(length as u32); // archives end at 2 GiB: their pointers are 32 bits
    let crc = crc32c::crc32c(&file[COVERED_AT..]);
    file[CRC_AT..COVERED_AT].copy_from_slice(&crc.to_be_bytes());
    Ok(file.into())
}

/// Checks the header and the CRC; what is behind them is still to be checked.
fn open(file: &[u8]) -> Result<(Position, &[u8]), FormatError> {
    if !file.starts_with(&MARK) {
        return Err(FormatError::Mark);
    }
    let (mut header, archive) = file.split_at_checked(HEADER_SIZE).ok_or(FormatError::Truncated)?;
    header.advance(MARK.len());
    let found = header.get_i16();
    if found != FORMAT {
        return Err(FormatError::Version { found: found.into(), supported: FORMAT.into() });
    }
    let (stored, computed) = (header.get_u32(), crc32c::crc32c(&file[COVERED_AT..]));
    if stored != computed {
        return Err(FormatError::Crc { stored, computed });
    }
    let position =
        Position { end: header.get_i64(), leader_epoch: header.get_i32(), batch_crc: header.get_u32() };
    match archive.len().checked_sub(header.get_u32() as usize) {
        Some(0) => Ok((position, archive)),
        Some(more) => Err(FormatError::Trailing(more)),
        None => Err(FormatError::Truncated),
    }
}

/// Keeps the file not too far behind the log. Lives on shard 0.
pub(super) struct ImageFile<I: Io> {
    io: I,
    dir: PathBuf,
    /// The end of the image that was written, or tried, last.
    end: Cell<i64>,
    /// After how many records the next one is due.
    interval: Cell<i64>,
    /// One at a time writes.
    turn: Mutex<()>,
}

impl<I: Io> ImageFile<I> {
    /// The file in `dir`, which holds an image up to `end` (0: none that is of use).
    pub(super) fn new(io: I, dir: PathBuf, end: i64) -> Rc<Self> {
        Rc::new(Self { io, dir, end: Cell::new(end), interval: Cell::new(EVERY), turn: Mutex::new(()) })
    }

    /// The metadata is this now, durably in the log up to `position`. Writes it when it is time, in a task of its own.
    pub(super) fn advance(self: &Rc<Self>, image: &Arc<Image>, position: Position) {
        if position.end - self.end.get() < self.interval.get() || self.turn.try_lock().is_none() {
            return;
        }
        let (file, image) = (self.clone(), image.clone());
        self.io.spawn(async move { file.write(&image, position).await });
    }

    /// Writes the image, unless it is what was written last. What goes wrong is logged: the log has everything.
    pub(super) async fn write(&self, image: &Image, position: Position) {
        let _turn = self.turn.lock().await;
        if position.end <= self.end.get() {
            return;
        }
        let records = image.records();
        self.end.set(position.end);
        self.interval.set(EVERY.max(records.len() as i64));
        let file = match seal(records, position) {
            Ok(file) => file,
            Err(error) => return tracing::error!(%error, "the metadata image cannot be encoded"),
        };
        match write_file(&self.io, &self.dir, METADATA_IMAGE, file).await {
            Ok(()) => tracing::debug!(end = position.end, "metadata image written"),
            Err(error) => {
                tracing::warn!(%error, "metadata image not written: the next start reads more of the log")
            }
        }
    }
}

#[cfg(test)]
#[path = "metadata_image_test.rs"]
mod tests;
