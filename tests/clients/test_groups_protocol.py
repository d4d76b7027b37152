"""Classic groups and committed offsets, request by request: what each is answered, and what it does."""

import struct
import time

import pytest

from conftest import new_broker
from harness import group_wire as gw
from harness import topics, wire
from harness.process import wait_until

NONE, UNKNOWN_TOPIC, METADATA_TOO_LARGE, ILLEGAL_GENERATION, INCONSISTENT, INVALID_GROUP = 0, 3, 12, 22, 23, 24
UNKNOWN_MEMBER, INVALID_SESSION, REBALANCE, INVALID_REQUEST, NON_EMPTY, NOT_FOUND = 25, 26, 27, 42, 68, 69
ID_REQUIRED, FENCED_INSTANCE, SUBSCRIBED, UNKNOWN_TOPIC_ID = 79, 82, 86, 100
JOIN, SYNC, BEAT, LEAVE, COMMIT, FETCH, DESCRIBE, LIST, DELETE = 9, 5, 4, 5, 9, 9, 6, 5, 2


def subscription(*names: str) -> bytes:
    """A consumer's subscription, version 0."""
    text = b"".join(struct.pack(">h", len(name)) + name.encode() for name in names)
    return struct.pack(">hi", 0, len(names)) + text + struct.pack(">i", -1)


@pytest.fixture(scope="module")
def group_broker(shards, tmp_path_factory):
    """A broker whose groups do not wait for more members."""
    properties = {"group.initial.rebalance.delay.ms": "0"}
    broker = new_broker(tmp_path_factory.mktemp(f"groups-{shards}"), shards, properties=properties)
    try:
        yield broker.start()
    finally:
        broker.close()


@pytest.fixture
def connect(group_broker):
    """Makes connections, closed in the end. The first one has waited for the coordinator."""
    made = []

    def make() -> wire.Connection:
        made.append(wire.Connection(group_broker.kafka))
        return made[-1]

    first = make()
    wait_for_coordinators(first)
    yield make
    for connection in made:
        connection.close()


@pytest.fixture
def connection(connect):
    return connect()


@pytest.fixture
def group() -> str:
    return topics.unique_name("group")


def wait_for_coordinators(connection):
    """Kafka makes them one after the other. Among so many names are some for each of them."""
    wait_until(lambda: coordinator_of(connection, "g").error_code == NONE, 30, "a coordinator")
    names = [f"name-{number}" for number in range(1000)]

    def all_serve() -> bool:
        return {found.error_code for found in connection.ask(gw.describe(*names), 5).groups} == {NONE}

    wait_until(all_serve, 30, "all coordinators")


def coordinator_of(connection, *groups: str):
    return connection.ask(gw.find_coordinator(*groups), 4).coordinators[0]


def join(connection, group: str, member: str = "", **options):
    """Joins as a client does: with the id that it is given."""
    answer = connection.ask(gw.join(group, member, **options), JOIN)
    if answer.error_code == ID_REQUIRED:
        return connection.ask(gw.join(group, answer.member_id, **options), JOIN)
    return answer


def new_id(connection, group: str) -> str:
    answer = connection.ask(gw.join(group), JOIN)
    assert answer.error_code == ID_REQUIRED
    return answer.member_id


def stable(connection, group: str, **options):
    """A group with one member, which has what it got."""
    joined = join(connection, group, **options)
    assert (joined.error_code, joined.leader) == (NONE, joined.member_id)
    synced = connection.ask(sync(group, joined, {joined.member_id: b"mine"}, options.get("instance")), SYNC)
    assert (synced.error_code, bytes(synced.assignment)) == (NONE, b"mine")
    return joined


def sync(group: str, joined, assignments: dict, instance: str | None = None):
    return gw.sync(
        group, joined.generation_id, joined.member_id, assignments, instance, joined.protocol_name
    )


def beat(connection, group: str, joined, instance: str | None = None) -> int:
    return connection.ask(gw.heartbeat(group, joined.generation_id, joined.member_id, instance), BEAT).error_code


def described(connection, group: str):
    (found,) = connection.ask(gw.describe(group), 5).groups
    return found


def commit(connection, group: str, offsets: dict, *who, version: int = COMMIT, **options) -> list[int]:
    answer = connection.ask(gw.commit(group, offsets, *who, **options), version)
    return [partition.error_code for topic in answer.topics for partition in topic.partitions]


