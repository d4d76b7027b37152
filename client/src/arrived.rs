//! Records of one partition that have arrived and were not taken yet.
//!
//! They come as whole batches, as they are in the log, compressed or not: the broker hands them on, and it is here that they are checked and
//! taken apart, one batch after the other, each record when it is taken: a batch may hold millions of small ones. A broker that does not know of that sends them one by one.

use crate::error::Error;
use crate::record::{ConsumedRecord, Header, TimestampType};
use bytes::Bytes;
use millrace_proto::batch::{self, BatchError, Record, RecordCursor};
use millrace_proto::compression::{Caps, Codec};
use millrace_proto::grpc::v1;
use std::collections::VecDeque;
use std::sync::Arc;
use tonic::Code;

/// See above.
#[derive(Debug)]
pub(crate) struct Arrived {
    pub(crate) topic: Arc<str>,
    pub(crate) partition: i32,
    /// Behind the newest record that could be read when these were.
    pub(crate) high_watermark: i64,
    /// Where to go on when these have been taken.
    pub(crate) next_offset: i64,
    /// Earlier ones have been taken before: they are there because a batch comes whole.
    from: i64,
    records: VecDeque<ConsumedRecord>,
    /// The batch that is being taken apart, and those behind it.
    open: Option<Opened>,
    batches: Bytes,
    /// What is granted anew once these have been taken.
    pub(crate) credit: i64,
}

/// A batch, and what its records have in common.
#[derive(Debug)]
struct Opened {
    records: RecordCursor,
    timestamp_type: TimestampType,
    leader_epoch: Option<i32>,
}

impl Arrived {
    /// All that is in a response; the last one has its credit. `reached` says how far a partition has been read.
    pub(crate) fn all(
        records: v1::ConsumedRecords,
        reached: impl Fn(&(Arc<str>, i32)) -> Option<i64>,
    ) -> impl Iterator<Item = Self> {
        let last = records.sets.len().saturating_sub(1);
        let bytes = records.bytes;
        records.sets.into_iter().enumerate().map(move |(index, set)| {
            let credit = if index == last { bytes } else { 0 };
            let mut arrived = Self::of(set, credit);
            arrived.from = reached(&arrived.key()).unwrap_or(0);
            arrived
        })
    }

    fn of(set: v1::RecordSet, credit: i64) -> Self {
        let timestamp_type = match set.timestamp_type() {
            v1::TimestampType::Unspecified => TimestampType::None,
            v1::TimestampType::CreateTime => TimestampType::CreateTime,
            v1::TimestampType::LogAppendTime => TimestampType::LogAppendTime,
        };
        let (topic, partition, leader_epoch): (Arc<str>, _, _) =
            (set.topic.into(), set.partition, set.leader_epoch);
        let record = |record: v1::ConsumedRecord| {
            let headers = record.headers.into_iter().map(|h| Header { key: h.key, value: h.value });
            ConsumedRecord {
                topic: topic.clone(),
                partition,
                offset: record.offset,
                timestamp_ms: record.timestamp_ms,
                timestamp_type,
                key: record.key,
                value: record.value,
                headers: headers.collect(),
                leader_epoch,
            }
        };
        let records = set.records.into_iter().map(record).collect();
        let (high_watermark, next_offset, batches) =
            (set.high_watermark, set.next_offset, set.record_batches);
        Self { topic, partition, high_watermark, next_offset, from: 0, records, open: None, batches, credit }
    }

    /// Its partition.
    pub(crate) fn key(&self) -> (Arc<str>, i32) {
        (self.topic.clone(), self.partition)
    }

    /// The next record.
    ///
    /// # Errors
    /// A batch is damaged. Nothing behind it can be read.
    pub(crate) fn take(&mut self) -> Result<Option<ConsumedRecord>, Error> {
        if let Some(record) = self.records.pop_front() {
            return Ok(Some(record));
        }
        self.take_of_batches().map_err(|error| {
            self.open = None;
            self.batches.clear();
            let name = format!("{}-{}", self.topic, self.partition);
            Error::new(Code::DataLoss, error.to_string()).about(&name)
        })
    }

