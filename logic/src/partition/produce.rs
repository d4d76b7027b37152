//! Appending: which offset a batch gets, and who is answered when.
//!
//! `acks=0` is never answered (an error closes the connection), `acks=1` when the batch is written, `acks=all` when the high watermark
//! has passed it. A duplicate is answered as its original would be: a retry must not be told more than the first try was.

use std::time::Duration;

use super::parked::Waiting;
use super::{BatchFacts, Effect, Health, LeaderEpoch, Partition, RecentBatch, SequenceError};
use crate::offset::{HighWatermark, LogEnd, LogStart, Offset, Written};

/// How much the producer wants to be sure of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Acks {
    /// No answer at all.
    None,
    /// Written by the leader.
    Leader,
    /// Passed by the high watermark.
    All,
}

impl Acks {
    /// Reads the wire's number; anything but 0, 1 and -1 is `INVALID_REQUIRED_ACKS`.
    pub fn from_wire(acks: i16) -> Option<Self> {
        match acks {
            0 => Some(Self::None),
            1 => Some(Self::Leader),
            -1 => Some(Self::All),
            _ => None,
        }
    }
}

/// One batch to append.
#[derive(Clone, Debug)]
pub struct Produce<P> {
    /// Monotonic time.
    pub now: Duration,
    /// Wall clock, in milliseconds since the epoch: what `LogAppendTime` stamps.
    pub wall_ms: i64,
    /// The batch.
    pub batch: BatchFacts,
    /// When to answer.
    pub acks: Acks,
    /// Until when `acks=all` may wait, as monotonic time.
    pub deadline: Duration,
    /// Whom to answer.
    pub ticket: P,
}

/// What becomes of a batch. Answers, if any are due already, are among the effects.
#[must_use]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Decision {
    /// Stamp it and append it now, before anything else reaches this partition.
    Append(Stamp),
    /// It is in the log already. Drop it; the answer comes when the original's would.
    Duplicate,
    /// It is not appended. The answer is among the effects.
    Refused,
}

/// What the leader writes into a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stamp {
    /// Offset of the first record.
    pub base_offset: Offset,
    /// The leader's epoch.
    pub leader_epoch: LeaderEpoch,
    /// Set when the topic keeps append time: the timestamp of every record.
    pub log_append_time: Option<i64>,
}

/// Where a batch is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Appended {
    /// Offset of its first record.
    pub base_offset: Offset,
    /// Append time, or for a duplicate the timestamp of the original; the wire says -1 for `None`.
    pub log_append_time: Option<i64>,
    /// First offset of the log at the time of the answer.
    pub log_start: LogStart,
}

/// Why a batch was refused, or why its fate is not known.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ProduceError {
    /// The producer's order was broken.
    #[error(transparent)]
    Sequence(#[from] SequenceError),
    /// Transactions are not served. `INVALID_TXN_STATE` (48) up to Produce v10, `TRANSACTION_ABORTABLE` (120) from v11.
    #[error("transactional batches are not supported yet: produce without a transactional.id")]
    Transactional,
    /// The disk is full; nothing was appended. `KAFKA_STORAGE_ERROR` (56), which producers retry.
    #[error("no space is left on the disk of this partition: free some; producing resumes by itself")]
    NoRoom,
    /// The watermark did not pass in time; the batch may still be committed. `REQUEST_TIMED_OUT` (7).
    #[error("the batch was appended, but not committed on every in-sync replica in time")]
    TimedOut,
    /// Storage failed after the append began, so the batch may or may not be found after a restart. `REQUEST_TIMED_OUT` (7): the storage error
    /// would tell some clients that nothing was written.
    #[error(
        "storage failed while the batch was being appended: whether it is in the log is not known until the broker restarts"
    )]
    Interrupted,
    /// Storage failed earlier; nothing was appended. `KAFKA_STORAGE_ERROR` (56).
    #[error(
        "the log is offline after a storage failure: see the broker's log, repair the disk and restart the broker"
    )]
    StorageFailed,
    /// The topic was deleted. `UNKNOWN_TOPIC_OR_PARTITION` (3).
    #[error("the topic was deleted")]
    Deleted,
    /// The log's offsets are used up. `UNKNOWN_SERVER_ERROR` (-1).
    #[error("no offsets are left in this log: it ends at {end}, the largest offset is {max}", max = i64::MAX)]
    OffsetsExhausted {
        /// End of the log.
        end: LogEnd,
    },
}

impl<P, W: Ord + Clone> Partition<P, W> {
    /// Decides on a batch: assigns its offset, recognises it as a duplicate, or refuses it.
    ///
    /// Room in the log was reserved before: what is decided here is appended without fail. Produces of one connection arrive in its order.
    pub fn on_produce(&mut self, produce: Produce<P>, out: &mut Vec<Effect<P, W>>) -> Decision {
        match self.decide(&produce) {
            Ok(Verdict::Fresh { end, stamp }) => {
                self.accept(&produce, end, stamp);
                self.answer_or_park(produce, end.offset(), stamp.base_offset, stamp.log_append_time, out);
                self.check();
                Decision::Append(stamp)
            }
            Ok(Verdict::Duplicate(original)) => {
                self.answer_duplicate(produce, &original, out);
                Decision::Duplicate
            }
            Err(error) => {
                out.push(Effect::Reply { ticket: produce.ticket, outcome: Err(error) });
                Decision::Refused
            }
        }
    }

