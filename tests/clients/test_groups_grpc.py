"""Groups that real Kafka clients made, as an operator sees them: through gRPC, the `millrace` command and the metrics."""

import contextlib
import json
import re
import subprocess
import time

import grpc
import kafka
import pytest
from confluent_kafka import Consumer, TopicPartition

from conftest import new_broker
from harness import cli, librdkafka, topics
from harness.grpc_client import TIMEOUT, Client, details, groups, log, partitions
from harness.metrics import lags, metrics, total
from harness.paths import GRPCURL
from harness.process import wait_until

pytestmark = pytest.mark.millrace_only(reason="Apache Kafka has no gRPC port")


@pytest.fixture(scope="module")
def broker(shards, tmp_path_factory):
    """A broker whose groups wait a moment for more members."""
    properties = {"group.initial.rebalance.delay.ms": "200"}
    broker = new_broker(tmp_path_factory.mktemp(f"groups-grpc-{shards}"), shards, properties=properties)
    try:
        yield broker.start()
    finally:
        broker.close()


@pytest.fixture
def client(broker):
    with Client(broker.grpc) as client:
        yield client


@pytest.fixture
def server(broker) -> list[str]:
    return ["--server", broker.grpc]


def fill(bootstrap: str, topic: str, count: int, partitions: int, **record):
    """Writes so many records to each partition."""
    records = [{"value": b"v-%d" % n, "partition": p, **record} for n in range(count) for p in range(partitions)]
    librdkafka.produce_all(librdkafka.producer(bootstrap), topic, records).check(len(records))


def member(bootstrap: str, group: str, topic: str, **settings) -> Consumer:
    """A member of a group of librdkafka's, that has joined when it is polled."""
    made = librdkafka.consumer(
        bootstrap, group_id=group, auto_offset_reset="earliest", enable_partition_eof=False, **settings
    )
    made.subscribe([topic])
    return made


def commit(bootstrap: str, group: str, topic: str, offsets: dict[int, int]):
    """Commits as a client that assigns partitions to itself."""
    committer = librdkafka.consumer(bootstrap, group_id=group)
    try:
        committer.commit(offsets=[TopicPartition(topic, p, o) for p, o in offsets.items()], asynchronous=False)
    finally:
        committer.close()


def describe(client: Client, group: str, **options):
    return client.groups.Describe(groups.DescribeGroupRequest(group_id=group, **options), timeout=TIMEOUT).group


def committed(client: Client, group: str, topic: str) -> dict[int, int]:
    found = describe(client, group, topics=[topic]).offsets
    return {it.partition: it.committed_offset for it in found if it.HasField("committed_offset")}


def reset(client: Client, group: str, *, partitions=(), validate_only=False, **position) -> dict[int, int]:
    """Moves a group; the new offset of each partition."""
    request = groups.ResetOffsetsRequest(
        group_id=group, partitions=partitions, validate_only=validate_only, **position
    )
    return {it.partition: it.offset for it in client.groups.ResetOffsets(request, timeout=TIMEOUT).offsets}


def of(topic: str, *numbers: int):
    return partitions.TopicPartitions(topic=topic, partitions=numbers)


@contextlib.contextmanager
def fails(code: grpc.StatusCode, reason: str):
    with pytest.raises(grpc.RpcError) as caught:
        yield
    assert caught.value.code() == code, caught.value
    assert details(caught.value)["ErrorInfo"].reason == reason, caught.value


def read(bootstrap: str, group: str, topic: str, count: int) -> list[tuple[int, int]]:
    """What the next member of a group gets, as partition and offset; it commits nothing."""
    found, reader = [], member(bootstrap, group, topic)
    try:
        deadline = time.monotonic() + 30
        while len(found) < count:
            assert time.monotonic() < deadline, found
            found += [(m.partition(), m.offset()) for m in reader.consume(count, timeout=0.5) if not m.error()]
    finally:
        reader.close()
    return sorted(found)


# What there is


