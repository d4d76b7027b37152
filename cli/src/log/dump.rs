//! Prints what files hold: a line per batch, with the names that Kafka's own tool gives them, and a line per record or
//! entry.

use super::segment::{Found, Segment};
use super::{at, is_last, partitions, read_whole, segments};
use crate::exit::{Failure, Outcome};
use crate::output::{self, printable};
use millrace_proto::batch::{Header, Record, TimestampType, records};
use millrace_proto::compression::Caps;
use millrace_proto::files::{
    INDEX_SUFFIX, LEADER_EPOCHS, LOG_SUFFIX, OffsetIndexEntry, SNAPSHOT_SUFFIX, TIME_INDEX_SUFFIX,
    TimeIndexEntry, offset_file_name, parse_leader_epochs, parse_offset_file_name, parse_producer_snapshot,
};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

/// Prints the segments of partitions, or single files.
pub fn run(paths: &[PathBuf], with_records: bool) -> Outcome {
    let mut out = output::out();
    let mut damaged = false;
    for path in paths {
        damaged |= dump(&mut out, path, with_records)?;
    }
    out.flush()?;
    if damaged { Err(Failure::new("there is damage; `millrace log verify` says more")) } else { Ok(()) }
}

/// Whether there is damage.
fn dump(out: &mut impl Write, path: &Path, with_records: bool) -> Result<bool, Failure> {
    if !path.is_dir() {
        return file(out, path, with_records);
    }
    let mut damaged = false;
    for partition in partitions(path)? {
        for base in segments(&partition)? {
            damaged |= segment(out, &partition.join(offset_file_name(base, LOG_SUFFIX)), with_records)?;
        }
    }
    Ok(damaged)
}

/// Prints one file by its name; whether it is damaged.
fn file(out: &mut impl Write, path: &Path, with_records: bool) -> Result<bool, Failure> {
    let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
    if name.ends_with(LOG_SUFFIX) {
        return segment(out, path, with_records);
    }
    let content = read_whole(path).map_err(|error| at(path, error))?;
    let base = |suffix| parse_offset_file_name(&name, suffix).unwrap_or(0);
    if name.ends_with(TIME_INDEX_SUFFIX) {
        for entry in TimeIndexEntry::all(&content) {
            let offset = base(TIME_INDEX_SUFFIX) + i64::from(entry.relative_offset);
            writeln!(out, "timestamp: {} offset: {offset}", entry.timestamp)?;
        }
    } else if name.ends_with(INDEX_SUFFIX) {
        for entry in OffsetIndexEntry::all(&content) {
            let offset = base(INDEX_SUFFIX) + i64::from(entry.relative_offset);
            writeln!(out, "offset: {offset} position: {}", entry.position)?;
        }
    } else if name.ends_with(SNAPSHOT_SUFFIX) {
        for p in parse_producer_snapshot(&content).map_err(|error| at(path, error))? {
            writeln!(
                out,
                "producerId: {} producerEpoch: {} lastSequence: {} lastOffset: {} offsetDelta: {} lastTimestamp: {}",
                p.producer_id, p.producer_epoch, p.last_sequence, p.last_offset, p.offset_delta, p.timestamp
            )?;
        }
    } else if name == LEADER_EPOCHS {
        for epoch in parse_leader_epochs(&content).map_err(|error| at(path, error))? {
            writeln!(out, "leaderEpoch: {} startOffset: {}", epoch.epoch, epoch.start_offset)?;
        }
    } else {
        return Err(Failure::usage(format!("{}: not a file that this command knows", path.display())));
    }
    Ok(false)
}

