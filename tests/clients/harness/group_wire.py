"""Requests of consumer groups, one at a time, for tests that ask what no client library would."""

from kafka.protocol.admin import DeleteGroupsRequest, DescribeGroupsRequest, ListGroupsRequest
from kafka.protocol.consumer import (
    HeartbeatRequest,
    JoinGroupRequest,
    LeaveGroupRequest,
    OffsetCommitRequest,
    OffsetDeleteRequest,
    OffsetFetchRequest,
    SyncGroupRequest,
)
from kafka.protocol.metadata import FindCoordinatorRequest

from . import wire

PROTOCOLS = (("range", b"\x00\x00\x00\x00\x00\x00\xff\xff\xff\xff"),)


def find_coordinator(*keys: str, kind: int = 0):
    """The one key of the old versions is the first."""
    return FindCoordinatorRequest(key=keys[0] if keys else "", key_type=kind, coordinator_keys=list(keys))


def join(
    group: str,
    member: str = "",
    *,
    instance: str | None = None,
    protocols=PROTOCOLS,
    kind: str = "consumer",
    session_ms: int = 10_000,
    rebalance_ms: int = 10_000,
):
    protocol = JoinGroupRequest.JoinGroupRequestProtocol
    return JoinGroupRequest(
        group_id=group,
        session_timeout_ms=session_ms,
        rebalance_timeout_ms=rebalance_ms,
        member_id=member,
        group_instance_id=instance,
        protocol_type=kind,
        protocols=[protocol(name=name, metadata=metadata) for name, metadata in protocols],
        reason="a test",
    )


def sync(
    group: str,
    generation: int,
    member: str,
    assignments: dict[str, bytes],
    instance: str | None = None,
    protocol: str = "range",
):
    one = SyncGroupRequest.SyncGroupRequestAssignment
    return SyncGroupRequest(
        group_id=group,
        generation_id=generation,
        member_id=member,
        group_instance_id=instance,
        protocol_type="consumer",
        protocol_name=protocol,
        assignments=[one(member_id=name, assignment=assignment) for name, assignment in assignments.items()],
    )


def heartbeat(group: str, generation: int, member: str, instance: str | None = None):
    return HeartbeatRequest(group_id=group, generation_id=generation, member_id=member, group_instance_id=instance)


def leave(group: str, *members: str, instance: str | None = None):
    """Version 0 to 2 take the first. With `instance`, a member by that name."""
    one = LeaveGroupRequest.MemberIdentity
    identities = [one(member_id=name, group_instance_id=None, reason="a test") for name in members]
    if instance is not None:
        identities.append(one(member_id="", group_instance_id=instance, reason="a test"))
    return LeaveGroupRequest(group_id=group, member_id=members[0] if members else "", members=identities)


def commit(
    group: str,
    offsets: dict[tuple[str, int], int],
    generation: int = -1,
    member: str = "",
    *,
    instance: str | None = None,
    metadata: str = "",
    topic_ids: dict | None = None,
):
    topic = OffsetCommitRequest.OffsetCommitRequestTopic
    topics = {}
    for (name, partition), offset in offsets.items():
        entry = topic.OffsetCommitRequestPartition(
            partition_index=partition,
            committed_offset=offset,
            committed_leader_epoch=-1,
            commit_timestamp=-1,
            committed_metadata=metadata,
        )
        topics.setdefault(name, []).append(entry)
    ids = topic_ids or {}
    return OffsetCommitRequest(
        group_id=group,
        generation_id_or_member_epoch=generation,
        member_id=member,
        group_instance_id=instance,
        retention_time_ms=-1,
        topics=[
            topic(name=name, topic_id=ids.get(name, wire.NO_TOPIC_ID), partitions=partitions)
            for name, partitions in topics.items()
        ],
    )


def fetch(group: str, topics: dict[str, list[int]] | None, topic_ids: dict | None = None, stable: bool = False):
    """Of one group; without topics all of it. Version 1 has no "all"."""
    ids = topic_ids or {}
    old = OffsetFetchRequest.OffsetFetchRequestTopic
    grouped = OffsetFetchRequest.OffsetFetchRequestGroup
    new = grouped.OffsetFetchRequestTopics
    wanted = None if topics is None else [old(name=name, partition_indexes=p) for name, p in topics.items()]
    by_id = (
        None
        if topics is None
        else [
            new(name=name, topic_id=ids.get(name, wire.NO_TOPIC_ID), partition_indexes=p)
            for name, p in topics.items()
        ]
    )
    return OffsetFetchRequest(
        group_id=group,
        topics=wanted,
        groups=[grouped(group_id=group, member_id=None, member_epoch=-1, topics=by_id)],
        require_stable=stable,
    )


def forget(group: str, offsets: dict[str, list[int]]):
    topic = OffsetDeleteRequest.OffsetDeleteRequestTopic
    partition = topic.OffsetDeleteRequestPartition
    topics = [topic(name=name, partitions=[partition(partition_index=p) for p in ps]) for name, ps in offsets.items()]
    return OffsetDeleteRequest(group_id=group, topics=topics)


def describe(*groups: str):
    return DescribeGroupsRequest(groups=list(groups), include_authorized_operations=False)


def list_all(states=(), types=()):
    return ListGroupsRequest(states_filter=list(states), types_filter=list(types))


def delete(*groups: str):
    return DeleteGroupsRequest(groups_names=list(groups))