def test_a_group_of_two_librdkafka_members(broker, client):
    group, topic = topics.unique_name("group"), topics.create(broker.kafka, 3)
    fill(broker.kafka, topic, 10, 3)
    pair = [member(broker.kafka, group, topic, client_id=f"client-{n}") for n in range(2)]
    try:
        taken = {}

        def both_read() -> bool:
            for one in pair:
                for message in one.consume(100, timeout=0.1):
                    taken[message.partition()] = message.offset()
            return all(one.assignment() for one in pair) and len(taken) == 3

        wait_until(both_read, 30, "both members read")
        mine = {one.memberid(): {p.partition for p in one.assignment()} for one in pair}
        pair[0].commit(
            offsets=[TopicPartition(topic, p, 4 + p) for p in sorted(mine[pair[0].memberid()])], asynchronous=False
        )
        found = describe(client, group)
        assert (found.state, found.type) == (groups.GROUP_STATE_STABLE, groups.GROUP_TYPE_CLASSIC)
        assert (found.protocol_type, found.protocol) == ("consumer", "range")
        assert {m.member_id: {p for t in m.assignment for p in t.partitions} for m in found.members} == mine
        assert {m.client_id for m in found.members} == {"client-0", "client-1"}
        assert {m.client_host for m in found.members} == {"/127.0.0.1"}
        owners = {p: m for m, partitions in mine.items() for p in partitions}
        assert {(o.topic, o.partition, o.member_id) for o in found.offsets} == {
            (topic, p, m) for p, m in owners.items()
        }
        for offset in found.offsets:
            assert (offset.log_start_offset, offset.high_watermark) == (0, 10)
            if offset.member_id == pair[0].memberid():
                assert (offset.committed_offset, offset.lag) == (4 + offset.partition, 6 - offset.partition)
            else:
                assert not offset.HasField("committed_offset") and not offset.HasField("lag")
    finally:
        for one in pair:
            one.close()
    found = describe(client, group)
    assert (found.state, len(found.members)) == (groups.GROUP_STATE_EMPTY, 0)


def test_a_group_of_kafka_python(broker, client):
    group, topic = topics.unique_name("group"), topics.create(broker.kafka, 2)
    fill(broker.kafka, topic, 5, 2)
    consumer = kafka.KafkaConsumer(
        topic,
        bootstrap_servers=broker.kafka,
        group_id=group,
        client_id="snake",
        auto_offset_reset="earliest",
        enable_auto_commit=False,
    )
    try:
        taken = []
        wait_until(lambda: taken.extend(consumer.poll(200).values()) or sum(map(len, taken)) == 10, 30, "all records")
        consumer.commit()
        found = describe(client, group)
        assert [m.client_id for m in found.members] == ["snake"]
        assert [(t.topic, list(t.partitions)) for t in found.members[0].assignment] == [(topic, [0, 1])]
        assert [(o.committed_offset, o.lag) for o in found.offsets] == [(5, 0), (5, 0)]
        fill(broker.kafka, topic, 3, 1)
        assert [o.lag for o in describe(client, group).offsets] == [3, 0]
    finally:
        consumer.close()


def test_lists_and_pages(broker, client):
    topic = topics.create(broker.kafka, 5)
    prefix = topics.unique_name("many")
    names = sorted(f"{prefix}-{n}" for n in range(7))
    for name in names:
        commit(broker.kafka, name, topic, {p: 0 for p in range(5)})

    def pages(size: int, **options):
        token = ""
        while True:
            request = groups.ListGroupsRequest(page_size=size, page_token=token, **options)
            page = client.groups.List(request, timeout=TIMEOUT)
            assert len(page.groups) <= size
            yield from page.groups
            if not (token := page.next_page_token):
                return

    listed = [g.group_id for g in pages(3)]
    assert listed == sorted(listed) and [g for g in listed if g.startswith(prefix)] == names
    empty = [g.group_id for g in pages(100, states=[groups.GROUP_STATE_EMPTY])]
    assert set(names) <= set(empty)
    assert not set(names) & {g.group_id for g in pages(100, states=[groups.GROUP_STATE_STABLE])}
    assert set(names) <= {g.group_id for g in pages(100, types=[groups.GROUP_TYPE_CLASSIC])}
    assert not set(names) & {g.group_id for g in pages(100, types=[groups.GROUP_TYPE_CONSUMER])}

    seen, token = [], ""
    while True:
        request = groups.DescribeGroupRequest(group_id=names[0], page_size=2, page_token=token)
        page = client.groups.Describe(request, timeout=TIMEOUT)
        seen += [o.partition for o in page.group.offsets]
        if not (token := page.next_page_token):
            break
    assert seen == list(range(5))


