//! What is asked of consumer groups and what they answer, owned: both travel between cores.

use std::sync::Arc;
use std::time::Duration;

use millrace_proto::kafka::error::ErrorCode;
use uuid::Uuid;

/// A heartbeat of a member of a consumer group: what is new of it, or all of it as it joins.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ConsumerHeartbeat {
    /// The group.
    pub group: String,
    /// The member's id.
    pub member: String,
    /// One that joins may have no id, and is given one (version 0).
    pub may_lack_id: bool,
    /// Its epoch; 0 to join, -1 to leave, -2 to leave for a while.
    pub epoch: i32,
    /// Its name, when it is static.
    pub instance: Option<String>,
    /// The rack that it is in.
    pub rack: Option<String>,
    /// What its client calls itself.
    pub client_id: String,
    /// Where it is.
    pub client_host: String,
    /// How long it may take to give partitions up.
    pub rebalance: Option<Duration>,
    /// The topics that it subscribes to.
    pub topics: Option<Vec<String>>,
    /// The same as a regular expression; empty for none.
    pub regex: Option<String>,
    /// How it would have partitions assigned.
    pub assignor: Option<String>,
    /// The partitions that it has, by topic.
    pub owned: Option<Vec<(Uuid, Vec<i32>)>>,
    /// What a new id is made of.
    pub fresh: Uuid,
}

/// What a member of a consumer group hears.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Beat {
    /// Its id; `None` for one that leaves.
    pub member: Option<Arc<str>>,
    /// Its epoch from now on.
    pub epoch: i32,
    /// When it is to come again.
    pub interval: Duration,
    /// The partitions that it is to have, by topic, if that is new.
    pub assignment: Option<Vec<(Uuid, Vec<i32>)>>,
}

/// Why something is not done, also for people.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// Why.
    pub code: ErrorCode,
    /// The same for people.
    pub message: String,
}

impl Refusal {
    pub(in crate::group) fn new(code: ErrorCode, message: String) -> Self {
        Self { code, message }
    }
}

/// A consumer group, for people.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConsumerDescription {
    /// Its state, as Kafka names it.
    pub state: &'static str,
    /// Its epoch.
    pub epoch: i32,
    /// The epoch that partitions were assigned for.
    pub assignment_epoch: i32,
    /// How they are assigned.
    pub assignor: &'static str,
    /// Its members.
    pub members: Vec<ConsumerMember>,
}

/// A member of a consumer group, for people.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConsumerMember {
    /// Its id.
    pub member: Arc<str>,
    /// Its name, when it is static.
    pub instance: Option<Arc<str>>,
    /// The rack that it is in.
    pub rack: Option<String>,
    /// It speaks the classic protocol.
    pub is_classic: bool,
    /// Its epoch.
    pub epoch: i32,
    /// What its client calls itself.
    pub client_id: String,
    /// Where it is.
    pub client_host: String,
    /// The topics that it names.
    pub topics: Vec<Arc<str>>,
    /// The regular expression that it subscribes by; empty for none.
    pub regex: String,
    /// The partitions that it has and may keep, by topic.
    pub assigned: Vec<(Uuid, Vec<i32>)>,
    /// Those that it has and is to give up.
    pub revoking: Vec<(Uuid, Vec<i32>)>,
    /// Those that it is to have.
    pub target: Vec<(Uuid, Vec<i32>)>,
}
