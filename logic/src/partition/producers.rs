//! Idempotence: who produced what last, so that a retry is recognised and a hole is refused (KIP-98).
//!
//! For each producer the last five batches of its current epoch are kept: a client has at most five in flight, so any retry is among
//! them. Everything is in the log: after a restart the snapshot and the batches behind it rebuild the same state.

use std::collections::BTreeMap;
use std::time::Duration;

use millrace_proto::batch::last_sequence;

use super::{LoggedBatch, Sequenced};
use crate::offset::{LogEnd, Offset};

/// How many batches of a producer a retry is looked for in: the most that a client may have in flight (`max.in.flight.requests.per.connection`).
pub const REMEMBERED_BATCHES: usize = 5;

/// A batch as its producer knows it, and where it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RecentBatch {
    /// Sequence of its last record.
    pub last_sequence: i32,
    /// Offset of its last record.
    pub last_offset: Offset,
    /// Offset of the last record relative to the first.
    pub offset_delta: i32,
    /// Largest timestamp.
    pub timestamp: i64,
}

impl RecentBatch {
    /// Offset of its first record.
    pub fn base_offset(&self) -> Offset {
        Offset::new(self.last_offset.get().saturating_sub(i64::from(self.offset_delta)))
    }

    /// The first offset after it.
    pub fn end(&self) -> Offset {
        Offset::new(self.last_offset.get().saturating_add(1))
    }
}

/// Why a batch does not fit its producer's order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SequenceError {
    /// `OUT_OF_ORDER_SEQUENCE_NUMBER` (45): batches before this one are missing, or it is older than any that is remembered.
    #[error("producer {producer} epoch {epoch}: out of order sequence number {found}, expected {expected}")]
    OutOfOrder {
        /// Producer id.
        producer: i64,
        /// Its epoch.
        epoch: i16,
        /// The batch's first sequence.
        found: i32,
        /// What should have come.
        expected: i32,
    },
    /// `INVALID_PRODUCER_EPOCH` (47): a newer instance of this producer has taken over.
    #[error("producer {producer}: epoch {found} is fenced, the current one is {current}")]
    Fenced {
        /// Producer id.
        producer: i64,
        /// The batch's epoch.
        found: i16,
        /// The producer's current epoch.
        current: i16,
    },
}

/// One producer as snapshots keep it: Kafka's fields, and the batches that Kafka's format has no room for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProducerEntry {
    /// Producer id.
    pub id: i64,
    /// Current epoch.
    pub epoch: i16,
    /// Epoch of the coordinator that last wrote a marker; -1 when none did.
    pub coordinator_epoch: i32,
    /// First offset of the open transaction.
    pub transaction_start: Option<Offset>,
    /// The last batches of this epoch, oldest first, at most [`REMEMBERED_BATCHES`].
    pub batches: Vec<RecentBatch>,
}

/// One producer in memory.
#[derive(Clone, Debug)]
struct Producer {
    epoch: i16,
    coordinator_epoch: i32,
    transaction_start: Option<Offset>,
    recent: Recent,
    /// Where it must begin while no batch of it is remembered: 0, or what was refused of a producer that nothing was known of.
    begins_at: i32,
    /// When it was last heard of.
    seen: Duration,
    /// Its place in the order of being heard of.
    turn: i64,
}

/// The last batches, oldest first, without an allocation of their own.
#[derive(Clone, Debug, Default)]
struct Recent {
    batches: [Option<RecentBatch>; REMEMBERED_BATCHES],
    len: usize,
}

impl Recent {
    fn push(&mut self, batch: RecentBatch) {
        if self.len == REMEMBERED_BATCHES {
            self.batches.rotate_left(1);
            self.len -= 1;
        }
        self.batches[self.len] = Some(batch);
        self.len += 1;
    }

    fn iter(&self) -> impl DoubleEndedIterator<Item = &RecentBatch> {
        self.batches[..self.len].iter().flatten()
    }

    fn last(&self) -> Option<&RecentBatch> {
        self.iter().next_back()
    }
}

/// The producers of one partition.
///
/// Looking one up, touching it and forgetting the least recently heard of are logarithmic in their number; nothing walks all of them.
#[derive(Clone, Debug)]
pub struct Producers {
    by_id: BTreeMap<i64, Producer>,
    /// Producer ids in the order of being heard of.
    by_turn: BTreeMap<i64, i64>,
    /// How many may be remembered.
    limit: usize,
}

