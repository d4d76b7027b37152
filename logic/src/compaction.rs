//! Compaction: when a log is worth it, and how far it may go.
//!
//! Kafka's rules. What was compacted before is *clean*, what came since is *dirty*. The active segment is never compacted, nor what is
//! not committed, nor what is younger than `min.compaction.lag.ms`. A log is due when its dirty part is more than
//! `min.cleanable.dirty.ratio` of the whole, or when something in it has waited for `max.compaction.lag.ms`.

use crate::offset::{LogStart, Offset};
use crate::retention::SegmentFacts;

/// How a topic is compacted.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Compaction {
    /// Whether `cleanup.policy` has `compact`.
    pub compacts: bool,
    /// `min.cleanable.dirty.ratio`.
    pub min_dirty_ratio: f64,
    /// `min.compaction.lag.ms`.
    pub min_lag_ms: i64,
    /// `max.compaction.lag.ms`; `None` where nothing is ever overdue.
    pub max_lag_ms: Option<i64>,
    /// `delete.retention.ms`.
    pub delete_retention_ms: i64,
}

impl Default for Compaction {
    fn default() -> Self {
        Self {
            compacts: false,
            min_dirty_ratio: 0.5,
            min_lag_ms: 0,
            max_lag_ms: None,
            delete_retention_ms: 24 * 60 * 60 * 1000,
        }
    }
}

/// A segment that is not active, as compaction sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Candidate {
    /// Where it is and how large.
    pub segment: SegmentFacts,
    /// The timestamp of its first batch, if it is known; needed for `max.compaction.lag.ms` only.
    pub first: Option<i64>,
    /// Its largest timestamp, if any of its records has one; needed for `min.compaction.lag.ms` only.
    pub newest: Option<i64>,
}

/// Where a log stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Standing {
    /// Up to where it was compacted, as the checkpoint knows.
    pub cleaned: Offset,
    /// Where it starts.
    pub log_start: LogStart,
    /// Up to where it is committed, open transactions left out.
    pub stable: Offset,
    /// The present, in milliseconds since 1970.
    pub now_ms: i64,
}

/// A log that is worth it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Due {
    /// Where the dirty part begins.
    pub from: Offset,
    /// Up to where it may be compacted.
    pub upto: Offset,
    /// How much of the bytes up to there are dirty, 0 to 1. The most goes first.
    pub dirty_ratio: f64,
}

impl Compaction {
    /// Where the dirty part begins. A checkpoint beyond `end`, of a log that was cut or began anew, says nothing.
    pub fn dirty_from(&self, standing: &Standing, end: Offset) -> Offset {
        let known = Some(standing.cleaned).filter(|cleaned| *cleaned <= end);
        known.unwrap_or(standing.log_start.offset()).max(standing.log_start.offset())
    }

