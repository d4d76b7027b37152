//! A member of a group, as the call behind it sees it: what it has, what it is to give up, and what it says next. Decisions only; time goes in
//! as nothing but an order of events, and comes out as how long to wait.
//!
//! ```text
//!   told `assigned`          told `revoked`               `release`
//!        ──────▶  reading  ───────────────▶  revoking  ──────────────▶  given up, and the coordinator is told at once
//!                    └──────────── told `lost` ──┴───▶  nobody asks: somebody else has it
//! ```

use super::group_backend::{Beaten, GroupPartition};
use super::status::Error;
use millrace_proto::kafka::error::ErrorCode;
use std::collections::BTreeSet;
use std::time::Duration;
use uuid::Uuid;

/// How long to wait before a coordinator is asked again that did not answer, or that a member is joined again to which it was refused.
const AGAIN: Duration = Duration::from_millis(500);

/// The epoch of one that joins.
const JOINS: i32 = 0;

/// What the coordinator is told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Word {
    /// The member's epoch; 0 to join.
    pub(super) epoch: i32,
    /// All of itself, and not only what is new.
    pub(super) full: bool,
    /// What it has; `None`: as before.
    pub(super) owned: Option<Vec<GroupPartition>>,
}

/// What the client is to hear.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Change {
    /// These are read from now on; at first perhaps none.
    Assigned(Vec<GroupPartition>),
    /// These are to be released.
    Revoked(Vec<GroupPartition>),
    /// These are gone.
    Lost(Vec<GroupPartition>),
}

/// See above.
#[derive(Debug)]
pub(super) struct Member {
    epoch: i32,
    /// What is read or being given up.
    owned: BTreeSet<GroupPartition>,
    /// Of which the client was asked for.
    revoking: BTreeSet<GroupPartition>,
    /// What it has is not what the coordinator was told last.
    news: bool,
    /// The coordinator may not know what it was told before, or its answer may be lost.
    doubt: bool,
}

impl Member {
    pub(super) fn new() -> Self {
        let (owned, revoking) = (BTreeSet::new(), BTreeSet::new());
        Self { epoch: JOINS, owned, revoking, news: false, doubt: true }
    }

    /// Its epoch, which goes with what it commits.
    pub(super) fn epoch(&self) -> i32 {
        self.epoch
    }

    /// What it has of this name; what is being given up included.
    pub(super) fn has(&self, topic: &str, partition: i32) -> Option<&GroupPartition> {
        find(&self.owned, topic, partition)
    }

    /// What the client was asked to give up of this name.
    pub(super) fn revoking(&self, topic: &str, partition: i32) -> Option<&GroupPartition> {
        find(&self.revoking, topic, partition)
    }

    /// What to say now.
    pub(super) fn speak(&mut self) -> Word {
        let (full, news) = (self.doubt, std::mem::take(&mut self.news));
        let owned = (full || news).then(|| self.owned.iter().cloned().collect());
        Word { epoch: self.epoch, full, owned }
    }

    /// The coordinator has answered: what the client is to hear, and how long to wait before the next word.
    pub(super) fn on_answer(&mut self, answer: Beaten) -> (Vec<Change>, Duration) {
        let mut changes = Vec::new();
        let joined = self.epoch == JOINS;
        self.epoch = answer.epoch;
        self.doubt = false;
        if let Some(assignment) = answer.assignment {
            let target: BTreeSet<GroupPartition> = assignment.into_iter().collect();
            let revoked: Vec<_> = self
                .owned
                .iter()
                .filter(|it| !target.contains(it) && !self.revoking.contains(it))
                .cloned()
                .collect();
            let gained: Vec<_> = target.difference(&self.owned).cloned().collect();
            if !revoked.is_empty() {
                self.revoking.extend(revoked.iter().cloned());
                changes.push(Change::Revoked(revoked));
            }
            if joined || !gained.is_empty() {
                self.news |= !gained.is_empty();
                self.owned.extend(gained.iter().cloned());
                changes.push(Change::Assigned(gained));
            }
        }
        let wait = if self.news { Duration::ZERO } else { answer.interval };
        (changes, wait)
    }

