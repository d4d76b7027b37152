//! Finding records by timestamp: the time index says in which segment and from where on, headers find the batch, and
//! the batch's own records the exact one.

use super::index::{Lookup, search_file};
use super::names;
use super::state::{Inner, Opened};
use super::types::{ReadError, TimestampedOffset};
use millrace_io::Io;
use millrace_proto::batch::{self, Header};
use millrace_proto::compression::Caps;
use millrace_proto::files::TimeIndexEntry;
use std::ops::ControlFlow;

impl<I: Io> Inner<I> {
    pub(super) async fn offset_for_timestamp(
        &self,
        timestamp: i64,
        upto: i64,
    ) -> Result<Option<TimestampedOffset>, ReadError> {
        self.online()?;
        for base in self.readable_segments(upto) {
            if self.largest_timestamp(base).await?.is_some_and(|e| e.timestamp >= timestamp)
                && let Some(found) = self.first_at_least(base, timestamp, upto).await?
            {
                return Ok(Some(found));
            }
        }
        Ok(None)
    }

    pub(super) async fn max_timestamp_offset(
        &self,
        upto: i64,
    ) -> Result<Option<TimestampedOffset>, ReadError> {
        self.online()?;
        let mut best: Option<(i64, i64)> = None;
        for base in self.readable_segments(upto) {
            if let Some(largest) = self.largest_below(base, upto).await?
                && best.is_none_or(|(timestamp, _)| largest > timestamp)
            {
                best = Some((largest, base));
            }
        }
        match best {
            Some((timestamp, base)) => self.first_at_least(base, timestamp, upto).await,
            None => Ok(None),
        }
    }

    /// Bases of the segments that may hold offsets from the log's start up to `upto`.
    fn readable_segments(&self, upto: i64) -> Vec<i64> {
        let state = self.state.borrow();
        let first = state.segment_for(state.log_start).unwrap_or(0);
        state.segments[first..].iter().map(|s| s.base).filter(|base| *base < upto).collect()
    }

    /// The largest timestamp in a segment, by its time index.
    pub(super) async fn largest_timestamp(&self, base: i64) -> Result<Option<TimeIndexEntry>, ReadError> {
        {
            let state = self.state.borrow();
            if state.last().base == base && state.active.max_timestamp.is_some() {
                return Ok(state.active.max_timestamp);
            }
        }
        self.time_floor(base, |e| e.timestamp, i64::MAX, 1.0).await
    }

    /// The timestamp of a segment's first batch, if it has a record with one.
    pub(super) async fn first_timestamp(&self, base: i64) -> Result<Option<i64>, ReadError> {
        self.online()?;
        let opened = self.segment_of(base).await?;
        let mut walker = self.walker_at(&opened, 0);
        Ok(self.next_batch(&mut walker, &opened).await?.and_then(|(_, header)| header.newest()))
    }

    async fn time_floor(
        &self,
        base: i64,
        key: impl Fn(&TimeIndexEntry) -> i64 + Copy,
        target: i64,
        guess: f64,
    ) -> Result<Option<TimeIndexEntry>, ReadError> {
        let failed = |e| self.read_error(base, names::TIME_INDEX, e);
        let Some(file) = self.open_times(base).await.map_err(failed)? else { return Ok(None) };
        let lookup = {
            let mut state = self.state.borrow_mut();
            let Some(segment) = state.segment_mut(base) else { return Ok(None) };
            segment.times.floor(key, target)
        };
        match lookup {
            Lookup::Known(entry) => Ok(entry),
            Lookup::InFile { count } => {
                search_file(&self.io, &file, count, key, target, guess).await.map_err(failed)
            }
        }
    }

