//! What the services need of groups: the part of the seam to the shards that is about them.

use super::status::Error;
use std::future::Future;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;
use uuid::Uuid;

/// A partition by name. Cheap to clone, and goes from core to core.
pub type NamedPartition = (Arc<str>, i32);

/// The groups of the broker, seen from one core.
pub trait GroupBackend {
    /// All groups, in no order.
    /// # Errors
    /// `COORDINATOR_LOAD_IN_PROGRESS` after a start.
    fn list_groups(&self) -> impl Future<Output = Result<Vec<GroupSummary>, Error>>;

    /// A group; `None` if there is none of that id.
    /// # Errors
    /// What its coordinator says.
    fn describe_group(&self, group: &str) -> impl Future<Output = Result<Option<Group>, Error>>;

    /// All that a group has committed, by topic and partition, ascending.
    /// # Errors
    /// What its coordinator says.
    fn committed(&self, group: &str) -> impl Future<Output = Result<Vec<Committed>, Error>>;

    /// Where logs begin and end, in the order asked.
    fn log_ends(&self, partitions: &[NamedPartition]) -> impl Future<Output = Vec<Result<LogEnds, Error>>>;

    /// The first offset of each log whose record is no older, in milliseconds since the Unix epoch; `None` if there is none. In
    /// the order asked.
    fn offsets_at(
        &self,
        partitions: &[NamedPartition],
        timestamp_ms: i64,
    ) -> impl Future<Output = Vec<Result<Option<i64>, Error>>>;

    /// Commits offsets of a group that has no members.
    /// # Errors
    /// `NON_EMPTY_GROUP`, and what the coordinator says.
    fn commit(
        &self,
        group: &str,
        offsets: Vec<(NamedPartition, i64)>,
    ) -> impl Future<Output = Result<(), Error>>;

    /// Forgets what was committed; what became of each, in the order asked.
    /// # Errors
    /// `GROUP_ID_NOT_FOUND` or `NON_EMPTY_GROUP`, and what the coordinator says.
    fn delete_offsets(
        &self,
        group: &str,
        partitions: &[NamedPartition],
    ) -> impl Future<Output = Result<Vec<Result<(), Error>>, Error>>;

    /// Deletes a group.
    /// # Errors
    /// `GROUP_ID_NOT_FOUND` or `NON_EMPTY_GROUP`, and what the coordinator says.
    fn delete_group(&self, group: &str) -> impl Future<Output = Result<(), Error>>;
}

/// Members of groups that are calls of this port.
pub trait MemberBackend {
    /// What a group has committed in some partitions; in the order asked.
    /// # Errors
    /// What its coordinator says.
    fn committed_in(
        &self,
        group: &str,
        partitions: &[NamedPartition],
    ) -> impl Future<Output = Result<Vec<Option<i64>>, Error>>;

    /// A member tells its coordinator how it is (KIP-848), and hears what it is to have.
    /// # Errors
    /// Kafka's, for example `FENCED_MEMBER_EPOCH`.
    fn beat(&self, beat: Beat) -> impl Future<Output = Result<Beaten, Error>>;

    /// A member leaves. It begins at once, whether or not anybody waits for its end; a member that is not known leaves for nothing.
    fn leave_group(&self, who: &Who) -> impl Future<Output = ()> + use<Self> + 'static;

    /// Commits what a member has handled: the next offset, and what to keep with it. What became of each, in the order asked.
    /// # Errors
    /// Kafka's, for example `STALE_MEMBER_EPOCH`.
    fn commit_as(
        &self,
        who: &Who,
        epoch: i32,
        offsets: Vec<(GroupPartition, i64, String)>,
    ) -> impl Future<Output = Result<Vec<Result<(), Error>>, Error>>;
}

/// A group in a list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GroupSummary {
    /// Its id.
    pub id: Arc<str>,
    /// Its state, as Kafka names it.
    pub state: &'static str,
    /// Its type, as Kafka names it.
    pub kind: &'static str,
    /// What its members do.
    pub protocol_type: String,
}

/// A group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Group {
    /// Its state, as Kafka names it.
    pub state: &'static str,
    /// Its type, as Kafka names it.
    pub kind: &'static str,
    /// What its members do.
    pub protocol_type: String,
    /// How partitions are assigned, while it is stable.
    pub protocol: String,
    /// By id, ascending.
    pub members: Vec<GroupMember>,
}

/// A member.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GroupMember {
    /// Its id.
    pub id: Arc<str>,
    /// Its name, when it is static.
    pub instance: Option<Arc<str>>,
    /// What its client calls itself.
    pub client_id: String,
    /// Where it is.
    pub client_host: String,
    /// What it reads, by topic.
    pub assignment: Vec<(String, Vec<i32>)>,
}

/// What a group has committed in a partition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Committed {
    /// The partition.
    pub partition: NamedPartition,
    /// The next record to read.
    pub offset: i64,
    /// What the client kept with it.
    pub metadata: String,
}

/// Where a log begins and ends, for readers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LogEnds {
    /// The oldest offset that can be read.
    pub log_start: i64,
    /// Behind the newest one.
    pub high_watermark: i64,
}

/// A partition as members of groups know it: a topic that was made anew under the same name is another one.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct GroupPartition {
    /// The topic.
    pub topic: Arc<str>,
    /// The partition.
    pub partition: i32,
    /// The topic's id.
    pub topic_id: Uuid,
}

/// Who is a member, and all that it says of itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Who {
    /// The group.
    pub group: String,
    /// The member's id.
    pub member: String,
    /// Its name, when it is static.
    pub instance: Option<String>,
    /// What its client calls itself.
    pub client_id: String,
    /// Where it is.
    pub client_host: String,
    /// The topics that it subscribes to.
    pub topics: Vec<String>,
    /// How long it may take to give partitions up.
    pub rebalance: Duration,
}

/// What a member tells its coordinator.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Beat {
    /// Who.
    pub who: Rc<Who>,
    /// Its epoch; 0 to join.
    pub epoch: i32,
    /// All of itself, and not only what is new.
    pub full: bool,
    /// What it has; `None`: as before.
    pub owned: Option<Vec<GroupPartition>>,
}

/// What a member hears.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Beaten {
    /// Its epoch from now on.
    pub epoch: i32,
    /// When to come again.
    pub interval: Duration,
    /// What it is to have; `None`: as before.
    pub assignment: Option<Vec<GroupPartition>>,
}
