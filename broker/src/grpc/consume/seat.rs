//! A call's place in a group: what its client asked for, what it is told of partitions that come and go, and what is committed for it.

use crate::grpc::backend::Backend;
use crate::grpc::call::Surroundings;
use crate::grpc::commits::{Commits, Done, Mark};
use crate::grpc::group_backend::{GroupPartition, LogEnds, NamedPartition, Who};
use crate::grpc::groups::check_id;
use crate::grpc::handled::{Handled, Name};
use crate::grpc::member::Change;
use crate::grpc::membership::{Keeper, Membership};
use crate::grpc::status::{Code, Error, Status};
use futures_channel::mpsc::UnboundedReceiver;
use futures_util::future::{Either, LocalBoxFuture, pending, select};
use futures_util::stream::StreamExt;
use millrace_proto::grpc::v1;
use millrace_proto::kafka::error::ErrorCode;
use std::collections::{BTreeMap, BTreeSet};
use std::pin::pin;
use std::rc::Rc;
use std::time::Duration;
use uuid::Uuid;

/// Kafka's `max.poll.interval.ms`, which its consumers give as their rebalance timeout.
const DEFAULT_REBALANCE: i32 = 300_000;
/// Kafka's `auto.commit.interval.ms`.
const DEFAULT_COMMITS: i32 = 5_000;
/// Topics that one member may subscribe to.
const TOPICS: usize = 1_000;
/// The longest id that a member may choose.
const LONGEST_MEMBER: usize = 255;
/// Partitions that one commit may name.
const MARKS: usize = 10_000;

/// A call's place in its group.
pub(super) struct Seat<B: Backend> {
    membership: Rc<Membership<B>>,
    surroundings: Rc<Surroundings>,
    changes: UnboundedReceiver<Change>,
    commits: Commits<B>,
    /// What has been handled, where the broker commits; how often, and when next.
    automatic: Option<(Handled, Duration, LocalBoxFuture<'static, ()>)>,
    from_end: bool,
}

/// What a member is to do next.
pub(super) enum Event {
    /// Partitions come or go.
    Change(Change),
    /// Commits of the client are done.
    Done(Vec<Done>),
    /// It is time to commit what has been handled.
    Due,
}

/// Where reading goes on in partitions that were assigned.
pub(super) type Starts = Vec<(GroupPartition, Result<(i64, i64), Error>)>;

impl<B: Backend> Seat<B> {
    /// A place in the group that the client asked for.
    pub(super) fn new(
        backend: &B,
        surroundings: &Rc<Surroundings>,
        asked: v1::GroupMembership,
        has_credit: bool,
    ) -> Result<(Self, Keeper<B>), Status> {
        let automatic = match v1::CommitMode::try_from(asked.commits) {
            Ok(v1::CommitMode::Explicit) => None,
            Ok(_) if !has_credit => {
                let text = "automatic commits need it: what the client grants anew it has handled";
                return Err(Status::invalid("start.credit_bytes", text));
            }
            Ok(_) => {
                let every = millis("commit_interval_ms", asked.commit_interval_ms, DEFAULT_COMMITS)?;
                Some((Handled::default(), every, surroundings.sleep(every)))
            }
            Err(_) => return Err(Status::invalid("start.group.commits", "is none that this broker knows")),
        };
        let from_end = match v1::Edge::try_from(asked.otherwise) {
            Ok(v1::Edge::Beginning) => false,
            Ok(v1::Edge::End | v1::Edge::Unspecified) => true,
            Err(_) => return Err(Status::invalid("start.group.otherwise", "is none that this broker knows")),
        };
        let who = who(backend, surroundings, asked)?;
        let (membership, keeper, changes) = Membership::new(backend.clone(), who, surroundings.clone());
        let commits = Commits::new(membership.clone());
        let surroundings = surroundings.clone();
        Ok((Self { membership, surroundings, changes, commits, automatic, from_end }, keeper))
    }

    pub(super) fn member_id(&self) -> &str {
        &self.membership.who().member
    }

