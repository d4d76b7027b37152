//! Batches that were read, turned into responses of bounded size, record by record where a batch does not fit.

use super::assignment::Assigned;
use super::backend::Fetched;
use super::status::Error;
use crate::net::budget::{Budget, Reservation};
use bytes::{Buf, Bytes};
use millrace_proto::batch::{BatchError, Header, TimestampType, inflate, records};
use millrace_proto::compression::{Caps, Codec};
use millrace_proto::grpc::records_out::{BATCHES_HEAD, SetWriter};
use millrace_proto::grpc::v1;
use millrace_proto::kafka::error::ErrorCode;

/// Batches of one partition that are on their way to the client.
pub(super) struct Reading {
    /// Whole batches; the first may have been sent in part.
    rest: Bytes,
    /// The first batch uncompressed, if it is compressed and was inflated, and its share of the budget.
    inflated: Option<(Bytes, Reservation)>,
    high_watermark: i64,
}

/// What stands in the way of the next record.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Progress {
    /// There is none left.
    Finished,
    /// The response is full.
    Full,
    /// The next batch is compressed: [`Reading::inflate`] it first. Takes at most so many bytes.
    Compressed(usize),
}

impl Reading {
    pub(super) fn new(fetched: Fetched) -> Self {
        Self { rest: fetched.batches, inflated: None, high_watermark: fetched.high_watermark }
    }

    /// Adds records to `response` while it takes at most `room` bytes; a response that has no record yet takes one of
    /// any size. Keeps `part.next_offset` behind what was added or skipped.
    pub(super) fn fill(
        &mut self,
        part: &mut Assigned,
        response: &mut Vec<SetWriter>,
        room: usize,
    ) -> Result<Progress, Error> {
        part.high_watermark = self.high_watermark;
        while !self.rest.is_empty() {
            let header = Header::parse(&self.rest).map_err(|error| damaged(part, &error))?;
            let next = header.next_offset();
            if !header.is_control() && next > part.next_offset {
                let codec = header.codec().map_err(|error| damaged(part, &error))?;
                if codec != Codec::None && self.inflated.is_none() {
                    let payload = header.size().saturating_sub(Header::SIZE);
                    return Ok(Progress::Compressed(Caps::default().limit(payload)));
                }
                if !self.copy(&header, part, response, room)? {
                    return Ok(Progress::Full);
                }
            }
            // Compaction leaves gaps, also behind the last record of a batch.
            part.next_offset = part.next_offset.max(next);
            self.inflated = None;
            self.rest.advance(header.size().min(self.rest.len()));
        }
        Ok(Progress::Finished)
    }

    /// Takes whole batches off, as many as take at most `room` bytes of a response that holds nothing else yet; one of any size if
    /// `any_size`. Keeps `part.next_offset` behind them. `None` if there is none, or none that fits.
    pub(super) fn take_batches(
        &mut self,
        part: &mut Assigned,
        room: usize,
        any_size: bool,
    ) -> Result<Option<(v1::RecordSet, Bytes)>, Error> {
        part.high_watermark = self.high_watermark;
        let room = room.saturating_sub(BATCHES_HEAD + part.topic.len());
        let (mut end, mut first) = (0, true);
        while let Some(rest) = self.rest.get(end..).filter(|rest| !rest.is_empty()) {
            let header = Header::parse(rest).map_err(|error| damaged(part, &error))?;
            if header.size() > rest.len() {
                return Err(cut_short(part));
            }
            if first && header.next_offset() <= part.next_offset {
                self.rest.advance(header.size());
                continue;
            }
            if end + header.size() > room && !(any_size && first) {
                break;
            }
            part.next_offset = header.next_offset();
            (end, first) = (end + header.size(), false);
        }
        if end == 0 {
            return Ok(None);
        }
        let head = v1::RecordSet {
            topic: part.topic.to_string(),
            partition: part.partition,
            high_watermark: self.high_watermark,
            next_offset: part.next_offset,
            ..v1::RecordSet::default()
        };
        Ok(Some((head, self.rest.split_to(end))))
    }

    /// Whether everything was taken.
    pub(super) fn is_finished(&self) -> bool {
        self.rest.is_empty()
    }

