//! The groups of the broker in memory: members that tests put there, and what was committed.

use super::memory::Memory;
use crate::grpc::backend::{Backend, Error, Position};
use crate::grpc::group_backend::*;
use millrace_io::Io;
use millrace_proto::kafka::error::ErrorCode;
use std::collections::BTreeMap;

pub(super) type Groups = BTreeMap<String, MemoryGroup>;

#[derive(Default)]
pub(super) struct MemoryGroup {
    pub(super) members: Vec<GroupMember>,
    pub(super) offsets: BTreeMap<NamedPartition, i64>,
}

impl MemoryGroup {
    fn state(&self) -> &'static str {
        if self.members.is_empty() { "Empty" } else { "Stable" }
    }
}

impl<I: Io> Memory<I> {
    /// Changes a group, which is made if there is none.
    pub(super) fn group(&self, id: &str, act: impl FnOnce(&mut MemoryGroup)) {
        act(self.state.borrow_mut().groups.entry(id.to_owned()).or_default());
    }

    pub(super) fn commit_offset(&self, id: &str, topic: &str, partition: i32, offset: i64) {
        self.group(id, |group| group.offsets.extend([((topic.into(), partition), offset)]));
    }

    pub(super) fn committed_offset(&self, id: &str, topic: &str, partition: i32) -> Option<i64> {
        self.state.borrow().groups.get(id)?.offsets.get(&(topic.into(), partition)).copied()
    }

    /// A group without members.
    fn idle<T>(&self, id: &str, act: impl FnOnce(&mut MemoryGroup) -> T) -> Result<T, Error> {
        let mut state = self.state.borrow_mut();
        match state.groups.get_mut(id) {
            None => Err(ErrorCode::GroupIdNotFound.into()),
            Some(group) if !group.members.is_empty() => Err(ErrorCode::NonEmptyGroup.into()),
            Some(group) => Ok(act(group)),
        }
    }
}

impl<I: Io> GroupBackend for Memory<I> {
    async fn list_groups(&self) -> Result<Vec<GroupSummary>, Error> {
        let state = self.state.borrow();
        let summary = |(id, group): (&String, &MemoryGroup)| GroupSummary {
            id: id.as_str().into(),
            state: group.state(),
            kind: "classic",
            protocol_type: "consumer".into(),
        };
        // In no order that callers may rely on.
        Ok(state.groups.iter().rev().map(summary).collect())
    }

    async fn describe_group(&self, group: &str) -> Result<Option<Group>, Error> {
        Ok(self.state.borrow().groups.get(group).map(|group| Group {
            state: group.state(),
            kind: "classic",
            protocol_type: "consumer".into(),
            protocol: String::new(),
            members: group.members.clone(),
        }))
    }

    async fn committed(&self, group: &str) -> Result<Vec<Committed>, Error> {
        let state = self.state.borrow();
        let offsets = state.groups.get(group).into_iter().flat_map(|group| &group.offsets);
        let committed = |(partition, offset): (&NamedPartition, &i64)| Committed {
            partition: partition.clone(),
            offset: *offset,
            metadata: format!("at {offset}"),
        };
        Ok(offsets.map(committed).collect())
    }

    async fn log_ends(&self, partitions: &[NamedPartition]) -> Vec<Result<LogEnds, Error>> {
        let mut ends = Vec::new();
        for (topic, partition) in partitions {
            let start = self.list_offset(topic, *partition, Position::Beginning).await;
            let end = self.list_offset(topic, *partition, Position::End).await;
            ends.push(start.and_then(|log_start| Ok(LogEnds { log_start, high_watermark: end? })));
        }
        ends
    }

    async fn offsets_at(&self, partitions: &[NamedPartition], time: i64) -> Vec<Result<Option<i64>, Error>> {
        let mut found = Vec::new();
        for (topic, partition) in partitions {
            found.push(self.list_offset(topic, *partition, Position::Timestamp(time)).await.map(Some));
        }
        found
    }

    async fn commit(&self, group: &str, offsets: Vec<(NamedPartition, i64)>) -> Result<(), Error> {
        self.idle(group, |group| group.offsets.extend(offsets))
    }

    async fn delete_offsets(
        &self,
        group: &str,
        partitions: &[NamedPartition],
    ) -> Result<Vec<Result<(), Error>>, Error> {
        let delete = |group: &mut MemoryGroup| {
            group.offsets.retain(|partition, _| !partitions.contains(partition));
            vec![Ok(()); partitions.len()]
        };
        self.idle(group, delete)
    }

    async fn delete_group(&self, group: &str) -> Result<(), Error> {
        self.idle(group, |_| ())?;
        self.state.borrow_mut().groups.remove(group);
        Ok(())
    }
}