    /// Whether a log is to be compacted now. `segments` are all but the active one, oldest first.
    pub fn due(&self, segments: &[Candidate], standing: &Standing) -> Option<Due> {
        let end = segments.last()?.segment.end;
        let from = self.dirty_from(standing, end);
        let is_dirty = |candidate: &&Candidate| candidate.segment.end > from;
        let too_young = |candidate: &&Candidate| {
            let newest = candidate.newest.unwrap_or(i64::MIN);
            self.min_lag_ms > 0 && newest > standing.now_ms.saturating_sub(self.min_lag_ms)
        };
        let first_young = segments.iter().filter(is_dirty).find(too_young);
        let upto = first_young.map_or(end, |young| young.segment.base).min(standing.stable);
        if !self.compacts || upto <= from {
            return None;
        }
        let bytes = |clean: bool| -> u64 {
            let below = segments.iter().filter(|candidate| candidate.segment.base < upto);
            below
                .filter(|candidate| is_dirty(candidate) != clean)
                .map(|candidate| candidate.segment.bytes)
                .sum()
        };
        let (clean, dirty) = (bytes(true), bytes(false));
        if dirty == 0 {
            return None;
        }
        let dirty_ratio = dirty as f64 / (clean + dirty) as f64;
        let overdue = self.max_lag_ms.is_some_and(|lag| {
            let due = segments.iter().filter(is_dirty).filter(|candidate| candidate.segment.base < upto);
            due.filter_map(|candidate| candidate.first)
                .any(|first| standing.now_ms.saturating_sub(first) > lag)
        });
        (overdue || dirty_ratio > self.min_dirty_ratio).then_some(Due { from, upto, dirty_ratio })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const COMPACT: Compaction = Compaction {
        compacts: true,
        min_dirty_ratio: 0.5,
        min_lag_ms: 0,
        max_lag_ms: None,
        delete_retention_ms: 0,
    };

    /// Segments of these sizes, ten records each; the first batch of segment n is from 100 n, its last record from 100 n + 50.
    fn segments(sizes: &[u64]) -> Vec<Candidate> {
        let candidate = |(at, bytes): (i64, &u64)| Candidate {
            segment: SegmentFacts {
                base: Offset::new(at * 10),
                end: Offset::new(at * 10 + 10),
                bytes: *bytes,
            },
            first: Some(at * 100),
            newest: Some(at * 100 + 50),
        };
        (0..).zip(sizes).map(candidate).collect()
    }

    fn standing(cleaned: i64, stable: i64, now_ms: i64) -> Standing {
        let (cleaned, stable) = (Offset::new(cleaned), Offset::new(stable));
        Standing { cleaned, log_start: LogStart::at(Offset::new(0)), stable, now_ms }
    }

    fn range(due: Option<Due>) -> Option<(i64, i64)> {
        due.map(|due| (due.from.get(), due.upto.get()))
    }

    #[test]
    fn a_log_is_due_when_it_is_dirty_enough() {
        let log = segments(&[100, 100, 100]);
        let due = |cleaned| COMPACT.due(&log, &standing(cleaned, 1000, 0));
        assert_eq!(range(due(0)), Some((0, 30)));
        assert_eq!(range(due(10)), Some((10, 30)), "two thirds");
        assert_eq!(range(due(20)), None, "a third");
        assert_eq!(range(due(30)), None, "nothing");
        assert_eq!(due(10).map(|due| due.dirty_ratio), Some(2.0 / 3.0));
        assert_eq!(range(COMPACT.due(&[], &standing(0, 1000, 0))), None);
        let off = Compaction { compacts: false, ..COMPACT };
        assert_eq!(off.due(&log, &standing(0, 1000, 0)), None);
        let eager = Compaction { min_dirty_ratio: 0.0, ..COMPACT };
        assert_eq!(range(eager.due(&log, &standing(29, 1000, 0))), Some((29, 30)));
    }

    #[test]
    fn what_is_not_committed_stays() {
        let log = segments(&[100, 100, 100]);
        assert_eq!(range(COMPACT.due(&log, &standing(0, 17, 0))), Some((0, 17)));
        assert_eq!(range(COMPACT.due(&log, &standing(17, 17, 0))), None);
    }

    #[test]
    fn a_checkpoint_that_cannot_be_is_none() {
        let log = segments(&[100, 100]);
        assert_eq!(range(COMPACT.due(&log, &standing(21, 1000, 0))), Some((0, 20)));
        let deleted = Standing { log_start: LogStart::at(Offset::new(12)), ..standing(3, 1000, 0) };
        let eager = Compaction { min_dirty_ratio: 0.4, ..COMPACT };
        assert_eq!(range(eager.due(&log, &deleted)), Some((12, 20)));
    }

    #[test]
    fn what_is_young_waits() {
        let lag = Compaction { min_lag_ms: 100, ..COMPACT };
        let log = segments(&[100, 100, 100]);
        assert_eq!(range(lag.due(&log, &standing(0, 1000, 249))), Some((0, 10)));
        assert_eq!(range(lag.due(&log, &standing(0, 1000, 250))), Some((0, 20)));
        assert_eq!(range(lag.due(&log, &standing(0, 1000, 149))), None);
        assert_eq!(range(lag.due(&log, &standing(10, 1000, 149))), None, "what is clean has no age");
    }

    #[test]
    fn what_has_waited_too_long_goes_whatever_the_ratio() {
        let lag = Compaction { max_lag_ms: Some(1000), min_dirty_ratio: 1.0, ..COMPACT };
        let log = segments(&[1000, 10]);
        assert_eq!(range(lag.due(&log, &standing(10, 1000, 1100))), None);
        assert_eq!(range(lag.due(&log, &standing(10, 1000, 1101))), Some((10, 20)));
    }
}
