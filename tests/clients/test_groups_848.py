"""Groups of the new protocol (KIP-848): what members may say, byte by byte, and clients that speak it."""

import json
import random
import re
import subprocess
import sys
import time
import uuid
from pathlib import Path

import pytest
from confluent_kafka.admin import NewPartitions

from conftest import new_broker
from harness import consumer_wire as cw
from harness import group_wire as gw
from harness import java, librdkafka, paths, topics, wire
from harness.groups import QUICK, committed, numbers
from harness.process import Process, wait_until

HERE = Path(__file__).parent / "groups"


@pytest.fixture(scope="module")
def quick(shards, tmp_path_factory):
    broker = new_broker(tmp_path_factory.mktemp(f"groups-848-{shards}"), shards, properties=QUICK)
    try:
        yield broker.start()
    finally:
        broker.close()


@pytest.fixture
def connection(quick):
    with wire.Connection(quick.kafka) as connection:
        known = lambda: connection.ask(gw.find_coordinator("g"), 4).coordinators[0].error_code == 0  # noqa: E731
        wait_until(known, 30, "a coordinator")
        wait_until(lambda: connection.ask(gw.list_all(), 4).error_code == wire.NONE, 30, "groups")
        yield connection


@pytest.fixture
def start(tmp_path):
    """Starts members, and ends those that still run."""
    made = []

    def one(client: str, bootstrap: str, group: str, topic: str, *more: str) -> Process:
        log = tmp_path / f"member-{len(made)}-{client}.log"
        if client == "java":
            wanted = ("--bootstrap-server", bootstrap, "--group", group, "--topic", topic, "--from-beginning")
            protocol = ("--command-property", "group.protocol=consumer", *more)
            argv = java.command(f"{java.TOOLS}.consumer.ConsoleConsumer", *wanted, *protocol)
        else:
            argv = [sys.executable, str(HERE / "member.py"), client, bootstrap, group, topic]
        made.append(Process(argv, log, env={"NODE_PATH": str(paths.CACHE / "node" / "node_modules")}))
        return made[-1]

    yield one
    for process in made:
        process.kill()


def produce(bootstrap: str, topic: str, numbers, partitions: int):
    sender = librdkafka.producer(bootstrap, enable_idempotence=True)
    records = [{"value": b"r-%d" % n, "partition": n % partitions} for n in numbers]
    librdkafka.produce_all(sender, topic, records).check(len(records))


def described(bootstrap: str, group: str) -> cw.Group:
    with wire.Connection(bootstrap) as connection:
        (found,) = cw.describe(connection, group)
    return found


def state(bootstrap: str, group: str) -> tuple[str, int]:
    found = described(bootstrap, group)
    return found.state, len(found.members)


def test_a_member_gets_what_another_has_given_up(quick, connection):
    group, topic = topics.unique_name("group"), topics.create(quick.kafka, 4)
    by_id = topics.topic_id(quick.kafka, topic)
    first = cw.join(connection, group, "m1", topics=[topic])
    assert (first.error, first.epoch, first.interval_ms) == (0, 2, 1000)
    assert first.assignment == {by_id: [0, 1, 2, 3]}
    time.sleep(0.3)
    second = cw.join(connection, group, "m2", topics=[topic])
    assert (second.error, second.assignment) == (0, {})
    first = cw.heartbeat(connection, group, "m1", 2)
    assert (first.epoch, len(first.assignment[by_id])) == (2, 2)
    kept = first.assignment
    assert described(quick.kafka, group).state == "Reconciling"
    assert cw.heartbeat(connection, group, "m2", second.epoch).assignment is None
    assert cw.heartbeat(connection, group, "m1", 2, owned=kept).epoch == 3
    second = cw.heartbeat(connection, group, "m2", second.epoch)
    assert second.epoch == 3
    assert sorted(kept[by_id] + second.assignment[by_id]) == [0, 1, 2, 3]
    found = described(quick.kafka, group)
    assert (found.state, found.epoch, found.assignment_epoch, found.assignor) == ("Stable", 3, 3, "uniform")
    members = {member.id: member for member in found.members}
    assert members["m1"].assigned == members["m1"].target == {topic: sorted(kept[by_id])}
    assert (members["m1"].epoch, members["m1"].topics, members["m1"].kind) == (3, [topic], 1)
    # They leave.
    assert cw.heartbeat(connection, group, "m1", -1).epoch == -1
    assert cw.heartbeat(connection, group, "m1", 3).error == cw.UNKNOWN_MEMBER_ID
    assert cw.heartbeat(connection, group, "m2", -1).error == 0
    assert state(quick.kafka, group) == ("Empty", 0)