def test_grpcurl_knows_groups(broker):
    group, topic = topics.unique_name("group"), topics.create(broker.kafka)
    commit(broker.kafka, group, topic, {0: 0})
    argv = [GRPCURL, "-plaintext", "-max-time", "20", "-d", json.dumps({"groupId": group}), broker.grpc]
    done = subprocess.run([*argv, "millrace.v1.Groups/Describe"], capture_output=True, text=True, timeout=30)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)["group"]
    assert (found["state"], found["type"]) == ("GROUP_STATE_EMPTY", "GROUP_TYPE_CLASSIC")
    assert (found["offsets"][0]["committedOffset"], found["offsets"][0]["lag"]) == ("0", "0")
    argv[argv.index("-d") + 1] = '{"groupId":"nobody"}'
    done = subprocess.run([*argv, "millrace.v1.Groups/Delete"], capture_output=True, text=True, timeout=30)
    assert done.returncode == 64 + 5 and "GROUP_ID_NOT_FOUND" in done.stderr, done.stderr


# Where it goes on


def test_every_way_to_move_and_that_members_go_on_there(broker, client):
    group, topic = topics.unique_name("group"), topics.create(broker.kafka, 2)
    for n in range(10):
        fill(broker.kafka, topic, 1, 2, timestamp=1_700_000_000_000 + n * 1000)
    commit(broker.kafka, group, topic, {0: 4, 1: 6})
    for position, expected in [
        ({"edge": log.EDGE_END}, {0: 10, 1: 10}),
        ({"edge": log.EDGE_BEGINNING}, {0: 0, 1: 0}),
        ({"offset": 7}, {0: 7, 1: 7}),
        ({"offset": 10**15}, {0: 10, 1: 10}),
        ({"timestamp_ms": 1_700_000_002_500}, {0: 3, 1: 3}),
        ({"timestamp_ms": 1_800_000_000_000}, {0: 10, 1: 10}),
        ({"shift_by": 0}, {0: 4, 1: 6}),
        ({"shift_by": 5}, {0: 9, 1: 10}),
        ({"shift_by": -5}, {0: 0, 1: 1}),
        ({"shift_by": -(2**63)}, {0: 0, 1: 0}),
    ]:
        commit(broker.kafka, group, topic, {0: 4, 1: 6})
        assert reset(client, group, validate_only=True, **position) == expected, position
        assert committed(client, group, topic) == {0: 4, 1: 6}, position
        assert reset(client, group, **position) == expected, position
        assert committed(client, group, topic) == expected, position
    reset(client, group, partitions=[of(topic, 1)], offset=8)
    reset(client, group, partitions=[of(topic, 0)], offset=9)
    assert read(broker.kafka, group, topic, 3) == [(0, 9), (1, 8), (1, 9)]
    # Kafka's own clients see what was committed.
    reader = librdkafka.consumer(broker.kafka, group_id=group)
    found = reader.committed([TopicPartition(topic, 0), TopicPartition(topic, 1)], timeout=10)
    reader.close()
    assert [p.offset for p in found] == [9, 8]


def test_a_start_that_moved_is_where_the_oldest_is(broker, client):
    group, topic = topics.unique_name("group"), topics.create(broker.kafka)
    fill(broker.kafka, topic, 10, 1)
    commit(broker.kafka, group, topic, {0: 2})
    cli.ok("topic", "trim", topic, "--before", "6", "--server", broker.grpc)
    (offset,) = describe(client, group).offsets
    assert (offset.committed_offset, offset.log_start_offset, offset.lag) == (2, 6, 8)
    assert reset(client, group, shift_by=-1) == {0: 6}
    assert reset(client, group, offset=0) == {0: 6}
    assert reset(client, group, edge=log.EDGE_BEGINNING) == {0: 6}