    /// The largest timestamp of the batches below `upto`, in one segment.
    async fn largest_below(&self, base: i64, upto: i64) -> Result<Option<i64>, ReadError> {
        let entry = self.time_floor(base, |e| i64::from(e.relative_offset), upto - 1 - base, 1.0).await?;
        let start = entry.map_or(base, |e| base + i64::from(e.relative_offset));
        let opened = self.segment_of(base).await?;
        let mut walker = self.walker_near(&opened, start).await?;
        let from = self.state.borrow().log_start;
        let mut largest = None;
        while let Some((position, header)) = self.next_batch(&mut walker, &opened).await? {
            if header.next_offset() > upto {
                break;
            }
            if header.last_offset() >= from {
                let largest_here = match header.base_offset < from {
                    // The header speaks for records that are deleted, too.
                    true => self.largest_in(&opened, position, &header, from).await?,
                    false => header.newest().unwrap_or(-1),
                };
                largest = largest.max(Some(largest_here).filter(|t| *t >= 0));
            }
        }
        Ok(largest)
    }

    /// The largest timestamp of the records of one batch with an offset of at least `from`; -1 for none.
    async fn largest_in(
        &self,
        opened: &Opened<I::File>,
        position: u64,
        header: &Header,
        from: i64,
    ) -> Result<i64, ReadError> {
        let mut largest = -1;
        self.visit(opened, position, header, |record| {
            if record.offset >= from {
                largest = largest.max(record.timestamp);
            }
            ControlFlow::Continue(())
        })
        .await?;
        Ok(largest)
    }

    /// The first record of a segment with a timestamp of at least `timestamp`, within the log's start and `upto`.
    async fn first_at_least(
        &self,
        base: i64,
        timestamp: i64,
        upto: i64,
    ) -> Result<Option<TimestampedOffset>, ReadError> {
        let entry = self.time_floor(base, |e| e.timestamp, timestamp, 0.5).await?;
        let start = entry.map_or(base, |e| base + i64::from(e.relative_offset));
        let from = self.state.borrow().log_start;
        let opened = self.segment_of(base).await?;
        let mut walker = self.walker_near(&opened, start).await?;
        while let Some((position, header)) = self.next_batch(&mut walker, &opened).await? {
            if header.base_offset >= upto {
                break;
            }
            if header.newest().is_some_and(|newest| newest >= timestamp) && header.last_offset() >= from {
                let found = self.record_in(&opened, position, &header, timestamp, from).await?;
                if found.is_some() {
                    return Ok(found.filter(|f| f.offset < upto));
                }
            }
        }
        Ok(None)
    }

    /// The first record of one batch with a timestamp of at least `timestamp` and an offset of at least `from`.
    async fn record_in(
        &self,
        opened: &Opened<I::File>,
        position: u64,
        header: &Header,
        timestamp: i64,
        from: i64,
    ) -> Result<Option<TimestampedOffset>, ReadError> {
        let mut found = None;
        self.visit(opened, position, header, |record| {
            if record.timestamp >= timestamp && record.offset >= from {
                found = Some(TimestampedOffset { offset: record.offset, timestamp: record.timestamp });
                return ControlFlow::Break(());
            }
            ControlFlow::Continue(())
        })
        .await?;
        Ok(found)
    }

    /// Shows the records of one batch, in order, for as long as they are wanted.
    async fn visit(
        &self,
        opened: &Opened<I::File>,
        position: u64,
        header: &Header,
        mut show: impl FnMut(&batch::Record<'_>) -> ControlFlow<()>,
    ) -> Result<(), ReadError> {
        let failed = |e: String| self.read_error(opened.base, names::LOG, e);
        let bytes = self.io.read_at(&opened.file, position, header.size()).await;
        let bytes = bytes.map_err(|e| failed(e.to_string()))?;
        let mut scratch = Vec::new();
        let records =
            batch::records(&bytes, &mut scratch, &Caps::default()).map_err(|e| failed(e.to_string()))?;
        for record in records {
            if show(&record.map_err(|e| failed(e.to_string()))?).is_break() {
                break;
            }
        }
        Ok(())
    }
}