    /// What comes next. Nothing is lost when this is dropped.
    pub(super) async fn next(&mut self) -> Event {
        let due = async {
            match &mut self.automatic {
                Some((_, every, tick)) => {
                    tick.as_mut().await;
                    *tick = self.surroundings.sleep(*every);
                }
                None => pending().await,
            }
        };
        let commits = pin!(self.commits.next());
        let change = select(self.changes.next(), commits);
        match select(change, pin!(due)).await {
            Either::Left((Either::Left((Some(change), _)), _)) => Event::Change(change),
            // The membership, which says what comes, is ours.
            Either::Left((Either::Left((None, _)), _)) => pending().await,
            Either::Left((Either::Right((done, _)), _)) => Event::Done(done),
            Either::Right(((), _)) => Event::Due,
        }
    }

    /// A response has been sent.
    pub(super) fn on_sent(&mut self, bytes: usize, reached: impl FnOnce() -> Vec<(Name, i64)>) {
        if let Some((handled, ..)) = &mut self.automatic {
            handled.on_sent(bytes, reached());
        }
    }

    /// The client has granted credit.
    pub(super) fn on_grant(&mut self, bytes: i64) {
        if let Some((handled, ..)) = &mut self.automatic {
            handled.on_grant(bytes);
        }
    }

    /// Commits what has been handled.
    pub(super) fn on_due(&mut self) {
        if let Some((handled, ..)) = &mut self.automatic {
            let ready = handled.take_ready();
            self.commit_handled(ready);
        }
    }

    fn commit_handled(&mut self, reached: Vec<(Name, i64)>) {
        let mark = |((topic, partition), next_offset): (Name, i64)| {
            let partition = self.membership.has(&topic, partition)?;
            Some(Mark { partition, next_offset, metadata: String::new() })
        };
        let marks: Vec<_> = reached.into_iter().filter_map(mark).collect();
        if !marks.is_empty() {
            self.commits.push(None, Ok(marks));
        }
    }

    /// The client commits. Whether there is room for more.
    pub(super) fn on_commit(&mut self, commit: v1::Commit) -> Result<bool, Status> {
        // What it says itself comes last.
        self.on_due();
        if commit.partitions.is_empty() || commit.partitions.len() > MARKS {
            let text = format!("{} partitions; must be 1 to {MARKS}", commit.partitions.len());
            return Err(Status::invalid("commit.partitions", text));
        }
        let mut marks = BTreeMap::new();
        for (index, wanted) in commit.partitions.into_iter().enumerate() {
            let v1::PartitionCommit { topic, partition, next_offset, metadata } = wanted;
            if next_offset < 0 {
                let field = format!("commit.partitions[{index}].next_offset");
                return Err(Status::invalid(field, format!("is {next_offset}; must not be negative")));
            }
            let known = self.membership.has(&topic, partition);
            let mark = known.map(|partition| Mark { partition, next_offset, metadata });
            if marks.insert((topic.clone(), partition), mark).is_some() {
                let field = format!("commit.partitions[{index}]");
                return Err(Status::invalid(field, format!("{topic}-{partition} is there twice")));
            }
        }
        let mark = |((topic, partition), mark): ((String, i32), Option<Mark>)| {
            let text = || {
                format!("{topic}-{partition} is not this member's: it was released, or lost, or never was")
            };
            mark.ok_or_else(|| Error::new(ErrorCode::UnknownMemberId, text()))
        };
        self.commits.push(Some(commit.id), marks.into_iter().map(mark).collect());
        Ok(!self.commits.is_full())
    }

    /// Waits until some commits are done. Only while there are any.
    pub(super) async fn some_commits(&mut self) -> Vec<Done> {
        self.commits.next().await
    }

    /// The client gives partitions up. What it has handled of them is to be committed before [`Seat::let_go`].
    pub(super) fn on_release(&mut self, topics: Vec<v1::TopicPartitions>) -> Vec<GroupPartition> {
        let names = topics.into_iter().flat_map(|v1::TopicPartitions { topic, partitions }| {
            let topic: Rc<str> = topic.into();
            partitions.into_iter().map(move |partition| (topic.clone(), partition))
        });
        // What is lost by now, or was never asked for, is not there to be given up.
        let names = names.filter(|(topic, partition)| self.membership.revoking(topic, *partition).is_some());
        let names: BTreeSet<Name> = names.collect();
        if let Some((handled, ..)) = &mut self.automatic {
            let reached = handled.take(&names);
            self.commit_handled(reached);
        }
        let known = names.iter().filter_map(|(topic, partition)| self.membership.revoking(topic, *partition));
        known.collect()
    }

    /// These are given up: others may have them.
    pub(super) fn let_go(&mut self, parts: &[GroupPartition]) {
        self.membership.release(parts);
    }