def test_while_there_are_members_nothing_moves(broker, client):
    group, topic = topics.unique_name("group"), topics.create(broker.kafka)
    fill(broker.kafka, topic, 3, 1)
    commit(broker.kafka, group, topic, {0: 1})
    reader = member(broker.kafka, group, topic)
    try:
        wait_until(lambda: bool(reader.consume(1, timeout=0.5)), 30, "a record")
        for validate_only in (True, False):
            with fails(grpc.StatusCode.FAILED_PRECONDITION, "NON_EMPTY_GROUP"):
                reset(client, group, offset=0, validate_only=validate_only)
        with fails(grpc.StatusCode.FAILED_PRECONDITION, "NON_EMPTY_GROUP"):
            client.groups.Delete(groups.DeleteGroupRequest(group_id=group), timeout=TIMEOUT)
        request = groups.DeleteOffsetsRequest(group_id=group, partitions=[of(topic)])
        (refused,) = client.groups.DeleteOffsets(request, timeout=TIMEOUT).offsets
        assert refused.error.reason == "GROUP_SUBSCRIBED_TO_TOPIC"
        assert committed(client, group, topic) == {0: 1}
    finally:
        reader.close()
    assert reset(client, group, offset=0) == {0: 0}


def test_what_cannot_be_asked(broker, client):
    group, topic = topics.unique_name("group"), topics.create(broker.kafka, 2)
    commit(broker.kafka, group, topic, {0: 0})
    not_found, invalid = grpc.StatusCode.NOT_FOUND, grpc.StatusCode.INVALID_ARGUMENT
    with fails(not_found, "GROUP_ID_NOT_FOUND"):
        describe(client, "nobody")
    with fails(not_found, "GROUP_ID_NOT_FOUND"):
        reset(client, "nobody", partitions=[of(topic)], offset=0)
    with fails(not_found, "GROUP_ID_NOT_FOUND"):
        client.groups.Delete(groups.DeleteGroupRequest(group_id="nobody"), timeout=TIMEOUT)
    for wrong in ("", "g" * 40_000):
        with fails(invalid, "INVALID_REQUEST"):
            describe(client, wrong)
    for partitions in ([of("no-such-topic")], [of(topic, 2)], [of(topic, -1)]):
        with fails(not_found, "UNKNOWN_TOPIC_OR_PARTITION"):
            reset(client, group, partitions=partitions, offset=0)
    huge = of(topic, *[0] * 200_000)
    for partitions in ([of("")], [of(topic, 0, 0)], [of(topic), of(topic, 1)], [huge]):
        with fails(invalid, "INVALID_REQUEST"):
            reset(client, group, partitions=partitions, offset=0)
    for position in ({}, {"offset": -1}, {"timestamp_ms": -1}, {"edge": log.EDGE_UNSPECIFIED}):
        with fails(invalid, "INVALID_REQUEST"):
            reset(client, group, **position)
    with fails(grpc.StatusCode.FAILED_PRECONDITION, "NO_COMMITTED_OFFSET"):
        reset(client, group, partitions=[of(topic)], shift_by=1)
    assert committed(client, group, topic) == {0: 0}
    for request in (
        groups.ListGroupsRequest(states=[0]),
        groups.ListGroupsRequest(types=[99]),
        groups.ListGroupsRequest(page_size=-1),
    ):
        with fails(invalid, "INVALID_REQUEST"):
            client.groups.List(request, timeout=TIMEOUT)
    for options in ({"page_token": "nonsense"}, {"page_token": "t/x"}, {"topics": ["t"] * 1001}):
        with fails(invalid, "INVALID_REQUEST"):
            describe(client, group, **options)
    with fails(invalid, "INVALID_REQUEST"):
        client.groups.DeleteOffsets(groups.DeleteOffsetsRequest(group_id=group), timeout=TIMEOUT)


def test_what_was_committed_and_the_group_are_deleted(broker, client):
    group, topic = topics.unique_name("group"), topics.create(broker.kafka, 2)
    commit(broker.kafka, group, topic, {0: 0, 1: 0})
    request = groups.DeleteOffsetsRequest(group_id=group, partitions=[of(topic, 1)])
    assert [o.HasField("error") for o in client.groups.DeleteOffsets(request, timeout=TIMEOUT).offsets] == [False]
    assert committed(client, group, topic) == {0: 0}
    client.groups.Delete(groups.DeleteGroupRequest(group_id=group), timeout=TIMEOUT)
    with fails(grpc.StatusCode.NOT_FOUND, "GROUP_ID_NOT_FOUND"):
        describe(client, group)
    # Named: what an admin client that is gone was asked is never answered.
    admin = librdkafka.admin(broker.kafka)
    listed = admin.list_consumer_groups(request_timeout=10).result().valid
    assert group not in {g.group_id for g in listed}


