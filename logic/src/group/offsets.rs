//! How far groups have come: commits, what is read of them, and when they go (KIP-211).

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use millrace_proto::kafka::error::ErrorCode;
use uuid::Uuid;

use super::classic::{CONSUMER, Group, State};
use super::request::{
    Caller, Commit, CommitOffset, DeleteOffsets, Fetch, FetchedOffset, FetchedTopic, Response,
};
use super::{Coordinator, Effect, GroupRecord, Now, When, reply};

/// A committed offset.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Committed {
    /// The next record to read.
    pub offset: i64,
    /// The leader epoch of the record before it; -1 if unknown.
    pub leader_epoch: i32,
    /// What the client wanted kept with it.
    pub metadata: String,
    /// When, by the calendar.
    pub committed_ms: i64,
    /// When it goes, if the client said so.
    pub expires_ms: Option<i64>,
    /// The topic's id; nil if unknown.
    pub topic_id: Uuid,
}

/// A group's offsets.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Offsets(BTreeMap<Arc<str>, BTreeMap<i32, Committed>>);

impl Offsets {
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(super) fn len(&self) -> usize {
        self.0.values().map(BTreeMap::len).sum()
    }

    pub(super) fn insert(&mut self, topic: Arc<str>, partition: i32, committed: Committed) {
        self.0.entry(topic).or_default().insert(partition, committed);
    }

    pub(super) fn remove(&mut self, topic: &str, partition: i32) -> Option<Committed> {
        let partitions = self.0.get_mut(topic)?;
        let removed = partitions.remove(&partition);
        if partitions.is_empty() {
            self.0.remove(topic);
        }
        removed
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (&Arc<str>, i32, &Committed)> {
        self.0.iter().flat_map(|(topic, partitions)| {
            partitions.iter().map(move |(partition, committed)| (topic, *partition, committed))
        })
    }
}

impl<T> Coordinator<T> {
    pub(super) fn commit(&mut self, now: Now, commit: Commit, ticket: T, out: &mut Vec<Effect<T>>) {
        let Commit { caller, names_missing_group, retention_ms, offsets } = commit;
        if let Err(code) = self.check_commit(&caller, names_missing_group) {
            return out.push(reply(ticket, Response::Commit(Err(code)), When::Now));
        }
        if let Err(code) = self.check_consumer_commit(&caller, names_missing_group, &offsets) {
            return out.push(reply(ticket, Response::Commit(Err(code)), When::Now));
        }
        let id: Arc<str> = caller.group.as_str().into();
        let group = self.groups.entry(id.clone()).or_insert_with(|| Group::new(id.clone()));
        group.rest(&caller.member, now.mono, &mut self.timers);
        let mut codes = Vec::with_capacity(offsets.len());
        for offset in offsets {
            if offset.metadata.len() > self.settings.max_metadata {
                codes.push(ErrorCode::OffsetMetadataTooLarge);
                continue;
            }
            let CommitOffset { topic, topic_id, partition, offset, leader_epoch, metadata } = offset;
            let committed = Committed {
                offset,
                leader_epoch,
                metadata,
                committed_ms: now.wall_ms,
                expires_ms: retention_ms.map(|keep| now.wall_ms.saturating_add(keep)),
                topic_id,
            };
            out.push(Effect::Append(GroupRecord::offset(&id, &topic, partition, &committed)));
            group.offsets.insert(topic, partition, committed);
            codes.push(ErrorCode::None);
        }
        out.push(reply(ticket, Response::Commit(Ok(codes)), When::Durable));
        self.drop_if_void(&id);
    }

    fn check_commit(&self, caller: &Caller, names_missing_group: bool) -> Result<(), ErrorCode> {
        match self.groups.get(caller.group.as_str()) {
            Some(group) if group.consumer.is_some() => Ok(()),
            Some(group) => group.check_commit(caller),
            // Who assigns partitions to itself may use any name.
            None if caller.generation < 0 => Ok(()),
            None if names_missing_group => Err(ErrorCode::GroupIdNotFound),
            None => Err(ErrorCode::IllegalGeneration),
        }
    }