    /// Copies the records of the first batch; false if the response is full before all of them are in it.
    fn copy(
        &self,
        header: &Header,
        part: &mut Assigned,
        response: &mut Vec<SetWriter>,
        room: usize,
    ) -> Result<bool, Error> {
        let mut scratch = Vec::new(); // stays empty: what is read here is not compressed
        let from = part.next_offset;
        let batch = self.inflated.as_ref().map_or(&self.rest, |(plain, _)| plain);
        let records =
            records(batch, &mut scratch, &Caps::default()).map_err(|error| damaged(part, &error))?;
        let mut size: usize = response.iter().map(SetWriter::size).sum();
        let head = self.set_head(header, part);
        for record in records {
            let record = record.map_err(|error| damaged(part, &error))?;
            if record.offset < from {
                continue;
            }
            let set = match response.last_mut().filter(|set| same_set(&set.head, &head)) {
                Some(set) => set,
                None => {
                    let expected = header.size().min(room.saturating_sub(size));
                    let set = SetWriter::new(head.clone(), expected);
                    if !response.is_empty() && size + set.size() + SetWriter::record_size(&record) > room {
                        return Ok(false);
                    }
                    size += set.size();
                    response.push(set);
                    let last = response.len() - 1;
                    &mut response[last]
                }
            };
            let more = SetWriter::record_size(&record);
            // The set in hand is empty only when it is the response's first: then one record goes in whatever its size.
            if size + more > room && !set.is_empty() {
                return Ok(false);
            }
            set.push(&record);
            size += more;
            part.next_offset = record.offset + 1;
        }
        if let Some(set) = response.last_mut().filter(|set| same_set(&set.head, &head)) {
            set.head.next_offset = set.head.next_offset.max(header.next_offset());
        }
        Ok(true)
    }

    fn set_head(&self, header: &Header, part: &Assigned) -> v1::RecordSet {
        let timestamp_type = match header.timestamp_type() {
            TimestampType::LogAppendTime => v1::TimestampType::LogAppendTime,
            TimestampType::CreateTime if header.max_timestamp < 0 => v1::TimestampType::Unspecified,
            TimestampType::CreateTime => v1::TimestampType::CreateTime,
        };
        v1::RecordSet {
            topic: part.topic.to_string(),
            partition: part.partition,
            leader_epoch: Some(header.leader_epoch).filter(|epoch| *epoch >= 0),
            timestamp_type: timestamp_type.into(),
            high_watermark: self.high_watermark,
            next_offset: part.next_offset,
            ..v1::RecordSet::default()
        }
    }

    /// Decompresses the first batch, once, however many responses its records will take. `reserved` is what
    /// [`Progress::Compressed`] asked for; only what the batch really takes is kept of it, where `budget` has that at once.
    pub(super) fn inflate(
        &mut self,
        part: &Assigned,
        budget: &Budget,
        reserved: Reservation,
    ) -> Result<(), Error> {
        let plain = inflate(&self.rest, &Caps::default()).map_err(|error| damaged(part, &error))?;
        let held = budget.try_reserve(plain.capacity()).unwrap_or(reserved);
        self.inflated = Some((plain.into(), held));
        Ok(())
    }
}

/// Whether records may share a set: all that a set says of its records is the same.
fn same_set(one: &v1::RecordSet, other: &v1::RecordSet) -> bool {
    one.partition == other.partition
        && one.leader_epoch == other.leader_epoch
        && one.timestamp_type == other.timestamp_type
        && one.topic == other.topic
}

fn at(part: &Assigned, what: &str) -> String {
    format!("{}-{} at offset {}: {what}", part.topic, part.partition, part.next_offset)
}

fn damaged(part: &Assigned, error: &BatchError) -> Error {
    Error::new(ErrorCode::CorruptMessage, at(part, &error.to_string()))
}

