//! What may be read, and where the named places of the log are: Fetch's bounds, ListOffsets' sentinels, the ends of leader epochs.

use super::{LeaderEpoch, Partition};
use crate::offset::{HighWatermark, LogEnd, LogStart, Offset, Stable};

/// How far a fetch reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Isolation {
    /// Up to the high watermark.
    ReadUncommitted,
    /// Up to the last stable offset.
    ReadCommitted,
}

impl Isolation {
    /// Reads the wire's number: 0 or 1.
    pub fn from_wire(level: i8) -> Option<Self> {
        match level {
            0 => Some(Self::ReadUncommitted),
            1 => Some(Self::ReadCommitted),
            _ => None,
        }
    }
}

/// The ruler as one fetch sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bounds {
    /// First offset in the log.
    pub log_start: LogStart,
    /// Last stable offset.
    pub stable: Stable,
    /// High watermark.
    pub high_watermark: HighWatermark,
    /// End of the log.
    pub end: LogEnd,
    /// Read below this only. It may lie at or below the fetch offset: then the answer is empty.
    pub upto: Offset,
}

/// Why a read is refused. Answers to refused reads carry -1 for every offset.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FetchError {
    /// `OFFSET_OUT_OF_RANGE` (1).
    #[error("offset {offset} is out of range: the log holds {log_start} up to {end}")]
    OutOfRange {
        /// The offset asked for.
        offset: Offset,
        /// First offset in the log.
        log_start: LogStart,
        /// End of the log.
        end: LogEnd,
    },
    /// The client knows an older leader. `FENCED_LEADER_EPOCH` (74).
    #[error("leader epoch {client} is over, the current one is {current}: refresh the metadata")]
    FencedLeaderEpoch {
        /// The client's.
        client: LeaderEpoch,
        /// This leader's.
        current: LeaderEpoch,
    },
    /// The client knows a newer leader. `UNKNOWN_LEADER_EPOCH` (75).
    #[error("leader epoch {client} is not known here yet, the current one is {current}: try again")]
    UnknownLeaderEpoch {
        /// The client's.
        client: LeaderEpoch,
        /// This leader's.
        current: LeaderEpoch,
    },
    /// Storage failed. `KAFKA_STORAGE_ERROR` (56).
    #[error(
        "the log is offline after a storage failure: see the broker's log, repair the disk and restart the broker"
    )]
    StorageFailed,
    /// The topic was deleted. `UNKNOWN_TOPIC_OR_PARTITION` (3).
    #[error("the topic was deleted")]
    Deleted,
}

/// A place asked for by ListOffsets. Which version may ask for which is the caller's business.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OffsetSpec {
    /// -1: where the next readable record will be.
    Latest,
    /// -2: the log's start.
    Earliest,
    /// -3: the record with the largest timestamp (KIP-734).
    MaxTimestamp,
    /// -4: the start of what is on local disks (KIP-405).
    EarliestLocal,
    /// -5: the last offset in tiered storage (KIP-1005).
    LatestTiered,
    /// -6: the first offset not yet uploaded to tiered storage (KIP-1023).
    EarliestPendingUpload,
    /// The first record at or after this time, in milliseconds since the epoch.
    At(i64),
}

impl OffsetSpec {
    /// Reads the wire's timestamp field; `None` for a negative number without a meaning.
    pub fn from_wire(timestamp: i64) -> Option<Self> {
        Some(match timestamp {
            -1 => Self::Latest,
            -2 => Self::Earliest,
            -3 => Self::MaxTimestamp,
            -4 => Self::EarliestLocal,
            -5 => Self::LatestTiered,
            -6 => Self::EarliestPendingUpload,
            0.. => Self::At(timestamp),
            _ => return None,
        })
    }
}

/// A place that is known without looking into the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Listed {
    /// The offset; the wire says -1 for `None`.
    pub offset: Option<Offset>,
    /// Its leader epoch; the wire says -1 for `None`.
    pub leader_epoch: Option<LeaderEpoch>,
}

/// How a place is found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lookup {
    /// Known already; its timestamp on the wire is -1.
    Known(Listed),
    /// Ask the log for the first record at or after `timestamp`, below `upto`. None found is an answer too: offset and timestamp -1.
    Timestamp {
        /// Milliseconds since the epoch.
        timestamp: i64,
        /// Look below this only.
        upto: Offset,
    },
    /// Ask the log for the record with the largest timestamp below `upto`.
    MaxTimestamp {
        /// Look below this only.
        upto: Offset,
    },
}

/// Why a place cannot be named.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ListError {
    /// As for reads.
    #[error(transparent)]
    Fetch(#[from] FetchError),
    /// The watermark has not reached this leader's own epoch yet (KIP-207). `OFFSET_NOT_AVAILABLE` (78) from v5, `LEADER_NOT_AVAILABLE` (5) before.
    #[error(
        "the end of the log is not settled: the high watermark is {high_watermark}, this leader began at {epoch_start}: try again"
    )]
    NotAvailable {
        /// High watermark.
        high_watermark: HighWatermark,
        /// First offset of the current epoch.
        epoch_start: Offset,
    },
}

