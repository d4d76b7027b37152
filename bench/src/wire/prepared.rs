//! Requests made before the clock runs. What differs between two sendings of one, the correlation id and the partition or the offset, is
//! written into a copy of its head; records are never copied.

use crate::error::{Error, Result};
use crate::wire::admin::CLIENT;
use crate::workload::Load;
use bytes::Bytes;
use millrace_proto::batch::{Builder, Options};
use millrace_proto::kafka::header::encode_request;
use millrace_proto::kafka::messages::fetch::{FetchPartition, FetchRequest, FetchTopic};
use millrace_proto::kafka::messages::produce::{PartitionProduceData, ProduceRequest, TopicProduceData};
use std::time::{SystemTime, UNIX_EPOCH};
use uuid::Uuid;

/// With topic ids, as Kafka's own clients of that release send it.
pub const PRODUCE_VERSION: i16 = 13;
/// With topic ids, as Kafka's own clients of that release send it.
pub const FETCH_VERSION: i16 = 17;

/// Where the correlation id is: behind size, key and version.
const CORRELATION_AT: usize = 8;
/// Batches that differ in content, sent one after the other.
const VARIANTS: u64 = 16;
/// How long the broker may take; a run fails long before.
const TIMEOUT_MS: i32 = 30_000;

/// A head is at most this long: with a topic id nothing in it grows.
pub const HEAD: usize = 128;

/// The part of a request in front of its records, in one piece with the numbers of this sending.
#[derive(Clone, Copy, Debug)]
pub struct Head {
    bytes: [u8; HEAD],
    len: u8,
}

impl Head {
    /// None: of a request that is in one piece.
    pub const NONE: Self = Self { bytes: [0; HEAD], len: 0 };

    fn new(bytes: &[u8]) -> Result<Self> {
        let mut head = Self { bytes: [0; HEAD], len: bytes.len() as u8 };
        let room = head.bytes.get_mut(..bytes.len());
        let room = room.ok_or_else(|| Error::Usage("a prepared request is too long".to_owned()))?;
        room.copy_from_slice(bytes);
        Ok(head)
    }

    /// Its bytes.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes[..usize::from(self.len)]
    }

    fn set(&mut self, at: usize, bytes: &[u8]) {
        self.bytes[at..at + bytes.len()].copy_from_slice(bytes);
    }
}

/// A Produce request of one batch for one partition, which is yet to be said.
#[derive(Clone, Debug)]
pub struct Produce {
    head: Head,
    partition_at: usize,
    /// The batch.
    pub batch: Bytes,
    /// What follows the batch.
    pub tail: Bytes,
    /// Keys and values, before compression.
    pub payload: u64,
}

impl Produce {
    /// The head for one sending.
    pub fn head(&self, correlation_id: i32, partition: i32) -> Head {
        let mut head = self.head;
        head.set(CORRELATION_AT, &correlation_id.to_be_bytes());
        head.set(self.partition_at, &partition.to_be_bytes());
        head
    }

    /// Requests of this load for a topic: several, so that not every batch has the same content.
    pub fn prepare(load: &Load, topic: Uuid) -> Result<Vec<Self>> {
        let mut noise = Noise::new(1);
        (0..VARIANTS).map(|_| Self::one(load, topic, &mut noise)).collect()
    }

    fn one(load: &Load, topic: Uuid, noise: &mut Noise) -> Result<Self> {
        let (batch, payload) = batch(load, noise)?;
        let encode = |partition| encode(topic, load.acks.code(), partition, &batch);
        let (frame, other) = (encode(0)?, encode(-1)?);
        let differs = frame.iter().zip(&other).position(|(a, b)| a != b);
        let partition_at = differs.ok_or_else(|| Error::Usage("a request without a partition".to_owned()))?;
        // Behind the partition is the batch's length, as an unsigned varint of 7 bits a byte.
        let length_bytes = (1..=5).find(|bytes| (batch.len() + 1) >> (7 * bytes) == 0).unwrap_or(5);
        let batch_at = partition_at + 4 + length_bytes;
        debug_assert_eq!(&frame[batch_at..batch_at + batch.len()], &batch[..]);
        Ok(Self {
            head: Head::new(&frame[..batch_at])?,
            partition_at,
            tail: frame.slice(batch_at + batch.len()..),
            batch,
            payload,
        })
    }
}