impl Producers {
    /// No producers, at most `limit` of them.
    pub fn new(limit: usize) -> Self {
        Self { by_id: BTreeMap::new(), by_turn: BTreeMap::new(), limit }
    }

    /// How many are remembered.
    pub fn len(&self) -> usize {
        self.by_id.len()
    }

    /// Whether none is remembered.
    pub fn is_empty(&self) -> bool {
        self.by_id.is_empty()
    }

    /// Judges a batch: `Some(original)` when it is a retry of a remembered one, `None` when it may be appended.
    pub fn judge(
        &self,
        batch: &Sequenced,
        last_offset_delta: i32,
    ) -> Result<Option<RecentBatch>, SequenceError> {
        let Some(known) = self.by_id.get(&batch.id) else {
            // All trace of it is gone (expired, deleted with its records): any start is as good as another.
            return Ok(None);
        };
        if batch.epoch < known.epoch {
            return Err(SequenceError::Fenced {
                producer: batch.id,
                found: batch.epoch,
                current: known.epoch,
            });
        }
        let mut expected = 0;
        if batch.epoch == known.epoch {
            let last = batch.last_sequence(last_offset_delta);
            let same =
                |old: &&RecentBatch| old.last_sequence == last && old.offset_delta == last_offset_delta;
            if let Some(original) = known.recent.iter().find(same) {
                return Ok(Some(*original));
            }
            expected =
                known.recent.last().map_or(known.begins_at, |last| last_sequence(last.last_sequence, 1));
        }
        if batch.base_sequence == expected {
            return Ok(None);
        }
        Err(SequenceError::OutOfOrder {
            producer: batch.id,
            epoch: batch.epoch,
            found: batch.base_sequence,
            expected,
        })
    }

    /// Counts in a batch that was judged and appended.
    pub fn append(
        &mut self,
        batch: &Sequenced,
        base_offset: Offset,
        last_offset_delta: i32,
        timestamp: i64,
        now: Duration,
    ) {
        let last_offset = Offset::new(base_offset.get().saturating_add(i64::from(last_offset_delta)));
        let recent = RecentBatch {
            last_sequence: batch.last_sequence(last_offset_delta),
            last_offset,
            offset_delta: last_offset_delta,
            timestamp,
        };
        self.touch(batch.id, batch.epoch, now).recent.push(recent);
        self.evict();
    }

    /// A batch was refused before it was judged, and its producer will send it again. What the producer had under way behind it must not
    /// be taken for a beginning: where nothing is known of the producer, it begins with this batch.
    pub(super) fn refused(&mut self, batch: &Sequenced, now: Duration) {
        if !self.by_id.contains_key(&batch.id) {
            self.touch(batch.id, batch.epoch, now).begins_at = batch.base_sequence;
            self.evict();
        }
    }

    /// Counts in a batch found in the log, in log order. The log is the truth: nothing is refused; what is known already is skipped.
    pub fn replay(&mut self, batch: &LoggedBatch, now: Duration) {
        let Some(producer) = &batch.facts.producer else { return };
        if let Some(known) = self.by_id.get(&producer.id)
            && (producer.epoch < known.epoch
                || known.recent.last().is_some_and(|last| last.last_offset >= batch.base_offset))
        {
            return;
        }
        // Without a sequence there is nothing to compare a retry with; the epoch still counts.
        if batch.control || producer.base_sequence < 0 {
            self.touch(producer.id, producer.epoch, now);
            self.evict();
        } else {
            let facts = &batch.facts;
            self.append(producer, batch.base_offset, facts.last_offset_delta, facts.max_timestamp, now);
        }
    }

    /// Takes the producers of a snapshot, before or after the batches behind it were replayed: what was replayed is newer.
    ///
    /// How long ago they were heard of is not in the snapshot in a clock that can be trusted, so a restart counts as hearing of them.
    pub fn restore(&mut self, entries: impl IntoIterator<Item = ProducerEntry>, now: Duration) {
        let mut entries: Vec<_> = entries.into_iter().collect();
        // The one that appended last is put in first: each takes a turn before all others.
        entries.sort_by_key(|entry| {
            (std::cmp::Reverse(entry.batches.last().map(|batch| batch.last_offset)), entry.id)
        });
        for entry in entries {
            self.restore_one(entry, now);
        }
        self.evict();
    }

