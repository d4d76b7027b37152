//! The life of topics.

use crate::error::Error;
use crate::stubs::topics_client::TopicsClient;
use millrace_proto::grpc::v1::{self, delete_topic_request, describe_topic_request};
use std::collections::BTreeMap;
use tonic::Code;
use tonic::transport::Channel;

/// Creates, changes, deletes, lists and describes topics. See [`crate::Client::topics`].
#[derive(Clone, Debug)]
pub struct Topics {
    stub: TopicsClient<Channel>,
}

/// A topic to create.
///
/// ```
/// # use millrace_client::NewTopic;
/// let topic = NewTopic::new("orders").partitions(12).config("segment.bytes", "268435456");
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct NewTopic {
    request: v1::CreateTopicRequest,
}

impl NewTopic {
    /// A topic with the broker's numbers of partitions and replicas.
    pub fn new(name: impl Into<String>) -> Self {
        Self { request: v1::CreateTopicRequest { name: name.into(), ..Default::default() } }
    }

    /// With so many partitions.
    pub fn partitions(mut self, partitions: i32) -> Self {
        self.request.partition_count = Some(partitions);
        self
    }

    /// With so many replicas of each.
    pub fn replicas(mut self, replicas: i32) -> Self {
        self.request.replication_factor = Some(replicas);
        self
    }

    /// With a setting of its own, by Kafka's names.
    pub fn config(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.request.configs.insert(name.into(), value.into());
        self
    }

    /// Only checks whether it could be created.
    pub fn validate_only(mut self) -> Self {
        self.request.validate_only = true;
        self
    }
}

/// A topic.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Topic {
    /// Its name.
    pub name: String,
    /// Its id in Kafka's text form. Empty for one that was only checked.
    pub id: String,
    /// Whether the broker keeps it for itself.
    pub internal: bool,
    /// How many partitions it has.
    pub partition_count: i32,
    /// How many replicas each of them has.
    pub replication_factor: i32,
    /// By number. Empty for one that was only checked.
    pub partitions: Vec<Partition>,
    /// The settings that were made for this topic.
    pub configs: BTreeMap<String, String>,
}

/// A partition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Partition {
    /// Its number.
    pub partition: i32,
    /// The broker that leads it, if one does.
    pub leader: Option<i32>,
    /// How often the leader changed.
    pub leader_epoch: i32,
    /// The brokers that hold it, the preferred leader first.
    pub replicas: Vec<i32>,
    /// Those of them that are in sync.
    pub in_sync_replicas: Vec<i32>,
    /// The oldest offset that can be read, if it was asked for and known.
    pub log_start_offset: Option<i64>,
    /// Behind the newest record that can be read, if it was asked for and known.
    pub high_watermark: Option<i64>,
}

/// A topic in a list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TopicSummary {
    /// Its name.
    pub name: String,
    /// Its id in Kafka's text form.
    pub id: String,
    /// How many partitions it has.
    pub partition_count: i32,
    /// Whether the broker keeps it for itself.
    pub internal: bool,
}

/// A topic that is no more.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeletedTopic {
    /// Its name.
    pub name: String,
    /// Its id in Kafka's text form.
    pub id: String,
}

impl Topics {
    pub(crate) fn new(channel: Channel) -> Self {
        Self { stub: TopicsClient::new(channel) }
    }

    /// Creates a topic.
    ///
    /// # Errors
    /// [`Code::AlreadyExists`], or [`Code::InvalidArgument`] with the field that is wrong.
    pub async fn create(&self, topic: NewTopic) -> Result<Topic, Error> {
        let response = self.stub.clone().create(topic.request).await?.into_inner();
        response.topic.map(Topic::from).ok_or_else(|| incomplete("created topic"))
    }

    /// Changes settings of a topic while it is used: each gets a value, or with `None` the broker's. All of them, or none.
    ///
    /// # Errors
    /// [`Code::NotFound`], or [`Code::InvalidArgument`] with what is wrong.
    pub async fn alter_configs<N: Into<String>, V: Into<String>>(
        &self,
        name: &str,
        changes: impl IntoIterator<Item = (N, Option<V>)>,
    ) -> Result<Topic, Error> {
        let mut request = v1::AlterTopicConfigsRequest { name: name.to_owned(), ..Default::default() };
        for (setting, value) in changes {
            match value {
                Some(value) => drop(request.set.insert(setting.into(), value.into())),
                None => request.unset.push(setting.into()),
            }
        }
        let response = self.stub.clone().alter_configs(request).await?.into_inner();
        response.topic.map(Topic::from).ok_or_else(|| incomplete("topic"))
    }