fn encode(topic_id: Uuid, acks: i16, partition: i32, batch: &Bytes) -> Result<Bytes> {
    let partition = PartitionProduceData { index: partition, records: Some(batch) };
    let topic = TopicProduceData { topic_id, partition_data: vec![partition], ..TopicProduceData::default() };
    let request =
        ProduceRequest { acks, timeout_ms: TIMEOUT_MS, topic_data: vec![topic], ..ProduceRequest::default() };
    let frame = encode_request(PRODUCE_VERSION, 0, Some(CLIENT), &request);
    Ok(frame.map_err(|why| Error::Usage(why.to_string()))?.freeze())
}

/// A batch, and the bytes of keys and values in it.
fn batch(load: &Load, noise: &mut Noise) -> Result<(Bytes, u64)> {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis() as i64);
    let mut builder = Builder::with_capacity(load.record_size.largest() * load.records_per_request as usize);
    let mut payload = 0;
    for _ in 0..load.records_per_request {
        let value = value(load, noise);
        let key = load.keyed.then(|| key(noise));
        let key = key.as_deref();
        payload += (value.len() + key.map_or(0, <[u8]>::len)) as u64;
        builder
            .push(now, key, Some(&value), &[])
            .map_err(|why| Error::Usage(format!("no such batch: {why}")))?;
    }
    let options = Options { codec: load.compression, ..Options::default() };
    let batch = builder.finish(&options).map_err(|why| Error::Usage(format!("no such batch: {why}")))?;
    Ok((batch.freeze(), payload))
}

/// A value of this load.
pub fn value(load: &Load, noise: &mut Noise) -> Bytes {
    let size = load.record_size.pick(noise.next());
    noise.text(size)
}

/// A key, of 16 bytes.
pub fn key(noise: &mut Noise) -> Bytes {
    format!("key-{:012}", noise.next() % 1_000_000_000_000).into()
}

/// Numbers that look random and are the same in every run.
#[derive(Debug)]
pub struct Noise(u64);

impl Noise {
    /// The numbers of a seed.
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// The next number (SplitMix64).
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// Words that repeat and letters that do not, by turns: compressed, it shrinks to about half.
    fn text(&mut self, size: usize) -> Bytes {
        const LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789 ,";
        let mut value = Vec::with_capacity(size + 32);
        while value.len() < size {
            let mut number = self.next();
            for _ in 0..10 {
                value.push(LETTERS[(number & 63) as usize]);
                number >>= 6;
            }
            value.extend_from_slice(b"\",\"temperature\":\"");
        }
        value.truncate(size);
        value.into()
    }
}

/// A Fetch request for one partition, which is yet to be said, from an offset that is yet to be said.
#[derive(Clone, Copy, Debug)]
pub struct Fetch {
    head: Head,
    partition_at: usize,
    offset_at: usize,
}

impl Fetch {
    /// A request for up to `bytes`, which waits for the first one if there is none.
    pub fn prepare(topic: Uuid, bytes: u32, wait_ms: i32) -> Result<Self> {
        let encode = |partition, offset| encode_fetch(topic, bytes, wait_ms, partition, offset);
        let frame = encode(0, 0)?;
        let differs = |other: &[u8]| frame.iter().zip(other).position(|(a, b)| a != b);
        let no_place = || Error::Usage("a request without a place".to_owned());
        Ok(Self {
            head: Head::new(&frame)?,
            partition_at: differs(&encode(-1, 0)?).ok_or_else(no_place)?,
            offset_at: differs(&encode(0, -1)?).ok_or_else(no_place)?,
        })
    }

    /// The whole request for one sending.
    pub fn head(&self, correlation_id: i32, partition: i32, offset: i64) -> Head {
        let mut head = self.head;
        head.set(CORRELATION_AT, &correlation_id.to_be_bytes());
        head.set(self.partition_at, &partition.to_be_bytes());
        head.set(self.offset_at, &offset.to_be_bytes());
        head
    }
}

