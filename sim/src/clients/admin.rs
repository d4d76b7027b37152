//! A client that creates, lists, deletes and recreates topics, takes producer ids, and writes a little to what it made.

use super::connection::{Connection, Lost};
use super::producer::{Kind, Producer};
use super::{Client, Target, passes};
use crate::judge::{Fact, Partition, Promise};
use crate::plan::{self, TopicPlan};
use millrace_io::Io;
use millrace_io::simulated::Rng;
use millrace_proto::kafka::api::decode_response;
use millrace_proto::kafka::error::ErrorCode;
use millrace_proto::kafka::messages::create_topics::{
    CreatableTopic, CreatableTopicConfig, CreateTopicsRequest, CreateTopicsResponse,
};
use millrace_proto::kafka::messages::delete_topics::{
    DeleteTopicState, DeleteTopicsRequest, DeleteTopicsResponse,
};
use millrace_proto::kafka::messages::init_producer_id::{InitProducerIdRequest, InitProducerIdResponse};
use millrace_proto::kafka::messages::metadata::{MetadataRequest, MetadataResponse};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;
use uuid::Uuid;

const CREATE_VERSION: i16 = 7;
const DELETE_VERSION: i16 = 6;
const METADATA_VERSION: i16 = 12;
const INIT_PRODUCER_ID_VERSION: i16 = 4;
/// How many names are made and deleted again and again.
const NAMES: u64 = 3;

/// A topic as it is listed: its id and its number of partitions.
type Listing = BTreeMap<String, (Uuid, i32)>;

/// A new producer id, which the judge is told; `None` when there is none now.
pub(super) async fn producer_id(client: &Client, connection: &mut Connection) -> Result<Option<i64>, Lost> {
    let answer = connection.call(INIT_PRODUCER_ID_VERSION, &InitProducerIdRequest::default()).await?;
    let response: InitProducerIdResponse =
        decode_response(&answer, INIT_PRODUCER_ID_VERSION).map_err(|e| Lost::Garbled(e.to_string()))?;
    match response.error_code {
        ErrorCode::None => {
            client.judge.note(Fact::ProducerId(response.producer_id));
            return Ok(Some(response.producer_id));
        }
        code if passes(code) => client.io.sleep(Duration::from_millis(100)).await,
        code => client.nonsense(format_args!("{code:?} for a producer id")),
    }
    Ok(None)
}

/// The client.
pub struct Admin {
    client: Client,
    rng: Rng,
    /// Topics whose deletion was asked for: they may go at any moment, also when the answer was lost.
    doomed: BTreeSet<Uuid>,
}

impl Admin {
    /// One that has done nothing yet. No other client creates or deletes topics.
    pub fn new(client: Client, rng: Rng) -> Self {
        Self { client, rng, doomed: BTreeSet::new() }
    }

    /// What it has as every client has it.
    pub fn client(&self) -> &Client {
        &self.client
    }

    /// Creates topics, however often it takes; all their partitions.
    pub async fn create_all(&mut self, topics: &[TopicPlan]) -> Vec<Target> {
        let mut missing: Vec<&TopicPlan> = topics.iter().collect();
        while !missing.is_empty() {
            for topic in std::mem::take(&mut missing) {
                if !matches!(self.create(topic).await, Ok(true)) {
                    missing.push(topic);
                    self.client.io.sleep(Duration::from_millis(100)).await;
                }
            }
        }
        let listing = self.list_surely().await;
        let targets = topics.iter().map(|topic| targets_of(&topic.name, listing[&topic.name]));
        targets.flatten().collect()
    }

    /// Every partition there is.
    pub async fn all_partitions(&mut self) -> Vec<Target> {
        let listing = self.list_surely().await;
        listing.iter().flat_map(|(name, known)| targets_of(name, *known)).collect()
    }

    async fn list_surely(&mut self) -> Listing {
        loop {
            match self.list().await {
                Ok(listing) => return listing,
                Err(lost) => self.client.after(lost).await,
            }
        }
    }

    /// Makes and deletes topics until the closing.
    pub async fn run(mut self) {
        while !self.client.closing.has_begun() {
            if let Err(lost) = self.step().await {
                self.client.after(lost).await;
            }
            let pause = plan::millis(&mut self.rng, 0, 400);
            self.client.io.sleep(pause).await;
        }
        self.list_surely().await;
    }