    /// The coordinator has refused: what the client is to hear, and how long to wait before the next word.
    /// # Errors
    /// What ends the call.
    pub(super) fn on_refusal(&mut self, error: Error) -> Result<(Vec<Change>, Duration), Error> {
        self.doubt = true;
        match error.code {
            ErrorCode::CoordinatorLoadInProgress
            | ErrorCode::CoordinatorNotAvailable
            | ErrorCode::NotCoordinator => Ok((Vec::new(), AGAIN)),
            // It was silent, or did not release in time: it comes again, as somebody who has nothing.
            ErrorCode::UnknownMemberId | ErrorCode::FencedMemberEpoch | ErrorCode::GroupIdNotFound
                if self.epoch != JOINS =>
            {
                self.epoch = JOINS;
                self.revoking.clear();
                let lost: Vec<_> = std::mem::take(&mut self.owned).into_iter().collect();
                let changes = if lost.is_empty() { Vec::new() } else { vec![Change::Lost(lost)] };
                Ok((changes, Duration::ZERO))
            }
            _ => Err(error),
        }
    }

    /// The client has given up these, as far as it was asked to. Whether the coordinator is to hear of it.
    pub(super) fn release(&mut self, parts: &[GroupPartition]) -> bool {
        for part in parts {
            if self.revoking.remove(part) {
                self.owned.remove(part);
                self.news = true;
            }
        }
        self.news
    }
}

/// The oldest of this name: a topic that was made anew may be there twice for a while.
fn find<'a>(all: &'a BTreeSet<GroupPartition>, topic: &str, partition: i32) -> Option<&'a GroupPartition> {
    let least = GroupPartition { topic: topic.into(), partition, topic_id: Uuid::nil() };
    all.range(least..).next().filter(|it| *it.topic == *topic && it.partition == partition)
}

#[cfg(test)]
mod tests {
    use super::*;

    const INTERVAL: Duration = Duration::from_secs(5);

    fn part(partition: i32) -> GroupPartition {
        GroupPartition { topic: "t".into(), topic_id: Uuid::from_u128(7), partition }
    }

    fn parts(partitions: &[i32]) -> Vec<GroupPartition> {
        partitions.iter().copied().map(part).collect()
    }

    fn answer(epoch: i32, assignment: Option<&[i32]>) -> Beaten {
        Beaten { epoch, interval: INTERVAL, assignment: assignment.map(parts) }
    }

    fn refusal(code: ErrorCode) -> Error {
        code.into()
    }

    /// One that has these, and has said so.
    fn member(partitions: &[i32]) -> Member {
        let mut member = Member::new();
        member.speak();
        member.on_answer(answer(1, Some(partitions)));
        member.speak();
        member.on_answer(answer(1, None));
        member
    }

    fn quiet(epoch: i32) -> Word {
        Word { epoch, full: false, owned: None }
    }

    #[test]
    fn it_joins_and_says_what_it_took() {
        let mut member = Member::new();
        assert_eq!(member.speak(), Word { epoch: 0, full: true, owned: Some(vec![]) });
        let heard = member.on_answer(answer(3, Some(&[0, 1])));
        assert_eq!(heard, (vec![Change::Assigned(parts(&[0, 1]))], Duration::ZERO));
        assert_eq!(member.speak(), Word { epoch: 3, full: false, owned: Some(parts(&[0, 1])) });
        assert_eq!(member.on_answer(answer(3, None)), (vec![], INTERVAL));
        assert_eq!(member.speak(), quiet(3));
        assert!(member.has("t", 1).is_some() && member.has("t", 2).is_none() && member.has("u", 1).is_none());
    }

    #[test]
    fn one_too_many_gets_nothing() {
        let mut member = Member::new();
        member.speak();
        assert_eq!(member.on_answer(answer(2, Some(&[]))), (vec![Change::Assigned(vec![])], INTERVAL));
    }

