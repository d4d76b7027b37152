//! What members commit and find. Each commit has a number of its own, in the text that is kept with the offset, so that whoever finds
//! an offset knows which commit it is. Offsets grow: who owns a partition goes on where the last owner ended.

use super::super::connection::{Connection, Lost};
use super::Member;
use crate::judge::{Commit, Fact, Partition};
use bytes::Bytes;
use millrace_proto::kafka::api::decode_response;
use millrace_proto::kafka::error::ErrorCode;
use millrace_proto::kafka::messages::offset_commit::{
    OffsetCommitRequest, OffsetCommitRequestPartition, OffsetCommitRequestTopic, OffsetCommitResponse,
};
use millrace_proto::kafka::messages::offset_fetch::{
    OffsetFetchRequest, OffsetFetchRequestGroup, OffsetFetchRequestTopic, OffsetFetchRequestTopics,
    OffsetFetchResponse,
};
use std::collections::BTreeMap;
use uuid::Uuid;

/// From this version on OffsetFetch takes many groups.
const MANY_GROUPS: i16 = 8;
/// From this version on OffsetFetch says which member asks.
const NAMES_MEMBER: i16 = 9;
/// From this version on topics go by their ids.
const TOPIC_IDS: i16 = 10;
/// From this version on OffsetFetch may ask for all there is.
const ALL_TOPICS: i16 = 2;

/// What was found of a partition: its topic by name or id, its number, the offset, what was kept with it, and the error.
type Found<'a> = (&'a str, Uuid, i32, i64, &'a str, ErrorCode);

/// How far a group has come; 0 where it has not begun.
type Offsets = Vec<(Partition, i64)>;

impl Member {
    /// Commits for some of what it owns; what the coordinator says of that.
    pub(super) async fn commit(&mut self, connection: &mut Connection) -> Result<ErrorCode, Lost> {
        let commits = self.send_commit(connection).await?;
        if commits.is_empty() {
            return Ok(ErrorCode::None);
        }
        let answer = connection.receive::<OffsetCommitResponse<'_>>(self.commit_version).await?;
        self.in_doubt = false;
        let response: OffsetCommitResponse<'_> =
            decode_response(&answer, self.commit_version).map_err(|e| Lost::Garbled(e.to_string()))?;
        let codes = response.topics.iter().flat_map(|topic| {
            topic.partitions.iter().map(|it| (topic.name, topic.topic_id, it.partition_index, it.error_code))
        });
        let codes: Vec<_> = codes.collect();
        if codes.len() != commits.len() {
            return Err(Lost::Garbled(format!("{} offsets were sent: {response:?}", commits.len())));
        }
        let mut first = ErrorCode::None;
        for (name, id, index, code) in codes {
            let partition = self.partition(self.commit_version, name, id, index)?;
            let Some((commit, closing)) = commits.iter().find(|(commit, _)| commit.partition == partition)
            else {
                return Err(Lost::Garbled(format!("no offset was sent for {partition}: {response:?}")));
            };
            if code == ErrorCode::None {
                self.client.judge.note(Fact::CommitAccepted(*commit));
                if *closing {
                    self.group.0.settled.borrow_mut().insert(partition);
                }
            } else {
                first = code;
            }
        }
        Ok(first)
    }

    /// Sends a commit for some of what it owns; each with whether the closing had begun.
    pub(super) async fn send_commit(
        &mut self,
        connection: &mut Connection,
    ) -> Result<Vec<(Commit, bool)>, Lost> {
        let (closing, mut commits) = (self.is_closing(), Vec::new());
        for (partition, position) in &mut self.owned {
            let Some(position) = position else { continue };
            if !closing && self.rng.chance(0.4) {
                continue;
            }
            *position += self.rng.within(1..=5) as i64;
            let number = self.client.judge.next_number();
            let (group, offset) = (self.group.0.id, *position);
            commits.push((Commit { number, group, partition: *partition, offset }, closing));
        }
        if commits.is_empty() {
            return Ok(commits);
        }
        let texts: Vec<String> = commits.iter().map(|(commit, _)| commit.number.to_string()).collect();
        let mut topics: BTreeMap<Uuid, OffsetCommitRequestTopic<'_>> = BTreeMap::new();
        for ((commit, _), text) in commits.iter().zip(&texts) {
            let Some(target) = self.group.target(commit.partition) else { continue };
            let (name, topic_id) = (target.topic.as_str(), commit.partition.topic);
            let topic = topics.entry(topic_id).or_insert_with(|| OffsetCommitRequestTopic {
                name,
                topic_id,
                ..OffsetCommitRequestTopic::default()
            });
            topic.partitions.push(OffsetCommitRequestPartition {
                partition_index: commit.partition.index,
                committed_offset: commit.offset,
                committed_metadata: Some(text),
                ..OffsetCommitRequestPartition::default()
            });
            self.client.judge.note(Fact::CommitSent(*commit));
        }
        let request = OffsetCommitRequest {
            group_id: &self.group.0.name,
            generation_id_or_member_epoch: self.term,
            member_id: &self.id,
            group_instance_id: self.instance.as_deref(),
            topics: topics.into_values().collect(),
            ..OffsetCommitRequest::default()
        };
        self.in_doubt = true;
        connection.send(self.commit_version, &request).await?;
        Ok(commits)
    }

