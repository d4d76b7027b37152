//! A consumer: long polls from offsets that it keeps, sometimes from the beginning again; and the reader that at the end
//! reads everything there is.

use super::connection::{Connection, Lost};
use super::{Client, Target, passes};
use crate::judge::{Fact, Partition};
use crate::payload;
use bytes::Bytes;
use millrace_io::Io;
use millrace_io::simulated::Rng;
use millrace_proto::batch::{Header, records, verify};
use millrace_proto::compression::Caps;
use millrace_proto::kafka::api::decode_response;
use millrace_proto::kafka::error::ErrorCode;
use millrace_proto::kafka::messages::fetch::{
    FetchPartition, FetchRequest, FetchResponse, FetchTopic, PartitionData, Records,
};
use millrace_proto::kafka::messages::list_offsets::{
    LATEST, ListOffsetsPartition, ListOffsetsRequest, ListOffsetsResponse, ListOffsetsTopic,
};
use std::time::Duration;

/// From this version on a topic is named by its id.
const TOPIC_IDS: i16 = 13;
const LIST_OFFSETS_VERSION: i16 = 7;

struct Position {
    target: Target,
    offset: i64,
    /// The high watermark, as last heard of.
    watermark: Option<i64>,
}

/// A consumer before it runs.
pub struct Consumer {
    client: Client,
    /// Its number: no other reader has it.
    reader: u64,
    rng: Rng,
    version: i16,
    positions: Vec<Position>,
}

impl Consumer {
    /// A consumer of these partitions.
    pub fn new(client: Client, mut rng: Rng, targets: &[Target]) -> Self {
        let position = |target: &Target| Position { target: target.clone(), offset: 0, watermark: None };
        let version = rng.within(4..=17) as i16;
        let reader = client.judge.next_number();
        Self { reader, client, rng, version, positions: targets.iter().map(position).collect() }
    }

    /// Consumes until the closing, and then to the end.
    pub async fn run(mut self) {
        loop {
            self.seek();
            match self.session(false).await {
                Ok(()) if self.client.closing.has_begun() => break,
                Ok(()) => {}
                Err(lost) => self.client.after(lost).await,
            }
        }
    }

    /// Reads everything, from the beginning to the high watermark, and tells the judge where that is.
    pub async fn read_whole(mut self) {
        self.seek();
        while let Err(lost) = self.session(true).await {
            self.client.after(lost).await;
        }
        for Position { target, offset, .. } in &self.positions {
            self.client.judge.note(Fact::ReadWhole { partition: target.partition, end: *offset });
        }
    }

    /// Some partitions are read from the beginning again.
    fn seek(&mut self) {
        for position in &mut self.positions {
            if self.rng.chance(0.2) {
                position.offset = 0;
            }
            let (partition, offset) = (position.target.partition, position.offset);
            self.client.judge.note(Fact::Seek { reader: self.reader, partition, offset });
        }
    }

    /// One connection. `Ok` when it is given up at will, or when the end is reached and that is what is wanted.
    async fn session(&mut self, to_the_end: bool) -> Result<(), Lost> {
        let mut connection = Connection::open(&self.client.io, self.client.broker).await?;
        self.positions.iter_mut().for_each(|position| position.watermark = None);
        loop {
            if self.rng.chance(0.1) {
                self.ask_for_the_end(&mut connection).await?;
            }
            let partitions = self.fetch(&mut connection).await?;
            let finishing = to_the_end || self.client.closing.has_begun();
            if finishing && self.positions.iter().all(|position| position.watermark == Some(position.offset))
            {
                return Ok(());
            }
            if !partitions {
                self.client.io.sleep(Duration::from_millis(50)).await;
            }
            if self.rng.chance(0.01) && !to_the_end {
                return Ok(());
            }
        }
    }