    async fn step(&mut self) -> Result<(), Lost> {
        let listing = self.list().await?;
        let name = format!("comes-and-goes-{}", self.rng.below(NAMES));
        match listing.get(&name) {
            None => {
                let topic = plan::topic(&mut self.rng, name);
                self.create(&topic).await.map(drop)
            }
            Some(&(id, _)) if self.doomed.contains(&id) || self.rng.chance(0.4) => {
                self.delete(&name, id).await
            }
            Some(&known) => self.write_once(targets_of(&name, known)).await,
        }
    }

    async fn open(&self) -> Result<Connection, Lost> {
        Connection::open(&self.client.io, self.client.broker).await
    }

    /// A batch to each of a topic's partitions.
    async fn write_once(&mut self, targets: Vec<Target>) -> Result<(), Lost> {
        let rng = Rng::new(self.rng.bits());
        Producer::new(self.client.clone(), Kind::Once(Promise::Durable), rng, &targets).send_once().await
    }

    async fn list(&mut self) -> Result<Listing, Lost> {
        let mut connection = self.open().await?;
        let request =
            MetadataRequest { topics: None, allow_auto_topic_creation: false, ..Default::default() };
        let answer = connection.call(METADATA_VERSION, &request).await?;
        let response: MetadataResponse<'_> =
            decode_response(&answer, METADATA_VERSION).map_err(|e| Lost::Garbled(e.to_string()))?;
        // Others make internal topics, and what is in them is the broker's.
        let topics = response.topics.iter().filter(|topic| !topic.is_internal);
        let named = topics.filter_map(|topic| {
            topic.name.map(|name| (name.to_owned(), (topic.topic_id, topic.partitions.len() as i32)))
        });
        let listing: Listing = named.collect();
        let ids = listing.iter().map(|(name, (id, _))| (name.clone(), *id)).collect();
        self.client.judge.note(Fact::Topics(ids));
        Ok(listing)
    }

    /// Creates a topic; whether it is there now.
    async fn create(&mut self, topic: &TopicPlan) -> Result<bool, Lost> {
        let mut connection = self.open().await?;
        let configs =
            topic.configs.iter().map(|(name, value)| CreatableTopicConfig { name, value: Some(value) });
        let wanted = CreatableTopic {
            name: &topic.name,
            num_partitions: topic.partitions,
            replication_factor: 1,
            configs: configs.collect(),
            ..CreatableTopic::default()
        };
        let request = CreateTopicsRequest { topics: vec![wanted], ..CreateTopicsRequest::default() };
        let answer = connection.call(CREATE_VERSION, &request).await?;
        let response: CreateTopicsResponse<'_> =
            decode_response(&answer, CREATE_VERSION).map_err(|e| Lost::Garbled(e.to_string()))?;
        let [created] = response.topics.as_slice() else {
            return Err(Lost::Garbled(format!("one topic was to be created: {response:?}")));
        };
        match created.error_code {
            ErrorCode::None => {
                self.client.judge.note(Fact::TopicCreated(topic.name.clone(), created.topic_id))
            }
            // An attempt before this one, whose answer was lost.
            ErrorCode::TopicAlreadyExists => {}
            code if passes(code) => return Ok(false),
            code => self.client.nonsense(format_args!("{code:?} for the creation of {}", topic.name)),
        }
        Ok(true)
    }

    async fn delete(&mut self, name: &str, id: Uuid) -> Result<(), Lost> {
        let mut connection = self.open().await?;
        let target = match self.rng.chance(0.5) {
            true => DeleteTopicState { name: Some(name), topic_id: Uuid::nil() },
            false => DeleteTopicState { name: None, topic_id: id },
        };
        let request = DeleteTopicsRequest { topics: vec![target], timeout_ms: 3_000, ..Default::default() };
        self.client.judge.note(Fact::TopicDoomed(id));
        let again = !self.doomed.insert(id);
        let answer = connection.call(DELETE_VERSION, &request).await?;
        let response: DeleteTopicsResponse<'_> =
            decode_response(&answer, DELETE_VERSION).map_err(|e| Lost::Garbled(e.to_string()))?;
        match response.responses.first().map(|deleted| deleted.error_code) {
            Some(ErrorCode::None) => self.client.judge.note(Fact::TopicDeleted(id)),
            Some(code) if passes(code) => {}
            Some(ErrorCode::UnknownTopicOrPartition | ErrorCode::UnknownTopicId) if again => {}
            code => self.client.nonsense(format_args!("{code:?} for the deletion of {name}, which is there")),
        }
        Ok(())
    }
}

fn targets_of(name: &str, (topic, partitions): (Uuid, i32)) -> Vec<Target> {
    let target = |index| Target { topic: name.to_owned(), partition: Partition { topic, index } };
    (0..partitions).map(target).collect()
}