    /// The same for a consumer group. A member whose epoch has moved on meanwhile may still commit for partitions that it has had since the
    /// epoch that it knows (KIP-1251): nobody else has had them since.
    fn check_consumer_commit(
        &self,
        caller: &Caller,
        knows_epochs: bool,
        offsets: &[CommitOffset],
    ) -> Result<(), ErrorCode> {
        let group = self.groups.get(caller.group.as_str()).and_then(|group| group.consumer.as_ref());
        let Some(group) = group else { return Ok(()) };
        if caller.generation < 0 && group.members.is_empty() {
            return Ok(());
        }
        let member = group.members.get(caller.member.as_str()).ok_or(ErrorCode::UnknownMemberId)?;
        let is_classic = member.classic.is_some();
        if !knows_epochs && !is_classic {
            return Err(ErrorCode::UnsupportedVersion);
        }
        let had = |it: &CommitOffset| {
            member.has_since(it.topic_id, it.partition).is_some_and(|since| since <= caller.generation)
        };
        let may = caller.generation == member.epoch
            || caller.generation < member.epoch && caller.generation > 0 && offsets.iter().all(had);
        match may {
            true => Ok(()),
            // Each in the words of its protocol.
            false if is_classic => Err(ErrorCode::IllegalGeneration),
            false => Err(ErrorCode::StaleMemberEpoch),
        }
    }

    /// Whether who asks for offsets may know them: a member of a consumer group whose epoch has moved on is to hear of that first.
    fn check_fetch(&self, fetch: &Fetch) -> Result<(), ErrorCode> {
        let group = self.groups.get(fetch.group.as_str()).and_then(|group| group.consumer.as_ref());
        match (group, &fetch.member) {
            (Some(group), Some((member, epoch))) => match group.members.get(member.as_str()) {
                Some(member) if member.epoch == *epoch => Ok(()),
                Some(member) if member.classic.is_some() => Err(ErrorCode::IllegalGeneration),
                Some(_) => Err(ErrorCode::StaleMemberEpoch),
                None => Err(ErrorCode::UnknownMemberId),
            },
            _ => Ok(()),
        }
    }

    pub(super) fn fetch(&self, fetch: &Fetch) -> Result<Vec<FetchedTopic>, ErrorCode> {
        self.check_fetch(fetch)?;
        Ok(self.fetch_all(fetch))
    }

    fn fetch_all(&self, fetch: &Fetch) -> Vec<FetchedTopic> {
        let known = self.groups.get(fetch.group.as_str()).map(|group| &group.offsets.0);
        let shown = |partition: i32, committed: Option<&Committed>| FetchedOffset {
            partition,
            offset: committed.map_or(-1, |committed| committed.offset),
            leader_epoch: committed.map_or(-1, |committed| committed.leader_epoch),
            metadata: committed.map(|committed| committed.metadata.clone()).unwrap_or_default(),
        };
        // What is asked for twice is answered once: four bytes of a request must not fetch the same kilobytes again and again.
        let mut asked = BTreeSet::new();
        match &fetch.topics {
            Some(topics) => topics
                .iter()
                .map(|(topic, wanted)| {
                    let known = known.and_then(|known| known.get(topic));
                    let find = |partition: &i32| {
                        shown(*partition, known.and_then(|partitions| partitions.get(partition)))
                    };
                    let wanted = wanted.iter().filter(|partition| asked.insert((topic, **partition)));
                    FetchedTopic { topic: topic.clone(), partitions: wanted.map(find).collect() }
                })
                .collect(),
            None => known
                .into_iter()
                .flatten()
                .map(|(topic, partitions)| FetchedTopic {
                    topic: topic.clone(),
                    partitions: partitions
                        .iter()
                        .map(|(partition, it)| shown(*partition, Some(it)))
                        .collect(),
                })
                .collect(),
        }
    }