/// Prints one segment; whether it is damaged.
fn segment(out: &mut impl Write, path: &Path, with_records: bool) -> Result<bool, Failure> {
    writeln!(out, "{}", path.display())?;
    let mut segment = Segment::open(path).map_err(|error| at(path, error))?;
    let (mut damaged, mut scratch) = (false, Vec::new());
    while let Some(found) = segment.next().map_err(|error| at(path, error))? {
        match found {
            Found::Batch { position, header, bytes, fault } => {
                batch(out, position, &header, fault.as_ref().map(|fault| fault.to_string()).as_deref())?;
                damaged |= fault.is_some();
                if with_records && fault.is_none() {
                    damaged |= print_records(out, bytes, &mut scratch)?;
                }
            }
            Found::Reserved { position, bytes } => {
                writeln!(out, "position: {position} reserved: {bytes} bytes, not written yet")?;
            }
            Found::Torn { position, bytes, unfinished: true, .. } if is_last(path)? => {
                writeln!(out, "position: {position} unfinished tail: {bytes} bytes")?;
            }
            Found::Torn { position, bytes, fault, .. } => {
                writeln!(out, "position: {position} damaged: {bytes} bytes up to the end: {fault}")?;
                damaged = true;
            }
        }
    }
    Ok(damaged)
}

fn batch(out: &mut impl Write, position: u64, header: &Header, fault: Option<&str>) -> io::Result<()> {
    let codec =
        header.codec().map_or_else(|_| header.attributes.codec_id().to_string(), |codec| codec.to_string());
    let kind = match header.timestamp_type() {
        TimestampType::CreateTime => "CreateTime",
        TimestampType::LogAppendTime => "LogAppendTime",
    };
    write!(
        out,
        "baseOffset: {} lastOffset: {} count: {} baseSequence: {} lastSequence: {} producerId: {} producerEpoch: {} \
         partitionLeaderEpoch: {} isTransactional: {} isControl: {} position: {position} {kind}: {} size: {} \
         codec: {codec} crc: {:08x} valid: {}",
        header.base_offset,
        header.last_offset(),
        header.record_count,
        header.base_sequence,
        header.last_sequence(),
        header.producer_id,
        header.producer_epoch,
        header.leader_epoch,
        header.is_transactional(),
        header.is_control(),
        output::time(header.max_timestamp),
        header.size(),
        header.crc,
        fault.is_none(),
    )?;
    match fault {
        None => writeln!(out),
        Some(fault) => writeln!(out, " DAMAGED: {fault}"),
    }
}

/// Prints the records of a batch; whether one of them is damaged.
fn print_records(out: &mut impl Write, bytes: &[u8], scratch: &mut Vec<u8>) -> io::Result<bool> {
    let found = match records(bytes, scratch, &Caps::default()) {
        Ok(found) => found,
        Err(fault) => return writeln!(out, "| DAMAGED: {fault}").map(|()| true),
    };
    for record in found {
        match record {
            Ok(record) => print_record(out, &record)?,
            Err(fault) => return writeln!(out, "| DAMAGED: {fault}").map(|()| true),
        }
    }
    Ok(false)
}

fn print_record(out: &mut impl Write, record: &Record<'_>) -> io::Result<()> {
    let bytes = |bytes: Option<&[u8]>| bytes.map_or("null".to_owned(), printable);
    let time = output::time(record.timestamp);
    write!(
        out,
        "| offset: {} time: {time} key: {} value: {}",
        record.offset,
        bytes(record.key),
        bytes(record.value)
    )?;
    for header in record.headers.clone() {
        write!(out, " [{}: {}]", printable(header.key), bytes(header.value))?;
    }
    writeln!(out)
}

#[cfg(test)]
mod tests {
    use super::super::testing::{Partition, SECOND};
    use super::*;

    fn dumped(path: &Path, with_records: bool) -> (String, bool) {
        let mut out = Vec::new();
        let damaged = dump(&mut out, path, with_records).expect("readable");
        (String::from_utf8(out).expect("text"), damaged)
    }

