//! One segment file, batch by batch, with no more than one batch in memory.

use millrace_proto::batch::{BatchError, Header, verify};
use millrace_proto::files::{LOG_SUFFIX, parse_offset_file_name};
use std::fs::File;
use std::io::{self, BufReader, Read, Seek, SeekFrom};
use std::path::Path;

/// No batch is larger: Kafka's limit on a request.
const LARGEST_BATCH: usize = i32::MAX as usize;

/// What stands at one position of a segment.
#[derive(Debug)]
pub enum Found<'a> {
    /// A batch, whole by its length.
    Batch {
        /// Where it begins, in bytes.
        position: u64,
        /// Its header.
        header: Header,
        /// All of its bytes.
        bytes: &'a [u8],
        /// What is wrong with it.
        fault: Option<BatchError>,
    },
    /// Nothing but zeros up to the end: space that was reserved and not written.
    Reserved {
        /// Where they begin.
        position: u64,
        /// How many there are.
        bytes: u64,
    },
    /// Bytes that are no batch, up to the end: where the next one begins, if there is one, can not be known.
    Torn {
        /// Where they begin.
        position: u64,
        /// How many there are.
        bytes: u64,
        /// Why they are none.
        fault: BatchError,
        /// Whether nothing but the end of the file is wrong: a batch begins that the file does not hold to its end,
        /// and no other header is in what there is of it.
        unfinished: bool,
    },
}

/// Reads a segment from front to back.
pub struct Segment {
    file: BufReader<File>,
    position: u64,
    len: u64,
    batch: Vec<u8>,
    /// The offset behind the last sound batch, or the file's base.
    next_offset: i64,
}

impl Segment {
    /// Opens a `.log` file.
    pub fn open(path: &Path) -> io::Result<Self> {
        let file = File::open(path)?;
        let len = file.metadata()?.len();
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        let next_offset = parse_offset_file_name(&name, LOG_SUFFIX).unwrap_or(0);
        let file = BufReader::with_capacity(1 << 18, file);
        Ok(Self { file, position: 0, len, batch: Vec::new(), next_offset })
    }

    /// What stands next; `None` at the end.
    pub fn next(&mut self) -> io::Result<Option<Found<'_>>> {
        let left = self.len - self.position;
        if left == 0 {
            return Ok(None);
        }
        let position = self.position;
        self.read(left.min(Header::SIZE as u64) as usize)?;
        let header = match Header::parse(&self.batch) {
            Ok(header) if header.size() as u64 <= left && header.size() <= LARGEST_BATCH => header,
            Ok(header) => {
                // Longer than the file: not more is read than is there.
                let given = usize::try_from(left).unwrap_or(usize::MAX);
                return self.torn(BatchError::Size { declared: header.size(), given }).map(Some);
            }
            Err(fault) => return self.torn(fault).map(Some),
        };
        self.read(header.size() - Header::SIZE)?;
        self.position += header.size() as u64;
        let fault = verify(&self.batch).err();
        if fault.is_none() {
            self.next_offset = header.next_offset();
        }
        Ok(Some(Found::Batch { position, header, bytes: &self.batch, fault }))
    }

    /// Adds so many bytes of the file to the batch; the first time after the position moved, begins a new one.
    fn read(&mut self, bytes: usize) -> io::Result<()> {
        let at = self.file.stream_position()?;
        if at == self.position {
            self.batch.clear();
        }
        let begin = self.batch.len();
        self.batch.resize(begin + bytes, 0);
        self.file.read_exact(&mut self.batch[begin..])
    }

    /// Takes the rest of the file for what it is.
    fn torn(&mut self, fault: BatchError) -> io::Result<Found<'static>> {
        let (position, bytes) = (self.position, self.len - self.position);
        self.file.seek(SeekFrom::Start(position))?;
        let (mut zeros, mut followed) = (true, false);
        // The header at the position itself is known not to do.
        let (mut window, mut skip, mut left) = (Vec::new(), 1, bytes);
        let mut chunk = vec![0; 1 << 16];
        loop {
            let read = self.file.read(&mut chunk)?;
            if read == 0 {
                break;
            }
            zeros &= chunk[..read].iter().all(|byte| *byte == 0);
            window.extend_from_slice(&chunk[..read]);
            let heads = window.windows(Header::SIZE).enumerate().skip(skip);
            followed |= heads.into_iter().any(|(at, head)| self.may_begin(head, left - at as u64));
            let done = window.len().saturating_sub(Header::SIZE - 1);
            skip = skip.saturating_sub(done);
            window.drain(..done);
            left -= done as u64;
        }
        self.position = self.len;
        let cut = matches!(fault, BatchError::NoBatch { .. } | BatchError::Size { .. });
        let unfinished = cut && !followed;
        Ok(if zeros {
            Found::Reserved { position, bytes }
        } else {
            Found::Torn { position, bytes, fault, unfinished }
        })
    }

    /// Whether this looks like the header of a later batch, with so many bytes from it to the end.
    fn may_begin(&self, head: &[u8], left: u64) -> bool {
        Header::parse(head).is_ok_and(|header| {
            let offsets = self.next_offset..self.next_offset.saturating_add(i64::from(i32::MAX));
            let counted = (1..=header.last_offset_delta.saturating_add(1)).contains(&header.record_count);
            offsets.contains(&header.base_offset)
                && counted
                && header.size() as u64 <= left
                && header.codec().is_ok()
        })
    }
}