fn encode_fetch(topic_id: Uuid, bytes: u32, wait_ms: i32, partition: i32, offset: i64) -> Result<Bytes> {
    let most = i32::try_from(bytes).unwrap_or(i32::MAX);
    let partition = FetchPartition {
        partition,
        fetch_offset: offset,
        partition_max_bytes: most,
        ..FetchPartition::default()
    };
    let topic = FetchTopic { topic_id, partitions: vec![partition], ..FetchTopic::default() };
    let request = FetchRequest {
        max_wait_ms: wait_ms,
        min_bytes: 1,
        max_bytes: most,
        topics: vec![topic],
        ..FetchRequest::default()
    };
    let frame = encode_request(FETCH_VERSION, 0, Some(CLIENT), &request);
    Ok(frame.map_err(|why| Error::Usage(why.to_string()))?.freeze())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::workload::Sizes;
    use millrace_proto::batch::{records, verify};
    use millrace_proto::compression::{Caps, Codec};
    use millrace_proto::kafka::api::decode_request;
    use millrace_proto::kafka::header::RequestHeader;

    fn sent(head: &Head, rest: [&[u8]; 2]) -> Vec<u8> {
        [head.bytes(), rest[0], rest[1]].concat()
    }

    #[test]
    fn a_sending_is_a_request_with_its_own_numbers() {
        let topic = Uuid::from_u128(0x1234);
        for records_per_request in [1, 16, 100] {
            let load = Load { records_per_request, ..Load::default() };
            let prepared = Produce::prepare(&load, topic).unwrap();
            assert_eq!(prepared.len() as u64, VARIANTS);
            assert_ne!(prepared[0].batch, prepared[1].batch);
            let produce = &prepared[3];
            let frame = sent(&produce.head(77, 4999), [&produce.batch, &produce.tail]);
            let size = u32::from_be_bytes(frame[..4].try_into().unwrap()) as usize;
            assert_eq!(size, frame.len() - 4);
            let (header, body) = RequestHeader::decode(&frame[4..]).unwrap();
            assert_eq!((header.correlation_id, header.api_version), (77, PRODUCE_VERSION));
            let request: ProduceRequest<'_> = decode_request(body, header.api_version).unwrap();
            let topic_data = &request.topic_data[0];
            assert_eq!((request.acks, topic_data.topic_id), (load.acks.code(), topic));
            assert_eq!(topic_data.partition_data[0].index, 4999);
            assert_eq!(topic_data.partition_data[0].records, Some(&produce.batch[..]));
            assert_eq!(produce.payload, 1024 * u64::from(records_per_request));
        }
    }

    #[test]
    fn batches_are_what_the_load_says() {
        let load = Load {
            record_size: Sizes::new(100, 300).unwrap(),
            records_per_request: 50,
            keyed: true,
            compression: Codec::Lz4,
            ..Load::default()
        };
        for produce in Produce::prepare(&load, Uuid::nil()).unwrap() {
            let header = verify(&produce.batch).unwrap();
            assert_eq!(header.record_count, 50);
            assert_eq!(header.codec().unwrap(), Codec::Lz4);
            assert!(produce.payload > 50 * 116 && produce.payload < 50 * 316, "{}", produce.payload);
            assert!((produce.batch.len() as u64) < produce.payload);
        }
        let plain = Load { compression: Codec::None, ..load };
        let produce = &Produce::prepare(&plain, Uuid::nil()).unwrap()[0];
        for record in records(&produce.batch, &mut Vec::new(), &Caps::default()).unwrap() {
            let record = record.unwrap();
            assert_eq!(record.key.unwrap().len(), 16);
            assert!((100..=300).contains(&record.value.unwrap().len()));
        }
    }

    #[test]
    fn a_fetch_says_partition_and_offset() {
        let topic = Uuid::from_u128(7);
        let fetch = Fetch::prepare(topic, 1 << 20, 500).unwrap();
        let frame = sent(&fetch.head(5, 3, 123_456_789_012), [&[], &[]]);
        let (header, body) = RequestHeader::decode(&frame[4..]).unwrap();
        assert_eq!((header.correlation_id, header.api_version), (5, FETCH_VERSION));
        let request: FetchRequest<'_> = decode_request(body, FETCH_VERSION).unwrap();
        let partition = &request.topics[0].partitions[0];
        assert_eq!((request.topics[0].topic_id, partition.partition), (topic, 3));
        assert_eq!((partition.fetch_offset, partition.partition_max_bytes), (123_456_789_012, 1 << 20));
        assert_eq!((request.max_wait_ms, request.min_bytes), (500, 1));
    }
}