    /// Gives a topic more partitions: `count` in all.
    ///
    /// # Errors
    /// [`Code::NotFound`], or [`Code::InvalidArgument`] if it has as many already.
    pub async fn add_partitions(&self, name: &str, count: i32) -> Result<Topic, Error> {
        let request =
            v1::AddPartitionsRequest { name: name.to_owned(), partition_count: count, validate_only: false };
        let response = self.stub.clone().add_partitions(request).await?.into_inner();
        response.topic.map(Topic::from).ok_or_else(|| incomplete("topic"))
    }

    /// Deletes the records of a partition before an offset, or with `None` all that can be read. Returns the oldest offset that is left.
    ///
    /// # Errors
    /// [`Code::NotFound`], or [`Code::OutOfRange`] for an offset behind the last record.
    pub async fn delete_records(
        &self,
        name: &str,
        partition: i32,
        before_offset: Option<i64>,
    ) -> Result<i64, Error> {
        let request = v1::DeleteRecordsRequest { name: name.to_owned(), partition, before_offset };
        Ok(self.stub.clone().delete_records(request).await?.into_inner().log_start_offset)
    }

    /// Deletes a topic and all of its records, by name.
    ///
    /// # Errors
    /// [`Code::NotFound`] if there is none.
    pub async fn delete(&self, name: &str) -> Result<DeletedTopic, Error> {
        let topic = Some(delete_topic_request::Topic::Name(name.to_owned()));
        let deleted = self.stub.clone().delete(v1::DeleteTopicRequest { topic }).await?.into_inner();
        Ok(DeletedTopic { name: deleted.name, id: deleted.topic_id })
    }

    /// Lists all topics by name; the broker's own only if asked for.
    ///
    /// # Errors
    /// The broker's, or that it was not reached.
    pub async fn list(&self, include_internal: bool) -> Result<Vec<TopicSummary>, Error> {
        let mut request = v1::ListTopicsRequest { include_internal, ..Default::default() };
        let mut topics = Vec::new();
        loop {
            let page = self.stub.clone().list(request.clone()).await?.into_inner();
            topics.extend(page.topics.into_iter().map(TopicSummary::from));
            if page.next_page_token.is_empty() {
                return Ok(topics);
            }
            request.page_token = page.next_page_token;
        }
    }

    /// How many partitions a topic has.
    pub(crate) async fn partition_count(&self, name: &str) -> Result<i32, Error> {
        let topic = Some(describe_topic_request::Topic::Name(name.to_owned()));
        let request = v1::DescribeTopicRequest { topic, include_offsets: false };
        let response = self.stub.clone().describe(request).await?.into_inner();
        response.topic.map(|topic| topic.partitions.len() as i32).ok_or_else(|| incomplete("topic"))
    }

    /// Describes a topic, with the offsets of its partitions.
    ///
    /// # Errors
    /// [`Code::NotFound`] if there is none.
    pub async fn describe(&self, name: &str) -> Result<Topic, Error> {
        let topic = Some(describe_topic_request::Topic::Name(name.to_owned()));
        let request = v1::DescribeTopicRequest { topic, include_offsets: true };
        let response = self.stub.clone().describe(request).await?.into_inner();
        response.topic.map(Topic::from).ok_or_else(|| incomplete("topic"))
    }
}

fn incomplete(what: &str) -> Error {
    Error::new(Code::Internal, format!("the broker's answer lacks the {what}"))
}

impl From<v1::Topic> for Topic {
    fn from(topic: v1::Topic) -> Self {
        Self {
            name: topic.name,
            id: topic.topic_id,
            internal: topic.internal,
            partition_count: topic.partition_count,
            replication_factor: topic.replication_factor,
            partitions: topic.partitions.into_iter().map(Partition::from).collect(),
            configs: topic.configs.into_iter().collect(),
        }
    }
}

impl From<v1::Partition> for Partition {
    fn from(partition: v1::Partition) -> Self {
        Self {
            partition: partition.partition,
            leader: (partition.leader >= 0).then_some(partition.leader),
            leader_epoch: partition.leader_epoch,
            replicas: partition.replicas,
            in_sync_replicas: partition.in_sync_replicas,
            log_start_offset: partition.log_start_offset,
            high_watermark: partition.high_watermark,
        }
    }
}

impl From<v1::TopicSummary> for TopicSummary {
    fn from(topic: v1::TopicSummary) -> Self {
        Self {
            name: topic.name,
            id: topic.topic_id,
            partition_count: topic.partition_count,
            internal: topic.internal,
        }
    }
}
