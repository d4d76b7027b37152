//! Members of groups that are calls of the gRPC port, as their coordinators see them: members of the new protocol (KIP-848) like any other.

use super::groups::{refused, unexpected};
use super::unknown_topic;
use crate::grpc::Error;
use crate::grpc::group_backend::{Beat, Beaten, GroupPartition, MemberBackend, NamedPartition, Who};
use crate::shard::Shard;
use futures_channel::oneshot;
use millrace_io::Io;
use millrace_logic::group::request::{self, Caller, Commit, CommitOffset, ConsumerHeartbeat, Fetch};
use millrace_logic::group::{Request, Response};
use millrace_logic::meta::Image;
use millrace_proto::kafka::error::ErrorCode;
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use uuid::Uuid;

/// It leaves.
const LEAVES: i32 = -1;
/// It leaves as a static member, which may come again.
const AWAY: i32 = -2;

impl<I: Io> MemberBackend for Shard<I> {
    async fn beat(&self, beat: Beat) -> Result<Beaten, Error> {
        if beat.epoch == 0 {
            self.offsets_topic().await.map_err(|(code, why)| Error::new(code, why))?;
        }
        let Beat { who, epoch, full, owned } = beat;
        let heartbeat = ConsumerHeartbeat {
            rebalance: full.then_some(who.rebalance),
            topics: full.then(|| who.topics.clone()),
            owned: owned.map(|owned| by_id(&owned)),
            ..said_by(&who, epoch)
        };
        match self.ask_group(&who.group, Request::ConsumerHeartbeat(heartbeat)).await {
            Ok(Response::ConsumerHeartbeat(Ok(request::Beat { epoch, interval, assignment, .. }))) => {
                let image = self.image();
                let assignment = assignment.map(|assignment| named(assignment, &image));
                Ok(Beaten { epoch, interval, assignment })
            }
            Ok(Response::ConsumerHeartbeat(Err(refusal))) => Err(Error::new(refusal.code, refusal.message)),
            other => Err(unexpected(&who.group, other)),
        }
    }

    fn leave_group(&self, who: &Who) -> impl Future<Output = ()> + use<I> + 'static {
        let (done, left) = oneshot::channel();
        // A broker that stops keeps its members: they come again when it is back, under the ids that they have.
        if !self.is_stopping() {
            let (shard, group) = (self.clone(), who.group.clone());
            let epoch = if who.instance.is_some() { AWAY } else { LEAVES };
            let leaves = Request::ConsumerHeartbeat(said_by(who, epoch));
            self.io().spawn(async move {
                // One that is not known has left already.
                let _ = shard.ask_group(&group, leaves).await;
                let _ = done.send(());
            });
        }
        async move {
            let _ = left.await;
        }
    }

    async fn commit_as(
        &self,
        who: &Who,
        epoch: i32,
        offsets: Vec<(GroupPartition, i64, String)>,
    ) -> Result<Vec<Result<(), Error>>, Error> {
        let image = self.image();
        let known = offsets.iter().filter(|(part, ..)| image.topic_by_id(part.topic_id).is_some());
        let offset = |(part, offset, metadata): &(GroupPartition, i64, String)| CommitOffset {
            topic: part.topic.clone(),
            topic_id: part.topic_id,
            partition: part.partition,
            offset: *offset,
            leader_epoch: -1,
            metadata: metadata.clone(),
        };
        let (group, member) = (who.group.clone(), who.member.clone());
        let commit = Commit {
            caller: Caller { group, member, instance: who.instance.clone(), generation: epoch },
            names_missing_group: true,
            retention_ms: None,
            offsets: known.map(offset).collect(),
        };
        let codes = match self.ask_group(&who.group, Request::Commit(commit)).await {
            Ok(Response::Commit(Ok(codes))) => codes,
            Ok(Response::Commit(Err(code))) => return Err(refused(&who.group, code)),
            other => return Err(unexpected(&who.group, other)),
        };
        let mut codes = codes.into_iter();
        let outcome = |(part, ..): (GroupPartition, i64, String)| {
            if image.topic_by_id(part.topic_id).is_none() {
                return Err(unknown_topic(&part.topic));
            }
            match codes.next() {
                Some(ErrorCode::None) => Ok(()),
                Some(code) => Err(refused(&who.group, code)),
                None => Err(ErrorCode::UnknownServerError.into()),
            }
        };
        Ok(offsets.into_iter().map(outcome).collect())
    }

    async fn committed_in(
        &self,
        group: &str,
        partitions: &[NamedPartition],
    ) -> Result<Vec<Option<i64>>, Error> {
        let mut topics: BTreeMap<Arc<str>, Vec<i32>> = BTreeMap::new();
        for (topic, partition) in partitions {
            topics.entry(topic.clone()).or_default().push(*partition);
        }
        let topics = Some(topics.into_iter().collect());
        let fetch = Fetch { group: group.to_owned(), topics, member: None };
        let found = match self.ask_group(group, Request::Fetch(fetch)).await {
            Ok(Response::Fetch(Ok(found))) => found,
            Ok(Response::Fetch(Err(code))) => return Err(refused(group, code)),
            other => return Err(unexpected(group, other)),
        };
        let offsets = found.iter().flat_map(|topic| topic.partitions.iter().map(|it| (&topic.topic, it)));
        let known: HashMap<(&str, i32), i64> =
            offsets.map(|(topic, it)| ((&**topic, it.partition), it.offset)).collect();
        let offset = |(topic, partition): &NamedPartition| known.get(&(&**topic, *partition)).copied();
        Ok(partitions.iter().map(|it| offset(it).filter(|offset| *offset >= 0)).collect())
    }
}

fn said_by(who: &Who, epoch: i32) -> ConsumerHeartbeat {
    ConsumerHeartbeat {
        group: who.group.clone(),
        member: who.member.clone(),
        epoch,
        instance: who.instance.clone(),
        client_id: who.client_id.clone(),
        client_host: who.client_host.clone(),
        ..ConsumerHeartbeat::default()
    }
}

fn by_id(parts: &[GroupPartition]) -> Vec<(Uuid, Vec<i32>)> {
    let mut topics: BTreeMap<Uuid, Vec<i32>> = BTreeMap::new();
    for part in parts {
        topics.entry(part.topic_id).or_default().push(part.partition);
    }
    topics.into_iter().collect()
}

/// Partitions with the names of their topics; those of topics that are gone are nobody's.
fn named(parts: Vec<(Uuid, Vec<i32>)>, image: &Image) -> Vec<GroupPartition> {
    let mut all = Vec::new();
    for (topic_id, partitions) in parts {
        let Some(topic) = image.topic_by_id(topic_id) else { continue };
        let of = |partition| GroupPartition { topic: topic.name.clone(), partition, topic_id };
        all.extend(partitions.into_iter().map(of));
    }
    all
}
