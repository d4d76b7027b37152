//! Which partition a record goes to when it names none: as Kafka's Java producer has it.

use crate::record::Record;
use millrace_proto::kafka::partition::partition_of_key;
use std::fmt;
use std::sync::Arc;

/// Chooses a partition from a record and the number of partitions of its topic.
type Choose = dyn Fn(&Record, i32) -> i32 + Send + Sync;

/// How records that name no partition are spread.
#[derive(Clone, Default)]
pub(crate) enum Partitioner {
    /// By the key's murmur2 hash; without a key, one partition after the other, each for a batch's worth of bytes (KIP-480, KIP-794).
    #[default]
    Default,
    /// As the application says.
    Custom(Arc<Choose>),
}

impl fmt::Debug for Partitioner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Partitioner::Default => "Default",
            Partitioner::Custom(_) => "Custom",
        })
    }
}

/// The partition that records without a key go to, for now.
#[derive(Debug, Default)]
pub(crate) struct Sticky {
    partition: Option<i32>,
    bytes: usize,
}

impl Partitioner {
    /// The partition of a record of `size` bytes; whoever has a custom rule is taken at its word. `count` is positive.
    pub(crate) fn choose(
        &self,
        record: &Record,
        count: i32,
        sticky: &mut Sticky,
        (size, batch_size): (usize, usize),
        random: &mut dyn FnMut() -> u64,
    ) -> i32 {
        match (self, &record.key) {
            (Partitioner::Custom(choose), _) => choose(record, count),
            (Partitioner::Default, Some(key)) => partition_of_key(key, count),
            (Partitioner::Default, None) => {
                // The topic may have changed since.
                let current = sticky.partition.filter(|partition| *partition < count);
                let partition = current.unwrap_or_else(|| (random() % count.max(1) as u64) as i32);
                sticky.bytes += size;
                sticky.partition = Some(partition).filter(|_| sticky.bytes < batch_size);
                if sticky.partition.is_none() {
                    sticky.bytes = 0;
                }
                partition
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_partition_is_kept_for_a_batch_of_bytes() {
        let (mut sticky, mut next) = (Sticky::default(), 0);
        let mut random = || {
            next += 1;
            next
        };
        let mut choose =
            |record: &Record| Partitioner::Default.choose(record, 3, &mut sticky, (40, 100), &mut random);
        let keyless = Record::new("t");
        let chosen: Vec<_> = (0..7).map(|_| choose(&keyless)).collect();
        assert_eq!(chosen, [1, 1, 1, 2, 2, 2, 0]);
        assert_eq!(choose(&Record::new("t").key("foobar")), partition_of_key(b"foobar", 3));
        assert_eq!(choose(&keyless), 0, "keys do not count");
    }

    #[test]
    fn an_application_may_know_better() {
        let custom =
            Partitioner::Custom(Arc::new(|record: &Record, count| record.headers.len() as i32 % count));
        let record = Record::new("t").key("k").header("a", "").header("b", "");
        assert_eq!(custom.choose(&record, 5, &mut Sticky::default(), (1, 1), &mut || 0), 2);
    }
}
