//! The groups as the gRPC services see them: one question to the coordinator that keeps a group, and one message to each shard for the ends
//! of logs.

use super::{error, unknown_topic};
use crate::grpc::Error;
use crate::grpc::group_backend::{
    Committed, Group, GroupBackend, GroupMember, GroupSummary, LogEnds, NamedPartition,
};
use crate::shard::Shard;
use crate::shard::calls::ListOffsetsPart;
use crate::shard::partition_driver::PartitionId;
use millrace_io::Io;
use millrace_logic::group::classic::CONSUMER;
use millrace_logic::group::request::{
    Caller, Commit, CommitOffset, ConsumerDescription, ConsumerMember, DeleteOffsets, DescribedMember,
    Description, Fetch,
};
use millrace_logic::group::{Request, Response, consumer_protocol};
use millrace_logic::meta::Image;
use millrace_logic::partition::{Isolation, OffsetSpec};
use millrace_proto::kafka::error::ErrorCode;
use std::collections::BTreeMap;

/// The types of groups, as Kafka names them.
const CLASSIC: &str = "classic";
/// The other one is named like the protocol type of consumers.
const KIP_848: &str = CONSUMER;

/// Places in logs that one message asks for: the shard answers other things before the next, and none when nobody listens any more.
const AT_ONCE: usize = 1000;

impl<I: Io> GroupBackend for Shard<I> {
    async fn list_groups(&self) -> Result<Vec<GroupSummary>, Error> {
        let listed = Shard::list_groups(self).await.map_err(|code| refused("groups", code))?;
        let summary = |group: millrace_logic::group::request::Listing| GroupSummary {
            id: group.group,
            state: group.state,
            kind: group.group_type,
            protocol_type: group.protocol_type,
        };
        Ok(listed.into_iter().map(summary).collect())
    }

    async fn describe_group(&self, group: &str) -> Result<Option<Group>, Error> {
        match self.ask_group(group, Request::Describe { group: group.to_owned() }).await {
            Ok(Response::Describe(Ok(description))) => Ok(Some(described(description))),
            // One of the new protocol, perhaps.
            Ok(Response::Describe(Err(_))) => self.describe_consumers(group).await,
            Err(ErrorCode::NotCoordinator) if self.keeps_no_groups() => Ok(None),
            other => Err(unexpected(group, other)),
        }
    }

    async fn committed(&self, group: &str) -> Result<Vec<Committed>, Error> {
        let fetch = Fetch { group: group.to_owned(), topics: None, member: None };
        let topics = match self.ask_group(group, Request::Fetch(fetch)).await {
            Ok(Response::Fetch(Ok(topics))) => topics,
            Ok(Response::Fetch(Err(code))) => return Err(refused(group, code)),
            other => return Err(unexpected(group, other)),
        };
        let offsets = topics.into_iter().flat_map(|topic| {
            let name = topic.topic;
            topic.partitions.into_iter().map(move |it| Committed {
                partition: (name.clone(), it.partition),
                offset: it.offset,
                metadata: it.metadata,
            })
        });
        Ok(offsets.collect())
    }

    async fn log_ends(&self, partitions: &[NamedPartition]) -> Vec<Result<LogEnds, Error>> {
        let starts = self.places(partitions, OffsetSpec::Earliest).await;
        let ends = self.places(partitions, OffsetSpec::Latest).await;
        let both = |(start, end): (Result<i64, Error>, Result<i64, Error>)| {
            Ok(LogEnds { log_start: start?, high_watermark: end? })
        };
        starts.into_iter().zip(ends).map(both).collect()
    }

    async fn offsets_at(
        &self,
        partitions: &[NamedPartition],
        timestamp_ms: i64,
    ) -> Vec<Result<Option<i64>, Error>> {
        let found = self.places(partitions, OffsetSpec::At(timestamp_ms)).await;
        found.into_iter().map(|offset| offset.map(|offset| (offset >= 0).then_some(offset))).collect()
    }

    async fn commit(&self, group: &str, offsets: Vec<(NamedPartition, i64)>) -> Result<(), Error> {
        let image = self.image();
        let offset = |((topic, partition), offset): (NamedPartition, i64)| {
            let topic = image.topic(&topic).ok_or_else(|| unknown_topic(&topic))?;
            Ok(CommitOffset {
                topic: topic.name.clone(),
                topic_id: topic.id,
                partition,
                offset,
                leader_epoch: -1,
                metadata: String::new(),
            })
        };
        let commit = Commit {
            // Nobody of the group: that is refused while it has members.
            caller: Caller { group: group.to_owned(), generation: -1, ..Caller::default() },
            names_missing_group: true,
            retention_ms: None,
            offsets: offsets.into_iter().map(offset).collect::<Result<_, Error>>()?,
        };
        match self.ask_group(group, Request::Commit(commit)).await {
            Ok(Response::Commit(Ok(codes))) => {
                match codes.into_iter().find(|code| *code != ErrorCode::None) {
                    None => Ok(()),
                    Some(code) => Err(refused(group, code)),
                }
            }
            // One came while we looked.
            Ok(Response::Commit(Err(ErrorCode::UnknownMemberId))) => {
                Err(refused(group, ErrorCode::NonEmptyGroup))
            }
            Ok(Response::Commit(Err(code))) => Err(refused(group, code)),
            other => Err(unexpected(group, other)),
        }
    }

