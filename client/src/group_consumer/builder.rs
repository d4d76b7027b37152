//! How a member of a group is to be.

use super::GroupConsumer;
use crate::backoff::Backoff;
use crate::stubs::log_client::LogClient;
use millrace_proto::grpc::v1;
use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;
use tonic::transport::Channel;

/// A member of a group in the making. See [`crate::Client::group_consumer`].
#[derive(Clone, Debug)]
pub struct GroupConsumerBuilder {
    stub: LogClient<Channel>,
    start: v1::ConsumeStart,
    group: v1::GroupMembership,
    max_poll_records: usize,
}

impl GroupConsumerBuilder {
    pub(crate) fn new(stub: LogClient<Channel>, group: &str) -> Self {
        let start = v1::ConsumeStart {
            credit_bytes: Some(8 << 20),
            max_message_bytes: Some(1 << 20),
            record_batches: true,
            ..v1::ConsumeStart::default()
        };
        let group = v1::GroupMembership {
            group_id: group.to_owned(),
            client_id: "millrace-client".to_owned(),
            ..v1::GroupMembership::default()
        };
        Self { stub, start, group, max_poll_records: 500 }
    }

    /// Subscribes to this topic too.
    pub fn topic(mut self, topic: impl Into<String>) -> Self {
        self.group.topics.push(topic.into());
        self
    }

    /// Where the group has committed nothing, it starts at the oldest record instead of behind the newest.
    pub fn from_beginning(mut self) -> Self {
        self.group.otherwise = v1::Edge::Beginning.into();
        self
    }

    /// Nothing is committed but by [`GroupConsumer::commit`].
    pub fn explicit_commits(mut self) -> Self {
        self.group.commits = v1::CommitMode::Explicit.into();
        self
    }

    /// How often what has been handled is committed. Default: every 5 seconds.
    pub fn commit_interval(mut self, every: Duration) -> Self {
        self.group.commit_interval_ms = Some(millis(every));
        self
    }

    /// How long it may take to give up what is revoked, which includes handling what has arrived of it. Default: 5 minutes.
    pub fn rebalance_timeout(mut self, time: Duration) -> Self {
        self.group.rebalance_timeout_ms = Some(millis(time));
        self
    }

    /// Makes it a static member: when it ends and another one comes with this name, that one gets the same partitions.
    pub fn instance_id(mut self, name: impl Into<String>) -> Self {
        self.group.group_instance_id = Some(name.into());
        self
    }

    /// What it calls itself, for people. Default: `millrace-client`.
    pub fn client_id(mut self, name: impl Into<String>) -> Self {
        self.group.client_id = name.into();
        self
    }

    /// How many bytes of records may be on their way or wait to be taken. Default: 8 MiB.
    pub fn window_bytes(mut self, bytes: i64) -> Self {
        self.start.credit_bytes = Some(bytes.max(1));
        self
    }

    /// How many records [`GroupConsumer::poll`] returns at most. Default: 500.
    pub fn max_poll_records(mut self, records: usize) -> Self {
        self.max_poll_records = records.max(1);
        self
    }

    /// A member. It joins when something is asked of it for the first time.
    pub fn build(self) -> GroupConsumer {
        let start = v1::ConsumeStart { group: Some(self.group), ..self.start };
        GroupConsumer {
            stub: self.stub,
            start,
            max_poll_records: self.max_poll_records,
            assignment: BTreeMap::new(),
            handled: BTreeMap::new(),
            queue: VecDeque::new(),
            release: Vec::new(),
            stream: None,
            connecting: None,
            owed: 0,
            next_commit: 0,
            done: BTreeMap::new(),
            ended: false,
            backoff: Backoff::default(),
            wait_until: None,
        }
    }
}

fn millis(time: Duration) -> i32 {
    i32::try_from(time.as_millis()).unwrap_or(i32::MAX).max(1)
}