/// Where a leader epoch ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EpochEnd {
    /// The largest epoch known here that is not above the one asked for.
    pub epoch: LeaderEpoch,
    /// The first offset after it.
    pub end: Offset,
}

impl<P, W: Ord + Clone> Partition<P, W> {
    /// What a fetch from `offset` may read now. An offset between watermark and end is in range and finds nothing yet.
    pub fn fetch_bounds(
        &self,
        offset: Offset,
        client_epoch: Option<LeaderEpoch>,
        isolation: Isolation,
    ) -> Result<Bounds, FetchError> {
        self.serving()?;
        self.check_epoch(client_epoch)?;
        if offset < self.log_start.offset() || offset > self.end.offset() {
            return Err(self.out_of_range(offset));
        }
        Ok(Bounds {
            log_start: self.log_start,
            stable: self.stable(),
            high_watermark: self.high_watermark,
            end: self.end,
            upto: self.readable(isolation),
        })
    }

    /// Where the fetcher's history left this leader's: `None` when the epoch of its last record agrees with the log here (KIP-595).
    ///
    /// An epoch that is not known here at all is answered as an offset out of range.
    pub fn diverging_epoch(
        &self,
        last_fetched: LeaderEpoch,
        offset: Offset,
    ) -> Result<Option<EpochEnd>, FetchError> {
        let found = self.epochs.end_of(last_fetched, self.end).ok_or_else(|| self.out_of_range(offset))?;
        let diverges = found.epoch < last_fetched || found.end < offset;
        Ok(diverges.then_some(found))
    }

    /// How to answer ListOffsets. Without tiered storage nothing is tiered, and all that is local is all there is.
    pub fn list_offset(
        &self,
        spec: OffsetSpec,
        client_epoch: Option<LeaderEpoch>,
        isolation: Isolation,
    ) -> Result<Lookup, ListError> {
        self.serving()?;
        self.check_epoch(client_epoch)?;
        let upto = self.readable(isolation);
        match spec {
            OffsetSpec::Earliest | OffsetSpec::EarliestLocal => {
                let offset = self.log_start.offset();
                Ok(Lookup::Known(Listed { offset: Some(offset), leader_epoch: self.epochs.epoch_of(offset) }))
            }
            OffsetSpec::LatestTiered | OffsetSpec::EarliestPendingUpload => {
                Ok(Lookup::Known(Listed { offset: None, leader_epoch: None }))
            }
            OffsetSpec::Latest => {
                self.settled()?;
                Ok(Lookup::Known(Listed { offset: Some(upto), leader_epoch: Some(self.leader_epoch) }))
            }
            OffsetSpec::MaxTimestamp => Ok(Lookup::MaxTimestamp { upto }),
            OffsetSpec::At(timestamp) => Ok(Lookup::Timestamp { timestamp, upto }),
        }
    }

    /// Where `epoch` ended here; `None` is answered as epoch -1, offset -1 (OffsetForLeaderEpoch, KIP-279).
    pub fn end_offset_for_epoch(
        &self,
        epoch: LeaderEpoch,
        client_epoch: Option<LeaderEpoch>,
    ) -> Result<Option<EpochEnd>, FetchError> {
        self.serving()?;
        self.check_epoch(client_epoch)?;
        Ok(self.epochs.end_of(epoch, self.end))
    }

    /// The epoch of the record at `offset`, for answers found by timestamp.
    pub fn epoch_of(&self, offset: Offset) -> Option<LeaderEpoch> {
        self.epochs.epoch_of(offset)
    }

    /// Where reading ends.
    fn readable(&self, isolation: Isolation) -> Offset {
        match isolation {
            Isolation::ReadUncommitted => self.high_watermark.offset(),
            Isolation::ReadCommitted => self.stable().offset(),
        }
    }

    pub(super) fn out_of_range(&self, offset: Offset) -> FetchError {
        FetchError::OutOfRange { offset, log_start: self.log_start, end: self.end }
    }

    fn check_epoch(&self, client: Option<LeaderEpoch>) -> Result<(), FetchError> {
        let current = self.leader_epoch;
        match client {
            Some(client) if client < current => Err(FetchError::FencedLeaderEpoch { client, current }),
            Some(client) if client > current => Err(FetchError::UnknownLeaderEpoch { client, current }),
            _ => Ok(()),
        }
    }

    fn settled(&self) -> Result<(), ListError> {
        if self.high_watermark.offset() < self.epoch_start {
            return Err(ListError::NotAvailable {
                high_watermark: self.high_watermark,
                epoch_start: self.epoch_start,
            });
        }
        Ok(())
    }
}