def committed(connection, group: str, topic: str, partitions=(0,)) -> list[int]:
    (answer,) = connection.ask(gw.fetch(group, {topic: list(partitions)}), FETCH).groups
    assert answer.error_code == NONE
    return [p.committed_offset for p in answer.topics[0].partitions]


@pytest.mark.parametrize("version", range(7))
def test_find_coordinator(connection, version):
    answer = connection.ask(gw.find_coordinator("one", "two"), version)
    found = answer.coordinators if version >= 4 else [answer]
    assert [(c.error_code, c.node_id, c.host) for c in found] == [(NONE, 1, "127.0.0.1")] * len(found)
    if version >= 4:
        assert [c.key for c in found] == ["one", "two"]


def test_an_unknown_kind_of_key(connection):
    (found,) = connection.ask(gw.find_coordinator("one", kind=9), 4).coordinators
    assert (found.error_code, found.node_id) == (INVALID_REQUEST, -1)


@pytest.mark.parametrize("version", range(10))
def test_one_member(connection, group, version):
    answer = connection.ask(gw.join(group), version)
    if version >= 4:
        assert (answer.error_code, answer.generation_id) == (ID_REQUIRED, -1)
        answer = connection.ask(gw.join(group, answer.member_id), version)
    assert (answer.error_code, answer.generation_id, answer.protocol_name) == (NONE, 1, "range")
    assert answer.leader == answer.member_id and [m.member_id for m in answer.members] == [answer.member_id]
    assert bytes(answer.members[0].metadata) == gw.PROTOCOLS[0][1]
    assert described(connection, group).group_state == "CompletingRebalance"
    synced = connection.ask(sync(group, answer, {answer.member_id: b"all"}), min(version, 5))
    assert (synced.error_code, bytes(synced.assignment)) == (NONE, b"all")
    beats = connection.ask(gw.heartbeat(group, 1, answer.member_id), min(version, 4))
    assert beats.error_code == NONE
    left = connection.ask(gw.leave(group, answer.member_id), min(version, 5))
    assert left.error_code == NONE
    if version >= 3:
        assert [m.error_code for m in left.members] == [NONE]
    assert described(connection, group).group_state == "Empty"


def test_who_is_refused(connection, group):
    joined = stable(connection, group)
    assert join(connection, "").error_code == INVALID_GROUP
    assert join(connection, group, session_ms=5).error_code == INVALID_SESSION
    assert join(connection, group, session_ms=1 << 30).error_code == INVALID_SESSION
    assert join(connection, group, "nobody").error_code == UNKNOWN_MEMBER
    assert join(connection, "no such group", "nobody").error_code == UNKNOWN_MEMBER
    assert join(connection, group, kind="other").error_code == INCONSISTENT
    assert join(connection, group, protocols=(("other", b""),)).error_code == INCONSISTENT
    assert join(connection, group, protocols=()).error_code == INCONSISTENT
    asks = [
        (gw.heartbeat(group, 7, joined.member_id), BEAT, ILLEGAL_GENERATION),
        (gw.heartbeat(group, 1, "nobody"), BEAT, UNKNOWN_MEMBER),
        (gw.heartbeat("no such group", 1, "nobody"), BEAT, UNKNOWN_MEMBER),
        (gw.sync(group, 7, joined.member_id, {}), SYNC, ILLEGAL_GENERATION),
        (gw.sync(group, 1, "nobody", {}), SYNC, UNKNOWN_MEMBER),
        (gw.leave("no such group", "nobody"), 2, UNKNOWN_MEMBER),
        (gw.leave(group, "nobody"), 2, UNKNOWN_MEMBER),
    ]
    for request, version, code in asks:
        assert connection.ask(request, version).error_code == code
    for name in (group, "no such group"):
        left = connection.ask(gw.leave(name, "nobody"), LEAVE)
        assert (left.error_code, left.members[0].error_code) == (NONE, UNKNOWN_MEMBER)
    assert beat(connection, group, joined) == NONE, "nothing of this has changed the group"


