//! The shards as the gRPC services see them: names become ids, failures become Kafka's codes, extents become bytes.

mod groups;
mod members;

use crate::api::errors::WireError;
use crate::broker::{GRPC_ENDPOINT, KAFKA_ENDPOINT};
use crate::grpc::Backend;
use crate::grpc::backend::{
    Acks, Broker, Cluster, Error, FetchRequest, FetchResponse, Fetched, NewTopic, Partition, Position,
    Produced, Topic, TopicRef, TopicSummary,
};
use crate::intake::{self, Taken};
use crate::net::budget::Budget;
use crate::shard::calls::{self, ListOffsetsPart, ProducePart};
use crate::shard::fetch::Fetch;
use crate::shard::partition_driver::PartitionId;
use crate::shard::wishes::{ConfigWish, PartitionsWish, SettingWish, TopicWish};
use crate::shard::{Entrance, Shard};
use bytes::{Bytes, BytesMut};
use millrace_io::Io;
use millrace_logic::meta::{self, ConfigResource};
use millrace_logic::partition::{self, Isolation, OffsetSpec};
use millrace_proto::kafka::error::ErrorCode;
use std::sync::Arc;
use std::time::Duration;
use uuid::Uuid;

impl<I: Io> Backend for Shard<I> {
    fn wall_clock(&self) -> i64 {
        self.io().wall_clock()
    }

    fn call_ended(&self, method: &'static str, failure: Option<&'static str>, took: Duration) {
        let port = self.port(Entrance::Grpc);
        port.request(method, took);
        if let Some(reason) = failure {
            port.error(reason);
        }
    }

    fn random(&self) -> u64 {
        self.io().random()
    }

    fn partitions(&self, topic: &str) -> Option<i32> {
        self.image().topic(topic).map(|topic| topic.partitions.len() as i32)
    }

    async fn ensure_topic(&self, topic: &str) -> Result<i32, Error> {
        if let Some(partitions) = self.partitions(topic) {
            return Ok(partitions);
        }
        meta::check_topic_name(topic)
            .map_err(|e| Error::new(ErrorCode::InvalidTopicException, e.to_string()))?;
        if !self.config().auto_create_topics {
            return Err(unknown_topic(topic));
        }
        let created = self.create_topics(vec![TopicWish::with_defaults(topic)], false).await;
        let created = created.map_err(|failure| error(&failure))?;
        match created.into_iter().next().map(|topic| topic.outcome) {
            // Somebody else may have been faster.
            Some(Ok(_)) | Some(Err(meta::CreateTopicError::Exists(_))) | None => {
                self.partitions(topic).ok_or_else(|| unknown_topic(topic))
            }
            Some(Err(failure)) => Err(error(&failure)),
        }
    }

    async fn new_producer_id(&self) -> Result<i64, Error> {
        Shard::new_producer_id(self).await.map_err(|failure| error(&failure))
    }