    async fn delete_offsets(
        &self,
        group: &str,
        partitions: &[NamedPartition],
    ) -> Result<Vec<Result<(), Error>>, Error> {
        let delete = DeleteOffsets { group: group.to_owned(), offsets: partitions.to_vec() };
        match self.ask_group(group, Request::DeleteOffsets(delete)).await {
            Ok(Response::DeleteOffsets(Ok(codes))) => {
                Ok(codes.into_iter().map(|code| outcome(group, code)).collect())
            }
            Ok(Response::DeleteOffsets(Err(code))) => Err(refused(group, code)),
            Err(ErrorCode::NotCoordinator) if self.keeps_no_groups() => {
                Err(refused(group, ErrorCode::GroupIdNotFound))
            }
            other => Err(unexpected(group, other)),
        }
    }

    async fn delete_group(&self, group: &str) -> Result<(), Error> {
        match self.ask_group(group, Request::Delete { group: group.to_owned() }).await {
            Ok(Response::Delete(code)) => outcome(group, code),
            Err(ErrorCode::NotCoordinator) if self.keeps_no_groups() => {
                Err(refused(group, ErrorCode::GroupIdNotFound))
            }
            other => Err(unexpected(group, other)),
        }
    }
}

impl<I: Io> Shard<I> {
    /// Whether nothing keeps groups because nobody has looked for one yet.
    fn keeps_no_groups(&self) -> bool {
        self.image().topic(millrace_logic::meta::names::CONSUMER_OFFSETS_TOPIC).is_none()
    }

    async fn describe_consumers(&self, group: &str) -> Result<Option<Group>, Error> {
        match self.ask_group(group, Request::DescribeConsumers { group: group.to_owned() }).await {
            Ok(Response::DescribeConsumers(Ok(description))) => {
                Ok(Some(described_consumers(description, &self.image())))
            }
            Ok(Response::DescribeConsumers(Err(refusal))) if refusal.code == ErrorCode::GroupIdNotFound => {
                Ok(None)
            }
            Ok(Response::DescribeConsumers(Err(refusal))) => Err(Error::new(refusal.code, refusal.message)),
            other => Err(unexpected(group, other)),
        }
    }

    /// One place in each log, in the order asked; -1 where there is none.
    async fn places(&self, partitions: &[NamedPartition], spec: OffsetSpec) -> Vec<Result<i64, Error>> {
        let mut all = Vec::with_capacity(partitions.len());
        for some in partitions.chunks(AT_ONCE) {
            let ids: Vec<Result<PartitionId, Error>> =
                some.iter().map(|(topic, partition)| self.find(topic, *partition)).collect();
            let known = ids.iter().flatten().map(|id| ListOffsetsPart { id: *id, spec, epoch: None });
            let mut found = self.list_offsets(known.collect(), Isolation::ReadUncommitted).await.into_iter();
            for id in ids {
                let lost = || Error::new(ErrorCode::UnknownServerError, "the look-up was not answered");
                let place = |_| found.next().ok_or_else(lost)?.map_err(|failure| error(&failure));
                all.push(id.and_then(place).map(|listed| listed.offset));
            }
        }
        all
    }
}

fn described(group: Description) -> Group {
    let consumers = group.protocol_type == CONSUMER;
    let member = |member: DescribedMember| GroupMember {
        id: member.member,
        instance: member.instance,
        client_id: member.client_id,
        client_host: member.client_host,
        assignment: match consumers {
            true => consumer_protocol::partitions(&member.assignment).unwrap_or_default(),
            false => Vec::new(),
        },
    };
    Group {
        state: group.state,
        kind: CLASSIC,
        protocol_type: group.protocol_type,
        protocol: group.protocol,
        members: group.members.into_iter().map(member).collect(),
    }
}

fn described_consumers(group: ConsumerDescription, image: &Image) -> Group {
    let member = |member: ConsumerMember| {
        let mut has: BTreeMap<String, Vec<i32>> = BTreeMap::new();
        // What it is to give up it has until it did.
        for (topic, partitions) in member.assigned.into_iter().chain(member.revoking) {
            if let Some(topic) = image.topic_by_id(topic) {
                has.entry(topic.name.to_string()).or_default().extend(partitions);
            }
        }
        GroupMember {
            id: member.member,
            instance: member.instance,
            client_id: member.client_id,
            client_host: member.client_host,
            assignment: has.into_iter().collect(),
        }
    };
    Group {
        state: group.state,
        kind: KIP_848,
        protocol_type: CONSUMER.to_owned(),
        protocol: group.assignor.to_owned(),
        members: group.members.into_iter().map(member).collect(),
    }
}

fn outcome(group: &str, code: ErrorCode) -> Result<(), Error> {
    if code == ErrorCode::None { Ok(()) } else { Err(refused(group, code)) }
}

/// Why nothing came of a question to a coordinator, for people.
pub(super) fn refused(group: &str, code: ErrorCode) -> Error {
    let text = match code {
        ErrorCode::GroupIdNotFound => format!("there is no group {group:?}"),
        ErrorCode::NonEmptyGroup => format!("group {group:?} has members: stop them first"),
        ErrorCode::GroupSubscribedToTopic => format!("members of group {group:?} read this topic"),
        ErrorCode::CoordinatorLoadInProgress => {
            "the broker still reads what groups have committed; try again".to_owned()
        }
        _ => return code.into(),
    };
    Error::new(code, text)
}

pub(super) fn unexpected(group: &str, answer: Result<Response, ErrorCode>) -> Error {
    refused(group, answer.err().unwrap_or(ErrorCode::UnknownServerError))
}