def test_a_second_member(connect, group):
    """It waits until the first has come back; each gets what the leader says."""
    a, b = connect(), connect()
    first = stable(a, group)
    second = new_id(b, group)
    b.send(gw.join(group, second), JOIN)
    wait_until(lambda: beat(a, group, first) == REBALANCE, 10, "the first is told")
    assert described(a, group).group_state == "PreparingRebalance"
    assert a.ask(sync(group, first, {}), SYNC).error_code == REBALANCE
    again = a.ask(gw.join(group, first.member_id), JOIN)
    joined = b.receive(gw.join(group, second), JOIN)
    assert again.generation_id == joined.generation_id == 2
    assert again.leader == joined.leader == first.member_id
    assert {m.member_id for m in again.members} == {first.member_id, second} and joined.members == []
    asked = sync(group, joined, {})
    b.send(asked, SYNC)
    given = a.ask(sync(group, again, {first.member_id: b"left", second: b"right"}), SYNC)
    got = b.receive(asked, SYNC)
    assert (bytes(given.assignment), bytes(got.assignment)) == (b"left", b"right")
    found = described(a, group)
    assert (found.group_state, found.protocol_type, found.protocol_data) == ("Stable", "consumer", "range")
    assert {(m.member_id, bytes(m.member_assignment), m.client_host) for m in found.members} == {
        (first.member_id, b"left", "/127.0.0.1"),
        (second, b"right", "/127.0.0.1"),
    }
    # A follower that asks again changes nothing; one that goes does.
    assert join(b, group, second).generation_id == 2
    assert b.ask(gw.leave(group, second), LEAVE).members[0].error_code == NONE
    assert beat(a, group, again) == REBALANCE
    alone = join(a, group, first.member_id)
    assert (alone.generation_id, [m.member_id for m in alone.members]) == (3, [first.member_id])


def test_the_protocol_that_all_have(connect, group):
    a, b = connect(), connect()
    first = stable(a, group, protocols=(("x", b"1"), ("range", b"2")))
    assert first.protocol_name == "x"
    second = new_id(b, group)
    protocols = (("y", b"3"), ("range", b"4"))
    b.send(gw.join(group, second, protocols=protocols), JOIN)
    wait_until(lambda: beat(a, group, first) == REBALANCE, 10, "the first is told")
    again = join(a, group, first.member_id, protocols=(("x", b"1"), ("range", b"2")))
    assert again.protocol_name == "range"
    assert {bytes(m.metadata) for m in again.members} == {b"2", b"4"}
    assert b.receive(gw.join(group, second), JOIN).protocol_name == "range"


def test_a_silent_member_is_out(connect, group):
    a, b = connect(), connect()
    first = stable(a, group, session_ms=6000, rebalance_ms=6000)
    started = time.monotonic()
    wait_until(lambda: described(b, group).group_state == "Empty", 15, "the member is out", interval=0.2)
    assert 5.5 < time.monotonic() - started < 9
    assert beat(a, group, first) == UNKNOWN_MEMBER


def test_members_that_do_not_come_back(connect, group):
    """Whoever has not joined when the rebalance timeout is over is not in the next generation."""
    a, b = connect(), connect()
    first = stable(a, group, session_ms=30_000, rebalance_ms=1000)
    second = new_id(b, group)
    b.send(gw.join(group, second, rebalance_ms=1000), JOIN)
    joined = b.receive(gw.join(group, second), JOIN)
    assert (joined.error_code, joined.generation_id, joined.leader) == (NONE, 2, second)
    assert beat(a, group, first) == UNKNOWN_MEMBER


def test_static_members(connect, group):
    """One that comes back under its name takes its place without a rebalance; the one before is fenced."""
    a, b = connect(), connect()
    first = stable(a, group, instance="name")
    second = join(b, group, instance="name")
    assert (second.error_code, second.generation_id) == (NONE, first.generation_id)
    assert second.member_id != first.member_id and second.skip_assignment
    assert beat(a, group, first, "name") == FENCED_INSTANCE
    assert join(a, group, first.member_id, instance="name").error_code == FENCED_INSTANCE
    assert beat(b, group, second, "name") == NONE
    got = b.ask(sync(group, second, {}, "name"), SYNC)
    assert (got.error_code, bytes(got.assignment)) == (NONE, b"mine")
    left = a.ask(gw.leave(group, instance="name"), LEAVE)
    assert (left.members[0].group_instance_id, left.members[0].error_code) == ("name", NONE)
    assert described(a, group).group_state == "Empty"


