//! What the broker says of groups, as values.

use crate::error::Error;
use millrace_proto::grpc::v1;

/// What a group is about at the moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum GroupState {
    /// It has no members; offsets, perhaps.
    Empty,
    /// It waits for its members to come (back).
    PreparingRebalance,
    /// It waits for what its leader assigns.
    CompletingRebalance,
    /// Every member has what it got.
    Stable,
    /// The broker is about to assign.
    Assigning,
    /// Members are on their way to what they got.
    Reconciling,
    /// Something newer than this client.
    Unknown,
}

/// How the members of a group agree.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum GroupType {
    /// One of them assigns.
    Classic,
    /// The broker assigns (KIP-848).
    Consumer,
    /// Something newer than this client.
    Unknown,
}

impl GroupState {
    /// Every state that has a name.
    pub const ALL: [Self; 6] = [
        Self::Empty,
        Self::PreparingRebalance,
        Self::CompletingRebalance,
        Self::Stable,
        Self::Assigning,
        Self::Reconciling,
    ];

    /// As Kafka's tools write it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Empty => "Empty",
            Self::PreparingRebalance => "PreparingRebalance",
            Self::CompletingRebalance => "CompletingRebalance",
            Self::Stable => "Stable",
            Self::Assigning => "Assigning",
            Self::Reconciling => "Reconciling",
            Self::Unknown => "Unknown",
        }
    }

    pub(super) fn message(self) -> v1::GroupState {
        match self {
            Self::Empty => v1::GroupState::Empty,
            Self::PreparingRebalance => v1::GroupState::PreparingRebalance,
            Self::CompletingRebalance => v1::GroupState::CompletingRebalance,
            Self::Stable => v1::GroupState::Stable,
            Self::Assigning => v1::GroupState::Assigning,
            Self::Reconciling => v1::GroupState::Reconciling,
            Self::Unknown => v1::GroupState::Unspecified,
        }
    }
}

impl GroupType {
    /// Every type that has a name.
    pub const ALL: [Self; 2] = [Self::Classic, Self::Consumer];

    /// As Kafka's tools write it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Classic => "classic",
            Self::Consumer => "consumer",
            Self::Unknown => "unknown",
        }
    }

    pub(super) fn message(self) -> v1::GroupType {
        match self {
            Self::Classic => v1::GroupType::Classic,
            Self::Consumer => v1::GroupType::Consumer,
            Self::Unknown => v1::GroupType::Unspecified,
        }
    }
}

/// A group in a list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GroupSummary {
    /// Its id.
    pub id: String,
    /// What it is about.
    pub state: GroupState,
    /// How its members agree.
    pub kind: GroupType,
    /// What its members do: `consumer` mostly; empty for a group that only commits.
    pub protocol_type: String,
}

/// A group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Group {
    /// Its id.
    pub id: String,
    /// What it is about.
    pub state: GroupState,
    /// How its members agree.
    pub kind: GroupType,
    /// What its members do: `consumer` mostly; empty for a group that only commits.
    pub protocol_type: String,
    /// How partitions are assigned, for example `range`; empty unless the group is stable.
    pub protocol: String,
    /// By id.
    pub members: Vec<GroupMember>,
    /// By topic and partition: where the group has committed something, and what its members read.
    pub offsets: Vec<GroupOffset>,
}

/// A member of a group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GroupMember {
    /// Its id.
    pub id: String,
    /// Its name, if it is a static member.
    pub instance_id: Option<String>,
    /// What its client calls itself.
    pub client_id: String,
    /// Where it is.
    pub client_host: String,
    /// What it reads: topics and their partitions.
    pub assignment: Vec<(String, Vec<i32>)>,
}

/// How far a group has come in a partition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GroupOffset {
    /// The topic.
    pub topic: String,
    /// The partition.
    pub partition: i32,
    /// The offset of the next record to read, if something was committed.
    pub committed: Option<i64>,
    /// What the client kept with it.
    pub metadata: String,
    /// The oldest offset that can be read, if known.
    pub log_start_offset: Option<i64>,
    /// Behind the newest record that can be read, if known.
    pub high_watermark: Option<i64>,
    /// How many offsets lie between what was committed and the end, if both are known.
    pub lag: Option<i64>,
    /// The member that reads it, if one does.
    pub member_id: Option<String>,
}

/// A partition in which a group goes on elsewhere.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ResetOffset {
    /// The topic.
    pub topic: String,
    /// The partition.
    pub partition: i32,
    /// What was committed before, if anything.
    pub previous: Option<i64>,
    /// What is committed now, or would be.
    pub offset: i64,
    /// The oldest offset that can be read.
    pub log_start_offset: i64,
    /// Behind the newest record that can be read.
    pub high_watermark: i64,
}

/// A partition of which a group has forgotten how far it had come, or why it has not.
#[derive(Clone, Debug, PartialEq)]
pub struct DeletedOffset {
    /// The topic.
    pub topic: String,
    /// The partition.
    pub partition: i32,
    /// Why it is still known.
    pub error: Option<Error>,
}

impl From<v1::GroupState> for GroupState {
    fn from(state: v1::GroupState) -> Self {
        Self::ALL.into_iter().find(|known| known.message() == state).unwrap_or(Self::Unknown)
    }
}

impl From<v1::GroupType> for GroupType {
    fn from(kind: v1::GroupType) -> Self {
        Self::ALL.into_iter().find(|known| known.message() == kind).unwrap_or(Self::Unknown)
    }
}

impl From<v1::GroupSummary> for GroupSummary {
    fn from(group: v1::GroupSummary) -> Self {
        let (state, kind) = (group.state().into(), group.r#type().into());
        Self { id: group.group_id, state, kind, protocol_type: group.protocol_type }
    }
}

impl From<v1::Group> for Group {
    fn from(group: v1::Group) -> Self {
        Self {
            state: group.state().into(),
            kind: group.r#type().into(),
            id: group.group_id,
            protocol_type: group.protocol_type,
            protocol: group.protocol,
            members: group.members.into_iter().map(GroupMember::from).collect(),
            offsets: group.offsets.into_iter().map(GroupOffset::from).collect(),
        }
    }
}

impl From<v1::GroupMember> for GroupMember {
    fn from(member: v1::GroupMember) -> Self {
        let assignment = member.assignment.into_iter().map(|it| (it.topic, it.partitions));
        Self {
            id: member.member_id,
            instance_id: member.group_instance_id,
            client_id: member.client_id,
            client_host: member.client_host,
            assignment: assignment.collect(),
        }
    }
}

impl From<v1::GroupOffset> for GroupOffset {
    fn from(offset: v1::GroupOffset) -> Self {
        Self {
            topic: offset.topic,
            partition: offset.partition,
            committed: offset.committed_offset,
            metadata: offset.metadata,
            log_start_offset: offset.log_start_offset,
            high_watermark: offset.high_watermark,
            lag: offset.lag,
            member_id: Some(offset.member_id).filter(|member| !member.is_empty()),
        }
    }
}

impl From<v1::ResetOffset> for ResetOffset {
    fn from(reset: v1::ResetOffset) -> Self {
        Self {
            topic: reset.topic,
            partition: reset.partition,
            previous: reset.previous_offset,
            offset: reset.offset,
            log_start_offset: reset.log_start_offset,
            high_watermark: reset.high_watermark,
        }
    }
}

impl From<v1::DeletedOffset> for DeletedOffset {
    fn from(deleted: v1::DeletedOffset) -> Self {
        Self { topic: deleted.topic, partition: deleted.partition, error: deleted.error.map(Error::from) }
    }
}
