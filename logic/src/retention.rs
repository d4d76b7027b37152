//! Retention: which of a log's oldest segments are to go, and how far `DeleteRecords` may move a log's start.
//!
//! Kafka's rules: whole segments from the oldest on, and only what lies wholly below the high watermark. By size: a segment goes while the
//! log stays at least as large as `retention.bytes` without it. By time: it goes when its largest timestamp is older than
//! `retention.ms`; so a timestamp in the future keeps it.

use crate::offset::{HighWatermark, LogStart, Offset};

/// What a topic keeps.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Retention {
    /// Whether `cleanup.policy` has `delete`: otherwise neither size nor time is a reason.
    pub deletes: bool,
    /// `retention.bytes`, per partition; `None` keeps all.
    pub bytes: Option<u64>,
    /// `retention.ms`; `None` keeps all.
    pub ms: Option<i64>,
}

/// A segment as retention sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SegmentFacts {
    /// Its first offset.
    pub base: Offset,
    /// The offset behind its last one.
    pub end: Offset,
    /// Its size.
    pub bytes: u64,
}

impl Retention {
    /// How many segments, from the oldest on, size makes go. `segments` are all of the log's, oldest first.
    pub fn too_many(&self, segments: &[SegmentFacts], watermark: HighWatermark) -> usize {
        let Some(limit) = self.bytes.filter(|_| self.deletes) else { return 0 };
        let mut size: u64 = segments.iter().map(|segment| segment.bytes).sum();
        let goes = |segment: &&SegmentFacts| {
            let fits = size.checked_sub(segment.bytes).filter(|rest| *rest >= limit);
            let goes = segment.bytes > 0 && segment.end <= watermark.offset() && fits.is_some();
            size = fits.unwrap_or(size);
            goes
        };
        segments.iter().take_while(goes).count()
    }

    /// Whether time makes a segment go. `largest` is its largest timestamp, if any of its records has one; what has none stays.
    pub fn is_too_old(
        &self,
        segment: &SegmentFacts,
        largest: Option<i64>,
        watermark: HighWatermark,
        now_ms: i64,
    ) -> bool {
        let Some(limit) = self.ms.filter(|_| self.deletes) else { return false };
        let age =
            largest.filter(|timestamp| *timestamp >= 0).map(|timestamp| now_ms.saturating_sub(timestamp));
        segment.bytes > 0 && segment.end <= watermark.offset() && age.is_some_and(|age| age > limit)
    }
}

/// Why records cannot be deleted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DeleteRecordsError {
    /// `POLICY_VIOLATION` (44).
    #[error("the topic's cleanup.policy does not have delete: its records are not to be deleted")]
    Policy,
    /// `OFFSET_OUT_OF_RANGE` (1).
    #[error("offset {offset} is not within {log_start}..={watermark}")]
    OutOfRange {
        /// The offset asked for.
        offset: i64,
        /// Where the log starts.
        log_start: LogStart,
        /// How far it may be moved.
        watermark: HighWatermark,
    },
}

/// Where a log is to start when records below `offset` are to be deleted; -1 stands for the high watermark. An offset below the start changes
/// nothing.
pub fn delete_records(
    retention: Retention,
    offset: i64,
    log_start: LogStart,
    watermark: HighWatermark,
) -> Result<LogStart, DeleteRecordsError> {
    const WATERMARK: i64 = -1;
    if !retention.deletes {
        return Err(DeleteRecordsError::Policy);
    }
    let wanted = if offset == WATERMARK { watermark.get() } else { offset };
    if wanted < 0 || wanted > watermark.get() {
        return Err(DeleteRecordsError::OutOfRange { offset, log_start, watermark });
    }
    Ok(log_start.max(LogStart::at(Offset::new(wanted))))
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEEP: Retention = Retention { deletes: true, bytes: None, ms: None };

    fn watermark(offset: i64) -> HighWatermark {
        HighWatermark::at(Offset::new(offset))
    }

    /// Segments of these sizes, ten records each; the last one is active.
    fn segments(sizes: &[u64]) -> Vec<SegmentFacts> {
        let segment = |(at, bytes): (i64, &u64)| SegmentFacts {
            base: Offset::new(at * 10),
            end: Offset::new(at * 10 + if *bytes > 0 { 10 } else { 0 }),
            bytes: *bytes,
        };
        (0..).zip(sizes).map(segment).collect()
    }

    #[test]
    fn the_log_stays_as_large_as_it_may_be() {
        let by_size = |bytes| Retention { bytes: Some(bytes), ..KEEP };
        let log = segments(&[100, 100, 100, 50]);
        for (limit, gone) in [(350, 0), (251, 0), (250, 1), (150, 2), (50, 3), (49, 3), (0, 4)] {
            assert_eq!(by_size(limit).too_many(&log, watermark(40)), gone, "{limit}");
        }
        assert_eq!(by_size(0).too_many(&log, watermark(25)), 2, "what is not committed stays");
        assert_eq!(by_size(0).too_many(&segments(&[100, 0]), watermark(10)), 1, "an empty one stays");
        assert_eq!(KEEP.too_many(&log, watermark(40)), 0);
        assert_eq!(Retention { deletes: false, ..by_size(0) }.too_many(&log, watermark(40)), 0);
    }

    #[test]
    fn what_is_older_than_it_may_be_goes() {
        let by_time = Retention { ms: Some(1000), ..KEEP };
        let log = segments(&[100, 0]);
        let old = |largest, now| by_time.is_too_old(&log[0], largest, watermark(10), now);
        assert!(old(Some(5000), 6001));
        assert!(!old(Some(5000), 6000));
        assert!(!old(Some(9000), 6000), "the future is not old");
        assert!(!old(None, i64::MAX) && !old(Some(-1), i64::MAX), "without a time nothing is old");
        assert!(!by_time.is_too_old(&log[0], Some(0), watermark(9), 6000), "what is not committed stays");
        assert!(!by_time.is_too_old(&log[1], Some(0), watermark(10), 6000), "an empty one stays");
        assert!(!KEEP.is_too_old(&log[0], Some(0), watermark(10), 6000));
        assert!(!Retention { deletes: false, ..by_time }.is_too_old(&log[0], Some(0), watermark(10), 6000));
    }

    #[test]
    fn records_are_deleted_up_to_the_watermark() {
        let start = LogStart::at(Offset::new(5));
        let delete = |offset| delete_records(KEEP, offset, start, watermark(9)).map(LogStart::get);
        assert_eq!(delete(7), Ok(7));
        assert_eq!(delete(9), Ok(9));
        assert_eq!(delete(-1), Ok(9));
        assert_eq!(delete(3), Ok(5), "what is gone is gone");
        for offset in [10, -2, i64::MIN, i64::MAX] {
            assert!(matches!(delete(offset), Err(DeleteRecordsError::OutOfRange { .. })), "{offset}");
        }
        let compacted = Retention { deletes: false, ..KEEP };
        assert_eq!(delete_records(compacted, 7, start, watermark(9)), Err(DeleteRecordsError::Policy));
    }
}
