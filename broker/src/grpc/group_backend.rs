//! What the services need of groups: the part of the seam to the shards that is about them.

use super::status::Error;
use std::future::Future;
use std::sync::Arc;

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
