//! What is asked of a coordinator and what it answers, owned: both travel between cores.

use bytes::Bytes;
use millrace_proto::kafka::error::ErrorCode;
use std::sync::Arc;
use std::time::Duration;
use uuid::Uuid;

pub use super::consumer::request::{Beat, ConsumerDescription, ConsumerHeartbeat, ConsumerMember, Refusal};

/// Any request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Request {
    /// JoinGroup.
    Join(Join),
    /// SyncGroup.
    Sync(Sync),
    /// Heartbeat.
    Heartbeat(Caller),
    /// ConsumerGroupHeartbeat.
    ConsumerHeartbeat(ConsumerHeartbeat),
    /// LeaveGroup.
    Leave(Leave),
    /// OffsetCommit.
    Commit(Commit),
    /// OffsetFetch, of one group.
    Fetch(Fetch),
    /// OffsetDelete.
    DeleteOffsets(DeleteOffsets),
    /// DescribeGroups, of one group.
    Describe {
        /// Which.
        group: String,
    },
    /// ConsumerGroupDescribe, of one group.
    DescribeConsumers {
        /// Which.
        group: String,
    },
    /// ListGroups.
    List,
    /// DeleteGroups, of one group.
    Delete {
        /// Which.
        group: String,
    },
}

/// Any answer, to the request of the same name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Response {
    /// The generation, or why there is none; the member's id goes with either.
    Join(Result<Joined, JoinRefused>),
    /// What the member got.
    Sync(Result<Synced, ErrorCode>),
    /// What the member has to do.
    Heartbeat(ErrorCode),
    /// The same in a consumer group.
    ConsumerHeartbeat(Result<Beat, Refusal>),
    /// What became of each member, in the order of the request.
    Leave(Result<Vec<ErrorCode>, ErrorCode>),
    /// What became of each offset, in the order of the request.
    Commit(Result<Vec<ErrorCode>, ErrorCode>),
    /// Offsets.
    Fetch(Result<Vec<FetchedTopic>, ErrorCode>),
    /// What became of each offset, in the order of the request.
    DeleteOffsets(Result<Vec<ErrorCode>, ErrorCode>),
    /// The classic group, or why there is none.
    Describe(Result<Description, Refusal>),
    /// The consumer group, or why there is none.
    DescribeConsumers(Result<ConsumerDescription, Refusal>),
    /// All groups.
    List(Vec<Listing>),
    /// Why the group is still there.
    Delete(ErrorCode),
}

/// Who says that it is a member.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Caller {
    /// Of this group.
    pub group: String,
    /// Under this id; empty for who has none.
    pub member: String,
    /// Under this name, when it is static.
    pub instance: Option<String>,
    /// In this generation; negative for who knows none.
    pub generation: i32,
}

/// A member that comes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Join {
    /// Who; its generation says nothing.
    pub caller: Caller,
    /// What its client calls itself.
    pub client_id: String,
    /// Where it is.
    pub client_host: String,
    /// How long it may be silent.
    pub session: Duration,
    /// How long it may take to come back.
    pub rebalance: Duration,
    /// What the group does.
    pub protocol_type: String,
    /// How it can be assigned, the preferred one first, and what it says of itself in each.
    pub protocols: Vec<(String, Bytes)>,
    /// New members get their id first, and come back with it (KIP-394).
    pub id_first: bool,
    /// The leader understands that it is not to assign (KIP-814).
    pub can_skip_assignment: bool,
    /// What a new id is made of.
    pub fresh: Uuid,
}

impl Join {
    /// Bytes of what the member says of itself.
    pub(super) fn bytes(&self) -> usize {
        let name = self.caller.instance.as_ref().map_or(0, String::len);
        self.client_id.len() + name + bytes_of_protocols(&self.protocols)
    }
}

/// What a protocol takes in memory besides what it says: one that says nothing is not free, and there may be millions in a request.
const PROTOCOL_BYTES: usize = 64;

/// Bytes of the protocols of a member.
pub(super) fn bytes_of_protocols<N: AsRef<str>>(protocols: &[(N, Bytes)]) -> usize {
    let said = protocols.iter().map(|(name, metadata)| name.as_ref().len() + metadata.len());
    said.sum::<usize>() + protocols.len() * PROTOCOL_BYTES
}

