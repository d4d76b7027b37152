//! Commits of one member, one after the other: those that come while one is under way go into the next together, so that a client that
//! commits every record waits for no sync of each.

use super::group_backend::{GroupPartition, MemberBackend};
use super::membership::Membership;
use super::status::Error;
use futures_util::future::LocalBoxFuture;
use millrace_proto::kafka::error::ErrorCode;
use std::collections::BTreeMap;
use std::future::pending;
use std::rc::Rc;
use std::time::Duration;

/// Commits that wait at once; the client is not heard any more until some are done.
const WAITING: usize = 1024;
/// Bytes of what they mark, about; the same holds.
const WAITING_BYTES: usize = 1 << 20;
/// What a mark takes besides its metadata, about.
const MARK_BYTES: usize = 128;
/// How often a commit is tried, and how long between: the member may be on its way to another epoch, the coordinator may be loading.
const TRIES: usize = 50;
const BETWEEN: Duration = Duration::from_millis(100);

/// An offset to commit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Mark {
    pub(super) partition: GroupPartition,
    pub(super) next_offset: i64,
    pub(super) metadata: String,
}

/// What became of a commit of the client: its id, and why nothing was committed.
pub(super) type Done = (i64, Option<Error>);

/// A commit that waits: the client's id, if it has one, and what it marks, or why that cannot be.
type Waiting = (Option<i64>, Result<Vec<Mark>, Error>);

/// See above.
pub(super) struct Commits<B: MemberBackend> {
    membership: Rc<Membership<B>>,
    waiting: Vec<Waiting>,
    waiting_bytes: usize,
    running: Option<LocalBoxFuture<'static, Vec<Done>>>,
}

impl<B: MemberBackend + Clone + 'static> Commits<B> {
    pub(super) fn new(membership: Rc<Membership<B>>) -> Self {
        Self { membership, waiting: Vec::new(), waiting_bytes: 0, running: None }
    }

    pub(super) fn push(&mut self, id: Option<i64>, marks: Result<Vec<Mark>, Error>) {
        self.waiting_bytes +=
            marks.iter().flatten().map(|mark| MARK_BYTES + mark.metadata.len()).sum::<usize>();
        self.waiting.push((id, marks));
    }

    pub(super) fn is_idle(&self) -> bool {
        self.waiting.is_empty() && self.running.is_none()
    }

    pub(super) fn is_full(&self) -> bool {
        self.waiting.len() >= WAITING || self.waiting_bytes >= WAITING_BYTES
    }

    /// What became of some of the client's commits, in their order. Never, while there are none. Nothing is lost when this is dropped.
    pub(super) async fn next(&mut self) -> Vec<Done> {
        loop {
            if self.running.is_none() {
                if self.waiting.is_empty() {
                    return pending().await;
                }
                let batch = std::mem::take(&mut self.waiting);
                self.waiting_bytes = 0;
                self.running = Some(Box::pin(commit(self.membership.clone(), batch)));
            }
            if let Some(running) = &mut self.running {
                let done = running.await;
                self.running = None;
                if !done.is_empty() || self.waiting.is_empty() {
                    return done;
                }
            }
        }
    }
}

async fn commit<B: MemberBackend + Clone + 'static>(
    membership: Rc<Membership<B>>,
    batch: Vec<Waiting>,
) -> Vec<Done> {
    // Of a partition that is there several times the last counts.
    let mut marks: BTreeMap<GroupPartition, Mark> = BTreeMap::new();
    for mark in batch.iter().flat_map(|(_, marks)| marks).flatten() {
        marks.insert(mark.partition.clone(), mark.clone());
    }
    let marks: Vec<Mark> = marks.into_values().collect();
    let outcome = if marks.is_empty() { Ok(Vec::new()) } else { attempt(&membership, &marks).await };
    let failed: Result<BTreeMap<&GroupPartition, Error>, Error> = outcome.map(|outcomes| {
        let failed =
            marks.iter().zip(outcomes).filter_map(|(mark, it)| it.err().map(|e| (&mark.partition, e)));
        failed.collect()
    });
    let done = |(id, marks): Waiting| {
        let error = match (marks, &failed) {
            (Err(error), _) => Some(error),
            (Ok(_), Err(error)) => Some(error.clone()),
            (Ok(marks), Ok(failed)) => marks.iter().find_map(|mark| failed.get(&mark.partition).cloned()),
        };
        if let (None, Some(error)) = (id, &error) {
            tracing::debug!(code = %error.code, "an automatic commit failed; its records are delivered again");
        }
        id.map(|id| (id, error))
    };
    batch.into_iter().filter_map(done).collect()
}

async fn attempt<B: MemberBackend + Clone + 'static>(
    membership: &Membership<B>,
    marks: &[Mark],
) -> Result<Vec<Result<(), Error>>, Error> {
    let mut tries = TRIES;
    loop {
        tries -= 1;
        match membership.commit(marks).await {
            Err(error) if tries > 0 && may_pass(error.code) => membership.sleep(BETWEEN).await,
            outcome => return outcome,
        }
    }
}

fn may_pass(code: ErrorCode) -> bool {
    matches!(
        code,
        ErrorCode::StaleMemberEpoch
            | ErrorCode::CoordinatorLoadInProgress
            | ErrorCode::CoordinatorNotAvailable
            | ErrorCode::NotCoordinator
    )
}
