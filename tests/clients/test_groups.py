"""Groups of clients that nobody here wrote: what they commit, how they share a topic, and what tools see of it.

MILLRACE_CHURN_SECONDS says for how long members come and go (20 by default), MILLRACE_CHURN_MEMBERS how many there are at most
(6), MILLRACE_CHURN_SEED which.
"""

import json
import os
import random
import re
import sys
import time
from pathlib import Path

import pytest

from conftest import TARGET, new_broker
from harness import group_wire as gw
from harness import java, librdkafka, paths, topics, wire
from harness.groups import committed, numbers
from harness.process import Process, wait_until

HERE = Path(__file__).parent / "groups"
PYTHON = ["librdkafka", "kafka-python", "aiokafka"]
CHURN_SECONDS = float(os.environ.get("MILLRACE_CHURN_SECONDS", 20))
CHURN_MEMBERS = int(os.environ.get("MILLRACE_CHURN_MEMBERS", 6))
CHURN_SEED = int(os.environ.get("MILLRACE_CHURN_SEED", 848))
# After so many seconds the rebalances must settle before more members come.
CHURN_ROUND = 60


@pytest.fixture(scope="module")
def group_broker(shards, tmp_path_factory):
    """A broker whose groups wait a moment for more members."""
    properties = {"group.initial.rebalance.delay.ms": "200"}
    broker = new_broker(tmp_path_factory.mktemp(f"groups-{shards}"), shards, properties=properties)
    try:
        yield broker.start()
    finally:
        broker.close()


class Member:
    """A program that is a member: what it has printed is what it has processed."""

    def __init__(self, client: str, bootstrap: str, group: str, topic: str, log: Path):
        self.client = client
        env = {"NODE_PATH": str(paths.CACHE / "node" / "node_modules")}
        if client == "kafkajs":
            argv = ["node", str(HERE / "member.mjs"), bootstrap, group, topic]
        elif client == "java":
            wanted = ("--bootstrap-server", bootstrap, "--group", group, "--topic", topic, "--from-beginning")
            argv = java.command(f"{java.TOOLS}.consumer.ConsoleConsumer", *wanted)
        else:
            argv = [sys.executable, str(HERE / "member.py"), client, bootstrap, group, topic]
        self.process = Process(argv, log, env=env)

    def numbers(self) -> list[int]:
        return numbers(self.process)


@pytest.fixture
def members(group_broker, tmp_path):
    """Starts members, and ends those that still run."""
    made = []

    def start(client: str, group: str, topic: str) -> Member:
        made.append(Member(client, group_broker.kafka, group, topic, tmp_path / f"member-{len(made)}-{client}.log"))
        return made[-1]

    yield start
    for member in made:
        member.process.kill()


def produce(bootstrap: str, topic: str, numbers, partitions: int):
    sender = librdkafka.producer(bootstrap, enable_idempotence=True)
    records = [{"value": b"r-%d" % n, "partition": n % partitions} for n in numbers]
    librdkafka.produce_all(sender, topic, records).check(len(records))


def state(bootstrap: str, group: str) -> tuple[str, int]:
    with wire.Connection(bootstrap) as connection:
        (found,) = connection.ask(gw.describe(group), 5).groups
    return found.group_state, len(found.members)


@pytest.mark.parametrize("client", [*PYTHON, "kafkajs", "java"])
def test_the_next_member_goes_on_where_the_last_one_was(group_broker, members, client):
    at, group = group_broker.kafka, topics.unique_name("group")
    topic = topics.create(at, 2)
    produce(at, topic, range(1000), 2)
    first = members(client, group, topic)
    wait_until(lambda: len(first.numbers()) == 1000, 60, "all records")
    # The console consumer commits from time to time, and when it ends.
    first.process.terminate()
    assert committed(at, group, topic, 2) == [500, 500]
    wait_until(lambda: state(at, group) == ("Empty", 0), 20, "the member has left")
    produce(at, topic, range(1000, 1100), 2)
    second = members(client, group, topic)
    wait_until(lambda: len(second.numbers()) >= 100, 60, "the new records")
    assert sorted(first.numbers()) == list(range(1000))
    assert sorted(second.numbers()) == list(range(1000, 1100))