@pytest.mark.parametrize("version", range(2, 11))
def test_commit_and_fetch(connection, group_broker, group, version):
    topic = topics.create(group_broker.kafka, 3)
    ids = {topic: topics.topic_id(group_broker.kafka, topic)}
    offsets = {(topic, 0): 5, (topic, 2): 1 << 40}
    assert commit(connection, group, offsets, version=version, metadata="note", topic_ids=ids) == [NONE, NONE]
    answer = connection.ask(gw.fetch(group, {topic: [0, 1, 2]}, ids), version)
    one = answer.groups[0] if version >= 8 else answer
    assert version < 2 or one.error_code == NONE
    found = {p.partition_index: (p.committed_offset, p.metadata) for p in one.topics[0].partitions}
    assert found == {0: (5, "note"), 1: (-1, ""), 2: (1 << 40, "note")}
    everything = connection.ask(gw.fetch(group, None), version)
    one = everything.groups[0] if version >= 8 else everything
    assert sorted(p.partition_index for p in one.topics[0].partitions) == [0, 2]
    found = described(connection, group)
    assert (found.group_state, found.protocol_type) == ("Empty", "")


def test_what_is_not_kept(connection, group_broker, group):
    topic = topics.create(group_broker.kafka, 1)
    mixed = commit(connection, group, {(topic, 0): 1, (topic, 7): 1, ("none", 0): 1})
    assert sorted(mixed) == [NONE, UNKNOWN_TOPIC, UNKNOWN_TOPIC]
    assert commit(connection, group, {("none", 0): 1}, version=10) == [UNKNOWN_TOPIC_ID]
    assert commit(connection, group, {(topic, 0): 2}, metadata="x" * 5000) == [METADATA_TOO_LARGE]
    assert committed(connection, group, topic) == [1]
    assert commit(connection, "no such group", {(topic, 0): 1}, 3, "nobody") == [NOT_FOUND]
    assert commit(connection, "no such group", {(topic, 0): 1}, 3, "nobody", version=8) == [ILLEGAL_GENERATION]
    (answer,) = connection.ask(gw.fetch("no such group", {topic: [0]}), FETCH).groups
    assert (answer.error_code, answer.topics[0].partitions[0].committed_offset) == (NONE, -1)


def test_commits_of_members(connect, group_broker, group):
    a, b = connect(), connect()
    topic = topics.create(group_broker.kafka, 1)
    first = stable(a, group)
    assert commit(a, group, {(topic, 0): 1}, 1, first.member_id) == [NONE]
    assert commit(a, group, {(topic, 0): 2}, 2, first.member_id) == [ILLEGAL_GENERATION]
    assert commit(a, group, {(topic, 0): 2}, 1, "nobody") == [UNKNOWN_MEMBER]
    assert commit(a, group, {(topic, 0): 2}) == [UNKNOWN_MEMBER], "the group has members"
    second = new_id(b, group)
    b.send(gw.join(group, second), JOIN)
    wait_until(lambda: beat(a, group, first) == REBALANCE, 10, "the first is told")
    assert commit(a, group, {(topic, 0): 3}, 1, first.member_id) == [NONE], "before it comes back it may commit"
    again = join(a, group, first.member_id)
    assert commit(a, group, {(topic, 0): 4}, again.generation_id, first.member_id) == [REBALANCE]
    assert committed(a, group, topic) == [3]


def test_offsets_are_deleted(connection, group_broker, group):
    read, other = topics.create(group_broker.kafka, 1), topics.create(group_broker.kafka, 1)
    joined = stable(connection, group, protocols=(("range", subscription(read)),))
    assert commit(connection, group, {(read, 0): 1, (other, 0): 2}, 1, joined.member_id) == [NONE, NONE]

    def forget() -> dict:
        answer = connection.ask(gw.forget(group, {read: [0], other: [0], "none": [0]}), 0)
        assert answer.error_code == NONE
        return {topic.name: topic.partitions[0].error_code for topic in answer.topics}

    assert forget() == {read: SUBSCRIBED, other: NONE, "none": UNKNOWN_TOPIC}
    assert (committed(connection, group, read), committed(connection, group, other)) == ([1], [-1])
    connection.ask(gw.leave(group, joined.member_id), LEAVE)
    assert forget() == {read: NONE, other: NONE, "none": UNKNOWN_TOPIC}
    assert committed(connection, group, read) == [-1]
    assert connection.ask(gw.forget("no such group", {read: [0]}), 0).error_code == NOT_FOUND