def test_before_the_first_group_there_is_none(own_broker):
    broker = own_broker().start()
    with Client(broker.grpc) as client:
        assert not client.groups.List(groups.ListGroupsRequest(), timeout=TIMEOUT).groups
        with fails(grpc.StatusCode.NOT_FOUND, "GROUP_ID_NOT_FOUND"):
            describe(client, "nobody")
        with fails(grpc.StatusCode.NOT_FOUND, "GROUP_ID_NOT_FOUND"):
            client.groups.Delete(groups.DeleteGroupRequest(group_id="nobody"), timeout=TIMEOUT)


def test_what_was_moved_stays_moved_when_the_broker_is_killed(own_broker):
    broker = own_broker().start()
    group, topic = topics.unique_name("group"), topics.create(broker.kafka)
    fill(broker.kafka, topic, 10, 1)
    commit(broker.kafka, group, topic, {0: 9})
    with Client(broker.grpc) as client:
        assert reset(client, group, offset=3) == {0: 3}
    broker.kill()
    broker.start()
    with Client(broker.grpc) as client:
        wait_until(lambda: group in {g.group_id for g in listed(client)}, 20, "the coordinator has loaded")
        assert committed(client, group, topic) == {0: 3}
    assert read(broker.kafka, group, topic, 7) == [(0, n) for n in range(3, 10)]


def listed(client: Client):
    """The groups, once what was committed has been read."""
    try:
        return client.groups.List(groups.ListGroupsRequest(), timeout=TIMEOUT).groups
    except grpc.RpcError as error:
        assert error.code() == grpc.StatusCode.UNAVAILABLE and "RetryInfo" in details(error), error
        return []


# The command


def test_the_command(broker, server):
    group, topic = topics.unique_name("group"), topics.create(broker.kafka, 3)
    fill(broker.kafka, topic, 10, 3)
    commit(broker.kafka, group, topic, {0: 4, 2: 5})
    rows = {line.split()[0]: line.split()[1:] for line in cli.ok("group", "list", *server).splitlines()}
    assert rows["GROUP"] == ["STATE", "TYPE"] and rows[group] == ["Empty", "classic"]
    assert group not in cli.ok("group", "list", "--state", "stable", *server).split()
    one = [json.loads(line) for line in cli.ok("group", "list", "--json", "--type", "classic", *server).splitlines()]
    assert {"group": group, "state": "Empty", "type": "classic", "protocol_type": ""} in one

    text = cli.ok("group", "describe", group, *server)
    assert re.search(r"^lag +11$", text, re.M) and re.search(rf"^{topic} +2 +5 +0 +10 +5 +-$", text, re.M), text
    found = json.loads(cli.ok("group", "describe", group, "--json", *server))
    assert (found["state"], found["lag"], found["members"]) == ("Empty", 11, [])
    assert [(o["partition"], o["committed"], o["lag"]) for o in found["offsets"]] == [(0, 4, 6), (2, 5, 5)]

    def where() -> dict[int, int]:
        offsets = json.loads(cli.ok("group", "describe", group, "--json", *server))["offsets"]
        return {o["partition"]: o["committed"] for o in offsets}

    done = cli.run("group", "reset", group, "--to", "beginning", *server)
    assert done.returncode == 0 and b"--execute" in done.stderr, done
    assert re.search(rf"^{topic} +0 +4 +0 +0 +10 +10$", done.stdout.decode(), re.M), done
    assert where() == {0: 4, 2: 5}, "nothing is changed without --execute"
    done = cli.run("group", "reset", group, "--shift", "-2", "--execute", *server)
    assert done.returncode == 0 and b"--execute" not in done.stderr, done
    assert where() == {0: 2, 2: 3}
    moved = json.loads(cli.ok("group", "reset", group, "--to", "7", "--topic", f"{topic}:0,1", "--json", *server))
    assert (moved["executed"], [(o["partition"], o["previous"], o["offset"]) for o in moved["offsets"]]) == (
        False,
        [(0, 2, 7), (1, None, 7)],
    )
    cli.ok("group", "reset", group, "--to", "end", "--topic", topic, "--execute", *server)
    assert where() == {0: 10, 1: 10, 2: 10}
    cli.ok("group", "reset", group, "--to", "1h", "--execute", *server)
    assert where() == {0: 0, 1: 0, 2: 0}, "the records are younger than that"

    assert "forgotten 1 of" in cli.ok("group", "forget", group, "--topic", f"{topic}:1", *server)
    assert where() == {0: 0, 2: 0}
    assert "deleted" in cli.ok("group", "delete", group, *server)
    assert cli.run("group", "describe", group, *server).returncode == 3