/// A member's place in a generation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Joined {
    /// Its id.
    pub member: Arc<str>,
    /// The generation.
    pub generation: i32,
    /// What the group does.
    pub protocol_type: Option<Arc<str>>,
    /// The protocol that all members have.
    pub protocol: Option<Arc<str>>,
    /// Who assigns.
    pub leader: Arc<str>,
    /// The leader is not to assign.
    pub skip_assignment: bool,
    /// All members, for the leader alone.
    pub members: Vec<JoinedMember>,
}

/// A member, as its leader is told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JoinedMember {
    /// Its id.
    pub member: Arc<str>,
    /// Its name, when it is static.
    pub instance: Option<Arc<str>>,
    /// What it says of itself.
    pub metadata: Bytes,
}

/// Why a member is not in a generation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JoinRefused {
    /// Why.
    pub code: ErrorCode,
    /// The id that it has, or that it was given.
    pub member: Arc<str>,
}

/// A member that asks for what it got, and brings what all of them get if it leads.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Sync {
    /// Who.
    pub caller: Caller,
    /// What it takes the group to do.
    pub protocol_type: Option<String>,
    /// What it takes for the protocol.
    pub protocol: Option<String>,
    /// Members and what they get.
    pub assignments: Vec<(String, Bytes)>,
}

/// What a member got.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Synced {
    /// What the group does.
    pub protocol_type: Option<Arc<str>>,
    /// The protocol.
    pub protocol: Option<Arc<str>>,
    /// What it got.
    pub assignment: Bytes,
}

/// Members that leave.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Leave {
    /// This group.
    pub group: String,
    /// Each by its id, its name, or both.
    pub members: Vec<(String, Option<String>)>,
}

/// Offsets to keep.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Commit {
    /// Whose.
    pub caller: Caller,
    /// A group that is not there is told by its own error (from version 9 on).
    pub names_missing_group: bool,
    /// For how long, in milliseconds; `None` for as long as the broker does.
    pub retention_ms: Option<i64>,
    /// The offsets.
    pub offsets: Vec<CommitOffset>,
}

/// An offset to keep.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CommitOffset {
    /// The topic.
    pub topic: Arc<str>,
    /// Its id; nil if unknown.
    pub topic_id: Uuid,
    /// The partition.
    pub partition: i32,
    /// The next record to read.
    pub offset: i64,
    /// The leader epoch of the record before it; -1 if unknown.
    pub leader_epoch: i32,
    /// What to keep with it.
    pub metadata: String,
}

/// Offsets that somebody wants to know.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fetch {
    /// Of this group.
    pub group: String,
    /// In these partitions; `None` for all of which there are any.
    pub topics: Option<Vec<(Arc<str>, Vec<i32>)>>,
    /// The member that asks, if one says so, and its epoch.
    pub member: Option<(String, i32)>,
}

/// The offsets in one topic.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FetchedTopic {
    /// The topic.
    pub topic: Arc<str>,
    /// Each partition.
    pub partitions: Vec<FetchedOffset>,
}

/// An offset.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FetchedOffset {
    /// The partition.
    pub partition: i32,
    /// The next record to read; -1 when nothing was committed.
    pub offset: i64,
    /// The leader epoch of the record before it; -1 if unknown.
    pub leader_epoch: i32,
    /// What was kept with it.
    pub metadata: String,
}

/// Offsets to forget.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeleteOffsets {
    /// Of this group.
    pub group: String,
    /// These.
    pub offsets: Vec<(Arc<str>, i32)>,
}

/// A group, for people.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Description {
    /// Its state, as Kafka names it.
    pub state: &'static str,
    /// What it does; empty for a group that only commits.
    pub protocol_type: String,
    /// The protocol, while it is stable.
    pub protocol: String,
    /// Its members.
    pub members: Vec<DescribedMember>,
}

/// A member, for people.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DescribedMember {
    /// Its id.
    pub member: Arc<str>,
    /// Its name, when it is static.
    pub instance: Option<Arc<str>>,
    /// What its client calls itself.
    pub client_id: String,
    /// Where it is.
    pub client_host: String,
    /// What it says of itself, while the group is stable.
    pub metadata: Bytes,
    /// What it got.
    pub assignment: Bytes,
}

/// A group in a list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listing {
    /// Its id.
    pub group: Arc<str>,
    /// What it does; empty for a group that only commits.
    pub protocol_type: String,
    /// Its state, as Kafka names it.
    pub state: &'static str,
    /// Its type, as Kafka names it.
    pub group_type: &'static str,
}