    fn produce(
        &self,
        topic: &str,
        partition: i32,
        batch: BytesMut,
        acks: Acks,
        timeout: Duration,
    ) -> impl Future<Output = Result<Produced, Error>> + use<I> + 'static {
        let shard = self.clone();
        let taken = self.take_batch(topic, partition, &batch);
        async move {
            let (id, Taken { checked, recompressed }) = taken?;
            let (batch, _held) = match recompressed {
                Some((batch, held)) => (batch, Some(held)),
                None => (batch, None),
            };
            let wait = match acks {
                Acks::All => partition::Acks::All,
                Acks::Leader | Acks::None => partition::Acks::Leader,
            };
            let pending = shard.produce(vec![ProducePart { id, batch, checked }], wait, timeout).await;
            if acks == Acks::None {
                return Ok(Produced { base_offset: None, log_append_time: None });
            }
            match pending.all(Shard::<I>::lost_produce).await.pop() {
                Some(Ok(appended)) => Ok(Produced {
                    base_offset: Some(appended.base_offset.get()),
                    log_append_time: appended.log_append_time,
                }),
                Some(Err(failure)) => Err(error(&failure)),
                None => Err(Error::new(ErrorCode::UnknownServerError, "the batch was not answered")),
            }
        }
    }

    async fn fetch(&self, request: FetchRequest, memory: Budget) -> FetchResponse {
        let ids: Vec<_> = request.parts.iter().map(|part| self.find(&part.topic, part.partition)).collect();
        let known = request.parts.iter().zip(&ids).filter_map(|(part, id)| {
            Some(calls::FetchPart {
                id: *id.as_ref().ok()?,
                offset: part.offset,
                max_bytes: request.max_bytes as u64,
                epoch: None,
                last_fetched: None,
            })
        });
        let known: Vec<_> = known.collect();
        let fetch = Fetch {
            // What is refused already is news that does not wait.
            max_wait: if known.len() == ids.len() { request.max_wait } else { Duration::ZERO },
            parts: known,
            min_bytes: request.min_bytes as u64,
            max_bytes: request.max_bytes as u64,
            isolation: Isolation::ReadUncommitted,
        };
        let found = Shard::fetch(self, fetch).await;
        let bytes: u64 = found.iter().flatten().map(calls::Found::bytes).sum();
        let held = match bytes {
            0 => None,
            bytes => Some(memory.reserve(bytes as usize).await),
        };
        let mut found = found.into_iter();
        let mut parts = Vec::with_capacity(ids.len());
        for id in ids {
            parts.push(match id.map(|_| found.next()) {
                Err(error) => Err(error),
                Ok(Some(Ok(part))) => self.bytes_of(part).await,
                Ok(Some(Err(failure))) => Err(error(&failure)),
                Ok(None) => Err(Error::new(ErrorCode::UnknownServerError, "the read was not answered")),
            });
        }
        FetchResponse { parts, held }
    }

    async fn list_offset(&self, topic: &str, partition: i32, position: Position) -> Result<i64, Error> {
        let id = self.find(topic, partition)?;
        let spec = match position {
            Position::Beginning => OffsetSpec::Earliest,
            Position::End => OffsetSpec::Latest,
            Position::Timestamp(timestamp) => OffsetSpec::At(timestamp.max(0)),
        };
        match self.offset_at(id, spec).await? {
            -1 => self.offset_at(id, OffsetSpec::Latest).await,
            offset => Ok(offset),
        }
    }

    async fn create_topic(&self, topic: NewTopic) -> Result<Topic, Error> {
        let wish = TopicWish {
            name: topic.name.clone(),
            num_partitions: topic.partitions.unwrap_or(-1),
            replication_factor: topic
                .replication_factor
                .map_or(-1, |factor| factor.try_into().unwrap_or(i16::MAX)),
            assignments: Vec::new(),
            configs: topic.configs.iter().map(|(name, value)| (name.clone(), Some(value.clone()))).collect(),
        };
        let created =
            self.create_topics(vec![wish], topic.validate_only).await.map_err(|failure| error(&failure))?;
        let created = created.into_iter().next().map(|topic| topic.outcome);
        let created = created.unwrap_or(Err(meta::CreateTopicError::Duplicate)).map_err(|e| error(&e))?;
        let described = match topic.validate_only {
            true => None,
            false => self.describe_topic(&TopicRef::Id(created.topic_id)),
        };
        Ok(described.unwrap_or(Topic {
            name: topic.name,
            id: None,
            internal: false,
            partition_count: created.num_partitions,
            replication_factor: created.replication_factor.into(),
            partitions: Vec::new(),
            configs: topic.configs,
        }))
    }

    async fn alter_topic_configs(
        &self,
        topic: &str,
        changes: Vec<(String, Option<String>)>,
        validate_only: bool,
    ) -> Result<Topic, Error> {
        let setting = |(name, value): (String, Option<String>)| {
            (name, Some(value.map_or(SettingWish::Delete, SettingWish::Set)))
        };
        let settings = changes.into_iter().map(setting).collect();
        let wish = ConfigWish { resource: ConfigResource::topic(topic), replace: false, settings };
        let altered =
            self.alter_configs(vec![wish], validate_only).await.map_err(|failure| error(&failure))?;
        if let Some(Err(refused)) = altered.into_iter().next().map(|altered| altered.outcome) {
            return Err(error(&refused));
        }
        self.describe_topic(&TopicRef::Name(topic.to_owned())).ok_or_else(|| unknown_topic(topic))
    }

    async fn add_partitions(&self, topic: &str, count: i32, validate_only: bool) -> Result<Topic, Error> {
        let wish = PartitionsWish { name: topic.to_owned(), count, assignments: None };
        let added =
            self.create_partitions(vec![wish], validate_only).await.map_err(|failure| error(&failure))?;
        match added.into_iter().next().map(|added| added.outcome) {
            Some(Err(meta::CreatePartitionsError::UnknownTopic)) => return Err(unknown_topic(topic)),
            Some(Err(refused)) => return Err(error(&refused)),
            _ => {}
        }
        self.describe_topic(&TopicRef::Name(topic.to_owned())).ok_or_else(|| unknown_topic(topic))
    }

    async fn delete_records(&self, topic: &str, partition: i32, before: Option<i64>) -> Result<i64, Error> {
        let id = self.find(topic, partition)?;
        let offset = before.unwrap_or(millrace_proto::kafka::messages::delete_records::HIGH_WATERMARK);
        match Shard::delete_records(self, vec![(id, offset)]).await.pop() {
            Some(Ok(start)) => Ok(start),
            Some(Err(failure)) => Err(error(&failure)),
            None => Err(Error::new(ErrorCode::UnknownServerError, "the deletion was not answered")),
        }
    }

    async fn delete_topic(&self, topic: TopicRef) -> Result<(String, Uuid), Error> {
        if !self.config().delete_topics {
            return Err(Error::new(
                ErrorCode::TopicDeletionDisabled,
                "delete.topic.enable is false on this broker",
            ));
        }
        let target = match topic {
            TopicRef::Name(name) => (Some(name), None),
            TopicRef::Id(id) => (None, Some(id)),
        };
        let deleted = self.delete_topics(vec![target]).await.map_err(|failure| error(&failure))?;
        let deleted = deleted.into_iter().next().ok_or_else(|| unknown_topic(""))?;
        deleted.outcome.map_err(|failure| match (&failure, &deleted.name) {
            (meta::DeleteTopicError::UnknownName, Some(name)) => unknown_topic(name),
            _ => error(&failure),
        })?;
        Ok((deleted.name.unwrap_or_default(), deleted.topic_id.unwrap_or_default()))
    }

    fn list_topics(&self, after: &str, limit: usize, internal: bool) -> Vec<TopicSummary> {
        let image = self.image();
        let listed = image.topics().filter(|topic| &*topic.name > after);
        let listed = listed.filter(|topic| internal || !meta::names::is_internal(&topic.name));
        let summary = |topic: &Arc<meta::Topic>| TopicSummary {
            name: topic.name.to_string(),
            id: topic.id,
            partitions: topic.partitions.len() as i32,
            internal: meta::names::is_internal(&topic.name),
        };
        listed.take(limit).map(summary).collect()
    }

    fn describe_topic(&self, topic: &TopicRef) -> Option<Topic> {
        let image = self.image();
        let topic = match topic {
            TopicRef::Name(name) => image.topic(name),
            TopicRef::Id(id) => image.topic_by_id(*id),
        }?;
        let partition = |(index, state): (i32, &meta::PartitionState)| Partition {
            index,
            leader: state.leader.unwrap_or(-1),
            leader_epoch: state.leader_epoch,
            replicas: state.replicas.clone(),
            in_sync_replicas: state.isr.clone(),
        };
        let configs = image.configs(&ConfigResource::topic(&topic.name));
        Some(Topic {
            name: topic.name.to_string(),
            id: Some(topic.id),
            internal: meta::names::is_internal(&topic.name),
            partition_count: topic.partitions.len() as i32,
            replication_factor: topic.partitions.first().map_or(0, |state| state.replicas.len() as i32),
            partitions: (0..).zip(&topic.partitions).map(partition).collect(),
            configs: configs
                .into_iter()
                .flat_map(|own| own.iter())
                .map(|(k, v)| (k.clone(), v.clone()))
                .collect(),
        })
    }

    fn describe_cluster(&self) -> Cluster {
        let image = self.image();
        let broker = |broker: &Arc<meta::Broker>| {
            let at = |name: &str| {
                let named = broker.endpoints.iter().filter(|endpoint| endpoint.name == name);
                named.map(|endpoint| (endpoint.host.clone(), endpoint.port)).collect()
            };
            let (kafka, grpc) = (at(KAFKA_ENDPOINT), at(GRPC_ENDPOINT));
            Broker { id: broker.broker, rack: broker.rack.clone(), kafka, grpc }
        };
        Cluster {
            id: self.cluster_id().to_string(),
            controller: self.config().node_id,
            brokers: image.brokers().map(broker).collect(),
        }
    }
}

