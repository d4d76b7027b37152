//! A partition is compacted: looked at whether it is worth it, and then cleaned by its log.

use crate::config::Cleaner;
use crate::shard::partition_driver::PartitionDriver;
use millrace_io::Io;
use millrace_logic::compaction::{Candidate, Due, Standing};
use millrace_logic::offset::Offset;
use millrace_logic::retention::SegmentFacts;
use millrace_storage::{CompactError, Compacted, Compaction, ReadError};

impl<I: Io> PartitionDriver<I> {
    /// Whether the partition is worth compacting now.
    pub async fn compaction_due(&self) -> Result<Option<Due>, ReadError> {
        let rules = self.compaction.get();
        if !rules.compacts || self.uncleanable.get() {
            return Ok(None);
        }
        let mut segments = self.log.segments().await?;
        // The last one is active.
        segments.pop();
        let standing = self.standing();
        let Some(end) = segments.last().map(|last| Offset::new(last.end)) else { return Ok(None) };
        let from = rules.dirty_from(&standing, end).get();
        let mut candidates = Vec::with_capacity(segments.len());
        for segment in segments {
            let dirty = segment.end > from;
            let (mut first, mut newest) = (None, None);
            if dirty && rules.max_lag_ms.is_some() {
                first = self.log.first_timestamp(segment.base).await?;
            }
            if dirty && rules.min_lag_ms > 0 {
                newest = self.log.largest_timestamp(segment.base).await?;
            }
            let segment = SegmentFacts {
                base: Offset::new(segment.base),
                end: Offset::new(segment.end),
                bytes: segment.bytes,
            };
            candidates.push(Candidate { segment, first, newest });
        }
        Ok(rules.due(&candidates, &standing))
    }

    /// Compacts what is due. The checkpoint is told how far that came.
    pub async fn compact(
        &self,
        due: &Due,
        cleaner: &Cleaner,
        shards: usize,
    ) -> Result<Compacted, CompactError> {
        let earliest = |batches: &[millrace_logic::partition::RecentBatch]| {
            batches.iter().map(|batch| batch.last_offset.get()).min()
        };
        let producers = self.state.borrow().producers().snapshot().collect::<Vec<_>>();
        let wanted = Compaction {
            dirty_from: due.from.get(),
            upto: due.upto.get(),
            now_ms: self.io.wall_clock(),
            delete_retention_ms: self.compaction.get().delete_retention_ms,
            memory: cleaner.key_bytes / shards.max(1),
            load: cleaner.load_factor,
            window: cleaner.io_bytes,
            bytes_per_second: (cleaner.bytes_per_second < u64::MAX as f64)
                .then_some(cleaner.bytes_per_second as u64),
            producers: producers.iter().filter_map(|p| Some((p.id, earliest(&p.batches)?))).collect(),
        };
        let compacted = self.log.compact(&wanted).await;
        match &compacted {
            Ok(done) => {
                self.cleaned.set(done.upto);
                self.owner.offsets_moved(&self.id);
            }
            Err(CompactError::Damaged { .. }) => self.uncleanable.set(true),
            Err(_) => {}
        }
        compacted
    }

    fn standing(&self) -> Standing {
        let state = self.state.borrow();
        Standing {
            cleaned: Offset::new(self.cleaned.get()),
            log_start: state.log_start(),
            stable: state.stable().offset(),
            now_ms: self.io.wall_clock(),
        }
    }
}
