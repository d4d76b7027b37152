//! A partition lets go of what it need not keep: by size, by time, and because somebody asked.

use crate::shard::partition_driver::PartitionDriver;
use millrace_io::Io;
use millrace_logic::offset::{HighWatermark, LogStart, Offset};
use millrace_logic::retention::{self, DeleteRecordsError, SegmentFacts};
use millrace_storage::{MaintainError, ReadError, ReserveError};

/// What a partition dropped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Dropped {
    /// How many segments.
    pub segments: usize,
    /// How many of them because of `retention.bytes`; the others because of `retention.ms`.
    pub by_size: usize,
    /// Their bytes.
    pub bytes: u64,
}

/// Why a partition could not drop anything.
#[derive(Debug, thiserror::Error)]
pub enum RetainError {
    /// A segment could not be looked at.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// A new segment could not be begun.
    #[error(transparent)]
    Roll(#[from] ReserveError),
    /// A segment could not be deleted.
    #[error(transparent)]
    Delete(#[from] MaintainError),
}

impl<I: Io> PartitionDriver<I> {
    /// Drops what the partition need not keep: the log starts behind it, and its segments are deleted.
    pub async fn retain(&self) -> Result<Option<Dropped>, RetainError> {
        // What an earlier attempt left.
        self.delete_below_start().await?;
        let segments = self.log.segments().await?;
        let facts: Vec<_> = segments
            .iter()
            .map(|segment| SegmentFacts {
                base: Offset::new(segment.base),
                end: Offset::new(segment.end),
                bytes: segment.bytes,
            })
            .collect();
        let (retention, watermark) = (self.retention.get(), self.high_watermark());
        let by_size = retention.too_many(&facts, watermark);
        let (mut count, now) = (by_size, self.io.wall_clock());
        for facts in facts.iter().skip(by_size) {
            let largest = self.log.largest_timestamp(facts.base.get()).await?;
            if !retention.is_too_old(facts, largest, watermark, now) {
                break;
            }
            count += 1;
        }
        if count == facts.len() {
            // The active segment goes, too: what is appended from now on needs another.
            match self.log.roll().await {
                Ok(()) => {}
                // There is room for another when the older ones are gone.
                Err(ReserveError::NoSpace(_)) => count -= 1,
                Err(error) => return Err(error.into()),
            }
        }
        let Some(last) = count.checked_sub(1).map(|at| facts[at]) else { return Ok(None) };
        if self.log.segments().await?.iter().all(|segment| segment.base != last.end.get()) {
            // Something was appended to it meanwhile: not all of it is old.
            return Ok(None);
        }
        let bytes = facts[..count].iter().map(|segment| segment.bytes).sum();
        self.start_at(LogStart::at(last.end));
        self.delete_below_start().await?;
        Ok(Some(Dropped { segments: count, by_size: by_size.min(count), bytes }))
    }

    /// Moves the start of the log, as somebody asked; where it is now. What lies below is deleted by
    /// [`delete_below_start`](Self::delete_below_start), which may be called when the new start is durable.
    pub fn delete_records(&self, offset: i64) -> Result<i64, DeleteRecordsError> {
        let (start, watermark) = (self.state.borrow().log_start(), self.high_watermark());
        let start = retention::delete_records(self.retention.get(), offset, start, watermark)?;
        self.start_at(start);
        Ok(start.get())
    }

    fn start_at(&self, start: LogStart) {
        let mut effects = self.effects.take();
        let start = self.state.borrow_mut().on_log_start(start, &mut effects);
        self.log.set_log_start(start.get());
        self.owner.offsets_moved(&self.id);
        self.carry_out(effects);
    }

    /// Deletes the segments that lie wholly below the start of the log.
    pub async fn delete_below_start(&self) -> Result<(), MaintainError> {
        self.log.delete_segments_below(self.log.log_start()).await.map(drop)
    }

    fn high_watermark(&self) -> HighWatermark {
        self.state.borrow().high_watermark()
    }
}
