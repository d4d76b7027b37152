//! The files of a data directory: no damage may panic, and what is understood means the same when written again.

use bytes::Bytes;
use std::fmt::Debug;

use millrace_proto::files::{self, FormatError};

/// How many formats [`file`] knows.
pub const FORMATS: u8 = 9;

/// The first byte chooses a format; the rest is the file.
pub fn files(data: &[u8]) {
    if let Some((format, data)) = data.split_first() {
        file(format % FORMATS, data);
    }
}

/// Reads a file, as it is and, where the format has a checksum, with the right one. Whether it was understood.
pub fn file(format: u8, data: &[u8]) -> bool {
    match format {
        0 => read_again(data, files::MetaProperties::parse, |read| read.encode().into()),
        1 => read_again(data, files::PartitionMetadata::parse, |read| read.encode().into()),
        2 => read_again(data, files::DataFormat::parse, |read| read.encode().into()),
        3 => read_again(data, files::CleanShutdown::parse, |read| read.encode().into()),
        4 => read_again(data, files::parse_offsets, |read| files::encode_offsets(read).into()),
        5 => read_again(data, files::parse_leader_epochs, |read| files::encode_leader_epochs(read).into()),
        6 => with_checksum(data, 2, |data| {
            read_again(data, files::parse_producer_snapshot, |read| files::encode_producer_snapshot(read))
        }),
        7 => with_checksum(data, 6, |data| {
            let parse = |data: &[u8]| files::parse_journal_frame(&Bytes::copy_from_slice(data));
            read_again(data, parse, |read| files::encode_journal_frame(read.place, &read.entries).concat())
        }),
        _ => with_checksum(data, 6, |data| {
            read_again(data, files::parse_recent_batches, |read| files::encode_recent_batches(read))
        }),
    }
}

/// A segment's two indexes: whole entries only, however the file ends.
pub fn indexes(data: &[u8]) {
    use files::{OffsetIndexEntry, TimeIndexEntry};
    let offsets: Vec<u8> = OffsetIndexEntry::all(data).flat_map(|entry| entry.encode()).collect();
    assert_eq!(offsets, data[..data.len() / OffsetIndexEntry::SIZE * OffsetIndexEntry::SIZE]);
    let times: Vec<u8> = TimeIndexEntry::all(data).flat_map(|entry| entry.encode()).collect();
    assert_eq!(times, data[..data.len() / TimeIndexEntry::SIZE * TimeIndexEntry::SIZE]);
}

/// What names and ids are read from: a directory's listing, and text in files.
pub fn names(data: &[u8]) {
    let Ok(name) = std::str::from_utf8(data) else { return };
    if let Some((topic, partition)) = files::parse_partition_dir_name(name) {
        assert_eq!(files::partition_dir_name(topic, partition), name);
    }
    for suffix in [files::LOG_SUFFIX, files::SNAPSHOT_SUFFIX] {
        if let Some(offset) = files::parse_offset_file_name(name, suffix) {
            assert_eq!(files::offset_file_name(offset, suffix), name);
        }
    }
    if let Some(id) = files::decode_uuid(name) {
        assert_eq!(files::decode_uuid(&files::encode_uuid(id)), Some(id));
    }
}

fn read_again<T: PartialEq + Debug>(
    file: &[u8],
    parse: impl Fn(&[u8]) -> Result<T, FormatError>,
    encode: impl Fn(&T) -> Vec<u8>,
) -> bool {
    let Ok(read) = parse(file) else { return false };
    assert_eq!(parse(&encode(&read)), Ok(read));
    true
}

fn with_checksum(file: &[u8], crc_at: usize, read: impl Fn(&[u8]) -> bool) -> bool {
    let as_it_is = read(file);
    let mut file = file.to_vec();
    if file.len() > crc_at + 4 {
        let crc = crc32c::crc32c(&file[crc_at + 4..]);
        file[crc_at..crc_at + 4].copy_from_slice(&crc.to_be_bytes());
    }
    read(&file) || as_it_is
}
