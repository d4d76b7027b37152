//! The coordinator of the broker in memory: answers members what tests say, and remembers what they said.

use super::memory::Memory;
use crate::grpc::backend::Error;
use crate::grpc::group_backend::*;
use millrace_io::Io;
use std::collections::VecDeque;
use std::future::Future;
use std::time::Duration;

#[derive(Default)]
pub(super) struct Members {
    answers: VecDeque<Result<Beaten, Error>>,
    /// What members said: their epoch, and the partitions that they have, if they said so.
    pub(super) said: Vec<(i32, Option<Vec<i32>>)>,
    pub(super) left: usize,
    pub(super) commits: usize,
}

/// Members come so often, unless they have news.
pub(super) const INTERVAL: Duration = Duration::from_secs(1);

impl<I: Io> Memory<I> {
    /// The next answer to a member.
    pub(super) fn will_answer(&self, answer: Result<Beaten, Error>) {
        self.state.borrow_mut().members.answers.push_back(answer);
    }

    /// The next answer to a member is that it is to have these partitions of topic `t`.
    pub(super) fn will_assign(&self, epoch: i32, partitions: &[i32]) {
        let id = self.topic_id("t");
        let part =
            |partition: &i32| GroupPartition { topic: "t".into(), partition: *partition, topic_id: id };
        let assignment = Some(partitions.iter().map(part).collect());
        self.will_answer(Ok(Beaten { epoch, interval: INTERVAL, assignment }));
    }

    pub(super) fn members<T>(&self, look: impl FnOnce(&Members) -> T) -> T {
        look(&self.state.borrow().members)
    }
}

impl<I: Io> MemberBackend for Memory<I> {
    async fn beat(&self, beat: Beat) -> Result<Beaten, Error> {
        let mut state = self.state.borrow_mut();
        let owned = beat.owned.map(|owned| owned.iter().map(|part| part.partition).collect());
        state.members.said.push((beat.epoch, owned));
        let nothing_new = Ok(Beaten { epoch: beat.epoch.max(1), interval: INTERVAL, assignment: None });
        state.members.answers.pop_front().unwrap_or(nothing_new)
    }

    fn leave_group(&self, _: &Who) -> impl Future<Output = ()> + use<I> + 'static {
        self.state.borrow_mut().members.left += 1;
        std::future::ready(())
    }

    async fn commit_as(
        &self,
        who: &Who,
        _: i32,
        offsets: Vec<(GroupPartition, i64, String)>,
    ) -> Result<Vec<Result<(), Error>>, Error> {
        self.state.borrow_mut().members.commits += 1;
        // As long as a sync takes.
        self.io.sleep(Duration::from_millis(5)).await;
        for (part, offset, _) in &offsets {
            self.commit_offset(&who.group, &part.topic, part.partition, *offset);
        }
        Ok(vec![Ok(()); offsets.len()])
    }

    async fn committed_in(
        &self,
        group: &str,
        partitions: &[NamedPartition],
    ) -> Result<Vec<Option<i64>>, Error> {
        let offset = |(topic, partition): &NamedPartition| self.committed_offset(group, topic, *partition);
        Ok(partitions.iter().map(offset).collect())
    }
}