def test_the_command_refuses(broker, server):
    group, topic = topics.unique_name("group"), topics.create(broker.kafka)
    fill(broker.kafka, topic, 3, 1)
    assert cli.run("group", "reset", "nobody", "--to", "end", *server).returncode == 3
    assert cli.run("group", "delete", "nobody", *server).returncode == 3
    for wrong in (
        [],
        ["--to", "yesterday"],
        ["--to", "end", "--shift", "1"],
        ["--shift", "x"],
        ["--to", "end", "--topic", f"{topic}:"],
    ):
        assert cli.run("group", "reset", group, *wrong, *server).returncode == 2, wrong
    assert cli.run("group", "list", "--state", "dead", *server).returncode == 2
    reader = member(broker.kafka, group, topic)
    try:
        wait_until(lambda: bool(reader.consume(1, timeout=0.5)), 30, "a record")
        said = cli.fails("group", "reset", group, "--to", "beginning", "--topic", topic, *server)
        assert "has a member" in said and "stop it first" in said and "NON_EMPTY_GROUP" in said
        assert "stop them first" in cli.fails("group", "delete", group, *server)
        assert "GROUP_SUBSCRIBED_TO_TOPIC" in cli.fails("group", "forget", group, "--topic", topic, *server)
        text = cli.ok("group", "describe", group, *server)
        assert re.search(rf"^{re.escape(reader.memberid())} .* {topic}:0$", text, re.M), text
    finally:
        reader.close()


# The metrics


def test_lag_is_measured_when_it_is_asked_for(broker):
    group, topic = topics.unique_name('group"\\'), topics.create(broker.kafka, 2)
    fill(broker.kafka, topic, 10, 2)
    commit(broker.kafka, group, topic, {0: 4, 1: 10})
    assert lags(broker, topic) == {(group, 0): 6, (group, 1): 0}
    fill(broker.kafka, topic, 5, 1)
    commit(broker.kafka, group, topic, {1: 99})
    assert lags(broker, topic) == {(group, 0): 11, (group, 1): 0}


def test_rebalances_and_commits_are_counted(broker):
    group, topic = topics.unique_name("group"), topics.create(broker.kafka)
    fill(broker.kafka, topic, 3, 1)
    rebalances, commits = "millrace_group_rebalances_total", "millrace_group_commit_seconds_count"
    before = total(broker, rebalances), total(broker, commits)
    reader = member(broker.kafka, group, topic)
    try:
        wait_until(lambda: bool(reader.consume(1, timeout=0.5)), 30, "a record")
        for offset in range(3):
            reader.commit(offsets=[TopicPartition(topic, 0, offset)], asynchronous=False)
    finally:
        reader.close()
    assert (total(broker, rebalances), total(broker, commits)) == (before[0] + 1, before[1] + 3)
    buckets = [at["le"] for name, at, _ in metrics(broker) if name == "millrace_group_commit_seconds_bucket"]
    assert {"0.001024", "+Inf"} <= set(buckets)


def test_many_groups_have_no_more_series_than_there_is_room_for(own_broker, shards):
    broker = own_broker().start()
    topic = topics.create(broker.kafka, 400)
    names = [topics.unique_name("wide") for _ in range(6)]
    for name in names:
        commit(broker.kafka, name, topic, {p: 0 for p in range(400)})
    found = lags(broker, topic)
    told = {name: sum(1 for group, _ in found if group == name) for name in names}
    assert set(told.values()) <= {0, 400}, "a group is there with all of its partitions, or not at all"
    assert sum(told.values()) + total(broker, "millrace_group_lag_left_out") == 6 * 400
    assert 800 <= sum(told.values()) <= shards * 1000