def test_what_is_refused(quick, connection):
    group, topic = topics.unique_name("group"), topics.create(quick.kafka, 1)
    name = topics.unique_name("static")
    join = lambda member="m1", **more: cw.join(connection, group, member, **{"topics": [topic], **more})  # noqa: E731
    beat = lambda *more, **named: cw.heartbeat(connection, group, *more, **named)  # noqa: E731
    assert beat("m1", 1).error == cw.GROUP_ID_NOT_FOUND
    assert beat("m1", -1).error == cw.GROUP_ID_NOT_FOUND
    assert cw.join(connection, "", "m1", topics=[topic]).error == cw.INVALID_REQUEST
    assert join("").error == cw.INVALID_REQUEST
    assert join("", version=0).error == 0
    assert join(topics=None).message.startswith("Either SubscribedTopicNames or SubscribedTopicRegex")
    assert join(instance="").error == cw.INVALID_REQUEST
    assert join(rebalance_ms=-1).error == cw.INVALID_REQUEST
    assert beat("m1", -3).error == cw.INVALID_REQUEST
    refused = join(assignor="sticky")
    assert refused.error == cw.UNSUPPORTED_ASSIGNOR
    assert refused.message == "ServerAssignor sticky is not supported. Supported assignors: uniform, range."
    assert join(regex="[").error == cw.INVALID_REGULAR_EXPRESSION
    assert join(regex="(?=a)").error == cw.INVALID_REGULAR_EXPRESSION
    epoch = join().epoch
    assert beat("m1", epoch + 1).error == cw.FENCED_MEMBER_EPOCH
    assert beat("m1", epoch - 1).error == cw.FENCED_MEMBER_EPOCH
    assert join().error == 0, "it comes again under its id"
    assert join("s1", instance=name).error == 0
    assert join("s2", instance=name).error == cw.UNRELEASED_INSTANCE_ID
    assert beat("s2", 2, instance=name).error == cw.FENCED_INSTANCE_ID
    assert beat("s1", -2, instance=name).epoch == -2
    assert join("s2", instance=name).error == 0
    # What the classic protocol's requests see of it.
    (seen,) = connection.ask(gw.describe(group), 6).groups
    assert (seen.error_code, seen.error_message) == (69, f"Group {group} is not a classic group.")
    (seen,) = connection.ask(gw.describe(group), 5).groups
    assert (seen.error_code, seen.group_state) == (0, "Dead")
    assert connection.ask(gw.heartbeat(group, 1, "m1"), 4).error_code == cw.UNKNOWN_MEMBER_ID
    (listed,) = [it for it in connection.ask(gw.list_all(), 5).groups if it.group_id == group]
    assert (listed.protocol_type, listed.group_type) == ("consumer", "consumer")
    assert connection.ask(gw.delete(group), 2).results[0].error_code == cw.NON_EMPTY_GROUP
    assert [it.error for it in cw.describe(connection, "", group + "-not")] == [24, cw.GROUP_ID_NOT_FOUND]
    assert cw.describe(connection, group, version=0)[0].error == 0


def test_offsets_go_with_epochs(quick, connection):
    group, topic = topics.unique_name("group"), topics.create(quick.kafka, 2)
    epoch = cw.join(connection, group, "m1", topics=[topic]).epoch

    def commit(generation: int, member: str, version: int = 9) -> int:
        answer = connection.ask(gw.commit(group, {(topic, 0): 5}, generation, member), version)
        return answer.topics[0].partitions[0].error_code

    assert commit(epoch, "m1") == 0
    assert commit(epoch + 7, "m1") == cw.STALE_MEMBER_EPOCH
    assert commit(epoch, "m2") == cw.UNKNOWN_MEMBER_ID
    assert commit(-1, "") == cw.UNKNOWN_MEMBER_ID
    assert commit(epoch, "m1", 8) == cw.UNSUPPORTED_VERSION
    assert committed(quick.kafka, group, topic, 1) == [5]
    deleted = connection.ask(gw.forget(group, {topic: [0]}), 0)
    assert deleted.topics[0].partitions[0].error_code == 86, "it is subscribed to"
    assert cw.heartbeat(connection, group, "m1", -1).error == 0
    assert connection.ask(gw.delete(group), 2).results[0].error_code == 0
    assert described(quick.kafka, group).error == cw.GROUP_ID_NOT_FOUND


def test_topics_that_come_and_grow(quick, connection):
    prefix, group = topics.unique_name("grow"), topics.unique_name("group")
    joined = cw.join(connection, group, "m1", regex=f"{prefix}-.*")
    assert (joined.error, joined.assignment) == (0, {})
    with wire.Connection(quick.kafka) as other:
        other.ask(wire.create_topic_request(f"{prefix}-one", 2), 7)
    epoch, told = joined.epoch, {}

    def partitions() -> int:
        nonlocal epoch, told
        answer = cw.heartbeat(connection, group, "m1", epoch, owned=told)
        assert answer.error == 0, answer
        epoch = answer.epoch
        told = told if answer.assignment is None else answer.assignment
        return sum(len(numbers) for numbers in told.values())

    wait_until(lambda: partitions() == 2, 40, "the new topic", interval=0.5)
    admin = librdkafka.admin(quick.kafka)
    admin.create_partitions([NewPartitions(f"{prefix}-one", 5)])[f"{prefix}-one"].result(20)
    wait_until(lambda: partitions() == 5, 30, "the new partitions", interval=0.5)


