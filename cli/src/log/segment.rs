//! One segment file, batch by batch, with no more than one batch in memory.

use millrace_proto::batch::{BatchError, Header, verify};
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
    },
}

/// Reads a segment from front to back.
pub struct Segment {
    file: BufReader<File>,
    position: u64,
    len: u64,
    batch: Vec<u8>,
}

impl Segment {
    /// Opens a `.log` file.
    pub fn open(path: &Path) -> io::Result<Self> {
        let file = File::open(path)?;
        let len = file.metadata()?.len();
        Ok(Self { file: BufReader::with_capacity(1 << 18, file), position: 0, len, batch: Vec::new() })
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
        let mut zeros = true;
        let mut chunk = [0; 1 << 16];
        loop {
            match self.file.read(&mut chunk)? {
                0 => break,
                read => zeros &= chunk[..read].iter().all(|byte| *byte == 0),
            }
        }
        self.position = self.len;
        Ok(if zeros { Found::Reserved { position, bytes } } else { Found::Torn { position, bytes, fault } })
    }
}