    /// These are gone, and nothing of them is committed any more.
    pub(super) fn on_lost(&mut self, names: &BTreeSet<Name>) {
        if let Some((handled, ..)) = &mut self.automatic {
            drop(handled.take(names));
        }
    }

    /// Whether commits are under way, or wait.
    pub(super) fn is_committing(&self) -> bool {
        !self.commits.is_idle()
    }

    /// Leaves the group, and waits until that is known.
    pub(super) async fn leave(&self) {
        self.membership.leave().await;
    }

    /// Where partitions go on that were assigned: at what was committed, if that is still there.
    pub(super) async fn starts(&self, backend: &B, parts: Vec<GroupPartition>) -> Result<Starts, Status> {
        let names: Vec<NamedPartition> = parts.iter().map(|it| (it.topic.clone(), it.partition)).collect();
        if names.is_empty() {
            return Ok(Vec::new());
        }
        let committed = backend.committed_in(&self.membership.who().group, &names).await?;
        let ends = backend.log_ends(&names).await;
        let start = |(committed, ends): (Option<i64>, Result<LogEnds, Error>)| {
            ends.map(|ends| (self.start(committed, ends), ends.high_watermark))
        };
        Ok(parts.into_iter().zip(committed.into_iter().zip(ends).map(start)).collect())
    }

    /// Where a partition goes on in a log that reaches so far.
    pub(super) fn start(&self, committed: Option<i64>, ends: LogEnds) -> i64 {
        let LogEnds { log_start, high_watermark } = ends;
        let otherwise = if self.from_end { high_watermark } else { log_start };
        committed.filter(|offset| (log_start..=high_watermark).contains(offset)).unwrap_or(otherwise)
    }
}

fn millis(field: &str, asked: Option<i32>, default: i32) -> Result<Duration, Status> {
    match asked.unwrap_or(default) {
        millis @ 1.. => Ok(Duration::from_millis(millis.unsigned_abs().into())),
        millis => {
            Err(Status::invalid(format!("start.group.{field}"), format!("is {millis}; must be positive")))
        }
    }
}

fn who<B: Backend>(
    backend: &B,
    surroundings: &Surroundings,
    asked: v1::GroupMembership,
) -> Result<Who, Status> {
    check_id(&asked.group_id)?;
    if asked.topics.is_empty() || asked.topics.len() > TOPICS {
        let text = format!("{} of them; must be 1 to {TOPICS}", asked.topics.len());
        return Err(Status::invalid("start.group.topics", text));
    }
    if asked.topics.iter().any(String::is_empty) {
        return Err(Status::invalid("start.group.topics", "must not be empty"));
    }
    if asked.group_instance_id.as_deref() == Some("") {
        return Err(Status::invalid("start.group.group_instance_id", "must not be empty; leave it out"));
    }
    if asked.member_id.len() > LONGEST_MEMBER {
        let text = format!("is {} bytes long; at most {LONGEST_MEMBER}", asked.member_id.len());
        return Err(Status::invalid("start.group.member_id", text));
    }
    let random = (u128::from(backend.random()) << 64) | u128::from(backend.random());
    Ok(Who {
        group: asked.group_id,
        member: match asked.member_id.is_empty() {
            true => Uuid::from_u128(random).to_string(),
            false => asked.member_id,
        },
        instance: asked.group_instance_id,
        client_id: asked.client_id,
        client_host: surroundings.peer.clone(),
        topics: asked.topics,
        rebalance: millis("rebalance_timeout_ms", asked.rebalance_timeout_ms, DEFAULT_REBALANCE)?,
    })
}

/// Partitions by topic, as messages have them.
pub(super) fn by_topic(parts: &[GroupPartition]) -> Vec<v1::TopicPartitions> {
    let mut topics: BTreeMap<&str, Vec<i32>> = BTreeMap::new();
    for part in parts {
        topics.entry(&part.topic).or_default().push(part.partition);
    }
    let topic =
        |(topic, partitions): (&str, Vec<i32>)| v1::TopicPartitions { topic: topic.to_owned(), partitions };
    topics.into_iter().map(topic).collect()
}

pub(super) fn too_many(most: usize) -> Status {
    let text = format!("the group gives this member more than {most} partitions: let it have more members");
    Status::new(Code::ResourceExhausted, text).because("TOO_MANY_PARTITIONS")
}
