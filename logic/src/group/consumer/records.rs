//! Consumer groups as records of `__consumer_offsets`, and back.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use millrace_proto::kafka::group_records::{
    ClassicMember, ClassicMemberProtocol, ConsumerGroupKey, ConsumerGroupValue, ConsumerMemberKey,
    ConsumerMemberValue, ConsumerRegexKey, ConsumerRegexValue, CurrentPartitions, CurrentValue,
    TargetEpochValue, TargetPartitions, TargetValue, encode,
};
use millrace_proto::kafka::wire::Nullable;

use super::member::Progress;
use super::{Assignor, Classic, ConsumerGroup, Held, Member};
use crate::group::GroupRecord;

/// Kinds of records.
const GROUP: i16 = 3;
const MEMBER: i16 = 5;
const TARGET_EPOCH: i16 = 6;
const TARGET: i16 = 7;
const CURRENT: i16 = 8;
const REGEX: i16 = 16;

fn of_group(kind: i16, group: &str) -> Vec<u8> {
    encode(&ConsumerGroupKey { group }, kind)
}

fn of_member(kind: i16, group: &str, member: &str) -> Vec<u8> {
    encode(&ConsumerMemberKey { group, member }, kind)
}

impl GroupRecord {
    pub(super) fn consumer_group(group: &ConsumerGroup) -> Self {
        let value = ConsumerGroupValue { epoch: group.epoch, metadata_hash: group.metadata_hash };
        Self { key: of_group(GROUP, &group.id), value: Some(encode(&value, 0)) }
    }

    pub(super) fn consumer_member(group: &str, member: &Member) -> Self {
        let value = ConsumerMemberValue {
            instance: member.instance.as_deref(),
            rack: member.rack.as_deref(),
            client_id: &member.client_id,
            client_host: &member.client_host,
            topics: member.topics.iter().map(|topic| &**topic).collect(),
            regex: Some(member.regex.as_deref().unwrap_or_default()),
            rebalance_timeout: i32::try_from(member.rebalance.as_millis()).unwrap_or(i32::MAX),
            assignor: member.assignor.map(Assignor::name),
            classic: Nullable(member.classic.as_ref().map(|classic| {
                ClassicMember {
                    session_timeout: i32::try_from(classic.session.as_millis()).unwrap_or(i32::MAX),
                    protocols: classic
                        .protocols
                        .iter()
                        .map(|(name, metadata)| ClassicMemberProtocol { name, metadata })
                        .collect(),
                }
            })),
        };
        Self { key: of_member(MEMBER, group, &member.id), value: Some(encode(&value, 0)) }
    }

    pub(super) fn consumer_target_epoch(group: &ConsumerGroup, wall_ms: i64) -> Self {
        let value = TargetEpochValue { epoch: group.assignment_epoch, timestamp: wall_ms };
        Self { key: of_group(TARGET_EPOCH, &group.id), value: Some(encode(&value, 0)) }
    }

    pub(super) fn consumer_target(group: &str, member: &Member) -> Self {
        let partitions = member.target.iter().map(|(topic_id, numbers)| TargetPartitions {
            topic_id: *topic_id,
            partitions: numbers.iter().copied().collect(),
        });
        let value = TargetValue { partitions: partitions.collect() };
        Self { key: of_member(TARGET, group, &member.id), value: Some(encode(&value, 0)) }
    }

    pub(super) fn consumer_current(group: &str, member: &Member) -> Self {
        let held = |held: &Held| -> Vec<CurrentPartitions> {
            let of = |(topic_id, numbers): (&uuid::Uuid, &BTreeMap<i32, i32>)| CurrentPartitions {
                topic_id: *topic_id,
                partitions: numbers.keys().copied().collect(),
                epochs: Some(numbers.values().copied().collect()),
            };
            held.iter().map(of).collect()
        };
        let value = CurrentValue {
            epoch: member.epoch,
            previous_epoch: member.previous_epoch,
            state: member.progress.code(),
            assigned: held(&member.assigned),
            revoking: held(&member.revoking),
        };
        Self { key: of_member(CURRENT, group, &member.id), value: Some(encode(&value, 0)) }
    }

    pub(super) fn consumer_regex(
        group: &str,
        regex: &str,
        topics: &BTreeSet<Arc<str>>,
        version: i64,
        timestamp: i64,
    ) -> Self {
        let value =
            ConsumerRegexValue { topics: topics.iter().map(|topic| &**topic).collect(), version, timestamp };
        Self { key: encode(&ConsumerRegexKey { group, regex }, REGEX), value: Some(encode(&value, 0)) }
    }

    pub(super) fn no_consumer_regex(group: &str, regex: &str) -> Self {
        Self { key: encode(&ConsumerRegexKey { group, regex }, REGEX), value: None }
    }