impl<I: Io> Shard<I> {
    fn find(&self, topic: &str, partition: i32) -> Result<PartitionId, Error> {
        let image = self.image();
        let known = image.topic(topic).ok_or_else(|| unknown_topic(topic))?;
        match (0..known.partitions.len() as i32).contains(&partition) {
            true => Ok(PartitionId { topic: known.id, partition }),
            false => Err(Error::new(
                ErrorCode::UnknownTopicOrPartition,
                format!("topic {topic} has partitions 0 to {}, not {partition}", known.partitions.len() - 1),
            )),
        }
    }

    /// The same checks as for a batch from a Kafka producer.
    fn take_batch(&self, topic: &str, partition: i32, batch: &[u8]) -> Result<(PartitionId, Taken), Error> {
        let id = self.find(topic, partition)?;
        if meta::names::is_internal(topic) {
            return Err(Error::new(
                ErrorCode::InvalidTopicException,
                format!("only the broker writes to {topic}"),
            ));
        }
        let image = self.image();
        let rules = self.rules(image.topic_by_id(id.topic).ok_or_else(|| unknown_topic(topic))?);
        match intake::take(self, &rules, batch, true) {
            Ok(taken) => Ok((id, taken)),
            Err(intake::Refused::Batch(refused)) => Err(error(&refused)),
            Err(refused @ intake::Refused::LargerThanSegment) => {
                Err(Error::new(ErrorCode::RecordListTooLarge, refused.to_string()))
            }
            Err(refused @ intake::Refused::NoMemory) => {
                Err(Error::new(ErrorCode::RequestTimedOut, refused.to_string()))
            }
        }
    }

