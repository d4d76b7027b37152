//! The producers of a partition as files: Kafka's snapshot, which keeps one batch for each, and beside it our own with
//! the five that duplicates are judged by.

use bytes::Bytes;
use millrace_logic::offset::Offset;
use millrace_logic::partition::{ProducerEntry, RecentBatch};
use millrace_proto::files::{self, FormatError};
use std::collections::BTreeMap;

/// Both files' bytes.
pub fn encode(producers: impl Iterator<Item = ProducerEntry>) -> (Bytes, Bytes) {
    let (mut kafka, mut recent) = (Vec::new(), Vec::new());
    for producer in producers {
        let Some(last) = producer.batches.last() else { continue };
        kafka.push(files::ProducerEntry {
            producer_id: producer.id,
            producer_epoch: producer.epoch,
            last_sequence: last.last_sequence,
            last_offset: last.last_offset.get(),
            offset_delta: last.offset_delta,
            timestamp: last.timestamp,
            coordinator_epoch: producer.coordinator_epoch,
            current_txn_first_offset: producer.transaction_start.map_or(-1, Offset::get),
        });
        recent.push(files::RecentBatches {
            producer_id: producer.id,
            producer_epoch: producer.epoch,
            batches: producer.batches.iter().map(to_file).collect(),
        });
    }
    (files::encode_producer_snapshot(&kafka).into(), files::encode_recent_batches(&recent).into())
}

/// The producers that the files tell of. A companion that is missing or damaged costs the older batches only.
pub fn decode(snapshot: &[u8], companion: Option<&[u8]>) -> Result<Vec<ProducerEntry>, FormatError> {
    let recent: BTreeMap<_, _> = companion
        .and_then(|bytes| files::parse_recent_batches(bytes).ok())
        .into_iter()
        .flatten()
        .map(|producer| ((producer.producer_id, producer.producer_epoch), producer.batches))
        .collect();
    let entries = files::parse_producer_snapshot(snapshot)?;
    Ok(entries.into_iter().map(|entry| from_file(&entry, &recent)).collect())
}

fn from_file(
    entry: &files::ProducerEntry,
    recent: &BTreeMap<(i64, i16), Vec<files::RecentBatch>>,
) -> ProducerEntry {
    let last = RecentBatch {
        last_sequence: entry.last_sequence,
        last_offset: Offset::new(entry.last_offset),
        offset_delta: entry.offset_delta,
        timestamp: entry.timestamp,
    };
    let known = recent.get(&(entry.producer_id, entry.producer_epoch));
    let batches: Vec<_> = known.into_iter().flatten().map(to_memory).collect();
    ProducerEntry {
        id: entry.producer_id,
        epoch: entry.producer_epoch,
        coordinator_epoch: entry.coordinator_epoch,
        transaction_start: (entry.current_txn_first_offset >= 0)
            .then(|| Offset::new(entry.current_txn_first_offset)),
        // Files of two different moments: Kafka's is the one that counts.
        batches: if batches.last() == Some(&last) { batches } else { vec![last] },
    }
}

fn to_file(batch: &RecentBatch) -> files::RecentBatch {
    files::RecentBatch {
        last_sequence: batch.last_sequence,
        last_offset: batch.last_offset.get(),
        offset_delta: batch.offset_delta,
        timestamp: batch.timestamp,
    }
}

fn to_memory(batch: &files::RecentBatch) -> RecentBatch {
    RecentBatch {
        last_sequence: batch.last_sequence,
        last_offset: Offset::new(batch.last_offset),
        offset_delta: batch.offset_delta,
        timestamp: batch.timestamp,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn producer() -> ProducerEntry {
        let batch = |n: i32| RecentBatch {
            last_sequence: n,
            last_offset: Offset::new(i64::from(n) + 100),
            offset_delta: 0,
            timestamp: 7,
        };
        ProducerEntry {
            id: 42,
            epoch: 3,
            coordinator_epoch: -1,
            transaction_start: None,
            batches: (5..10).map(batch).collect(),
        }
    }

    #[test]
    fn five_batches_survive() {
        let (snapshot, companion) = encode([producer()].into_iter());
        assert_eq!(decode(&snapshot, Some(&companion)).expect("our own"), [producer()]);
    }

    #[test]
    fn without_a_companion_the_last_batch_survives() {
        let (snapshot, companion) = encode([producer()].into_iter());
        let mut damaged = companion.to_vec();
        damaged[8] ^= 1;
        for companion in [None, Some(&damaged[..])] {
            let entries = decode(&snapshot, companion).expect("Kafka's is whole");
            assert_eq!(entries[0].batches, [*producer().batches.last().expect("five")]);
        }
        assert!(decode(&snapshot[..20], None).is_err());
    }
}