    #[test]
    fn a_line_per_batch_and_per_record() {
        let partition = Partition::new();
        let (text, damaged) = dumped(partition.path(), true);
        assert!(!damaged);
        let batches: Vec<_> = text.lines().filter(|line| line.starts_with("baseOffset: ")).collect();
        assert_eq!(batches.len(), 6);
        for (line, codec) in batches.iter().zip(["none", "gzip", "snappy", "lz4", "zstd", "none"]) {
            assert!(line.contains(&format!("codec: {codec} ")) && line.ends_with(" valid: true"), "{line}");
        }
        assert!(batches[3].starts_with("baseOffset: 6 lastOffset: 7 count: 2 baseSequence: 6 "));
        assert!(
            batches[3]
                .contains(" producerId: 7 producerEpoch: 0 partitionLeaderEpoch: 0 isTransactional: false ")
        );
        assert!(batches[3].contains(" position: 0 CreateTime: 2023-"));
        assert_eq!(text.lines().filter(|line| line.starts_with("| offset: ")).count(), 12);
        assert!(
            text.contains("| offset: 9 time: 2023-11-14T22:13:20.009Z key: k value: value 9 of some length")
        );
        assert_eq!(text.matches("reserved: 100 bytes").count(), 2);
    }

    #[test]
    fn damage_is_shown_where_it_is() {
        let partition = Partition::new();
        partition.edit(SECOND, LOG_SUFFIX, |log| log[100] ^= 1);
        let (text, damaged) = dumped(&partition.file(SECOND, LOG_SUFFIX), true);
        assert!(damaged);
        assert_eq!(text.matches("valid: false DAMAGED").count(), 1, "{text}");
        partition.edit(SECOND, LOG_SUFFIX, |log| log[8] = 0x7f);
        let (text, damaged) = dumped(&partition.file(SECOND, LOG_SUFFIX), false);
        assert!(damaged && text.contains("position: 0 damaged: "), "{text}");
    }

    #[test]
    fn an_unfinished_tail_is_no_damage() {
        let partition = Partition::new();
        for (base, damage) in [(SECOND, false), (0, true)] {
            partition.edit(base, LOG_SUFFIX, |log| log.truncate(log.len() - 110));
            let (text, damaged) = dumped(&partition.file(base, LOG_SUFFIX), false);
            assert_eq!((damaged, text.contains(" unfinished tail: ")), (damage, !damage), "{text}");
        }
    }

    #[test]
    fn all_of_a_data_directory() {
        let (data, partition) = (tempfile::tempdir().expect("a directory"), Partition::new());
        assert!(dump(&mut Vec::new(), data.path(), false).is_err());
        for name in ["orders-0", "orders-1", "notes"] {
            let dir = data.path().join(name);
            std::fs::create_dir(&dir).expect("made");
            let file = offset_file_name(SECOND, LOG_SUFFIX);
            std::fs::copy(partition.file(SECOND, LOG_SUFFIX), dir.join(file)).expect("copied");
        }
        let (text, damaged) = dumped(data.path(), false);
        assert!(!damaged && text.contains("orders-1/") && !text.contains("notes"), "{text}");
        assert_eq!(text.lines().filter(|line| line.ends_with(" valid: true")).count(), 6);
    }

    #[test]
    fn other_files() {
        let partition = Partition::new();
        let (index, _) = dumped(&partition.file(SECOND, INDEX_SUFFIX), false);
        assert!(index.starts_with("offset: 9 position: "), "{index}");
        let (times, _) = dumped(&partition.file(SECOND, TIME_INDEX_SUFFIX), false);
        assert!(times.starts_with("timestamp: 1700000000009 offset: 9\n"), "{times}");
        let (epochs, _) = dumped(&partition.path().join(LEADER_EPOCHS), false);
        assert_eq!(epochs, "leaderEpoch: 0 startOffset: 0\n");
        std::fs::write(partition.path().join("notes.txt"), "").expect("written");
        assert!(dump(&mut Vec::new(), &partition.path().join("notes.txt"), false).is_err());
        assert!(dump(&mut Vec::new(), &partition.path().join("nothing.log"), false).is_err());
    }
}