@pytest.mark.parametrize("client", [*PYTHON, "kafkajs"])
def test_two_members_share(group_broker, members, client):
    at, group = group_broker.kafka, topics.unique_name("group")
    topic = topics.create(at, 4)
    pair = [members(client, group, topic) for _ in range(2)]
    wait_until(lambda: state(at, group) == ("Stable", 2), 30, "both are members")
    produce(at, topic, range(400), 4)
    wait_until(lambda: sum(len(member.numbers()) for member in pair) >= 400, 30, "all records")
    shares = [member.numbers() for member in pair]
    assert sorted(shares[0] + shares[1]) == list(range(400))
    assert [len(share) for share in shares] == [200, 200]


@pytest.mark.timeout(240 + CHURN_SECONDS * 3)
def test_members_come_and_go(group_broker, members):
    """Clients of three kinds join, leave and are killed at random while records are written: none is skipped, and it settles."""
    at, group = group_broker.kafka, topics.unique_name("group")
    partitions = max(6, CHURN_MEMBERS)
    topic = topics.create(at, partitions)
    dice, alive, everybody, written = random.Random(CHURN_SEED), [], [], 0
    most, batch = max(2, CHURN_MEMBERS), max(1, 300 // partitions) * partitions

    def settled() -> bool:
        for member in alive:
            assert member.process.running(), f"{member.client} ended by itself:\n{member.process.tail()}"
        return state(at, group) == ("Stable", len(alive))

    began = time.monotonic()
    while (left := CHURN_SECONDS - (time.monotonic() - began)) > 0 or not everybody:
        until = time.monotonic() + min(left, CHURN_ROUND)
        while time.monotonic() < until or len(alive) < 2:
            if len(alive) < 2 or (len(alive) < most and dice.random() < 0.6):
                alive.append(members(PYTHON[len(everybody) % 3], group, topic))
                everybody.append(alive[-1])
            else:
                gone = alive.pop(dice.randrange(len(alive)))
                gone.process.kill() if dice.random() < 0.5 else gone.process.terminate()
            produce(at, topic, range(written, written + batch), partitions)
            written += batch
            time.sleep(dice.random() * 1.5)
        wait_until(settled, 60, "the rebalances settle", interval=0.2)
    assert len(everybody) > len(alive), "nobody went"
    while len(alive) > 3:
        alive.pop().process.terminate()

    def processed() -> set[int]:
        return {number for member in everybody for number in member.numbers()}

    wait_until(settled, 60, "the rebalances settle", interval=0.2)
    end = [written // partitions] * partitions
    wait_until(lambda: committed(at, group, topic, partitions) == end, 60, "all is committed", interval=0.2)
    assert processed() == set(range(written)), "what was committed was processed"


@pytest.mark.timeout(180 + 10 * int(os.environ.get("MILLRACE_KILLS", 8)))
def test_no_committed_offset_goes_back(own_broker):
    """The broker is killed in the midst of commits: what it has acknowledged is there afterwards, or what came later."""
    broker = own_broker(properties={"group.initial.rebalance.delay.ms": "0"}).start()
    topic = topics.create(broker.kafka, 4)
    groups = [f"group-{n}" for n in range(8)]
    acknowledged, sent = dict.fromkeys(groups, 0), dict.fromkeys(groups, 0)
    for _ in range(3 if TARGET == "kafka" else int(os.environ.get("MILLRACE_KILLS", 8))):
        with wire.Connection(broker.kafka) as connection:
            known = lambda: connection.ask(gw.find_coordinator("g"), 4).coordinators[0].error_code == 0  # noqa: E731
            wait_until(known, 30, "a coordinator")
            for group in groups:

                def there(group=group) -> int:
                    (answer,) = connection.ask(gw.fetch(group, {topic: [0]}), 9).groups
                    assert answer.error_code in (0, 14, 15, 16)
                    return answer.error_code == 0 and max(answer.topics[0].partitions[0].committed_offset, 0) + 1

                found = wait_until(there, 30, "the group is known") - 1
                assert acknowledged[group] <= found <= sent[group], group
            deadline = time.monotonic() + 0.5
            while time.monotonic() < deadline:
                asked = []
                for group in groups:
                    sent[group] += 1
                    request = gw.commit(group, {(topic, 0): sent[group]})
                    asked.append((group, sent[group], request, connection.send(request, 9)))
                for group, offset, request, correlation in asked:
                    if group == groups[-1] and time.monotonic() > deadline:
                        break  # some are in flight when it is killed
                    answer = connection.receive(request, 9, correlation)
                    assert answer.topics[0].partitions[0].error_code == 0
                    acknowledged[group] = offset
            broker.kill()
        broker.start()
    assert min(acknowledged.values()) > 10


@pytest.fixture(scope="module")
def seen(group_broker):
    """A topic with 100 records in each of 2 partitions, and a group without members that has read 40 of each."""
    at, group = group_broker.kafka, topics.unique_name("seen")
    topic = topics.create(at, 2)
    produce(at, topic, range(200), 2)
    with wire.Connection(at) as connection:
        code = lambda: connection.ask(gw.find_coordinator(group), 4).coordinators[0].error_code  # noqa: E731
        wait_until(lambda: code() == 0, 30, "a coordinator")
        commit = gw.commit(group, {(topic, 0): 40, (topic, 1): 40})
        done = lambda: connection.ask(commit, 9).topics[0].partitions[0].error_code == 0  # noqa: E731
        wait_until(done, 30, "a commit")
    return group, topic


def groups_tool(broker, *args: str) -> str:
    done = java.tool("consumer.group.ConsumerGroupCommand", broker.kafka, *args)
    return done.stdout + done.stderr


def test_the_groups_tool_shows(group_broker, members, seen):
    group, topic = seen
    shown = groups_tool(group_broker, "--describe", "--group", group)
    rows = [line.split() for line in shown.splitlines() if line.startswith(group)]
    assert sorted(row[:6] for row in rows) == [[group, topic, str(p), "40", "100", "60"] for p in range(2)], shown
    assert "has no active members" in shown
    assert group in groups_tool(group_broker, "--list")
    state = groups_tool(group_broker, "--list", "--state", "Empty")
    assert re.search(rf"^{group}\s+Empty", state, re.M), state
    assert group not in groups_tool(group_broker, "--list", "--state", "Stable")
    assert "not found" in groups_tool(group_broker, "--describe", "--group", "no-such-group")
    name = topics.unique_name("live")
    live = members("librdkafka", name, topic)
    wait_until(lambda: len(live.numbers()) == 200, 30, "all records")
    shown = groups_tool(group_broker, "--describe", "--group", name, "--members", "--verbose")
    assert re.search(rf"^{name}\s+rdkafka-\S+\s+/127.0.0.1\s+rdkafka\s+2", shown, re.M) and f"{topic}:0,1" in shown, shown
    shown = groups_tool(group_broker, "--describe", "--group", name, "--state")
    assert re.search(rf"^{name}\s+127.0.0.1:\d+\s+\(1\)\s+range\s+Stable\s+1", shown, re.M), shown
    assert "GroupNotEmptyException" in groups_tool(group_broker, "--delete", "--group", name)
    refused = groups_tool(group_broker, "--delete-offsets", "--group", name, "--topic", topic)
    assert "subscribed" in refused, refused
    refused = groups_tool(group_broker, "--reset-offsets", "--group", name, "--topic", topic, "--to-earliest", "--execute")
    assert "inactive" in refused, refused
    listed = java.tool("GroupsCommand", group_broker.kafka, "--list").stdout
    assert re.search(rf"^{name}\s+Classic\s+consumer", listed, re.M), listed


def test_the_groups_tool_resets_and_deletes(group_broker, seen, tmp_path):
    group, topic = seen

    def reset(*how: str, execute: bool = True) -> list[int]:
        mode = "--execute" if execute else "--dry-run"
        shown = groups_tool(group_broker, "--reset-offsets", "--group", group, "--topic", topic, mode, *how)
        rows = {int(r[2]): int(r[3]) for r in map(str.split, shown.splitlines()) if r[:2] == [group, topic]}
        assert sorted(rows) == [0, 1], shown
        now = committed(group_broker.kafka, group, topic, 2)
        assert (now == [rows[0], rows[1]]) == execute or not execute
        return [rows[0], rows[1]]

    assert reset("--to-latest", execute=False) == [100, 100]
    assert committed(group_broker.kafka, group, topic, 2) == [40, 40]
    assert reset("--to-latest") == [100, 100]
    assert reset("--shift-by", "-30") == [70, 70]
    assert reset("--to-offset", "5") == [5, 5]
    assert reset("--to-earliest") == [0, 0]
    assert reset("--to-datetime", "2020-01-01T00:00:00.000") == [0, 0]
    assert reset("--by-duration", "PT1H") == [0, 0]
    assert reset("--to-current") == [0, 0]
    file = tmp_path / "offsets.csv"
    file.write_text(f"{topic},0,7\n{topic},1,8\n")
    assert reset("--from-file", str(file)) == [7, 8]
    forgotten = groups_tool(group_broker, "--delete-offsets", "--group", group, "--topic", f"{topic}:0")
    assert "Successful" in forgotten, forgotten
    assert committed(group_broker.kafka, group, topic, 2) == [-1, 8]
    assert "successful" in groups_tool(group_broker, "--delete", "--group", group)
    assert group not in groups_tool(group_broker, "--list")


def test_verifiable_clients(group_broker):
    """Kafka's own: everything that was written is read and committed, in the order of each partition."""
    at, group = group_broker.kafka, topics.unique_name("verified")
    topic = topics.create(at, 2)
    wrote = java.tool("VerifiableProducer", at, "--topic", topic, "--max-messages", "500", "--throughput", "-1")
    assert '"sent":500,"acked":500' in wrote.stdout.replace(" ", ""), wrote.stdout[-500:] + wrote.stderr
    read = java.tool(
        "VerifiableConsumer", at, "--topic", topic, "--group-id", group, "--max-messages", "500", "--reset-policy", "earliest"
    )
    events = [json.loads(line) for line in read.stdout.splitlines() if line.startswith("{")]
    names = [event["name"] for event in events]
    assert "partitions_assigned" in names and "shutdown_complete" in names, read.stdout[-500:] + read.stderr
    assert sum(event["count"] for event in events if event["name"] == "records_consumed") == 500
    assert all(event["success"] for event in events if event["name"] == "offsets_committed")
    assert sum(max(offset, 0) for offset in committed(at, group, topic, 2)) == 500


def test_kafkas_formatters_read_our_records(group_broker, members):
    at, group = group_broker.kafka, topics.unique_name("formatted")
    topic = topics.create(at, 1)
    produce(at, topic, range(10), 1)
    member = members("librdkafka", group, topic)
    wait_until(lambda: committed(at, group, topic, 1) == [10], 30, "a commit")
    member.process.terminate()

    def formatted(kind: str) -> list[dict]:
        done = java.run(
            f"{java.TOOLS}.consumer.ConsoleConsumer",
            *("--bootstrap-server", at, "--topic", "__consumer_offsets", "--from-beginning", "--timeout-ms", "3000"),
            *("--formatter", f"{java.TOOLS}.consumer.{kind}"),
        )
        decoder, text, found = json.JSONDecoder(), done.stdout.strip(), []
        while text:
            record, end = decoder.raw_decode(text)
            found.append(record)
            text = text[end:].lstrip()
        return [record for record in found if record["key"]["data"]["group"] == group]

    offsets = formatted("OffsetsMessageFormatter")
    assert {(o["key"]["data"]["topic"], o["key"]["data"]["partition"]) for o in offsets} == {(topic, 0)}
    assert offsets[-1]["value"]["data"]["offset"] == 10
    generations = formatted("GroupMetadataMessageFormatter")
    (joined,) = [g["value"]["data"] for g in generations if g["value"] and g["value"]["data"]["members"]]
    assert (joined["protocolType"], joined["generation"], joined["protocol"]) == ("consumer", 1, "range")
    assert joined["members"][0]["clientId"] == "rdkafka"
    assert generations[-1]["value"]["data"]["members"] == [], "the last member has left"
