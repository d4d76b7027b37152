//! The reference: what was appended, what was promised, what was damaged. No files, no tasks.

use bytes::Bytes;
use std::collections::BTreeMap;
use std::ops::Range;

/// One batch as it was appended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Batch {
    pub bytes: Bytes,
    pub end: i64,
    pub max_timestamp: i64,
    /// Offset and timestamp of each record.
    pub records: Vec<(i64, i64)>,
}

/// What a log should hold.
#[derive(Default)]
pub struct Model {
    /// The log as it is meant to be now, by base offset.
    pub log: BTreeMap<i64, Batch>,
    /// Everything that was ever appended at an offset: after a cut, offsets are used again.
    pub ever: BTreeMap<i64, Vec<Batch>>,
    pub log_start: i64,
    pub durable: i64,
    pub written: i64,
    /// Offsets whose bytes were damaged on purpose while they were durable.
    pub damaged: Vec<Range<i64>>,
    /// Damage above the checkpoint: from here on recovery may cut.
    pub may_cut_from: i64,
    /// A write or sync failed in this life.
    pub failed: bool,
    /// The first thing that was wrong.
    pub violation: Option<String>,
}

impl Model {
    pub fn new() -> Self {
        Model { may_cut_from: i64::MAX, ..Model::default() }
    }

    /// Notes what is wrong; only the first counts.
    pub fn check(&mut self, holds: bool, what: impl FnOnce() -> String) {
        if !holds && self.violation.is_none() {
            self.violation = Some(what());
        }
    }

    pub fn append(&mut self, base: i64, batch: Batch) {
        self.ever.entry(base).or_default().push(batch.clone());
        self.log.insert(base, batch);
    }

    pub fn on_written(&mut self, end: i64) {
        let before = self.written;
        self.check(end > before, || format!("written went from {before} to {end}"));
        self.written = end;
    }

    pub fn on_durable(&mut self, end: i64) {
        let (before, written) = (self.durable, self.written);
        self.check(end > before && end <= written, || {
            format!("durable went from {before} to {end}, written {written}")
        });
        self.durable = end;
    }

    pub fn is_damaged(&self, offset: i64) -> bool {
        self.damaged.iter().any(|range| range.contains(&offset))
    }

    /// The bytes of whole batches from the one that holds `from` on, up to `upto`.
    pub fn bytes(&self, from: i64, upto: i64) -> Vec<u8> {
        let first = self.log.range(..=from).next_back().map_or(from, |(base, _)| *base);
        let batches = self.log.range(first..).take_while(|(_, batch)| batch.end <= upto);
        batches.flat_map(|(_, batch)| batch.bytes.to_vec()).collect()
    }

    /// The largest timestamp of the records from the log's start up to `upto`.
    pub fn largest_timestamp(&self, upto: i64) -> Option<i64> {
        let records = self.log.values().flat_map(|batch| &batch.records);
        records.filter(|(offset, _)| *offset >= self.log_start && *offset < upto).map(|(_, t)| *t).max()
    }

    /// The first record from the log's start up to `upto` with a timestamp of at least `timestamp`.
    pub fn at_timestamp(&self, timestamp: i64, upto: i64) -> Option<(i64, i64)> {
        let records = self.log.values().flat_map(|batch| &batch.records);
        records.copied().find(|(offset, t)| *offset >= self.log_start && *offset < upto && *t >= timestamp)
    }
}
