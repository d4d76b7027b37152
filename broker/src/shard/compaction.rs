//! A shard compacts its partitions in the background: one at a time, the dirtiest first.

use crate::config::Cleaner;
use crate::shard::Shard;
use crate::shard::partition_driver::{PartitionDriver, PartitionId};
use millrace_io::Io;
use millrace_logic::compaction::Due;
use millrace_storage::CompactError;
use std::rc::Rc;
use std::time::Duration;

/// However short `log.cleaner.backoff.ms` is.
const LEAST_BACKOFF: Duration = Duration::from_millis(10);
/// Partitions that are looked at between two turns for other tasks.
const AT_ONCE: usize = 16;

impl<I: Io> Shard<I> {
    /// Compacts whatever is due, for as long as the process lives.
    pub(crate) async fn keep_compact(self) {
        loop {
            let cleaner = self.0.config.now(&self.image()).cleaner;
            if cleaner.enabled {
                self.compact_all(&cleaner).await;
            }
            self.0.io.sleep(cleaner.backoff.max(LEAST_BACKOFF)).await;
        }
    }

    /// Compacts one after the other what is due at this moment.
    async fn compact_all(&self, cleaner: &Cleaner) {
        let mut due = self.due().await;
        due.sort_by(|(_, a), (_, b)| b.dirty_ratio.total_cmp(&a.dirty_ratio));
        for (driver, _) in due {
            // Looked at anew: the ones before took their time.
            if let Ok(Some(due)) = driver.compaction_due().await {
                self.compact(&driver, &due, cleaner).await;
            }
        }
    }

    async fn due(&self) -> Vec<(Rc<PartitionDriver<I>>, Due)> {
        let mut found = Vec::new();
        let all: Vec<PartitionId> = self.0.partitions.borrow().keys().copied().collect();
        for some in all.chunks(AT_ONCE) {
            for driver in some.iter().filter_map(|id| self.partition(id)) {
                match driver.compaction_due().await {
                    Ok(due) => found.extend(due.map(|due| (driver, due))),
                    // A log that is offline has said so.
                    Err(error) => {
                        let (topic, partition) = (driver.topic(), driver.id().partition);
                        tracing::debug!(%topic, partition, %error, "compaction comes back to this later");
                    }
                }
            }
            self.0.io.yield_now().await;
        }
        found
    }

    async fn compact(&self, driver: &Rc<PartitionDriver<I>>, due: &Due, cleaner: &Cleaner) {
        let (topic, partition) = (driver.topic().clone(), driver.id().partition);
        let (began, metrics) = (self.0.io.now(), &self.0.metrics);
        match driver.compact(due, cleaner, self.shards()).await {
            Ok(done) => {
                let milliseconds = (self.0.io.now() - began).as_millis() as u64;
                tracing::info!(
                    %topic, partition, from = due.from.get(), upto = done.upto, removed = done.removed,
                    bytes_before = done.bytes_before, bytes_after = done.bytes_after, milliseconds, "compacted"
                );
                metrics.compactions.add(1);
                metrics.compacted_records.add(done.removed);
                metrics.compacted_bytes.add(done.bytes_before.saturating_sub(done.bytes_after));
            }
            // Closed or deleted meanwhile, or offline, which it has said.
            Err(CompactError::Offline(_)) => {}
            Err(error) => {
                tracing::warn!(%topic, partition, %error, "not compacted");
                metrics.failed_compactions.add(1);
            }
        }
    }
}
