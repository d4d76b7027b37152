//! Which of a broker's log directories gets a replica: the one that holds the fewest.
//!
//! Kafka's brokers choose by themselves and tell the controller afterwards (KIP-858); the outcome is the same, and here a replica has its
//! directory from its first record on, so that no start can take a directory that is missing for one that is empty.

use std::collections::BTreeMap;

use uuid::Uuid;

use super::image::{Image, PartitionState};

impl PartitionState {
    /// The log directory of this broker's replica; `None` when there is no such replica, or when none was assigned.
    pub fn directory(&self, broker: i32) -> Option<Uuid> {
        let place = self.replicas.iter().position(|replica| *replica == broker)?;
        self.directories.get(place).copied().filter(|directory| !directory.is_nil())
    }

    /// The state that follows when this broker's replica is in that directory.
    pub fn moved_to(&self, broker: i32, directory: Uuid) -> Self {
        let mut moved = self.clone();
        moved.partition_epoch += 1;
        moved.directories.resize(moved.replicas.len(), Uuid::nil());
        for (replica, place) in moved.replicas.iter().zip(&mut moved.directories) {
            if *replica == broker {
                *place = directory;
            }
        }
        moved
    }
}

/// Gives the replicas of new partitions their directories. A broker that has told of none has none assigned.
pub(super) fn assign(image: &Image, new: &mut [PartitionState]) {
    let mut held: BTreeMap<i32, Vec<(usize, Uuid)>> = BTreeMap::new();
    for broker in image.brokers() {
        held.insert(broker.broker, broker.log_dirs.iter().map(|directory| (0, *directory)).collect());
    }
    // With one directory each there is nothing to choose.
    if held.values().any(|directories| directories.len() > 1) {
        for state in image.topics().flat_map(|topic| &topic.partitions) {
            for (broker, directory) in state.replicas.iter().zip(&state.directories) {
                let known = held.get_mut(broker).into_iter().flatten();
                known.filter(|(_, known)| known == directory).for_each(|(count, _)| *count += 1);
            }
        }
    }
    for state in new {
        let mut choose = |broker: &i32| {
            // The first of those that hold equally few.
            let fewest = held.get_mut(broker)?.iter_mut().min_by_key(|(count, _)| *count)?;
            fewest.0 += 1;
            Some(fewest.1)
        };
        let chosen: Vec<_> = state.replicas.iter().map(&mut choose).collect();
        if chosen.iter().any(Option::is_some) {
            state.directories = chosen.into_iter().map(Option::unwrap_or_default).collect();
        }
    }
}

#[cfg(test)]
#[path = "directories_test.rs"]
mod tests;
