//! Checks that files are sound: every batch and its records, the order of offsets within and across segments, the
//! indexes against the batches, and that the small files can be read.

use super::segment::{Found, Segment};
use super::{at, directory, is_last, names, partitions, read_whole, segments};
use crate::exit::{Failure, Outcome};
use crate::output;
use millrace_proto::batch::{Header, records};
use millrace_proto::compression::Caps;
use millrace_proto::files::{
    FormatError, INDEX_SUFFIX, LEADER_EPOCHS, LOG_SUFFIX, OffsetIndexEntry, PARTITION_METADATA,
    PartitionMetadata, RECENT_BATCHES_SUFFIX, SNAPSHOT_SUFFIX, TIME_INDEX_SUFFIX, TimeIndexEntry,
    offset_file_name, parse_leader_epochs, parse_offset_file_name, parse_producer_snapshot,
    parse_recent_batches,
};
use std::io::{self, Write};
use std::iter::Peekable;
use std::path::{Path, PathBuf};
use std::vec::IntoIter;

/// Checks partitions, all of a data directory, or single files.
pub fn run(paths: &[PathBuf], gaps: bool) -> Outcome {
    let mut out = output::out();
    let (mut total, mut checked, mut damaged) = (Report::default(), 0, 0);
    for path in paths {
        let parts = if path.is_dir() { partitions(path)? } else { vec![path.clone()] };
        for part in parts {
            let report =
                if part.is_dir() { partition_report(&part, gaps)? } else { file_report(&part, gaps)? };
            report.print(&mut out, &part)?;
            checked += 1;
            damaged += usize::from(!report.damage.is_empty());
            total.add(report);
        }
    }
    if checked > 1 {
        writeln!(out, "total: {}", total.counts())?;
    }
    out.flush()?;
    if damaged == 0 {
        Ok(())
    } else {
        Err(Failure::new(format!("{damaged} of {checked} checked are damaged")))
    }
}

/// What was found in a partition, or in a file.
#[derive(Debug, Default)]
pub struct Report {
    /// What is wrong, and where.
    pub damage: Vec<String>,
    /// What a stop without warning leaves, and a start takes away.
    pub warnings: Vec<String>,
    segments: u64,
    batches: u64,
    records: u64,
    bytes: u64,
}

impl Report {
    fn print(&self, out: &mut impl Write, path: &Path) -> io::Result<()> {
        for damage in &self.damage {
            writeln!(out, "{damage}")?;
        }
        for warning in &self.warnings {
            writeln!(out, "warning: {warning}")?;
        }
        let verdict = if self.damage.is_empty() { "ok" } else { "DAMAGED" };
        writeln!(out, "{}: {verdict}: {}", path.display(), self.counts())
    }

    fn counts(&self) -> String {
        let Self { segments, batches, records, bytes, .. } = self;
        format!("{segments} segments, {batches} batches, {records} records, {bytes} bytes")
    }

    /// Adds the counts of another one.
    fn add(&mut self, other: Report) {
        self.segments += other.segments;
        self.batches += other.batches;
        self.records += other.records;
        self.bytes += other.bytes;
    }
}

/// Checks one partition's directory.
pub fn partition_report(dir: &Path, gaps: bool) -> Result<Report, Failure> {
    let mut report = Report::default();
    let mut expected = None;
    let bases = segments(dir)?;
    for base in &bases {
        let mut check = SegmentCheck::new(dir, *base, expected, gaps)?;
        check.last = bases.last() == Some(base);
        check.run(&mut report)?;
        expected = check.expected;
    }
    for name in names(dir)? {
        small_file(&dir.join(name), &mut report)?;
    }
    Ok(report)
}

/// Checks one file: a segment with its indexes, whichever of them is named, or one of the small files.
fn file_report(path: &Path, gaps: bool) -> Result<Report, Failure> {
    let mut report = Report::default();
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let dir = directory(path);
    let suffixes = [LOG_SUFFIX, INDEX_SUFFIX, TIME_INDEX_SUFFIX];
    if let Some(base) = suffixes.iter().find_map(|suffix| parse_offset_file_name(&name, suffix)) {
        // What is named must be there, although a start makes an index that is missing anew.
        std::fs::metadata(path).map_err(|error| at(path, error))?;
        let mut check = SegmentCheck::new(dir, base, None, gaps)?;
        check.last = is_last(&dir.join(offset_file_name(base, LOG_SUFFIX)))?;
        check.run(&mut report)?;
    } else if !small_file(path, &mut report)? {
        return Err(Failure::usage(format!("{}: not a file that this command knows", path.display())));
    }
    Ok(report)
}