    fn take_of_batches(&mut self) -> Result<Option<ConsumedRecord>, BatchError> {
        loop {
            let Some(open) = &mut self.open else {
                if self.batches.is_empty() {
                    return Ok(None);
                }
                self.open = self.open_batch()?;
                continue;
            };
            let (topic, partition) = (&self.topic, self.partition);
            let (timestamp_type, leader_epoch) = (open.timestamp_type, open.leader_epoch);
            let next = open.records.next(|record, bytes| {
                let Record { offset, timestamp, key, value, headers } = record;
                let part = |part: Option<&[u8]>| part.map(|part| bytes.slice_ref(part));
                let headers = headers.map(|header| Header {
                    key: String::from_utf8_lossy(header.key).into_owned(),
                    value: part(header.value),
                });
                ConsumedRecord {
                    topic: topic.clone(),
                    partition,
                    offset,
                    timestamp_ms: timestamp,
                    timestamp_type,
                    key: part(key),
                    value: part(value),
                    headers: headers.collect(),
                    leader_epoch,
                }
            });
            match next.transpose()? {
                Some(record) if record.offset < self.from => {}
                Some(record) => return Ok(Some(record)),
                None => self.open = None,
            }
        }
    }

    /// Takes the first batch off. `None` if there is nothing in it for anybody.
    fn open_batch(&mut self) -> Result<Option<Opened>, BatchError> {
        let header = batch::verify(&self.batches)?;
        let whole = self.batches.split_to(header.size());
        if header.is_control() {
            return Ok(None);
        }
        let plain = match header.codec()? {
            Codec::None => whole,
            _ => batch::inflate(&whole, &Caps::default())?.into(),
        };
        let timestamp_type = match header.timestamp_type() {
            batch::TimestampType::LogAppendTime => TimestampType::LogAppendTime,
            batch::TimestampType::CreateTime if header.max_timestamp < 0 => TimestampType::None,
            batch::TimestampType::CreateTime => TimestampType::CreateTime,
        };
        let leader_epoch = Some(header.leader_epoch).filter(|epoch| *epoch >= 0);
        Ok(Some(Opened { records: RecordCursor::new(&plain)?, timestamp_type, leader_epoch }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use millrace_proto::batch::{Builder, Options, RecordHeader};

    fn batch(base_offset: i64, values: &[&[u8]], codec: Codec, control: bool) -> Vec<u8> {
        let mut builder = Builder::new();
        for value in values {
            let headers = [RecordHeader { key: b"\xffh", value: Some(b"x") }];
            builder.push(7, None, Some(value), &headers).expect("fits");
        }
        let options = Options { base_offset, codec, control, leader_epoch: 3, ..Options::default() };
        builder.finish(&options).expect("a batch").to_vec()
    }

    fn arrived(batches: Vec<u8>, from: i64) -> Arrived {
        let set = v1::RecordSet { topic: "t".into(), record_batches: batches.into(), ..Default::default() };
        let records = v1::ConsumedRecords { bytes: 100, sets: vec![set] };
        let mut all = Arrived::all(records, |key| (key.1 == 0).then_some(from));
        all.next().expect("a set")
    }

    #[test]
    fn batches_are_taken_apart_from_where_reading_goes_on() {
        for codec in Codec::ALL {
            let batches = [
                batch(10, &[b"a", b"b", b"c"], codec, false),
                batch(13, &[b"\0\0\0\0"], Codec::None, true),
                batch(14, &[b"d"], codec, false),
            ];
            let mut set = arrived(batches.concat(), 12);
            let first = set.take().expect("whole").expect("a record");
            assert_eq!((first.offset, first.value.as_deref()), (12, Some(&b"c"[..])));
            assert_eq!((first.timestamp_ms, first.timestamp_type), (7, TimestampType::CreateTime));
            assert_eq!(first.leader_epoch, Some(3));
            let header = Header { key: "\u{fffd}h".to_owned(), value: Some(Bytes::from_static(b"x")) };
            assert_eq!(first.headers, [header]);
            assert_eq!(set.take().expect("whole").map(|record| record.offset), Some(14));
            assert_eq!(set.take(), Ok(None));
            assert_eq!(set.credit, 100);
        }
    }

    #[test]
    fn damage_is_told_and_nothing_behind_it_is_read() {
        let mut bytes =
            [batch(0, &[b"a"], Codec::None, false), batch(1, &[b"b"], Codec::None, false)].concat();
        let last = bytes.len() - 1;
        bytes[last] ^= 1;
        bytes.extend(batch(2, &[b"c"], Codec::None, false));
        let mut set = arrived(bytes, 0);
        assert_eq!(set.take().expect("whole").map(|record| record.offset), Some(0));
        let error = set.take().expect_err("the second is damaged");
        assert_eq!(error.code, Code::DataLoss);
        assert!(error.message.starts_with("t-0: "), "{error}");
        assert_eq!(set.take(), Ok(None));
    }
}