    /// There is no room in the log for this batch. It is refused, unless it is there already: a retry needs no room. What its producer
    /// has under way behind it is out of order then.
    pub fn on_no_room(&mut self, produce: Produce<P>, out: &mut Vec<Effect<P, W>>) {
        let error = match self.decide(&produce) {
            Ok(Verdict::Duplicate(original)) => return self.answer_duplicate(produce, &original, out),
            Ok(Verdict::Fresh { .. }) => {
                if let Some(producer) = &produce.batch.producer {
                    self.producers.refused(producer, produce.now);
                }
                ProduceError::NoRoom
            }
            Err(error) => error,
        };
        out.push(Effect::Reply { ticket: produce.ticket, outcome: Err(error) });
    }

    /// Reads the rules; changes nothing.
    fn decide(&self, produce: &Produce<P>) -> Result<Verdict, ProduceError> {
        let batch = &produce.batch;
        match self.health {
            Health::Serving => {}
            Health::StorageFailed => return Err(ProduceError::StorageFailed),
            Health::Deleted => return Err(ProduceError::Deleted),
        }
        if batch.transactional {
            return Err(ProduceError::Transactional);
        }
        if let Some(producer) = &batch.producer
            && let Some(original) = self.producers.judge(producer, batch.last_offset_delta)?
        {
            return Ok(Verdict::Duplicate(original));
        }
        let base_offset = self.end.offset();
        let count = i64::from(batch.last_offset_delta) + 1;
        let end = base_offset.checked_add(count).ok_or(ProduceError::OffsetsExhausted { end: self.end })?;
        let stamp = Stamp {
            base_offset,
            leader_epoch: self.leader_epoch,
            log_append_time: self.settings.log_append_time.then_some(produce.wall_ms),
        };
        Ok(Verdict::Fresh { end: LogEnd::at(end), stamp })
    }

    /// Counts the batch in: end, producers, bytes not yet readable.
    fn accept(&mut self, produce: &Produce<P>, end: LogEnd, stamp: Stamp) {
        let batch = &produce.batch;
        self.end = end;
        self.unread.push(end.offset(), batch.size);
        if let Some(producer) = &batch.producer {
            let timestamp = stamp.log_append_time.unwrap_or(batch.max_timestamp);
            self.producers.append(
                producer,
                stamp.base_offset,
                batch.last_offset_delta,
                timestamp,
                produce.now,
            );
        }
    }

    /// Answers a retry as its original would be.
    fn answer_duplicate(&mut self, produce: Produce<P>, original: &RecentBatch, out: &mut Vec<Effect<P, W>>) {
        let timestamp = Some(original.timestamp);
        self.answer_or_park(produce, original.end(), original.base_offset(), timestamp, out);
    }

    /// Answers at once what is already as safe as asked, and parks the rest.
    fn answer_or_park(
        &mut self,
        produce: Produce<P>,
        end: Offset,
        base_offset: Offset,
        log_append_time: Option<i64>,
        out: &mut Vec<Effect<P, W>>,
    ) {
        let safe = match produce.acks {
            Acks::None => return,
            Acks::Leader => end <= self.replicas.written().offset(),
            Acks::All => end <= self.high_watermark.offset(),
        };
        let Produce { acks, deadline, ticket, .. } = produce;
        if safe {
            let outcome = Ok(Appended { base_offset, log_append_time, log_start: self.log_start });
            out.push(Effect::Reply { ticket, outcome });
        } else {
            let deadline = (acks == Acks::All).then_some(deadline);
            self.parked.park(Waiting::new(end, deadline, base_offset, log_append_time, ticket));
        }
    }

    /// Answers `acks=1` below the written offset.
    pub(super) fn answer_written(&mut self, written: Written, out: &mut Vec<Effect<P, W>>) {
        let log_start = self.log_start;
        while let Some(waiting) = self.parked.pop_written(written) {
            out.push(waiting.succeed(log_start));
        }
    }

    /// Answers `acks=all` below the high watermark.
    pub(super) fn answer_committed(&mut self, watermark: HighWatermark, out: &mut Vec<Effect<P, W>>) {
        let log_start = self.log_start;
        while let Some(waiting) = self.parked.pop_committed(watermark) {
            out.push(waiting.succeed(log_start));
        }
    }

    /// Answers what waited too long.
    pub(super) fn expire_produces(&mut self, now: Duration, out: &mut Vec<Effect<P, W>>) {
        while let Some(waiting) = self.parked.pop_expired(now) {
            out.push(waiting.fail(ProduceError::TimedOut));
        }
    }
}

/// What the rules say of a batch that may stand.
enum Verdict {
    Fresh { end: LogEnd, stamp: Stamp },
    Duplicate(RecentBatch),
}
