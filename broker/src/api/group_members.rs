//! The classic protocol of groups: JoinGroup (11), versions 0-9, Heartbeat (12), 0-4, LeaveGroup (13), 0-5, and SyncGroup (14), 0-5.
//!
//! JoinGroup and SyncGroup are answered when the other members have come; until then the connection's next request waits, as in Kafka.

use super::Call;
use bytes::Bytes;
use millrace_io::Io;
use millrace_logic::group::request::{Caller, Join, JoinRefused, Joined, Leave, Sync};
use millrace_logic::group::{Request, Response};
use millrace_proto::kafka::error::ErrorCode;
use millrace_proto::kafka::messages::heartbeat::{HeartbeatRequest, HeartbeatResponse};
use millrace_proto::kafka::messages::join_group::{
    JoinGroupRequest, JoinGroupResponse, JoinGroupResponseMember,
};
use millrace_proto::kafka::messages::leave_group::{LeaveGroupRequest, LeaveGroupResponse, MemberResponse};
use millrace_proto::kafka::messages::sync_group::{SyncGroupRequest, SyncGroupResponse};
use std::time::Duration;

/// From this version on new members get their id first.
const ID_FIRST: i16 = 4;
/// From this version on a leader may be told not to assign.
const SKIP_ASSIGNMENT: i16 = 9;
/// From this version on many members leave at once.
const MANY_LEAVE: i16 = 3;

pub(super) async fn join<I: Io>(call: Call<I>, request: JoinGroupRequest<'_>, client_id: String) {
    let millis = |time: i32| Duration::from_millis(u64::try_from(time).unwrap_or(0));
    let rebalance = match request.rebalance_timeout_ms {
        -1 => request.session_timeout_ms,
        time => time,
    };
    let random = || u128::from(call.shard.io().random());
    let bits = (random() << 64) | random();
    let protocols = request.protocols.iter();
    let join = Join {
        caller: caller(request.group_id, request.member_id, request.group_instance_id, -1),
        client_id,
        client_host: format!("/{}", call.peer.ip()),
        session: millis(request.session_timeout_ms),
        rebalance: millis(rebalance),
        protocol_type: request.protocol_type.to_owned(),
        protocols: protocols.map(|it| (it.name.to_owned(), Bytes::copy_from_slice(it.metadata))).collect(),
        id_first: call.version >= ID_FIRST,
        can_skip_assignment: call.version >= SKIP_ASSIGNMENT,
        fresh: uuid::Builder::from_random_bytes(bits.to_be_bytes()).into_uuid(),
    };
    let answer = call.shard.ask_group(request.group_id, Request::Join(join)).await;
    let outcome = match answer {
        Ok(Response::Join(outcome)) => outcome,
        other => Err(JoinRefused { code: code_of(other), member: request.member_id.into() }),
    };
    match outcome {
        Ok(joined) => answer_joined(call, &joined),
        Err(JoinRefused { code, member }) => {
            let error_code = call.error(code);
            call.answer(&JoinGroupResponse {
                error_code,
                member_id: &member,
                ..JoinGroupResponse::default()
            });
        }
    }
}

fn answer_joined<I: Io>(call: Call<I>, joined: &Joined) {
    let members = joined.members.iter().map(|member| JoinGroupResponseMember {
        member_id: &member.member,
        group_instance_id: member.instance.as_deref(),
        metadata: &member.metadata,
    });
    call.answer(&JoinGroupResponse {
        generation_id: joined.generation,
        protocol_type: joined.protocol_type.as_deref(),
        protocol_name: Some(joined.protocol.as_deref().unwrap_or_default()),
        leader: &joined.leader,
        skip_assignment: joined.skip_assignment,
        member_id: &joined.member,
        members: members.collect(),
        ..JoinGroupResponse::default()
    });
}

pub(super) async fn sync<I: Io>(call: Call<I>, request: SyncGroupRequest<'_>) {
    let assignments = request.assignments.iter();
    let sync = Sync {
        caller: caller(request.group_id, request.member_id, request.group_instance_id, request.generation_id),
        protocol_type: request.protocol_type.map(str::to_owned),
        protocol: request.protocol_name.map(str::to_owned),
        assignments: assignments
            .map(|it| (it.member_id.to_owned(), Bytes::copy_from_slice(it.assignment)))
            .collect(),
    };
    match call.shard.ask_group(request.group_id, Request::Sync(sync)).await {
        Ok(Response::Sync(Ok(synced))) => call.answer(&SyncGroupResponse {
            protocol_type: synced.protocol_type.as_deref(),
            protocol_name: synced.protocol.as_deref(),
            assignment: &synced.assignment,
            ..SyncGroupResponse::default()
        }),
        other => {
            let error_code = call.error(match other {
                Ok(Response::Sync(Err(code))) => code,
                other => code_of(other),
            });
            call.answer(&SyncGroupResponse { error_code, ..SyncGroupResponse::default() });
        }
    }
}

pub(super) async fn heartbeat<I: Io>(call: Call<I>, request: HeartbeatRequest<'_>) {
    let caller =
        caller(request.group_id, request.member_id, request.group_instance_id, request.generation_id);
    let code = match call.shard.ask_group(request.group_id, Request::Heartbeat(caller)).await {
        Ok(Response::Heartbeat(code)) => code,
        // Members go on while what is known of them is read.
        Err(ErrorCode::CoordinatorLoadInProgress) => ErrorCode::None,
        other => code_of(other),
    };
    let error_code = call.error(code);
    call.answer(&HeartbeatResponse { error_code, ..HeartbeatResponse::default() });
}

pub(super) async fn leave<I: Io>(call: Call<I>, request: LeaveGroupRequest<'_>) {
    let members: Vec<(String, Option<String>)> = match call.version >= MANY_LEAVE {
        true => request
            .members
            .iter()
            .map(|it| (it.member_id.to_owned(), it.group_instance_id.map(str::to_owned)))
            .collect(),
        false => vec![(request.member_id.to_owned(), None)],
    };
    let leave = Leave { group: request.group_id.to_owned(), members };
    let (code, codes) = match call.shard.ask_group(request.group_id, Request::Leave(leave)).await {
        Ok(Response::Leave(Ok(codes))) => (ErrorCode::None, codes),
        Ok(Response::Leave(Err(code))) => (code, Vec::new()),
        other => (code_of(other), Vec::new()),
    };
    let alone = (call.version < MANY_LEAVE).then(|| codes.first().copied()).flatten();
    let members = request.members.iter().zip(codes).map(|(member, code)| MemberResponse {
        member_id: member.member_id,
        group_instance_id: member.group_instance_id,
        error_code: call.error(code),
    });
    let members = members.collect();
    let error_code = call.error(alone.unwrap_or(code));
    call.answer(&LeaveGroupResponse { error_code, members, ..LeaveGroupResponse::default() });
}

/// Who says that it is a member.
pub(super) fn caller(group: &str, member: &str, instance: Option<&str>, generation: i32) -> Caller {
    let (group, member) = (group.to_owned(), member.to_owned());
    Caller { group, member, instance: instance.map(str::to_owned), generation }
}

/// What is said when there is no answer of the kind that was asked for.
pub(super) fn code_of(answer: Result<Response, ErrorCode>) -> ErrorCode {
    answer.err().unwrap_or(ErrorCode::UnknownServerError)
}