    /// A member is gone.
    pub(super) fn no_consumer_member(group: &str, member: &str) -> [Self; 3] {
        [CURRENT, TARGET, MEMBER].map(|kind| Self { key: of_member(kind, group, member), value: None })
    }

    /// A group without members is gone.
    pub(in crate::group) fn no_consumer_group(group: &ConsumerGroup) -> Vec<Self> {
        let patterns = group.pattern_names().map(|regex| Self::no_consumer_regex(&group.id, regex));
        let kinds = [TARGET_EPOCH, GROUP].map(|kind| Self { key: of_group(kind, &group.id), value: None });
        patterns.chain(kinds).collect()
    }
}

/// Each of these takes one record; a value that is `None` says that what the key names is gone. Members may come in any order: what compaction
/// keeps of one may lie before or behind what it keeps of another kind.
impl ConsumerGroup {
    pub(in crate::group) fn restore_group(&mut self, value: &ConsumerGroupValue) {
        (self.epoch, self.metadata_hash) = (value.epoch, value.metadata_hash);
    }

    pub(in crate::group) fn restore_target_epoch(&mut self, value: &TargetEpochValue) {
        self.assignment_epoch = value.epoch;
    }

    pub(in crate::group) fn restore_member(&mut self, id: &str, value: Option<&ConsumerMemberValue<'_>>) {
        let Some(value) = value else {
            self.members.remove(id);
            return;
        };
        let member = self.member_for_replay(id);
        member.instance = value.instance.map(Arc::from);
        member.rack = value.rack.map(str::to_owned);
        member.client_id = value.client_id.to_owned();
        member.client_host = value.client_host.to_owned();
        member.topics = value.topics.iter().copied().map(Arc::from).collect();
        member.regex = value.regex.filter(|regex| !regex.is_empty()).map(Arc::from);
        let millis = |time: i32| Duration::from_millis(u64::try_from(time).unwrap_or(0));
        member.rebalance = millis(value.rebalance_timeout);
        member.assignor = value.assignor.and_then(Assignor::of);
        let protocol = |it: &ClassicMemberProtocol<'_>| (it.name.into(), Bytes::copy_from_slice(it.metadata));
        member.classic = value.classic.0.as_ref().map(|classic| Classic {
            session: millis(classic.session_timeout),
            protocols: classic.protocols.iter().map(protocol).collect(),
        });
    }

    pub(in crate::group) fn restore_target(&mut self, id: &str, value: Option<&TargetValue>) {
        let partitions = value.into_iter().flat_map(|value| &value.partitions);
        let target = partitions.map(|it| (it.topic_id, it.partitions.iter().copied().collect())).collect();
        match value {
            Some(_) => self.member_for_replay(id).target = target,
            None => drop(self.members.get_mut(id).map(|member| member.target.clear())),
        }
    }

    pub(in crate::group) fn restore_current(&mut self, id: &str, value: Option<&CurrentValue>) {
        let held = |all: &[CurrentPartitions], epoch: i32| -> Held {
            let of = |it: &CurrentPartitions| {
                let epochs = it.epochs.iter().flatten().copied().map(Some).chain(std::iter::repeat(None));
                let numbers = it.partitions.iter().zip(epochs);
                (it.topic_id, numbers.map(|(number, since)| (*number, since.unwrap_or(epoch))).collect())
            };
            all.iter().map(of).collect()
        };
        match value {
            Some(value) => {
                let member = self.member_for_replay(id);
                (member.epoch, member.previous_epoch) = (value.epoch, value.previous_epoch);
                member.progress = Progress::of(value.state);
                member.assigned = held(&value.assigned, value.epoch);
                member.revoking = held(&value.revoking, value.epoch);
            }
            None => {
                if let Some(member) = self.members.get_mut(id) {
                    let said = member.clone();
                    let empty = Member::new(said.id.clone());
                    *member = Member {
                        epoch: empty.epoch,
                        previous_epoch: empty.previous_epoch,
                        progress: empty.progress,
                        assigned: empty.assigned,
                        revoking: empty.revoking,
                        ..said
                    };
                }
            }
        }
    }

    pub(in crate::group) fn restore_regex(&mut self, regex: &str, value: Option<&ConsumerRegexValue<'_>>) {
        match value {
            Some(value) => self.restore_pattern(regex, value.topics.iter().copied().map(Arc::from).collect()),
            None => self.forget_pattern(regex),
        }
    }

    fn member_for_replay(&mut self, id: &str) -> &mut Member {
        let id: Arc<str> = id.into();
        self.members.entry(id.clone()).or_insert_with(|| Member::new(id))
    }
}
