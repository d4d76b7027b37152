//! The one writer of the metadata: requests in, replies and records out.
//!
//! A decision holds at once for the decisions after it, though its records are not in the log yet. So the caller appends the records of each
//! call in the order of the calls, replies when they are durable, and only then gives the cores an image that holds them. If
//! appending fails, nothing that was decided since counts: make a new controller from the last published image.

use uuid::Uuid;

use super::configs::{self, KnownConfigs, Reconfiguration, ReconfigurationOutcome};
use super::create::{self, NewTopic, TopicConfigs, TopicCreation, TopicDefaults};
use super::delete::{self, TopicDeletion, TopicTarget};
use super::delta::{ApplyError, Delta};
use super::image::Image;
use super::partitions::{self, NewPartitions, PartitionsCreation};
use super::producer_ids::{BLOCK_SIZE, ProducerIdBlock, ProducerIdsExhausted};
use super::record::{FeatureLevelRecord, MetadataRecord, ProducerIdsRecord, RegisterBrokerRecord};
use crate::offset::LogEnd;

/// The one writer of the metadata.
#[derive(Debug)]
pub struct Controller {
    /// All that was decided, durable or not.
    image: Image,
    defaults: TopicDefaults,
}

impl Controller {
    /// Goes on from where an image stands.
    pub fn new(image: Image, defaults: TopicDefaults) -> Self {
        Self { image, defaults }
    }

    /// All that was decided, durable or not: for decisions, not for clients.
    pub fn image(&self) -> &Image {
        &self.image
    }

    /// Takes records from the log that this controller did not write.
    pub fn replay(&mut self, records: &[MetadataRecord], end: LogEnd) -> Result<(), ApplyError> {
        self.image = self.image.apply(records, end)?;
        Ok(())
    }

    /// Creates topics. With `validate_only` everything is checked and answered, and nothing created.
    ///
    /// `new_id` gives random topic ids. Creating a topic on first use is the same with -1 for partitions and replicas.
    pub fn create_topics(
        &mut self,
        topics: &[NewTopic<'_>],
        validate_only: bool,
        configs: &dyn TopicConfigs,
        new_id: &mut dyn FnMut() -> Uuid,
    ) -> (Vec<TopicCreation>, Vec<MetadataRecord>) {
        let mut delta = Delta::new(&self.image);
        let (replies, records) = create::create_topics(&mut delta, topics, self.defaults, configs, new_id);
        if validate_only {
            return (replies, Vec::new());
        }
        self.accept(delta);
        (replies, records)
    }

    /// Adds partitions to topics. With `validate_only` everything is checked and answered, and nothing added.
    pub fn create_partitions(
        &mut self,
        topics: &[NewPartitions<'_>],
        validate_only: bool,
    ) -> (Vec<PartitionsCreation>, Vec<MetadataRecord>) {
        let mut delta = Delta::new(&self.image);
        let (replies, records) = partitions::create_partitions(&mut delta, topics);
        if validate_only {
            return (replies, Vec::new());
        }
        self.accept(delta);
        (replies, records)
    }

    /// Changes settings. With `validate_only` everything is checked and answered, and nothing changed.
    pub fn alter_configs(
        &mut self,
        requests: &[Reconfiguration<'_>],
        validate_only: bool,
        known: &dyn KnownConfigs,
    ) -> (Vec<ReconfigurationOutcome>, Vec<MetadataRecord>) {
        let mut delta = Delta::new(&self.image);
        let (replies, records) = configs::alter_configs(&mut delta, requests, known);
        if validate_only {
            return (replies, Vec::new());
        }
        self.accept(delta);
        (replies, records)
    }

    /// Deletes topics.
    pub fn delete_topics(
        &mut self,
        targets: &[TopicTarget<'_>],
    ) -> (Vec<TopicDeletion>, Vec<MetadataRecord>) {
        let mut delta = Delta::new(&self.image);
        let decided = delete::delete_topics(&mut delta, targets);
        self.accept(delta);
        decided
    }

    /// Gives a broker the next block of producer ids. None of them may be used before the record is durable.
    pub fn allocate_producer_ids(
        &mut self,
        broker: i32,
        broker_epoch: i64,
    ) -> Result<(ProducerIdBlock, Vec<MetadataRecord>), ProducerIdsExhausted> {
        let first = self.image.next_producer_id();
        let end = first.checked_add(BLOCK_SIZE).ok_or(ProducerIdsExhausted { next: first })?;
        self.image.next_producer_id = end;
        let record = ProducerIdsRecord { broker, broker_epoch, next_producer_id: end };
        Ok((ProducerIdBlock { first, end }, vec![MetadataRecord::ProducerIds(record)]))
    }

    /// Registers a broker process. Nothing is recorded when exactly this registration holds already.
    pub fn register_broker(&mut self, registration: RegisterBrokerRecord) -> Vec<MetadataRecord> {
        if self.image.broker(registration.broker).is_some_and(|known| **known == registration) {
            return Vec::new();
        }
        self.record(MetadataRecord::RegisterBroker(registration))
    }

    /// Sets the level of a feature. Nothing is recorded when it has that level already.
    pub fn set_feature(&mut self, name: &str, level: i16) -> Vec<MetadataRecord> {
        let current = self.image.features.get(name).copied().unwrap_or(0);
        if current == level {
            return Vec::new();
        }
        self.record(MetadataRecord::FeatureLevel(FeatureLevelRecord { name: name.to_owned(), level }))
    }

    /// Takes a record that fits any image.
    fn record(&mut self, record: MetadataRecord) -> Vec<MetadataRecord> {
        let mut delta = Delta::new(&self.image);
        match delta.replay(&record) {
            Ok(()) => {
                self.accept(delta);
                vec![record]
            }
            Err(error) => unreachable!("registrations and features contradict nothing: {error}"),
        }
    }

    fn accept(&mut self, delta: Delta) {
        let end = self.image.end();
        self.image = delta.finish(end).0;
    }
}

#[cfg(test)]
#[path = "controller_test.rs"]
mod tests;
