//! Groups of the new protocol (KIP-848): ConsumerGroupHeartbeat (68), versions 0-1, and ConsumerGroupDescribe (69), 0-1.
//!
//! A group that is named twice is described once: a name takes few bytes, and a group may take many.

use super::group_members::code_of;
use super::{Call, operations};
use millrace_io::Io;
use millrace_logic::group::request::{Beat, ConsumerDescription, ConsumerHeartbeat, ConsumerMember, Refusal};
use millrace_logic::group::{Request, Response};
use millrace_logic::meta::Image;
use millrace_proto::kafka::error::ErrorCode;
use millrace_proto::kafka::messages::consumer_group_describe::{
    ConsumerGroupDescribeRequest, ConsumerGroupDescribeResponse, DescribedAssignment, DescribedConsumer,
    DescribedConsumerGroup, DescribedTopicPartitions,
};
use millrace_proto::kafka::messages::consumer_group_heartbeat::{
    ConsumerGroupHeartbeatRequest, ConsumerGroupHeartbeatResponse, HeartbeatAssignment,
    HeartbeatTopicPartitions,
};
use millrace_proto::kafka::wire::Nullable;
use std::collections::BTreeSet;
use std::time::Duration;
use uuid::Uuid;

/// Up to this version members are given their ids.
const GIVES_IDS: i16 = 0;
/// What members speak: the classic protocol, or the new one.
const CLASSIC: i8 = 0;
const CONSUMER: i8 = 1;

pub(super) async fn heartbeat<I: Io>(
    call: Call<I>,
    request: ConsumerGroupHeartbeatRequest<'_>,
    client_id: String,
) {
    let random = || u128::from(call.shard.io().random());
    let bits = (random() << 64) | random();
    let owned = |text: Option<&str>| text.map(str::to_owned);
    let rebalance = u64::try_from(request.rebalance_timeout_ms).ok();
    let partitions = request.topic_partitions;
    let beat = ConsumerHeartbeat {
        group: request.group_id.to_owned(),
        member: request.member_id.to_owned(),
        may_lack_id: call.version <= GIVES_IDS,
        epoch: request.member_epoch,
        instance: owned(request.instance_id),
        rack: owned(request.rack_id),
        client_id,
        client_host: format!("/{}", call.peer.ip()),
        rebalance: rebalance.map(Duration::from_millis),
        topics: request.subscribed_topic_names.map(|names| names.into_iter().map(str::to_owned).collect()),
        regex: owned(request.subscribed_topic_regex),
        assignor: owned(request.server_assignor),
        owned: partitions.map(|all| all.into_iter().map(|it| (it.topic_id, it.partitions)).collect()),
        fresh: uuid::Builder::from_random_bytes(bits.to_be_bytes()).into_uuid(),
    };
    let (code, message) = match call.shard.ask_group(request.group_id, Request::ConsumerHeartbeat(beat)).await
    {
        Ok(Response::ConsumerHeartbeat(Ok(beat))) => return answer_beat(call, beat),
        Ok(Response::ConsumerHeartbeat(Err(Refusal { code, message }))) => (code, Some(message)),
        other => (code_of(other), None),
    };
    let error_code = call.error(code);
    let error_message = message.as_deref();
    call.answer(&ConsumerGroupHeartbeatResponse { error_code, error_message, ..Default::default() });
}

fn answer_beat<I: Io>(call: Call<I>, beat: Beat) {
    let of = |(topic_id, partitions)| HeartbeatTopicPartitions { topic_id, partitions };
    let assignment = beat
        .assignment
        .map(|all| HeartbeatAssignment { topic_partitions: all.into_iter().map(of).collect() });
    call.answer(&ConsumerGroupHeartbeatResponse {
        member_id: beat.member.as_deref(),
        member_epoch: beat.epoch,
        heartbeat_interval_ms: i32::try_from(beat.interval.as_millis()).unwrap_or(i32::MAX),
        assignment: Nullable(assignment),
        ..Default::default()
    });
}

pub(super) async fn describe<I: Io>(call: Call<I>, request: ConsumerGroupDescribeRequest<'_>) {
    let (mut all, mut asked) = (Vec::new(), BTreeSet::new());
    for id in request.group_ids.iter().copied().filter(|id| asked.insert(*id)) {
        all.push((id, describe_one(&call, id).await));
    }
    let image = call.shard.image();
    let groups = all.iter().map(|(group_id, found)| {
        let authorized_operations =
            operations::if_asked(request.include_authorized_operations, operations::GROUP);
        match found {
            Ok(group) => {
                DescribedConsumerGroup { group_id, authorized_operations, ..described(group, &image) }
            }
            Err((code, message)) => DescribedConsumerGroup {
                group_id,
                error_code: call.error(*code),
                error_message: message.as_deref(),
                ..DescribedConsumerGroup::default()
            },
        }
    });
    let groups = groups.collect();
    call.answer(&ConsumerGroupDescribeResponse { groups, ..ConsumerGroupDescribeResponse::default() });
}

async fn describe_one<I: Io>(
    call: &Call<I>,
    id: &str,
) -> Result<ConsumerDescription, (ErrorCode, Option<String>)> {
    if id.is_empty() {
        return Err((ErrorCode::InvalidGroupId, None));
    }
    match call.shard.ask_group(id, Request::DescribeConsumers { group: id.to_owned() }).await {
        Ok(Response::DescribeConsumers(Ok(group))) => Ok(group),
        Ok(Response::DescribeConsumers(Err(Refusal { code, message }))) => Err((code, Some(message))),
        // Nothing keeps groups before the first one was looked for.
        Err(ErrorCode::NotCoordinator) if !call.shard.is_stopping() => {
            Err((ErrorCode::GroupIdNotFound, Some(format!("Group {id} not found."))))
        }
        other => Err((code_of(other), None)),
    }
}

fn described<'a>(group: &'a ConsumerDescription, image: &'a Image) -> DescribedConsumerGroup<'a> {
    let members = group.members.iter().map(|member: &ConsumerMember| DescribedConsumer {
        member_id: &member.member,
        instance_id: member.instance.as_deref(),
        rack_id: member.rack.as_deref(),
        member_epoch: member.epoch,
        client_id: &member.client_id,
        client_host: &member.client_host,
        subscribed_topic_names: member.topics.iter().map(|topic| &**topic).collect(),
        subscribed_topic_regex: Some(&member.regex),
        assignment: named(&member.assigned, image),
        target_assignment: named(&member.target, image),
        member_type: if member.is_classic { CLASSIC } else { CONSUMER },
    });
    DescribedConsumerGroup {
        group_state: group.state,
        group_epoch: group.epoch,
        assignment_epoch: group.assignment_epoch,
        assignor_name: group.assignor,
        members: members.collect(),
        ..DescribedConsumerGroup::default()
    }
}

/// Partitions with the names of their topics; of topics that are gone nothing is told.
fn named<'a>(partitions: &[(Uuid, Vec<i32>)], image: &'a Image) -> DescribedAssignment<'a> {
    let of = |(topic_id, partitions): &(Uuid, Vec<i32>)| {
        let topic_name = &*image.topic_by_id(*topic_id)?.name;
        Some(DescribedTopicPartitions { topic_id: *topic_id, topic_name, partitions: partitions.clone() })
    };
    DescribedAssignment { topic_partitions: partitions.iter().filter_map(of).collect() }
}
