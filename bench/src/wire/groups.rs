//! What is asked about groups while nothing is timed: where they are kept, what they have committed, and that they go.

use crate::error::{Error, Result};
use crate::wire::admin::Admin;
use millrace_proto::kafka::api::decode_response;
use millrace_proto::kafka::error::ErrorCode;
use millrace_proto::kafka::messages::delete_groups::{DeleteGroupsRequest, DeleteGroupsResponse};
use millrace_proto::kafka::messages::find_coordinator::{
    FindCoordinatorRequest, FindCoordinatorResponse, key_type,
};
use millrace_proto::kafka::messages::leave_group::{LeaveGroupRequest, LeaveGroupResponse, MemberIdentity};
use millrace_proto::kafka::messages::offset_fetch::{
    OffsetFetchRequest, OffsetFetchRequestGroup, OffsetFetchRequestTopics, OffsetFetchResponse,
};
use std::thread;
use std::time::{Duration, Instant};

const FIND_VERSION: i16 = 4;
/// The newest that names topics.
const FETCH_VERSION: i16 = 9;
const LEAVE_VERSION: i16 = 5;
const DELETE_VERSION: i16 = 2;

/// Groups that one request names.
const AT_ONCE: usize = 100;
/// How long the coordinators of new groups may take to be there: Kafka creates 50 partitions for them first.
const COORDINATORS: Duration = Duration::from_secs(60);

impl Admin {
    /// Waits until each of these groups has a coordinator that answers.
    pub fn wait_for_coordinators<S: AsRef<str>>(&mut self, groups: &[S], topic: &str) -> Result<()> {
        let until = Instant::now() + COORDINATORS;
        for some in groups.chunks(AT_ONCE) {
            while let Err(code) = self.coordinators(some, topic)? {
                let loads = matches!(
                    code,
                    ErrorCode::CoordinatorLoadInProgress
                        | ErrorCode::CoordinatorNotAvailable
                        | ErrorCode::NotCoordinator
                );
                if !loads || Instant::now() > until {
                    return Err(Error::code("the coordinator of a group", code));
                }
                thread::sleep(Duration::from_millis(20));
            }
        }
        Ok(())
    }

    /// Whether these groups have coordinators that answer; the first error if one has not.
    fn coordinators<S: AsRef<str>>(
        &mut self,
        groups: &[S],
        topic: &str,
    ) -> Result<std::result::Result<(), ErrorCode>> {
        let request = FindCoordinatorRequest {
            key_type: key_type::GROUP,
            coordinator_keys: groups.iter().map(AsRef::as_ref).collect(),
            ..FindCoordinatorRequest::default()
        };
        let body = self.ask(FIND_VERSION, &request)?;
        let found: FindCoordinatorResponse<'_> =
            decode_response(&body, FIND_VERSION).map_err(|why| Error::unreadable("FindCoordinator", why))?;
        if found.coordinators.len() != groups.len() {
            return Err(Error::unreadable("FindCoordinator", "groups are missing"));
        }
        if let Some(missing) = found.coordinators.iter().find(|one| one.error_code != ErrorCode::None) {
            return Ok(Err(missing.error_code));
        }
        Ok(self.fetch(groups, topic, &[0])?.map(|_| ()))
    }

    /// What each of these groups has committed in the partitions of a topic, by group and partition; -1 where it is nothing.
    pub fn committed<S: AsRef<str>>(
        &mut self,
        groups: &[S],
        topic: &str,
        partitions: u32,
    ) -> Result<Vec<Vec<i64>>> {
        let wanted: Vec<i32> = (0..i32::try_from(partitions).unwrap_or(i32::MAX)).collect();
        let mut all = Vec::with_capacity(groups.len());
        for some in groups.chunks(AT_ONCE) {
            let found = self.fetch(some, topic, &wanted)?;
            all.extend(found.map_err(|code| Error::code("OffsetFetch", code))?);
        }
        Ok(all)
    }

    fn fetch<S: AsRef<str>>(
        &mut self,
        groups: &[S],
        topic: &str,
        partitions: &[i32],
    ) -> Result<std::result::Result<Vec<Vec<i64>>, ErrorCode>> {
        let of = |group| OffsetFetchRequestGroup {
            group_id: group,
            topics: Some(vec![OffsetFetchRequestTopics {
                name: topic,
                partition_indexes: partitions.to_vec(),
                ..OffsetFetchRequestTopics::default()
            }]),
            ..OffsetFetchRequestGroup::default()
        };
        let request = OffsetFetchRequest {
            groups: groups.iter().map(|group| of(group.as_ref())).collect(),
            ..OffsetFetchRequest::default()
        };
        let body = self.ask(FETCH_VERSION, &request)?;
        let unreadable = |why: &str| Error::unreadable("OffsetFetch", why);
        let answer: OffsetFetchResponse<'_> =
            decode_response(&body, FETCH_VERSION).map_err(|why| Error::unreadable("OffsetFetch", why))?;
        let mut all = Vec::with_capacity(groups.len());
        for group in groups {
            let found = answer.groups.iter().find(|found| found.group_id == group.as_ref());
            let found = found.ok_or_else(|| unreadable("a group is missing"))?;
            if found.error_code != ErrorCode::None {
                return Ok(Err(found.error_code));
            }
            let mut offsets = vec![None; partitions.len()];
            for partition in found.topics.iter().flat_map(|topic| &topic.partitions) {
                if partition.error_code != ErrorCode::None {
                    return Ok(Err(partition.error_code));
                }
                let at = partitions.iter().position(|wanted| *wanted == partition.partition_index);
                let at = at.ok_or_else(|| unreadable("a partition too many"))?;
                offsets[at] = Some(partition.committed_offset);
            }
            let offsets: Option<Vec<i64>> = offsets.into_iter().collect();
            all.push(offsets.ok_or_else(|| unreadable("a partition is missing"))?);
        }
        Ok(Ok(all))
    }

    /// Sends all members of a group away.
    pub fn leave(&mut self, group: &str, members: &[&str]) -> Result<()> {
        let request = LeaveGroupRequest {
            group_id: group,
            members: members
                .iter()
                .map(|id| MemberIdentity { member_id: id, ..MemberIdentity::default() })
                .collect(),
            ..LeaveGroupRequest::default()
        };
        let body = self.ask(LEAVE_VERSION, &request)?;
        let answer: LeaveGroupResponse<'_> =
            decode_response(&body, LEAVE_VERSION).map_err(|why| Error::unreadable("LeaveGroup", why))?;
        let codes = answer.members.iter().map(|member| member.error_code);
        match std::iter::once(answer.error_code).chain(codes).find(|code| *code != ErrorCode::None) {
            Some(code) => Err(Error::code(format_args!("LeaveGroup of {group}"), code)),
            None => Ok(()),
        }
    }

    /// Deletes groups that have no members, and what they have committed.
    pub fn delete_groups<S: AsRef<str>>(&mut self, groups: &[S]) -> Result<()> {
        for some in groups.chunks(AT_ONCE) {
            let request = DeleteGroupsRequest { groups_names: some.iter().map(AsRef::as_ref).collect() };
            let body = self.ask(DELETE_VERSION, &request)?;
            let answer: DeleteGroupsResponse<'_> = decode_response(&body, DELETE_VERSION)
                .map_err(|why| Error::unreadable("DeleteGroups", why))?;
            if let Some(left) = answer.results.iter().find(|one| one.error_code != ErrorCode::None) {
                return Err(Error::code(format_args!("deleting group {}", left.group_id), left.error_code));
            }
        }
        Ok(())
    }
}