/// One segment and its indexes, walked together.
struct SegmentCheck<'a> {
    dir: &'a Path,
    base: i64,
    /// The offset that the next batch should begin with; `None` where the log begins.
    expected: Option<i64>,
    gaps: bool,
    /// Whether this is where a broker appends; only here a batch may be unfinished.
    last: bool,
    offsets: Peekable<IntoIter<OffsetIndexEntry>>,
    times: Peekable<IntoIter<TimeIndexEntry>>,
    /// The largest timestamp so far.
    max_timestamp: i64,
    scratch: Vec<u8>,
}

impl<'a> SegmentCheck<'a> {
    fn new(dir: &'a Path, base: i64, expected: Option<i64>, gaps: bool) -> Result<Self, Failure> {
        let index = |suffix| {
            let path = dir.join(offset_file_name(base, suffix));
            match read_whole(&path) {
                // A start makes what is missing anew.
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(Vec::new()),
                read => read.map_err(|error| at(&path, error)),
            }
        };
        let (offsets, times) = (index(INDEX_SUFFIX)?, index(TIME_INDEX_SUFFIX)?);
        // Zeros at the end are reserved; only the first entry could mean them, and nothing is lost without it.
        let mut offsets: Vec<_> = OffsetIndexEntry::all(&offsets).collect();
        while offsets.last().is_some_and(|entry| entry.relative_offset == 0 && entry.position == 0) {
            offsets.pop();
        }
        let mut times: Vec<_> = TimeIndexEntry::all(&times).collect();
        while times.last().is_some_and(|entry| entry.relative_offset == 0 && entry.timestamp == 0) {
            times.pop();
        }
        Ok(Self {
            dir,
            base,
            expected,
            gaps,
            last: false,
            offsets: offsets.into_iter().peekable(),
            times: times.into_iter().peekable(),
            max_timestamp: i64::MIN,
            scratch: Vec::new(),
        })
    }

    fn damage(&self, report: &mut Report, suffix: &str, what: impl std::fmt::Display) {
        let file = self.dir.join(offset_file_name(self.base, suffix));
        report.damage.push(format!("{}: {what}", file.display()));
    }

    fn run(&mut self, report: &mut Report) -> Result<(), Failure> {
        report.segments += 1;
        self.check_begin(report);
        let path = self.dir.join(offset_file_name(self.base, LOG_SUFFIX));
        let mut segment = Segment::open(&path).map_err(|error| at(&path, error))?;
        while let Some(found) = segment.next().map_err(|error| at(&path, error))? {
            match found {
                Found::Batch { position, header, bytes, fault } => {
                    report.batches += 1;
                    report.bytes += bytes.len() as u64;
                    match fault {
                        Some(fault) => {
                            let place = format!("offset {} at byte {position}", header.base_offset);
                            self.damage(report, LOG_SUFFIX, format_args!("{place}: {fault}"));
                            // Its offsets can not be trusted.
                            self.expected = None;
                        }
                        None => self.check_batch(report, position, &header, bytes),
                    }
                }
                Found::Reserved { .. } => {}
                Found::Torn { position, bytes, unfinished: true, .. } if self.last => {
                    self.unfinished(report, position, bytes);
                }
                Found::Torn { position, bytes, fault, .. } => {
                    self.damage(
                        report,
                        LOG_SUFFIX,
                        format_args!("{bytes} bytes from byte {position} on: {fault}"),
                    );
                    self.expected = None;
                }
            }
        }
        if let Some(entry) = self.offsets.next() {
            let what = format!("position {} is that of no batch", entry.position);
            self.damage(report, INDEX_SUFFIX, what);
        }
        if let Some(entry) = self.times.next() {
            let what =
                format!("offset {} is behind the last batch", self.base + i64::from(entry.relative_offset));
            self.damage(report, TIME_INDEX_SUFFIX, what);
        }
        Ok(())
    }

    /// Says where the tail is, and leaves out what the indexes have of it: a start cuts both.
    fn unfinished(&mut self, report: &mut Report, position: u64, bytes: u64) {
        let file = self.dir.join(offset_file_name(self.base, LOG_SUFFIX));
        let from = self.expected.unwrap_or(self.base);
        report.warnings.push(format!(
            "{}: unfinished tail: {bytes} bytes from byte {position} on, where offset {from} would be",
            file.display()
        ));
        while self.offsets.next_if(|entry| u64::from(entry.position) >= position).is_some() {}
        let base = self.base;
        while self.times.next_if(|entry| base + i64::from(entry.relative_offset) >= from).is_some() {}
    }

    /// Segments follow each other.
    fn check_begin(&self, report: &mut Report) {
        match self.expected {
            Some(expected) if self.base < expected => self.damage(
                report,
                LOG_SUFFIX,
                format_args!("begins before offset {expected}, where the segment before it ends"),
            ),
            Some(expected) if self.base > expected && !self.gaps => {
                let last = self.base - 1;
                self.damage(
                    report,
                    LOG_SUFFIX,
                    format_args!("offsets {expected} to {last} are missing before it"),
                );
            }
            _ => {}
        }
    }

