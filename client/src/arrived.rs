//! Records of one partition that have arrived and were not taken yet.

use crate::record::{ConsumedRecord, Header, TimestampType};
use millrace_proto::grpc::v1;
use std::collections::VecDeque;
use std::sync::Arc;

/// See above.
#[derive(Debug)]
pub(crate) struct Arrived {
    pub(crate) topic: Arc<str>,
    pub(crate) partition: i32,
    leader_epoch: Option<i32>,
    timestamp_type: TimestampType,
    /// Behind the newest record that could be read when these were.
    pub(crate) high_watermark: i64,
    /// Where to go on when these have been taken.
    pub(crate) next_offset: i64,
    records: VecDeque<v1::ConsumedRecord>,
    /// What is granted anew once these have been taken.
    pub(crate) credit: i64,
}

impl Arrived {
    /// All that is in a response; the last one has its credit.
    pub(crate) fn all(records: v1::ConsumedRecords) -> impl Iterator<Item = Self> {
        let last = records.sets.len().saturating_sub(1);
        let bytes = records.bytes;
        records.sets.into_iter().enumerate().map(move |(index, set)| Self {
            timestamp_type: match set.timestamp_type() {
                v1::TimestampType::Unspecified => TimestampType::None,
                v1::TimestampType::CreateTime => TimestampType::CreateTime,
                v1::TimestampType::LogAppendTime => TimestampType::LogAppendTime,
            },
            topic: set.topic.into(),
            partition: set.partition,
            leader_epoch: set.leader_epoch,
            high_watermark: set.high_watermark,
            next_offset: set.next_offset,
            records: set.records.into(),
            credit: if index == last { bytes } else { 0 },
        })
    }

    /// Its partition.
    pub(crate) fn key(&self) -> (Arc<str>, i32) {
        (self.topic.clone(), self.partition)
    }

    /// The next record.
    pub(crate) fn take(&mut self) -> Option<ConsumedRecord> {
        let record = self.records.pop_front()?;
        let headers = record.headers.into_iter().map(|h| Header { key: h.key, value: h.value });
        Some(ConsumedRecord {
            topic: self.topic.clone(),
            partition: self.partition,
            offset: record.offset,
            timestamp_ms: record.timestamp_ms,
            timestamp_type: self.timestamp_type,
            key: record.key,
            value: record.value,
            headers: headers.collect(),
            leader_epoch: self.leader_epoch,
        })
    }
}