    pub(super) fn delete_offsets(&mut self, delete: DeleteOffsets, ticket: T, out: &mut Vec<Effect<T>>) {
        let answer = |outcome| Response::DeleteOffsets(outcome);
        let Some(group) = self.groups.get_mut(delete.group.as_str()) else {
            return out.push(reply(ticket, answer(Err(ErrorCode::GroupIdNotFound)), When::Durable));
        };
        let idle = group.is_empty();
        if !idle && group.consumer.is_none() && group.protocol_type.as_deref() != Some(CONSUMER) {
            return out.push(reply(ticket, answer(Err(ErrorCode::NonEmptyGroup)), When::Durable));
        }
        let mut codes = Vec::with_capacity(delete.offsets.len());
        for (topic, partition) in delete.offsets {
            if !idle && group.reads(&topic) {
                codes.push(ErrorCode::GroupSubscribedToTopic);
                continue;
            }
            group.forget_offset(&topic, partition, out);
            codes.push(ErrorCode::None);
        }
        out.push(reply(ticket, answer(Ok(codes)), When::Durable));
        self.drop_if_void(&delete.group);
    }

    /// Forgets what was committed of topics that are not there any more, or that have another id now.
    pub fn forget_topics(&mut self, is_there: impl Fn(&str, Uuid) -> bool, out: &mut Vec<Effect<T>>) {
        let ids: Vec<_> = self.groups.keys().cloned().collect();
        for id in ids {
            let Some(group) = self.groups.get_mut(&id) else { continue };
            let all = group.offsets.iter();
            let gone = all.filter(|(topic, _, committed)| !is_there(topic, committed.topic_id));
            let gone: Vec<_> = gone.map(|(topic, partition, _)| (topic.clone(), partition)).collect();
            gone.iter().for_each(|(topic, partition)| group.forget_offset(topic, *partition, out));
            self.drop_if_void(&id);
        }
    }

    /// Offsets that nobody has used for long go, and groups of which nothing is left.
    pub(super) fn expire_offsets(&mut self, now: Now, out: &mut Vec<Effect<T>>) {
        let ids: Vec<_> = self.groups.keys().cloned().collect();
        for id in ids {
            let Some(group) = self.groups.get_mut(&id) else { continue };
            let due: Vec<_> = group
                .offsets
                .iter()
                .filter(|(topic, _, committed)| {
                    group.is_unused(topic, committed, now, self.settings.retention_ms)
                })
                .map(|(topic, partition, _)| (topic.clone(), partition))
                .collect();
            due.iter().for_each(|(topic, partition)| group.forget_offset(topic, *partition, out));
            if group.is_empty() && group.pending.is_empty() && group.offsets.is_empty() {
                out.extend(group.tombstones().into_iter().map(Effect::Append));
                self.groups.remove(&id);
            }
        }
    }
}

impl<T> Group<T> {
    fn check_commit(&self, caller: &Caller) -> Result<(), ErrorCode> {
        let idle = self.state == State::Empty;
        if caller.generation < 0 && idle {
            return Ok(());
        }
        if caller.generation >= 0 || !caller.member.is_empty() || caller.instance.is_some() {
            self.check_generation(caller)?;
        } else if !idle {
            // Who assigns partitions to itself must not use the name of a group that has members.
            return Err(ErrorCode::UnknownMemberId);
        }
        match self.state {
            State::CompletingRebalance => Err(ErrorCode::RebalanceInProgress),
            _ => Ok(()),
        }
    }

    fn is_unused(&self, topic: &str, committed: &Committed, now: Now, retention_ms: i64) -> bool {
        if let Some(expires) = committed.expires_ms {
            return now.wall_ms >= expires;
        }
        if self.consumer.is_some() {
            let silent = now.wall_ms.saturating_sub(committed.committed_ms);
            return !self.reads(topic) && silent >= retention_ms;
        }
        let since = match (&self.protocol_type, self.state) {
            (None, _) => committed.committed_ms,
            (Some(_), State::Empty) if self.since_ms >= 0 => self.since_ms,
            (Some(_), State::Empty) => committed.committed_ms,
            (Some(kind), State::Stable) if **kind == *CONSUMER && !self.reads(topic) => {
                committed.committed_ms
            }
            _ => return false,
        };
        now.wall_ms.saturating_sub(since) >= retention_ms
    }

    fn forget_offset(&mut self, topic: &str, partition: i32, out: &mut Vec<Effect<T>>) {
        if self.offsets.remove(topic, partition).is_some() {
            out.push(Effect::Append(GroupRecord::no_offset(&self.id, topic, partition)));
        }
    }
}