    /// Asks how far the group has come in what it owns and does not know yet; what the coordinator says. `names_member`: it says who
    /// asks, where the version has a place for that.
    pub(super) async fn look_up(
        &mut self,
        connection: &mut Connection,
        names_member: bool,
    ) -> Result<ErrorCode, Lost> {
        let unknown = self.owned.iter().filter(|(_, position)| position.is_none());
        let unknown: Vec<Partition> = unknown.map(|(partition, _)| *partition).collect();
        Ok(match self.ask(connection, &unknown, names_member).await? {
            Ok(found) => {
                self.owned.extend(found.into_iter().map(|(partition, offset)| (partition, Some(offset))));
                ErrorCode::None
            }
            Err(code) => code,
        })
    }

    /// Asks how far the group has come everywhere, as tools do that belong to no group; what the coordinator says.
    pub(super) async fn look_around(&mut self, connection: &mut Connection) -> Result<ErrorCode, Lost> {
        let all: Vec<Partition> = self.group.0.targets.iter().map(|target| target.partition).collect();
        Ok(self.ask(connection, &all, false).await?.err().unwrap_or(ErrorCode::None))
    }

    async fn ask(
        &mut self,
        connection: &mut Connection,
        unknown: &[Partition],
        names_member: bool,
    ) -> Result<Result<Offsets, ErrorCode>, Lost> {
        if unknown.is_empty() {
            return Ok(Ok(Vec::new()));
        }
        let version = self.fetch_version;
        let all = version >= ALL_TOPICS && self.rng.chance(0.3);
        let mut topics: BTreeMap<(&str, Uuid), Vec<i32>> = BTreeMap::new();
        for target in unknown.iter().filter_map(|partition| self.group.target(*partition)) {
            topics.entry((&target.topic, target.partition.topic)).or_default().push(target.partition.index);
        }
        let (member, group) = (self.number, self.group.0.id);
        self.client.judge.note(Fact::OffsetsAsked { member, group });
        let answer = if version < MANY_GROUPS {
            let topic = |((name, _), partition_indexes)| OffsetFetchRequestTopic { name, partition_indexes };
            let topics = (!all).then(|| topics.into_iter().map(topic).collect());
            let request =
                OffsetFetchRequest { group_id: &self.group.0.name, topics, ..OffsetFetchRequest::default() };
            connection.call(version, &request).await?
        } else {
            let topic = |((name, topic_id), partition_indexes)| OffsetFetchRequestTopics {
                name,
                topic_id,
                partition_indexes,
            };
            let names_member = names_member && version >= NAMES_MEMBER;
            let group = OffsetFetchRequestGroup {
                group_id: &self.group.0.name,
                member_id: names_member.then_some(self.id.as_str()),
                member_epoch: if names_member { self.term } else { -1 },
                topics: (!all).then(|| topics.into_iter().map(topic).collect()),
            };
            let request = OffsetFetchRequest { groups: vec![group], ..OffsetFetchRequest::default() };
            connection.call(version, &request).await?
        };
        self.take_offsets(&answer, unknown)
    }

    fn take_offsets(
        &self,
        answer: &Bytes,
        unknown: &[Partition],
    ) -> Result<Result<Offsets, ErrorCode>, Lost> {
        let version = self.fetch_version;
        let response: OffsetFetchResponse<'_> =
            decode_response(answer, version).map_err(|e| Lost::Garbled(e.to_string()))?;
        let old = response.topics.iter().flat_map(|topic| {
            topic.partitions.iter().map(|it| {
                let text = it.metadata.unwrap_or_default();
                (topic.name, Uuid::nil(), it.partition_index, it.committed_offset, text, it.error_code)
            })
        });
        let of_groups = response.groups.iter().flat_map(|group| &group.topics).flat_map(|topic| {
            topic.partitions.iter().map(|it| {
                let text = it.metadata.unwrap_or_default();
                (topic.name, topic.topic_id, it.partition_index, it.committed_offset, text, it.error_code)
            })
        });
        let found: Vec<Found<'_>> = old.chain(of_groups).collect();
        let whole = response.groups.first().map_or(response.error_code, |group| group.error_code);
        let failed = std::iter::once(whole).chain(found.iter().map(|found| found.5));
        if let Some(code) = failed.into_iter().find(|code| *code != ErrorCode::None) {
            return Ok(Err(code));
        }
        let (mut known, mut offsets) = (BTreeMap::new(), Offsets::new());
        for (name, id, index, offset, text, _) in found {
            known.insert(self.partition(version, name, id, index)?, (offset, text));
        }
        for partition in unknown {
            // Where nothing was committed the offset is -1, or the partition is not named when all were asked for.
            let committed = known.get(partition).filter(|(offset, _)| *offset >= 0);
            let found = match committed {
                None => None,
                Some((offset, text)) => {
                    let number = text.parse().map_err(|_| {
                        Lost::Garbled(format!("{partition} was committed with {text:?}, which nobody sent"))
                    })?;
                    Some((*offset, number))
                }
            };
            let (member, group, partition) = (self.number, self.group.0.id, *partition);
            self.client.judge.note(Fact::OffsetFound { member, group, partition, found });
            offsets.push((partition, found.map_or(0, |(offset, _)| offset)));
        }
        Ok(Ok(offsets))
    }

    /// The partition of its group that goes by this name or id.
    fn partition(&self, version: i16, name: &str, id: Uuid, index: i32) -> Result<Partition, Lost> {
        let mut targets = self.group.0.targets.iter();
        let found = targets.find(|target| {
            let same = if version >= TOPIC_IDS { target.partition.topic == id } else { target.topic == name };
            same && target.partition.index == index
        });
        let stranger = || Lost::Garbled(format!("{name} {id} {index}, which the group does not read"));
        found.map(|target| target.partition).ok_or_else(stranger)
    }
}
