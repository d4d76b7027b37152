//! What a shard's partitions need not keep: looked at from time to time, deleted when somebody asks. And settings that change
//! while partitions run.

use crate::shard::calls::{DeleteRecordsFailure, PartsCall};
use crate::shard::partition_driver::{PartitionDriver, PartitionId};
use crate::shard::{Shard, ShardCall};
use futures_channel::oneshot;
use millrace_io::Io;
use millrace_logic::meta::{ConfigResource, ResourceKind};
use std::rc::Rc;

/// Partitions that are looked at between two turns for other tasks.
const AT_ONCE: usize = 16;

impl<I: Io> Shard<I> {
    /// Lets every partition drop what it need not keep, for as long as the process lives.
    pub(crate) async fn keep_retention(self) {
        loop {
            self.0.io.sleep(self.0.config.retention_check).await;
            let all: Vec<PartitionId> = self.0.partitions.borrow().keys().copied().collect();
            for some in all.chunks(AT_ONCE) {
                for id in some {
                    if let Some(driver) = self.partition(id) {
                        self.retain(&driver).await;
                    }
                }
                self.0.io.yield_now().await;
            }
        }
    }

    async fn retain(&self, driver: &Rc<PartitionDriver<I>>) {
        let (topic, partition) = (driver.topic().clone(), driver.id().partition);
        match driver.retain().await {
            Ok(Some(dropped)) => {
                let by_time = dropped.segments - dropped.by_size;
                tracing::info!(
                    %topic, partition, segments = dropped.segments, bytes = dropped.bytes,
                    "deleted: {} segments because of retention.bytes, {by_time} because of retention.ms", dropped.by_size
                );
                self.0.metrics.expired_segments.add(dropped.segments as u64);
                self.0.metrics.expired_bytes.add(dropped.bytes);
            }
            Ok(None) => {}
            // A log that is offline has said so.
            Err(error) => tracing::debug!(%topic, partition, %error, "retention comes back to this later"),
        }
    }

    pub(super) async fn delete_records_here(
        &self,
        call: PartsCall<(PartitionId, i64), Result<i64, DeleteRecordsFailure>>,
    ) {
        let mut moved = Vec::new();
        let mut delete = |(id, offset): &(PartitionId, i64)| {
            let driver = self.partition(id).ok_or_else(|| match self.is_deleted(id) {
                true => DeleteRecordsFailure::Deleted,
                false => DeleteRecordsFailure::UnknownPartition,
            })?;
            let start = driver.delete_records(*offset)?;
            moved.push(driver);
            Ok(start)
        };
        let mut outcomes: Vec<_> = call.parts.iter().map(&mut delete).collect();
        // Nobody may be told that records are gone which a crash could bring back.
        if !moved.is_empty() && !self.checkpoint_durably(&moved).await {
            outcomes.iter_mut().filter(|outcome| outcome.is_ok()).for_each(|outcome| {
                *outcome = Err(DeleteRecordsFailure::Checkpoint);
            });
            moved.clear();
        }
        let _ = call.reply.send(outcomes);
        for driver in moved {
            if let Err(error) = driver.delete_below_start().await {
                let (topic, partition) = (driver.topic().clone(), driver.id().partition);
                tracing::warn!(%topic, partition, %error, "deleted records still have their files: retention comes back to them");
            }
        }
    }

    async fn checkpoint_durably(&self, drivers: &[Rc<PartitionDriver<I>>]) -> bool {
        let (sender, done) = oneshot::channel();
        let offsets = drivers.iter().map(|driver| driver.offsets()).collect();
        self.call(0, ShardCall::Checkpoint(offsets, Some(sender))).await;
        done.await.unwrap_or(false)
    }

    /// Lets partitions go by settings that changed: those of topics, or all of them when a broker's did.
    pub(super) fn reconfigure(&self, changed: &[ConfigResource]) {
        let image = self.image();
        let ids: Vec<PartitionId> = match changed.iter().any(|resource| resource.kind == ResourceKind::Broker)
        {
            true => self.0.partitions.borrow().keys().copied().collect(),
            false => changed
                .iter()
                .filter(|resource| resource.kind == ResourceKind::Topic)
                .filter_map(|resource| image.topic(&resource.name))
                .flat_map(|topic| {
                    let id = |partition| PartitionId { topic: topic.id, partition };
                    (0..topic.partitions.len() as i32).map(id)
                })
                .collect(),
        };
        for driver in ids.iter().filter_map(|id| self.partition(id)) {
            driver.configure(self.0.config.effective(&image, driver.topic()).behaviour());
        }
    }
}
