//! What tools ask of groups: DescribeGroups (15), versions 0-6, ListGroups (16), 0-5, and DeleteGroups (42), 0-2.
//!
//! A group that is named twice is described once: a name takes few bytes, and a group may take many.

use super::group_members::code_of;
use super::{Call, operations};
use millrace_io::Io;
use millrace_logic::group::request::Description;
use millrace_logic::group::{Request, Response};
use millrace_proto::kafka::error::ErrorCode;
use millrace_proto::kafka::messages::delete_groups::{
    DeletableGroupResult, DeleteGroupsRequest, DeleteGroupsResponse,
};
use millrace_proto::kafka::messages::describe_groups::{
    DescribeGroupsRequest, DescribeGroupsResponse, DescribedGroup, DescribedGroupMember,
};
use millrace_proto::kafka::messages::list_groups::{ListGroupsRequest, ListGroupsResponse, ListedGroup};
use std::collections::BTreeSet;

/// From this version on a group that is not there is an error; before it is `Dead`.
const NAMES_MISSING_GROUP: i16 = 6;
const DEAD: &str = "Dead";

pub(super) async fn describe<I: Io>(call: Call<I>, request: DescribeGroupsRequest<'_>) {
    let ask = async |id: &str| {
        let described = call.shard.ask_group(id, Request::Describe { group: id.to_owned() }).await;
        match described {
            Ok(Response::Describe(Ok(description))) => Ok(description),
            Ok(Response::Describe(Err(refusal))) => Err((refusal.code, refusal.message)),
            // Nothing keeps groups before the first one was looked for.
            Err(ErrorCode::NotCoordinator) => {
                Err((ErrorCode::GroupIdNotFound, format!("Group {id} not found.")))
            }
            other => Err((code_of(other), String::new())),
        }
    };
    let (mut all, mut asked) = (Vec::new(), BTreeSet::new());
    for id in request.groups.iter().copied().filter(|id| asked.insert(*id)) {
        all.push((id, ask(id).await));
    }
    let groups = all.iter().map(|(group_id, found)| {
        let authorized_operations =
            operations::if_asked(request.include_authorized_operations, operations::GROUP);
        let (code, message, group) = match found {
            Ok(group) => (ErrorCode::None, None, described(group)),
            Err((ErrorCode::GroupIdNotFound, message)) => {
                let named = call.version >= NAMES_MISSING_GROUP;
                let code = if named { ErrorCode::GroupIdNotFound } else { ErrorCode::None };
                let dead = DescribedGroup { group_state: DEAD, ..DescribedGroup::default() };
                (code, named.then_some(message.as_str()), dead)
            }
            Err((code, _)) => (*code, None, DescribedGroup::default()),
        };
        let (error_code, error_message) = (call.error(code), message);
        DescribedGroup { error_code, error_message, group_id, authorized_operations, ..group }
    });
    let groups = groups.collect();
    call.answer(&DescribeGroupsResponse { groups, ..DescribeGroupsResponse::default() });
}

fn described(group: &Description) -> DescribedGroup<'_> {
    let members = group.members.iter().map(|member| DescribedGroupMember {
        member_id: &member.member,
        group_instance_id: member.instance.as_deref(),
        client_id: &member.client_id,
        client_host: &member.client_host,
        member_metadata: &member.metadata,
        member_assignment: &member.assignment,
    });
    DescribedGroup {
        group_state: group.state,
        protocol_type: &group.protocol_type,
        protocol_data: &group.protocol,
        members: members.collect(),
        ..DescribedGroup::default()
    }
}

pub(super) async fn list<I: Io>(call: Call<I>, request: ListGroupsRequest<'_>) {
    let (groups, code) = match call.shard.list_groups().await {
        Ok(groups) => (groups, ErrorCode::None),
        Err(code) => (Vec::new(), code),
    };
    let lower =
        |filter: &[&str]| filter.iter().map(|name| name.to_ascii_lowercase()).collect::<BTreeSet<_>>();
    let (states, types) = (lower(&request.states_filter), lower(&request.types_filter));
    let among = |filter: &BTreeSet<String>, value: &str| {
        filter.is_empty() || filter.contains(&value.to_ascii_lowercase())
    };
    let groups = groups.iter().filter(|group| among(&states, group.state) && among(&types, group.group_type));
    let listed = groups.map(|group| ListedGroup {
        group_id: &group.group,
        protocol_type: &group.protocol_type,
        group_state: group.state,
        group_type: group.group_type,
    });
    let groups = listed.collect();
    let error_code = call.error(code);
    call.answer(&ListGroupsResponse { error_code, groups, ..ListGroupsResponse::default() });
}

pub(super) async fn delete<I: Io>(call: Call<I>, request: DeleteGroupsRequest<'_>) {
    let mut results = Vec::with_capacity(request.groups_names.len());
    for group_id in request.groups_names {
        let asked = call.shard.ask_group(group_id, Request::Delete { group: group_id.to_owned() }).await;
        let code = match asked {
            Ok(Response::Delete(code)) => code,
            // Nothing keeps groups before the first one was looked for.
            Err(ErrorCode::NotCoordinator) if !call.shard.is_stopping() => ErrorCode::GroupIdNotFound,
            other => code_of(other),
        };
        results.push(DeletableGroupResult { group_id, error_code: call.error(code) });
    }
    call.answer(&DeleteGroupsResponse { results, ..DeleteGroupsResponse::default() });
}
