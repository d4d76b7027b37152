//! Reads big-endian fields one after the other; the common ground of the binary files.

use super::FormatError;
use bytes::Bytes;

/// What is left of a file.
pub(super) struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Reader { rest: bytes }
    }

    fn take<const N: usize>(&mut self) -> Result<[u8; N], FormatError> {
        let (taken, rest) = self.rest.split_first_chunk().ok_or(FormatError::Truncated)?;
        self.rest = rest;
        Ok(*taken)
    }

    pub(super) fn u8(&mut self) -> Result<u8, FormatError> {
        self.take().map(u8::from_be_bytes)
    }

    pub(super) fn i16(&mut self) -> Result<i16, FormatError> {
        self.take().map(i16::from_be_bytes)
    }

    pub(super) fn i32(&mut self) -> Result<i32, FormatError> {
        self.take().map(i32::from_be_bytes)
    }

    pub(super) fn i64(&mut self) -> Result<i64, FormatError> {
        self.take().map(i64::from_be_bytes)
    }

    pub(super) fn u128(&mut self) -> Result<u128, FormatError> {
        self.take().map(u128::from_be_bytes)
    }

    /// Takes a CRC-32C and checks that it is that of everything behind it.
    pub(super) fn check_crc(&mut self) -> Result<(), FormatError> {
        let stored = u32::from_be_bytes(self.take()?);
        let computed = crc32c::crc32c(self.rest);
        if stored == computed { Ok(()) } else { Err(FormatError::Crc { stored, computed }) }
    }

    /// Takes a count of entries, each of at least `least` bytes, and checks that they can be there.
    pub(super) fn count(&mut self, least: usize) -> Result<usize, FormatError> {
        let declared = self.i32()?;
        let room = self.rest.len() / least;
        match usize::try_from(declared) {
            Ok(count) if count <= room => Ok(count),
            _ => Err(FormatError::Count { declared: i64::from(declared), found: room }),
        }
    }

    pub(super) fn finish(self) -> Result<(), FormatError> {
        if self.rest.is_empty() { Ok(()) } else { Err(FormatError::Trailing(self.rest.len())) }
    }
}

/// Writes the CRC-32C of everything behind position `at + 4` to position `at`.
pub(super) fn seal(file: &mut [u8], at: usize) {
    seal_over(file, at, std::iter::empty());
}

/// The same for a file that goes on with `rest`.
pub(super) fn seal_over<'b>(file: &mut [u8], at: usize, rest: impl Iterator<Item = &'b Bytes>) {
    let crc = rest.fold(crc32c::crc32c(&file[at + 4..]), |crc, piece| crc32c::crc32c_append(crc, piece));
    file[at..at + 4].copy_from_slice(&crc.to_be_bytes());
}