@pytest.mark.parametrize("client", ["librdkafka-848", "java"])
def test_the_next_member_goes_on_where_the_last_one_was(quick, start, client):
    at, group = quick.kafka, topics.unique_name("group")
    topic = topics.create(at, 2)
    produce(at, topic, range(1000), 2)
    first = start(client, at, group, topic)
    wait_until(lambda: len(numbers(first)) == 1000, 60, "all records")
    assert state(at, group) == ("Stable", 1)
    first.terminate()
    assert committed(at, group, topic, 2) == [500, 500]
    wait_until(lambda: state(at, group) == ("Empty", 0), 20, "the member has left")
    produce(at, topic, range(1000, 1100), 2)
    second = start(client, at, group, topic)
    wait_until(lambda: len(numbers(second)) >= 100, 60, "the new records")
    assert sorted(numbers(first)) == list(range(1000))
    assert sorted(numbers(second)) == list(range(1000, 1100))


def test_members_come_and_go(quick, start):
    """Clients of both kinds join, leave and are killed at random while records are written: none is skipped, and it settles."""
    at, group = quick.kafka, topics.unique_name("group")
    topic = topics.create(at, 6)
    dice, alive, everybody, written = random.Random(848), [], [], 0
    for step in range(12):
        if len(alive) < 2 or (len(alive) < 5 and dice.random() < 0.6):
            alive.append(start("java" if step % 4 == 3 else "librdkafka-848", at, group, topic))
            everybody.append(alive[-1])
        else:
            gone = alive.pop(dice.randrange(len(alive)))
            # The console consumer may commit what it has not printed when it is killed.
            gone.terminate() if "java" in gone.log.name or dice.random() < 0.5 else gone.kill()
        produce(at, topic, range(written, written + 300), 6)
        written += 300
        time.sleep(dice.random() * 1.5)
    while len(alive) > 3:
        alive.pop().terminate()

    def processed() -> set[int]:
        return {number for member in everybody for number in numbers(member)}

    wait_until(lambda: state(at, group) == ("Stable", len(alive)), 90, "it settles", interval=0.2)
    wait_until(lambda: committed(at, group, topic, 6) == [written // 6] * 6, 60, "all is committed", interval=0.2)
    assert processed() == set(range(written))
    shares = [len(assigned) for m in described(at, group).members for assigned in m.assigned.values()]
    assert sum(shares) == 6 and max(shares) - min(shares) <= 1, shares


def test_an_expression_of_librdkafka(quick, start):
    at, group, prefix = quick.kafka, topics.unique_name("group"), topics.unique_name("expr")
    one = topics.create(at, 1, prefix=prefix)
    produce(at, one, range(10), 1)
    member = start("librdkafka-848", at, group, f"^{prefix}.*")
    wait_until(lambda: len(numbers(member)) == 10, 60, "the records of the first topic")
    (found,) = described(at, group).members
    assert found.regex == f"(^{prefix}.*)"
    two = topics.create(at, 1, prefix=prefix)
    produce(at, two, range(10, 20), 1)
    wait_until(lambda: sorted(numbers(member)) == list(range(20)), 60, "the records of the second topic")


def test_kafkas_tools_show_it(quick, start):
    at, group = quick.kafka, topics.unique_name("shown")
    topic = topics.create(at, 2)
    produce(at, topic, range(100), 2)
    member = start("librdkafka-848", at, group, topic)
    wait_until(lambda: committed(at, group, topic, 2) == [50, 50], 60, "all is committed")

    def tool(*args: str) -> str:
        done = java.tool("consumer.group.ConsumerGroupCommand", at, *args)
        return done.stdout + done.stderr

    shown = tool("--describe", "--group", group)
    rows = [line.split()[:6] for line in shown.splitlines() if line.startswith(group)]
    assert sorted(rows) == [[group, topic, str(p), "50", "50", "0"] for p in range(2)], shown
    shown = tool("--describe", "--group", group, "--members", "--verbose")
    assert re.search(rf"^{group}\s+\S+\s+/127.0.0.1\s+rdkafka\s+2", shown, re.M) and f"{topic}:0,1" in shown, shown
    shown = tool("--describe", "--group", group, "--state", "--verbose")
    assert re.search(rf"^{group}\s+127.0.0.1:\d+\s+\(1\)\s+uniform\s+Stable\s+2\s+2\s+1", shown, re.M), shown
    assert re.search(rf"^{group}\s+Consumer", tool("--list", "--type", "consumer"), re.M)
    assert "GroupNotEmptyException" in tool("--delete", "--group", group)
    member.terminate()
    wait_until(lambda: state(at, group) == ("Empty", 0), 20, "the member has left")
    assert "successful" in tool("--delete", "--group", group)
    features = java.tool("FeatureCommand", at, "describe").stdout
    assert re.search(r"Feature: group.version.*FinalizedVersionLevel: 1", features), features


def test_a_verifiable_consumer(quick):
    at, group = quick.kafka, topics.unique_name("verified")
    topic = topics.create(at, 2)
    produce(at, topic, range(500), 2)
    args = ("--topic", topic, "--group-id", group, "--max-messages", "500", "--group-protocol", "consumer")
    read = java.tool("VerifiableConsumer", at, *args, "--group-remote-assignor", "range")
    events = [json.loads(line) for line in read.stdout.splitlines() if line.startswith("{")]
    names = [event["name"] for event in events]
    assert "partitions_assigned" in names and "shutdown_complete" in names, read.stdout[-500:] + read.stderr
    assert sum(event["count"] for event in events if event["name"] == "records_consumed") == 500
    assert all(event["success"] for event in events if event["name"] == "offsets_committed")
    assert sum(max(offset, 0) for offset in committed(at, group, topic, 2)) == 500


def test_members_go_on_when_the_broker_starts_again(own_broker):
    """The broker is killed: a member goes on in its epoch, with what it has."""
    broker = own_broker(properties=QUICK).start()
    group, topic = topics.unique_name("group"), topics.create(broker.kafka, 3)
    member = str(uuid.uuid4())
    with wire.Connection(broker.kafka) as connection:
        connection.ask(gw.find_coordinator(group), 6)
        join = lambda: cw.join(connection, group, member, topics=[topic])  # noqa: E731
        joined = wait_until(lambda: (answer := join()).error == 0 and answer, 30, "a member")
    broker.kill()
    broker.start()
    with wire.Connection(broker.kafka) as connection:

        def goes_on():
            answer = cw.heartbeat(connection, group, member, joined.epoch)
            assert answer.error in (0, 14, 15, 16), answer
            return answer.error == 0 and answer

        answer = wait_until(goes_on, 30, "the coordinator")
        assert (answer.epoch, answer.assignment) == (joined.epoch, None)
    (found,) = described(broker.kafka, group).members
    assert found.assigned == {topic: [0, 1, 2]}


def test_kafkas_coordinator_reads_our_records(quick, start):
    at, group = quick.kafka, topics.unique_name("formatted")
    topic = topics.create(at, 1)
    produce(at, topic, range(10), 1)
    member = start("librdkafka-848", at, group, f"^{topic}.*")
    wait_until(lambda: committed(at, group, topic, 1) == [10], 60, "a commit")
    member.terminate()
    done = subprocess.run(
        java.source_command(HERE / "Records.java", at), capture_output=True, text=True, timeout=90, check=False
    )
    kinds = {}
    for record in map(json.loads, filter(lambda line: line.startswith("{"), done.stdout.splitlines())):
        if record["key"].get("groupId") == group:
            kinds.setdefault(record["kind"], []).append(record["value"])
    assert set(kinds) == {3, 5, 6, 7, 8, 16}, done.stdout[-1000:] + done.stderr[-500:]
    there = {kind: [value for value in values if value] for kind, values in kinds.items()}
    epochs = [value["epoch"] for value in there[3]]
    assert epochs == sorted(epochs) and epochs[-1] >= 2
    (said,) = {(value["subscribedTopicRegex"], value["clientId"]) for value in there[5]}
    assert said == (f"(^{topic}.*)", "rdkafka")
    assert kinds[5][-1] is None, "the member has left"
    assert [[0]] in [[it["partitions"] for it in value["topicPartitions"]] for value in there[7]]
    assert [[0]] in [[it["partitions"] for it in value["assignedPartitions"]] for value in there[8]]
    assert all(value["memberEpoch"] >= 1 for value in there[8])
    assert [topic] in [value["topics"] for value in there[16]]


def test_a_group_without_members_changes_its_protocol(quick, start):
    at, group = quick.kafka, topics.unique_name("group")
    topic = topics.create(at, 1)
    produce(at, topic, range(10), 1)
    for step, client in enumerate(["librdkafka", "librdkafka-848", "librdkafka"]):
        member = start(client, at, group, topic)
        wait_until(lambda: committed(at, group, topic, 1) == [10 * (step + 1)], 60, "all is committed")  # noqa: B023
        member.terminate()
        produce(at, topic, range(10 * (step + 1), 10 * (step + 2)), 1)