    fn check_batch(&mut self, report: &mut Report, position: u64, header: &Header, bytes: &[u8]) {
        let first = header.base_offset;
        match self.expected {
            Some(expected) if first < expected => self.damage(
                report,
                LOG_SUFFIX,
                format_args!("offset {first} at byte {position} comes again: {expected} should"),
            ),
            // What is missing before a segment has been said.
            Some(expected) if first > expected && first != self.base && !self.gaps => self.damage(
                report,
                LOG_SUFFIX,
                format_args!("offsets {expected} to {} are missing at byte {position}", first - 1),
            ),
            None if first > self.base && position == 0 && !self.gaps => self.damage(
                report,
                LOG_SUFFIX,
                format_args!("begins with offset {first}, which is not the one of its name"),
            ),
            None if first < self.base => {
                self.damage(
                    report,
                    LOG_SUFFIX,
                    format_args!("offset {first} at byte {position} is before its base"),
                );
            }
            _ => {}
        }
        self.expected = Some(header.next_offset());
        self.max_timestamp = self.max_timestamp.max(header.newest().unwrap_or(i64::MIN));
        match count_records(bytes, &mut self.scratch) {
            Ok(count) => report.records += count,
            Err(fault) => {
                self.damage(report, LOG_SUFFIX, format_args!("offset {first} at byte {position}: {fault}"))
            }
        }
        self.check_offset_index(report, position, header);
        self.check_time_index(report, header);
    }

    /// Entries name the last offset of the batch that begins at their position, and ascend.
    fn check_offset_index(&mut self, report: &mut Report, position: u64, header: &Header) {
        while let Some(entry) = self.offsets.next_if(|entry| u64::from(entry.position) <= position) {
            let offset = self.base + i64::from(entry.relative_offset);
            if u64::from(entry.position) != position {
                self.damage(
                    report,
                    INDEX_SUFFIX,
                    format_args!("position {} is that of no batch", entry.position),
                );
            } else if offset != header.last_offset() {
                let last = header.last_offset();
                self.damage(
                    report,
                    INDEX_SUFFIX,
                    format_args!("the batch at position {position} ends with offset {last}, not {offset}"),
                );
            }
        }
    }

    /// Entries name the largest timestamp up to their offset, and ascend.
    fn check_time_index(&mut self, report: &mut Report, header: &Header) {
        let last = header.last_offset();
        while let Some(entry) =
            self.times.next_if(|entry| self.base + i64::from(entry.relative_offset) <= last)
        {
            if entry.timestamp < self.max_timestamp && self.base + i64::from(entry.relative_offset) == last {
                let (found, most) = (entry.timestamp, self.max_timestamp);
                self.damage(
                    report,
                    TIME_INDEX_SUFFIX,
                    format_args!("up to offset {last} the largest timestamp is {most}, not {found}"),
                );
            }
            if self.times.peek().is_some_and(|next| next.timestamp <= entry.timestamp) {
                let found = entry.timestamp;
                self.damage(
                    report,
                    TIME_INDEX_SUFFIX,
                    format_args!("what follows timestamp {found} is no larger"),
                );
            }
        }
    }
}

/// How many records a batch holds; each is walked.
fn count_records(bytes: &[u8], scratch: &mut Vec<u8>) -> Result<u64, String> {
    let mut count = 0;
    let mut last = i64::MIN;
    let found = records(bytes, scratch, &Caps::default()).map_err(|fault| fault.to_string())?;
    let declared = found.header().record_count;
    let limit = found.header().last_offset();
    for record in found {
        let record = record.map_err(|fault| fault.to_string())?;
        if record.offset <= last || record.offset > limit {
            return Err(format!("record {count} has offset {}, which is out of order", record.offset));
        }
        last = record.offset;
        count += 1;
    }
    match u64::try_from(declared) {
        Ok(declared) if declared == count => Ok(count),
        _ => Err(format!("{declared} records are announced, and {count} are there")),
    }
}

/// Checks a file that is read as a whole; whether it is one of those.
fn small_file(path: &Path, report: &mut Report) -> Result<bool, Failure> {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let check: fn(&[u8]) -> Result<(), FormatError> = match &*name {
        LEADER_EPOCHS => |content| parse_leader_epochs(content).map(drop),
        PARTITION_METADATA => |content| PartitionMetadata::parse(content).map(drop),
        name if name.ends_with(SNAPSHOT_SUFFIX) => |content| parse_producer_snapshot(content).map(drop),
        name if name.ends_with(RECENT_BATCHES_SUFFIX) => |content| parse_recent_batches(content).map(drop),
        _ => return Ok(false),
    };
    let content = read_whole(path).map_err(|error| at(path, error))?;
    if let Err(fault) = check(&content) {
        report.damage.push(format!("{}: {fault}", path.display()));
    }
    Ok(true)
}

#[cfg(test)]
#[path = "verify_test.rs"]
mod tests;