    fn restore_one(&mut self, entry: ProducerEntry, now: Duration) {
        let ProducerEntry { id, epoch, coordinator_epoch, transaction_start, mut batches } = entry;
        // Kafka writes -1 for a producer of which only a marker is known: its epoch counts, a retry can match nothing.
        batches.retain(|batch| batch.last_sequence >= 0 && batch.last_offset >= Offset::ZERO);
        let Some(known) = self.by_id.get_mut(&id) else {
            let turn = self.by_turn.first_key_value().map_or(0, |(turn, _)| turn - 1);
            let mut recent = Recent::default();
            batches.into_iter().for_each(|batch| recent.push(batch));
            self.by_turn.insert(turn, id);
            self.by_id.insert(
                id,
                Producer {
                    epoch,
                    coordinator_epoch,
                    transaction_start,
                    recent,
                    begins_at: 0,
                    seen: now,
                    turn,
                },
            );
            return;
        };
        if known.epoch == epoch {
            let first_replayed = known.recent.iter().next().map(|batch| batch.last_offset);
            let mut merged = Recent::default();
            let older =
                batches.iter().filter(|batch| first_replayed.is_none_or(|first| batch.last_offset < first));
            older.chain(known.recent.iter()).for_each(|batch| merged.push(*batch));
            known.recent = merged;
        }
    }

    /// Every producer, by id, for a snapshot of the log's end. One that may begin in the middle, because of a refusal, is not in the log
    /// and has nothing that outlives its connection.
    pub fn snapshot(&self) -> impl Iterator<Item = ProducerEntry> {
        let in_log = |producer: &Producer| producer.recent.len > 0 || producer.begins_at == 0;
        self.by_id.iter().filter(move |(_, producer)| in_log(producer)).map(|(&id, producer)| ProducerEntry {
            id,
            epoch: producer.epoch,
            coordinator_epoch: producer.coordinator_epoch,
            transaction_start: producer.transaction_start,
            batches: producer.recent.iter().copied().collect(),
        })
    }

    /// Forgets who was not heard of for `expiration`. Walks only those it forgets.
    pub fn expire(&mut self, now: Duration, expiration: Duration) {
        while let Some((_, &id)) = self.by_turn.first_key_value()
            && now.saturating_sub(self.by_id[&id].seen) >= expiration
        {
            self.forget_oldest();
        }
    }

    /// Forgets batches at or above the end of a log that was cut: they may be sent again. Who is left without any may begin anywhere.
    pub(super) fn truncate(&mut self, end: LogEnd) {
        let lost = |batch: &RecentBatch| batch.end() > end.offset();
        self.by_id.retain(|_, producer| {
            let before = producer.recent.len;
            if producer.recent.iter().any(lost) {
                let kept = std::mem::take(&mut producer.recent);
                kept.iter().filter(|batch| !lost(batch)).for_each(|batch| producer.recent.push(*batch));
            }
            before == 0 || producer.recent.len > 0
        });
        self.by_turn.retain(|_, id| self.by_id.contains_key(id));
    }

    /// Sets how many may be remembered.
    pub(super) fn limit(&mut self, limit: usize) {
        self.limit = limit;
        self.evict();
    }

    /// Finds or makes a producer, gives it the newest turn; a new epoch starts without batches.
    fn touch(&mut self, id: i64, epoch: i16, now: Duration) -> &mut Producer {
        let newest = self.by_turn.last_key_value().map_or(0, |(&turn, _)| turn);
        let producer = self.by_id.entry(id).or_insert_with(|| {
            self.by_turn.insert(newest + 1, id);
            Producer {
                epoch,
                coordinator_epoch: -1,
                transaction_start: None,
                recent: Recent::default(),
                begins_at: 0,
                seen: now,
                turn: newest + 1,
            }
        });
        producer.seen = now;
        if producer.turn < newest {
            self.by_turn.remove(&producer.turn);
            producer.turn = newest + 1;
            self.by_turn.insert(producer.turn, id);
        }
        if producer.epoch != epoch {
            (producer.epoch, producer.begins_at) = (epoch, 0);
            producer.recent = Recent::default();
        }
        producer
    }

    fn evict(&mut self) {
        while self.by_id.len() > self.limit {
            self.forget_oldest();
        }
    }

    fn forget_oldest(&mut self) {
        if let Some((_, id)) = self.by_turn.pop_first() {
            self.by_id.remove(&id);
        }
    }
}
