//! How far groups have come, for whoever watches the broker: as many of them as there is room for.
//!
//! A group is there with all of its partitions or with none, so that sums over it are right. Groups that have members come first.

use std::sync::Arc;

use super::Coordinator;

/// A group whose name is longer than this is left out: what watches the broker keeps every name for long.
pub const LONGEST_NAME: usize = 255;

/// What a group has committed in a partition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Progress {
    /// The group.
    pub group: Arc<str>,
    /// The topic.
    pub topic: Arc<str>,
    /// The partition.
    pub partition: i32,
    /// The next record to read.
    pub offset: i64,
}

/// What was found so far.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Survey {
    /// Groups one after the other, each by topic and partition.
    pub found: Vec<Progress>,
    /// Partitions of groups that there was no room for.
    pub left_out: usize,
    room: usize,
}

impl Survey {
    /// One with room for so many partitions.
    pub fn new(room: usize) -> Self {
        Self { room, ..Self::default() }
    }
}

impl<T> Coordinator<T> {
    /// Adds the groups that have members, or those that have none.
    pub fn survey(&self, with_members: bool, survey: &mut Survey) {
        for (id, group) in self.groups.iter().filter(|(_, group)| group.is_empty() != with_members) {
            let count = group.offsets.len();
            if count > survey.room || id.len() > LONGEST_NAME {
                survey.left_out += count;
                continue;
            }
            survey.room -= count;
            survey.found.extend(group.offsets.iter().map(|(topic, partition, committed)| Progress {
                group: id.clone(),
                topic: topic.clone(),
                partition,
                offset: committed.offset,
            }));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::group::request::{Caller, Commit, CommitOffset, Join};
    use crate::group::{Now, Request, Settings};
    use std::time::Duration;
    use uuid::Uuid;

    const NOW: Now = Now { mono: Duration::from_secs(1), wall_ms: 1_000 };

    fn coordinator() -> Coordinator<()> {
        let mut coordinator = Coordinator::new(Settings::default());
        coordinator.loaded(NOW);
        coordinator
    }

    fn ask(coordinator: &mut Coordinator<()>, request: Request) {
        coordinator.handle(NOW, request, (), &mut Vec::new());
    }

    fn commit(coordinator: &mut Coordinator<()>, group: &str, partitions: i32) {
        let offset = |partition| CommitOffset {
            topic: "t".into(),
            topic_id: Uuid::nil(),
            partition,
            offset: 5,
            leader_epoch: -1,
            metadata: String::new(),
        };
        let caller = Caller { group: group.into(), generation: -1, ..Caller::default() };
        let offsets = (0..partitions).map(offset).collect();
        let commit = Commit { caller, names_missing_group: false, retention_ms: None, offsets };
        ask(coordinator, Request::Commit(commit));
    }

    fn join(coordinator: &mut Coordinator<()>, group: &str) {
        let join = Join {
            caller: Caller { group: group.into(), ..Caller::default() },
            client_id: "c".into(),
            client_host: "/h".into(),
            session: Duration::from_secs(10),
            rebalance: Duration::from_secs(10),
            protocol_type: "consumer".into(),
            protocols: vec![("range".into(), Default::default())],
            id_first: false,
            can_skip_assignment: false,
            fresh: Uuid::from_u128(1),
        };
        ask(coordinator, Request::Join(join));
    }

    /// The groups that are found with so much room, and how much is left out.
    fn found(coordinator: &Coordinator<()>, room: usize) -> (String, usize) {
        let mut survey = Survey::new(room);
        coordinator.survey(true, &mut survey);
        coordinator.survey(false, &mut survey);
        let groups: Vec<_> = survey.found.iter().map(|it| format!("{}{}", it.group, it.partition)).collect();
        (groups.join(" "), survey.left_out)
    }

    #[test]
    fn groups_are_whole_and_those_with_members_come_first() {
        let mut coordinator = coordinator();
        commit(&mut coordinator, "a", 2);
        commit(&mut coordinator, "b", 3);
        commit(&mut coordinator, "c", 1);
        join(&mut coordinator, "b");
        assert_eq!(found(&coordinator, 100), ("b0 b1 b2 a0 a1 c0".into(), 0));
        assert_eq!(found(&coordinator, 4), ("b0 b1 b2 c0".into(), 2));
        assert_eq!(found(&coordinator, 2), ("a0 a1".into(), 4));
        assert_eq!(found(&coordinator, 0), ("".into(), 6));
    }

    #[test]
    fn names_that_are_too_long_are_left_out() {
        let mut coordinator = coordinator();
        commit(&mut coordinator, &"x".repeat(LONGEST_NAME + 1), 2);
        commit(&mut coordinator, &"y".repeat(LONGEST_NAME), 1);
        let (groups, left_out) = found(&coordinator, 100);
        assert!(groups.starts_with('y') && left_out == 2, "{groups}");
    }
}