    /// One fetch; whether every partition was read.
    async fn fetch(&mut self, connection: &mut Connection) -> Result<bool, Lost> {
        let max_bytes = if self.rng.chance(0.5) { 1 << 20 } else { self.rng.within(1..=4_000) as i32 };
        let topics = self.positions.iter().map(|Position { target, offset, .. }| FetchTopic {
            topic: &target.topic,
            topic_id: target.partition.topic,
            partitions: vec![FetchPartition {
                partition: target.partition.index,
                fetch_offset: *offset,
                partition_max_bytes: max_bytes,
                ..FetchPartition::default()
            }],
        });
        let request = FetchRequest {
            max_wait_ms: self.rng.within(0..=500) as i32,
            min_bytes: self.rng.within(1..=2_000) as i32,
            topics: topics.collect(),
            ..FetchRequest::default()
        };
        let answer = connection.call(self.version, &request).await?;
        let response: FetchResponse<'_> =
            decode_response(&answer, self.version).map_err(|e| Lost::Garbled(e.to_string()))?;
        // Partitions of one topic that follow each other are answered together, as Kafka does.
        let parts =
            response.responses.iter().flat_map(|topic| topic.partitions.iter().map(move |p| (topic, p)));
        let parts: Vec<_> = parts.collect();
        if response.error_code != ErrorCode::None || parts.len() != self.positions.len() {
            return Err(Lost::Garbled(format!("a fetch answered with {response:?}")));
        }
        let mut all = true;
        for (at, (topic, data)) in parts.into_iter().enumerate() {
            let target = &self.positions[at].target;
            let same_topic = if self.version >= TOPIC_IDS {
                topic.topic_id == target.partition.topic
            } else {
                topic.topic == target.topic
            };
            if !same_topic || data.partition_index != target.partition.index {
                return Err(Lost::Garbled(format!("{} was asked for, another answered", target.partition)));
            }
            all &= self.take(at, data)?;
        }
        Ok(all)
    }

    fn take(&mut self, at: usize, data: &PartitionData<'_>) -> Result<bool, Lost> {
        let position = &mut self.positions[at];
        let partition = position.target.partition;
        if data.error_code != ErrorCode::None {
            if !passes(data.error_code) {
                let (code, offset) = (data.error_code, position.offset);
                self.client.nonsense(format_args!("{code:?} for a fetch of {partition} from {offset}"));
            }
            return Ok(false);
        }
        let (observer, watermark) = (self.reader, data.high_watermark);
        self.client.judge.note(Fact::Watermark { observer, partition, offset: watermark });
        position.watermark = Some(watermark);
        if let Records::Bytes(bytes) = data.records {
            position.offset =
                self.client.take_batches(self.reader, partition, position.offset, watermark, bytes)?;
        }
        Ok(true)
    }

    /// The end of every log, as consumers see it.
    async fn ask_for_the_end(&mut self, connection: &mut Connection) -> Result<(), Lost> {
        let topics = self.positions.iter().map(|Position { target, .. }| ListOffsetsTopic {
            name: &target.topic,
            partitions: vec![ListOffsetsPartition {
                partition_index: target.partition.index,
                timestamp: LATEST,
                ..ListOffsetsPartition::default()
            }],
        });
        let request = ListOffsetsRequest { replica_id: -1, topics: topics.collect(), ..Default::default() };
        let answer: Bytes = connection.call(LIST_OFFSETS_VERSION, &request).await?;
        let response: ListOffsetsResponse<'_> =
            decode_response(&answer, LIST_OFFSETS_VERSION).map_err(|e| Lost::Garbled(e.to_string()))?;
        let found = response.topics.iter().flat_map(|topic| &topic.partitions);
        for (Position { target, .. }, found) in self.positions.iter().zip(found) {
            let (observer, partition, offset) = (self.reader, target.partition, found.offset);
            match found.error_code {
                ErrorCode::None => self.client.judge.note(Fact::Watermark { observer, partition, offset }),
                code if passes(code) => {}
                code => self.client.nonsense(format_args!("{code:?} for the end of {partition}")),
            }
        }
        Ok(())
    }
}

impl Client {
    /// Reads whole batches; says which offset is next.
    fn take_batches(
        &self,
        reader: u64,
        partition: Partition,
        from: i64,
        watermark: i64,
        mut bytes: &[u8],
    ) -> Result<i64, Lost> {
        let garbled = |what: String| Lost::Garbled(format!("{partition} from offset {from}: {what}"));
        let (mut next, mut scratch) = (from, Vec::new());
        while !bytes.is_empty() {
            let header = Header::parse(bytes).map_err(|e| garbled(e.to_string()))?;
            let batch = bytes.get(..header.size()).ok_or_else(|| garbled("half a batch".to_owned()))?;
            verify(batch).map_err(|e| garbled(e.to_string()))?;
            if header.next_offset() > watermark {
                return Err(garbled(format!(
                    "a batch up to {} with watermark {watermark}",
                    header.next_offset()
                )));
            }
            for record in
                records(batch, &mut scratch, &Caps::default()).map_err(|e| garbled(e.to_string()))?
            {
                let record = record.map_err(|e| garbled(format!("{e:?}")))?;
                let number = record.value.and_then(payload::number);
                let number =
                    number.ok_or_else(|| garbled(format!("the record at {} is not whole", record.offset)))?;
                // A fetch from within a batch is given all of it.
                if record.offset >= next {
                    self.judge.note(Fact::Read { reader, partition, offset: record.offset, number });
                    next = record.offset + 1;
                }
            }
            bytes = &bytes[header.size()..];
        }
        Ok(next)
    }
}