    #[test]
    fn it_gives_up_when_the_client_says_so_and_not_before() {
        let mut member = member(&[0, 1, 2]);
        assert_eq!(
            member.on_answer(answer(1, Some(&[0]))),
            (vec![Change::Revoked(parts(&[1, 2]))], INTERVAL)
        );
        // Told again, the client is not asked again; the coordinator hears nothing of it.
        assert_eq!(member.on_answer(answer(1, Some(&[0]))), (vec![], INTERVAL));
        assert_eq!(member.speak(), quiet(1));
        assert!(member.revoking("t", 1).is_some() && member.revoking("t", 0).is_none());
        assert!(member.release(&parts(&[1])));
        assert_eq!(member.speak().owned, Some(parts(&[0, 2])));
        assert!(member.release(&parts(&[2])));
        assert_eq!(member.speak().owned, Some(parts(&[0])));
        assert_eq!(member.on_answer(answer(2, Some(&[0, 5]))).0, [Change::Assigned(parts(&[5]))]);
    }

    #[test]
    fn what_was_not_asked_for_cannot_be_released() {
        let mut member = member(&[0, 1]);
        assert!(!member.release(&parts(&[0, 9])));
        assert_eq!(member.speak(), quiet(1));
        assert!(member.has("t", 0).is_some());
    }

    /// It is given anew what it is giving up: it has to let go of it first.
    #[test]
    fn what_comes_back_while_it_is_given_up_comes_when_it_was() {
        let mut member = member(&[0, 1]);
        member.on_answer(answer(1, Some(&[0])));
        assert_eq!(member.on_answer(answer(1, Some(&[0, 1]))), (vec![], INTERVAL));
        member.release(&parts(&[1]));
        assert_eq!(member.speak().owned, Some(parts(&[0])));
        assert_eq!(member.on_answer(answer(2, Some(&[0, 1]))).0, [Change::Assigned(parts(&[1]))]);
    }

    #[test]
    fn what_happens_while_it_speaks_is_said_next() {
        let mut member = member(&[0, 1]);
        member.on_answer(answer(1, Some(&[0])));
        assert_eq!(member.speak(), quiet(1));
        member.release(&parts(&[1]));
        assert_eq!(member.on_answer(answer(1, None)), (vec![], Duration::ZERO));
        assert_eq!(member.speak().owned, Some(parts(&[0])));
    }

    #[test]
    fn a_topic_made_anew_is_another_one() {
        let mut member = member(&[0]);
        let anew = GroupPartition { topic_id: Uuid::from_u128(8), ..part(0) };
        let answer = Beaten { epoch: 2, interval: INTERVAL, assignment: Some(vec![anew.clone()]) };
        assert_eq!(member.on_answer(answer).0, [Change::Revoked(parts(&[0])), Change::Assigned(vec![anew])]);
    }

    #[test]
    fn one_that_is_out_loses_all_and_joins_again() {
        for code in [ErrorCode::UnknownMemberId, ErrorCode::FencedMemberEpoch, ErrorCode::GroupIdNotFound] {
            let mut member = member(&[0, 1]);
            member.on_answer(answer(1, Some(&[0])));
            let heard = member.on_refusal(refusal(code)).expect("it goes on");
            assert_eq!(heard, (vec![Change::Lost(parts(&[0, 1]))], Duration::ZERO));
            assert_eq!(member.speak(), Word { epoch: 0, full: true, owned: Some(vec![]) });
            assert!(!member.release(&parts(&[1])), "a release that was under way means nothing now");
            assert_eq!(member.on_answer(answer(4, Some(&[1]))).0, [Change::Assigned(parts(&[1]))]);
        }
    }

    #[test]
    fn a_coordinator_that_is_away_is_asked_again_and_told_everything() {
        let mut member = member(&[0]);
        let heard = member.on_refusal(refusal(ErrorCode::CoordinatorLoadInProgress)).expect("it goes on");
        assert_eq!(heard, (vec![], AGAIN));
        assert_eq!(member.speak(), Word { epoch: 1, full: true, owned: Some(parts(&[0])) });
        assert_eq!(member.on_answer(answer(1, Some(&[0]))), (vec![], INTERVAL));
    }

    #[test]
    fn what_will_not_change_ends_it() {
        let codes =
            [ErrorCode::UnreleasedInstanceId, ErrorCode::FencedInstanceId, ErrorCode::GroupMaxSizeReached];
        for code in codes {
            assert_eq!(member(&[0]).on_refusal(refusal(code)).map_err(|error| error.code), Err(code));
        }
        // A group of the classic protocol, which this one cannot join.
        let mut member = Member::new();
        member.speak();
        assert!(member.on_refusal(refusal(ErrorCode::GroupIdNotFound)).is_err());
    }
}