def test_groups_are_deleted(connection, group_broker, group):
    topic = topics.create(group_broker.kafka, 1)
    joined = stable(connection, group)
    commit(connection, group, {(topic, 0): 1}, 1, joined.member_id)

    def delete(*groups: str) -> list[int]:
        return [result.error_code for result in connection.ask(gw.delete(*groups), DELETE).results]

    assert delete(group, "no such group") == [NON_EMPTY, NOT_FOUND]
    connection.ask(gw.leave(group, joined.member_id), LEAVE)
    assert delete(group) == [NONE]
    assert committed(connection, group, topic) == [-1]
    assert described(connection, group).group_state == "Dead"
    (found,) = connection.ask(gw.describe(group), DESCRIBE).groups
    assert (found.error_code, found.error_message) == (NOT_FOUND, f"Group {group} not found.")


def test_groups_are_listed(connection, group_broker, group):
    topic = topics.create(group_broker.kafka, 1)
    simple = topics.unique_name("simple")
    stable(connection, group)
    commit(connection, simple, {(topic, 0): 1})

    def listed(*filters) -> dict:
        groups = connection.ask(gw.list_all(*filters), LIST).groups
        return {g.group_id: (g.protocol_type, g.group_state, g.group_type) for g in groups}

    everything = listed()
    assert everything[group] == ("consumer", "Stable", "classic")
    assert everything[simple] == ("", "Empty", "classic")
    assert group in listed(["stable"]) and simple not in listed(["Stable"])
    assert group in listed([], ["Classic"]) and listed([], ["consumer"]) == {}
    for version in range(4):
        names = [g.group_id for g in connection.ask(gw.list_all(), version).groups]
        assert group in names and simple in names


@pytest.mark.millrace_only(reason="Kafka answers as often as it is asked")
def test_what_is_asked_for_twice_is_answered_once(connection, group_broker, group):
    topic = topics.create(group_broker.kafka, 1)
    commit(connection, group, {(topic, 0): 7}, metadata="x" * 4000)
    assert [g.group_id for g in connection.ask(gw.describe(*[group] * 1000), 5).groups] == [group]
    for version in (7, 9):
        answer = connection.ask(gw.fetch(group, {topic: [0] * 1000}), version)
        one = answer.groups[0] if version >= 8 else answer
        assert [p.committed_offset for t in one.topics for p in t.partitions] == [7]
    request = gw.fetch(group, None)
    request.groups = request.groups * 1000
    assert len(connection.ask(request, 9).groups) == 1


def test_a_deleted_topic_takes_its_offsets_along(connection, group_broker, group):
    kept, gone = topics.create(group_broker.kafka, 1), topics.create(group_broker.kafka, 1)
    assert commit(connection, group, {(kept, 0): 1, (gone, 0): 2}) == [NONE, NONE]
    connection.ask(wire.delete_topic_request(gone), 6)
    wait_until(lambda: committed(connection, group, gone) == [-1], 10, "its offsets are gone")
    assert committed(connection, group, kept) == [1]


@pytest.mark.parametrize("how", ["stop", "kill"])
def test_groups_survive_a_restart(own_broker, how):
    """Members go on in their generation, and what was acknowledged is there."""
    broker = own_broker(properties={"group.initial.rebalance.delay.ms": "0"}).start()
    topic = topics.create(broker.kafka, 1)
    members = {}
    with wire.Connection(broker.kafka) as connection:
        wait_for_coordinators(connection)
        for number in range(20):
            joined = members[f"g{number}"] = stable(connection, f"g{number}")
            assert commit(connection, f"g{number}", {(topic, 0): number}, 1, joined.member_id) == [NONE]
    broker.stop() if how == "stop" else broker.kill()
    broker.start()
    with wire.Connection(broker.kafka) as connection:
        for number, (group, joined) in enumerate(members.items()):
            wait_until(lambda: described(connection, group).group_state == "Stable", 30, "the group is known")
            assert beat(connection, group, joined) == NONE
            assert committed(connection, group, topic) == [number]
            assert commit(connection, group, {(topic, 0): number + 1}, 1, joined.member_id) == [NONE]
