//! What the coordinator decided, as records of `__consumer_offsets`, and back.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use millrace_proto::kafka::group_records::{
    ConsumerGroupKey, ConsumerMemberKey, ConsumerRegexKey, EXPIRING_OFFSET_COMMIT_VALUE_VERSION,
    GROUP_METADATA_VALUE_VERSION, GroupMetadataKey, GroupMetadataValue, GroupRecordKey, MemberMetadata,
    OFFSET_COMMIT_VALUE_VERSION, OffsetCommitKey, OffsetCommitValue, decode_value, encode,
};
use millrace_proto::kafka::wire::DecodeError;

use super::Coordinator;
use super::classic::{Group, Member, State, new_member};
use super::consumer::ConsumerGroup;
use super::offsets::Committed;

/// A record to append.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GroupRecord {
    /// What it is about.
    pub key: Vec<u8>,
    /// What holds of it now; `None` when it is gone.
    pub value: Option<Vec<u8>>,
}

/// A record that cannot be understood: it is damaged, or of a version of the future.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{part} of a group's record: {source}")]
pub struct ReplayError {
    part: &'static str,
    source: DecodeError,
}

impl GroupRecord {
    pub(super) fn offset(group: &str, topic: &str, partition: i32, committed: &Committed) -> Self {
        let version = match committed.expires_ms {
            Some(_) => EXPIRING_OFFSET_COMMIT_VALUE_VERSION,
            None => OFFSET_COMMIT_VALUE_VERSION,
        };
        let value = OffsetCommitValue {
            offset: committed.offset,
            leader_epoch: committed.leader_epoch,
            metadata: &committed.metadata,
            commit_timestamp: committed.committed_ms,
            expire_timestamp: committed.expires_ms.unwrap_or(-1),
            topic_id: committed.topic_id,
        };
        Self { value: Some(encode(&value, version)), ..Self::no_offset(group, topic, partition) }
    }

    pub(super) fn no_offset(group: &str, topic: &str, partition: i32) -> Self {
        Self { key: encode(&OffsetCommitKey { group, topic, partition }, 1), value: None }
    }

    pub(super) fn group<T>(group: &Group<T>) -> Self {
        let millis = |time: Duration| i32::try_from(time.as_millis()).unwrap_or(i32::MAX);
        let metadata: Vec<Bytes> =
            group.members.values().map(|member| member.metadata(group.protocol.as_deref())).collect();
        let members = group.members.values().zip(&metadata).map(|(member, subscription)| MemberMetadata {
            member_id: &member.id,
            group_instance_id: member.instance.as_deref(),
            client_id: &member.client_id,
            client_host: &member.client_host,
            rebalance_timeout: millis(member.rebalance),
            session_timeout: millis(member.session),
            subscription,
            assignment: &member.assignment,
        });
        let value = GroupMetadataValue {
            protocol_type: group.protocol_type.as_deref().unwrap_or_default(),
            generation: group.generation,
            protocol: group.protocol.as_deref(),
            leader: group.leader.as_deref(),
            current_state_timestamp: group.since_ms,
            members: members.collect(),
        };
        Self { value: Some(encode(&value, GROUP_METADATA_VALUE_VERSION)), ..Self::no_group(&group.id) }
    }

    pub(super) fn no_group(group: &str) -> Self {
        Self { key: encode(&GroupMetadataKey { group }, 2), value: None }
    }
}