fn cut_short(part: &Assigned) -> Error {
    Error::new(ErrorCode::CorruptMessage, at(part, "the batch has not the size it says"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::BytesMut;
    use millrace_proto::batch::{Builder, Options};
    use millrace_proto::grpc::records_out::{PREFIX, batches_response, response};
    use prost::Message;

    fn batch(base_offset: i64, values: &[&[u8]], codec: Codec, control: bool) -> BytesMut {
        let mut builder = Builder::new();
        for value in values {
            builder.push(1, None, Some(value), &[]).expect("fits");
        }
        let options = Options { base_offset, codec, control, leader_epoch: 3, ..Options::default() };
        builder.finish(&options).expect("a batch")
    }

    fn part(next_offset: i64) -> Assigned {
        Assigned { topic: "t".into(), partition: 0, next_offset, high_watermark: 0 }
    }

    fn offsets(sets: Vec<SetWriter>) -> (Vec<i64>, i64) {
        let bytes = response(sets).0.concat();
        let message = v1::ConsumeResponse::decode(&bytes[PREFIX..]).expect("a response");
        let Some(v1::consume_response::Event::Records(records)) = message.event else { panic!("no records") };
        let next = records.sets.last().map_or(-1, |set| set.next_offset);
        (records.sets.iter().flat_map(|set| set.records.iter().map(|record| record.offset)).collect(), next)
    }

    #[test]
    fn skips_what_was_not_asked_for() {
        let batches = [
            batch(10, &[b"a", b"b", b"c"], Codec::None, false),
            batch(13, &[b"\0\0\0\0"], Codec::None, true),
            batch(14, &[b"d"], Codec::None, false),
        ];
        let mut reading = Reading::new(Fetched { batches: batches.concat().into(), high_watermark: 15 });
        let (mut part, mut sets) = (part(12), Vec::new());
        assert_eq!(reading.fill(&mut part, &mut sets, 1 << 20), Ok(Progress::Finished));
        assert_eq!((part.next_offset, part.high_watermark), (15, 15));
        assert_eq!(offsets(sets), (vec![12, 14], 15));
    }

    #[test]
    fn a_response_is_cut_to_size_unless_one_record_is_larger() {
        let large = vec![7; 5000];
        let batches = batch(0, &[b"small", b"small", &large, b"small"], Codec::None, false);
        let mut reading = Reading::new(Fetched { batches: batches.freeze(), high_watermark: 4 });
        let mut part = part(0);
        let mut responses = Vec::new();
        loop {
            let mut sets = Vec::new();
            let progress = reading.fill(&mut part, &mut sets, 1024).expect("fine");
            let bound = sets.iter().map(SetWriter::size).sum::<usize>();
            let (offsets, _) = offsets(sets);
            assert!(bound <= 1024 || offsets.len() == 1);
            responses.push(offsets);
            if progress == Progress::Finished {
                break;
            }
            assert_eq!(progress, Progress::Full);
        }
        assert_eq!(responses, [vec![0, 1], vec![2], vec![3]]);
    }

    #[test]
    fn compressed_batches_are_inflated_once() {
        for codec in [Codec::Gzip, Codec::Snappy, Codec::Lz4, Codec::Zstd] {
            let batches =
                [batch(0, &[&[1; 3000], b"b"], codec, false), batch(2, &[b"c"], Codec::None, false)];
            let mut reading = Reading::new(Fetched { batches: batches.concat().into(), high_watermark: 3 });
            let (mut part, mut sets) = (part(1), Vec::new());
            let progress = reading.fill(&mut part, &mut sets, 1 << 20).expect("fine");
            assert!(matches!(progress, Progress::Compressed(limit) if limit >= 3000));
            let budget = Budget::new(1 << 30);
            let reserved = budget.try_reserve(1 << 20).expect("room");
            reading.inflate(&part, &budget, reserved).expect("fine");
            assert!((3000..1 << 20).contains(&budget.used()), "{}", budget.used());
            assert_eq!(reading.fill(&mut part, &mut sets, 1 << 20), Ok(Progress::Finished));
            assert_eq!(offsets(sets), (vec![1, 2], 3));
            assert_eq!(budget.used(), 0);
        }
    }

    #[test]
    fn whole_batches_are_taken_as_they_are() {
        let one = batch(10, &[b"a", b"b"], Codec::Zstd, false);
        let two = batch(12, &[&[7; 5000]], Codec::None, false);
        let both = [&one[..], &two[..]].concat();
        let reading = || Reading::new(Fetched { batches: both.clone().into(), high_watermark: 13 });
        let mut all = reading();
        let mut from_11 = part(11);
        let (head, bytes) = all.take_batches(&mut from_11, 1 << 20, true).expect("whole").expect("some");
        assert_eq!((&bytes[..], head.next_offset, from_11.next_offset), (&both[..], 13, 13));
        assert!(all.is_finished());

        let (pieces, credit) = batches_response(vec![(head.clone(), bytes)]);
        let message = v1::ConsumeResponse::decode(&pieces.concat()[PREFIX..]).expect("a response");
        let Some(v1::consume_response::Event::Records(records)) = message.event else { panic!("no records") };
        assert_eq!(records.sets, [v1::RecordSet { record_batches: both.clone().into(), ..head }]);
        assert_eq!(records.bytes as usize, credit);
        assert_eq!(records.sets[0].encoded_len(), credit);

        let (mut small, mut at) = (reading(), part(10));
        let (_, bytes) = small.take_batches(&mut at, 1024, true).expect("whole").expect("the first fits");
        assert_eq!((&bytes[..], at.next_offset, small.is_finished()), (&one[..], 12, false));
        assert!(small.take_batches(&mut at, 1024, false).expect("whole").is_none(), "the second does not");
        let (_, bytes) = small.take_batches(&mut at, 1024, true).expect("whole").expect("it goes alone");
        assert_eq!(&bytes[..], &two[..]);

        let mut seen = reading();
        assert_eq!(seen.take_batches(&mut part(13), 1 << 20, true), Ok(None));
        assert!(seen.is_finished());
    }

    #[test]
    fn damage_is_reported() {
        let mut batches = batch(0, &[b"a"], Codec::Zstd, false);
        batches.truncate(70);
        let mut reading = Reading::new(Fetched { batches: batches.freeze(), high_watermark: 1 });
        let budget = Budget::new(1 << 30);
        let reserved = budget.try_reserve(1 << 20).expect("room");
        assert_eq!(
            reading.inflate(&part(0), &budget, reserved).map_err(|error| error.code),
            Err(ErrorCode::CorruptMessage)
        );
        let mut reading = Reading::new(Fetched { batches: Bytes::from_static(&[0; 61]), high_watermark: 1 });
        let outcome = reading.fill(&mut part(0), &mut Vec::new(), 100);
        assert_eq!(outcome.map_err(|error| error.code), Err(ErrorCode::CorruptMessage));
    }
}
