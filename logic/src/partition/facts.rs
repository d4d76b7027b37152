//! What the partition must know of a batch; the bytes themselves stay with storage.

use millrace_proto::batch::{Checked, Header, last_sequence};

use super::LeaderEpoch;
use crate::offset::Offset;

/// Who sent an idempotent batch, and where it stands in that producer's order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sequenced {
    /// Producer id.
    pub id: i64,
    /// Producer epoch.
    pub epoch: i16,
    /// Sequence of the first record; after `i32::MAX` comes 0.
    pub base_sequence: i32,
}

/// A batch that was checked and is to be appended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BatchFacts {
    /// Offset of the last record relative to the first; not negative.
    pub last_offset_delta: i32,
    /// Bytes of the whole batch, header included.
    pub size: u64,
    /// Largest timestamp, in milliseconds since the epoch.
    pub max_timestamp: i64,
    /// Set when the producer is idempotent.
    pub producer: Option<Sequenced>,
    /// Part of a transaction.
    pub transactional: bool,
}

/// A batch found in the log, for rebuilding state after a restart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LoggedBatch {
    /// Offset of its first record.
    pub base_offset: Offset,
    /// The leader epoch it was appended in.
    pub leader_epoch: LeaderEpoch,
    /// A control batch (a transaction marker): it carries an epoch, but no sequence.
    pub control: bool,
    /// The rest.
    pub facts: BatchFacts,
}

impl Sequenced {
    /// Sequence of the last record of a batch with this last offset delta.
    pub(super) fn last_sequence(&self, last_offset_delta: i32) -> i32 {
        last_sequence(self.base_sequence, last_offset_delta)
    }
}

impl From<&Checked> for BatchFacts {
    fn from(batch: &Checked) -> Self {
        let producer = batch.has_producer_id().then_some(Sequenced {
            id: batch.producer_id,
            epoch: batch.producer_epoch,
            base_sequence: batch.base_sequence,
        });
        Self {
            last_offset_delta: batch.last_offset_delta(),
            size: batch.size as u64,
            max_timestamp: batch.max_timestamp,
            producer,
            transactional: batch.transactional,
        }
    }
}

impl From<&Header> for LoggedBatch {
    fn from(batch: &Header) -> Self {
        let producer = batch.has_producer_id().then_some(Sequenced {
            id: batch.producer_id,
            epoch: batch.producer_epoch,
            base_sequence: batch.base_sequence,
        });
        Self {
            base_offset: Offset::new(batch.base_offset),
            leader_epoch: LeaderEpoch::new(batch.leader_epoch),
            control: batch.is_control(),
            facts: BatchFacts {
                last_offset_delta: batch.last_offset_delta,
                size: batch.size() as u64,
                max_timestamp: batch.max_timestamp,
                producer,
                transactional: batch.is_transactional(),
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use millrace_proto::batch::{Builder, Limits, Options, Producer, validate};

    use super::*;

    /// A batch of three records, from an idempotent producer when `id` is set, as bytes.
    fn batch(id: Option<i64>) -> Vec<u8> {
        let mut builder = Builder::new();
        for timestamp in [70, 90, 80] {
            builder.push(timestamp, None, Some(b"value"), &[]).unwrap();
        }
        let producer = id.map(|id| Producer { id, epoch: 2, base_sequence: i32::MAX });
        builder.finish(&Options { producer, ..Options::default() }).unwrap().to_vec()
    }

    #[test]
    fn a_batch_tells_the_same_when_it_is_checked_and_when_it_is_replayed() {
        for id in [None, Some(0), Some(7)] {
            let bytes = batch(id);
            let facts = BatchFacts {
                last_offset_delta: 2,
                size: bytes.len() as u64,
                max_timestamp: 90,
                producer: id.map(|id| Sequenced { id, epoch: 2, base_sequence: i32::MAX }),
                transactional: false,
            };
            assert_eq!(BatchFacts::from(&validate(&bytes, &Limits::default()).unwrap()), facts);
            let header = Header { base_offset: 40, leader_epoch: 6, ..Header::parse(&bytes).unwrap() };
            let (base_offset, leader_epoch) = (Offset::new(40), LeaderEpoch::new(6));
            let logged = LoggedBatch { base_offset, leader_epoch, control: false, facts };
            assert_eq!(LoggedBatch::from(&header), logged);
        }
    }

    #[test]
    fn the_last_sequence_wraps() {
        let producer = Sequenced { id: 1, epoch: 0, base_sequence: i32::MAX };
        assert_eq!([0, 1, 2].map(|delta| producer.last_sequence(delta)), [i32::MAX, 0, 1]);
    }
}