    async fn bytes_of(&self, part: calls::Found<I::File>) -> Result<Fetched, Error> {
        let mut pieces = Vec::with_capacity(part.extents.len());
        for extent in &part.extents {
            let read = self.read_extent(extent).await;
            pieces.push(read.map_err(|e| Error::new(ErrorCode::KafkaStorageError, e.to_string()))?);
        }
        let batches = match pieces.len() {
            1 => pieces.remove(0),
            _ => Bytes::from(pieces.concat()),
        };
        Ok(Fetched { batches, high_watermark: part.bounds.high_watermark.get() })
    }

    async fn offset_at(&self, id: PartitionId, spec: OffsetSpec) -> Result<i64, Error> {
        let part = ListOffsetsPart { id, spec, epoch: None };
        match self.list_offsets(vec![part], Isolation::ReadUncommitted).await.pop() {
            Some(Ok(listed)) => Ok(listed.offset),
            Some(Err(failure)) => Err(error(&failure)),
            None => Err(Error::new(ErrorCode::UnknownServerError, "the look-up was not answered")),
        }
    }
}

fn error<E: WireError + std::fmt::Display>(failure: &E) -> Error {
    Error::new(failure.code(), failure.to_string())
}

fn unknown_topic(topic: &str) -> Error {
    Error::new(ErrorCode::UnknownTopicOrPartition, format!("there is no topic {topic:?}"))
}