impl<T> Coordinator<T> {
    /// Takes one record of the log, which are replayed in their order. Kinds that are not known are passed over.
    ///
    /// # Errors
    /// The record cannot be understood; the coordinator is as before it.
    pub fn replay(&mut self, key: &[u8], value: Option<&[u8]>) -> Result<(), ReplayError> {
        let in_key = |source| ReplayError { part: "the key", source };
        let in_value = |source| ReplayError { part: "the value", source };
        match GroupRecordKey::decode(key).map_err(in_key)? {
            GroupRecordKey::OffsetCommit(OffsetCommitKey { group, topic, partition }) => match value {
                Some(value) => {
                    let value: OffsetCommitValue<'_> = decode_value(value).map_err(in_value)?;
                    let committed = Committed {
                        offset: value.offset,
                        leader_epoch: value.leader_epoch,
                        metadata: value.metadata.to_owned(),
                        committed_ms: value.commit_timestamp,
                        expires_ms: Some(value.expire_timestamp).filter(|expires| *expires >= 0),
                        topic_id: value.topic_id,
                    };
                    self.group_for_replay(group).offsets.insert(topic.into(), partition, committed);
                }
                None => {
                    if let Some(known) = self.groups.get_mut(group) {
                        known.offsets.remove(topic, partition);
                    }
                    self.drop_if_void(group);
                }
            },
            GroupRecordKey::GroupMetadata(GroupMetadataKey { group }) => match value {
                Some(value) => {
                    let value = decode_value(value).map_err(in_value)?;
                    self.group_for_replay(group).restore(&value);
                }
                None => {
                    if let Some(known) = self.groups.get_mut(group) {
                        known.forget_classic();
                    }
                    self.drop_if_void(group);
                }
            },
            GroupRecordKey::ConsumerGroup(ConsumerGroupKey { group }) => match value {
                Some(value) => {
                    let value = decode_value(value).map_err(in_value)?;
                    self.consumers_for_replay(group).restore_group(&value);
                }
                None => {
                    if let Some(known) = self.groups.get_mut(group) {
                        known.consumer = None;
                    }
                    self.drop_if_void(group);
                }
            },
            GroupRecordKey::TargetEpoch(ConsumerGroupKey { group }) => {
                if let Some(value) = value.map(decode_value).transpose().map_err(in_value)? {
                    self.consumers_for_replay(group).restore_target_epoch(&value);
                }
            }
            GroupRecordKey::ConsumerMember(ConsumerMemberKey { group, member }) => {
                let value = value.map(decode_value).transpose().map_err(in_value)?;
                if let Some(group) = self.consumers_if(group, value.is_some()) {
                    group.restore_member(member, value.as_ref());
                }
            }
            GroupRecordKey::Target(ConsumerMemberKey { group, member }) => {
                let value = value.map(decode_value).transpose().map_err(in_value)?;
                if let Some(group) = self.consumers_if(group, value.is_some()) {
                    group.restore_target(member, value.as_ref());
                }
            }
            GroupRecordKey::Current(ConsumerMemberKey { group, member }) => {
                let value = value.map(decode_value).transpose().map_err(in_value)?;
                if let Some(group) = self.consumers_if(group, value.is_some()) {
                    group.restore_current(member, value.as_ref());
                }
            }
            GroupRecordKey::ConsumerRegex(ConsumerRegexKey { group, regex }) => {
                let value = value.map(decode_value).transpose().map_err(in_value)?;
                if let Some(group) = self.consumers_if(group, value.is_some()) {
                    group.restore_regex(regex, value.as_ref());
                }
            }
            GroupRecordKey::Unknown(_) => {}
        }
        Ok(())
    }

    fn consumers_for_replay(&mut self, id: &str) -> &mut ConsumerGroup {
        let group = self.group_for_replay(id);
        group.consumer.get_or_insert_with(|| Box::new(ConsumerGroup::new(group.id.clone())))
    }

    /// A consumer group, which a record may be the first of, or, if it says that something is gone, about nothing.
    fn consumers_if(&mut self, id: &str, is_there: bool) -> Option<&mut ConsumerGroup> {
        match is_there {
            true => Some(self.consumers_for_replay(id)),
            false => self.groups.get_mut(id)?.consumer.as_deref_mut(),
        }
    }

    fn group_for_replay(&mut self, id: &str) -> &mut Group<T> {
        let id: Arc<str> = id.into();
        self.groups.entry(id.clone()).or_insert_with(|| Group::new(id))
    }
}

impl<T> Group<T> {
    /// What says that the group itself is gone.
    pub(super) fn tombstones(&self) -> Vec<GroupRecord> {
        match &self.consumer {
            Some(consumer) => GroupRecord::no_consumer_group(consumer),
            None => vec![GroupRecord::no_group(&self.id)],
        }
    }

    /// There is no classic group of its name any more. What was committed goes by records of its own.
    fn forget_classic(&mut self) {
        let (offsets, consumer) = (std::mem::take(&mut self.offsets), self.consumer.take());
        *self = Group { offsets, consumer, ..Group::new(self.id.clone()) };
    }

    fn restore(&mut self, value: &GroupMetadataValue<'_>) {
        let offsets = std::mem::take(&mut self.offsets);
        *self = Group { offsets, ..Group::new(self.id.clone()) };
        self.protocol_type = Some(value.protocol_type).filter(|kind| !kind.is_empty()).map(Arc::from);
        self.protocol = value.protocol.map(Arc::from);
        self.generation = value.generation;
        for member in &value.members {
            self.add(restored(member, value.protocol));
        }
        self.leader = value.leader.map(Arc::from).filter(|leader| self.members.contains_key(leader));
        self.state = if self.members.is_empty() { State::Empty } else { State::Stable };
        self.since_ms = value.current_state_timestamp;
        self.read_subscriptions();
    }
}

fn restored<T>(member: &MemberMetadata<'_>, protocol: Option<&str>) -> Member<T> {
    let millis = |time: i32| Duration::from_millis(u64::try_from(time).unwrap_or(0));
    let session = millis(member.session_timeout);
    let protocols = protocol.map(|name| (Arc::from(name), Bytes::copy_from_slice(member.subscription)));
    Member {
        client_id: member.client_id.to_owned(),
        client_host: member.client_host.to_owned(),
        session,
        // Version 0 had but one timeout.
        rebalance: if member.rebalance_timeout > 0 { millis(member.rebalance_timeout) } else { session },
        protocols: protocols.into_iter().collect(),
        assignment: Bytes::copy_from_slice(member.assignment),
        ..new_member(member.member_id.into(), member.group_instance_id.map(Arc::from))
    }
}
