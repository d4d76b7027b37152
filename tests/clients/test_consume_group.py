"""Members of consumer groups that are gRPC streams, or the `millrace` command, alone and beside Kafka clients of KIP-848."""

import json
import threading
import time

import grpc
import pytest
from confluent_kafka import Consumer

from conftest import new_broker
from harness import cli, librdkafka, topics
from harness.grpc_client import TIMEOUT, Client, details, groups, log
from harness.metrics import lags, total
from harness.paths import millrace_binary
from harness.process import Process, wait_until

pytestmark = pytest.mark.millrace_only(reason="Apache Kafka has no gRPC port")


@pytest.fixture(scope="module")
def broker(shards, tmp_path_factory):
    broker = new_broker(tmp_path_factory.mktemp(f"consume-group-{shards}"), shards)
    try:
        yield broker.start()
    finally:
        broker.close()


@pytest.fixture
def client(broker):
    with Client(broker.grpc) as client:
        yield client


def fill(bootstrap: str, topic: str, numbers, partitions: int):
    records = [{"value": b"%d" % n, "partition": n % partitions} for n in numbers]
    librdkafka.produce_all(librdkafka.producer(bootstrap, enable_idempotence=True), topic, records).check(len(records))


def describe(client: Client, group: str):
    return client.groups.Describe(groups.DescribeGroupRequest(group_id=group), timeout=TIMEOUT).group


def committed(client: Client, group: str) -> dict[int, int]:
    found = describe(client, group).offsets
    return {o.partition: o.committed_offset for o in found if o.HasField("committed_offset")}


class Member:
    """A member by plain gRPC that handles what it gets as it comes: grants the credit, releases what is revoked."""

    def __init__(self, client: Client, group: str, topic: str, **options):
        self.stream = client.join(group, topic, **options)
        self.id = self.stream.started().member_id
        self.topic, self.explicit = topic, options.get("explicit", False)
        self.has: dict[int, int] = {}
        self.got: list[tuple[int, int]] = []
        self.lost = 0
        self.refused: list = []
        self.ended: grpc.RpcError | None = None
        self.assigned = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self):
        while True:
            try:
                response = self.stream.next(timeout=120)
            except grpc.RpcError as error:
                self.ended = error
                return
            if response is None:
                return
            event = getattr(response, response.WhichOneof("event"))
            match response.WhichOneof("event"):
                case "assigned":
                    self.has |= {p.partition: p.next_offset for p in event.partitions}
                    self.assigned.set()
                case "revoked":
                    gone = [n for t in event.partitions for n in t.partitions]
                    if event.lost:
                        self.lost += len(gone)
                    else:
                        if self.explicit:
                            self.stream.commit(self.topic, {n: self.has[n] for n in gone})
                        self.stream.release(event.partitions)
                    for number in gone:
                        del self.has[number]
                case "records":
                    for one in event.sets:
                        assert one.partition in self.has, "records of a partition that this member does not have"
                        for record in one.records:
                            assert record.offset >= self.has[one.partition], "records come again"
                            self.got.append((one.partition, record.offset))
                        self.has[one.partition] = one.next_offset
                    self.stream.grant(event.bytes)
                case "committed":
                    if event.HasField("error"):
                        self.refused.append(event.error)

    def leave(self):
        self.stream.finish()
        self._thread.join(20)
        assert not self._thread.is_alive() and self.ended is None, self.ended

    def die(self):
        self.stream.cancel()


def all_of(partitions: int, count: int) -> list[tuple[int, int]]:
    return [(p, o) for p in range(partitions) for o in range(count)]


def test_one_member_reads_and_its_credit_commits(broker, client):
    group, topic = topics.unique_name("group"), topics.create(broker.kafka, 3)
    fill(broker.kafka, topic, range(30), 3)
    member = Member(client, group, topic, client_id="grpc", group_instance_id="first")
    wait_until(lambda: sorted(member.got) == all_of(3, 10), 20, "all records")
    wait_until(lambda: committed(client, group) == {0: 10, 1: 10, 2: 10}, 10, "they are committed")
    found = describe(client, group)
    assert (found.state, found.type) == (groups.GROUP_STATE_STABLE, groups.GROUP_TYPE_CONSUMER)
    assert (found.protocol_type, found.protocol) == ("consumer", "uniform")
    (it,) = found.members
    assert (it.member_id, it.client_id, it.client_host, it.group_instance_id) == (
        member.id,
        "grpc",
        "/127.0.0.1",
        "first",
    )
    assert [(t.topic, list(t.partitions)) for t in it.assignment] == [(topic, [0, 1, 2])]
    assert {o.member_id for o in found.offsets} == {member.id}
    listed = client.groups.List(groups.ListGroupsRequest(types=[groups.GROUP_TYPE_CONSUMER]), timeout=TIMEOUT)
    assert group in [g.group_id for g in listed.groups]
    member.leave()
    # The next one of that name goes on where the last one was, without waiting for a session to be over.
    fill(broker.kafka, topic, range(3), 3)
    following = Member(client, group, topic, group_instance_id="first")
    wait_until(lambda: sorted(following.got) == [(p, 10) for p in range(3)], 20, "the new records and no others")
    following.leave()


def test_it_is_in_the_metrics(broker, client):
    group, topic = topics.unique_name("group"), topics.create(broker.kafka, 2)
    fill(broker.kafka, topic, range(20), 2)
    before = total(broker, "millrace_group_rebalances_total"), total(broker, "millrace_group_commit_seconds_count")
    member = Member(client, group, topic, explicit=True)
    wait_until(lambda: len(member.got) == 20, 20, "all records")
    member.stream.commit(topic, {0: 7, 1: 10})
    wait_until(lambda: lags(broker, topic) == {(group, 0): 3, (group, 1): 0}, 10, "its lag")
    assert total(broker, "millrace_group_rebalances_total") == before[0] + 1
    assert total(broker, "millrace_group_commit_seconds_count") == before[1] + 1
    member.leave()


def test_members_share_and_hand_over_without_a_record_twice(broker, client):
    group, topic = topics.unique_name("group"), topics.create(broker.kafka, 4)
    first = Member(client, group, topic, explicit=True)
    assert first.assigned.wait(10)
    stop, written = threading.Event(), 0

    def write():
        nonlocal written
        while not stop.is_set():
            fill(broker.kafka, topic, range(written, written + 40), 4)
            written += 40
            time.sleep(0.1)

    writer = threading.Thread(target=write)
    writer.start()
    try:
        second = Member(client, group, topic, explicit=True)
        wait_until(lambda: len(first.has) == 2 and len(second.has) == 2, 30, "each has its share")
        second.leave()
        wait_until(lambda: len(first.has) == 4, 30, "the one that stays has everything")
    finally:
        stop.set()
        writer.join()
    # The first one reads again what the second one did not commit, and nothing of what it handed over.
    wait_until(lambda: {*first.got, *second.got} == set(all_of(4, written // 4)), 30, "all records")
    assert len(first.got) == len(set(first.got)) and not first.refused and not second.refused and first.lost == 0
    first.leave()


def test_beside_a_kafka_client_of_the_new_protocol(broker, client):
    group, topic = topics.unique_name("group"), topics.create(broker.kafka, 4)
    fill(broker.kafka, topic, range(400), 4)
    other = Consumer(
        {
            **librdkafka.COMMON,
            "bootstrap.servers": broker.kafka,
            "group.id": group,
            "group.protocol": "consumer",
            "auto.offset.reset": "earliest",
            "enable.auto.commit": False,
        }
    )
    other.subscribe([topic])
    theirs: list[tuple[int, int]] = []

    def poll():
        for message in other.consume(100, timeout=0.2):
            assert not message.error(), message.error()
            theirs.append((message.partition(), message.offset()))
        return theirs

    mine = Member(client, group, topic, explicit=True)
    try:
        wait_until(lambda: (poll() or True) and len(other.assignment()) == 2 and len(mine.has) == 2, 60, "two each")
        assert {p.partition for p in other.assignment()} | set(mine.has) == {0, 1, 2, 3}
        found = describe(client, group)
        assert (found.type, len(found.members)) == (groups.GROUP_TYPE_CONSUMER, 2)
        assert {m.client_host for m in found.members} == {"/127.0.0.1"}
        fill(broker.kafka, topic, range(400, 480), 4)
        wait_until(lambda: {*poll(), *mine.got} >= set(all_of(4, 120)), 60, "all records")
        other.commit(asynchronous=False)
        mine.stream.commit(topic, dict(mine.has), id=7)
        wait_until(lambda: committed(client, group) == dict.fromkeys(range(4), 120), 10, "both have committed")
    finally:
        other.close()
    wait_until(lambda: len(mine.has) == 4, 30, "everything is ours when it has left")
    assert not mine.refused and not mine.lost
    mine.leave()


def test_one_that_does_not_release_is_thrown_out(broker, client):
    group, topic = topics.unique_name("group"), topics.create(broker.kafka, 2)
    fill(broker.kafka, topic, range(20), 2)
    stubborn = client.join(group, topic, explicit=True, rebalance_timeout_ms=3000)
    stubborn.started()
    assert len(stubborn.next().assigned.partitions) == 2
    while stubborn.next().WhichOneof("event") != "records":
        pass
    second = Member(client, group, topic, explicit=True)

    def until(event: str, timeout: float):
        while (response := stubborn.next(timeout)).WhichOneof("event") != event:
            pass
        return response

    assert not until("revoked", 30).revoked.lost
    lost = until("revoked", 30).revoked
    assert lost.lost and len(lost.partitions[0].partitions) == 2
    # By now it may have one of them again, but never both.
    stubborn.commit(topic, {0: 1, 1: 1}, id=3)
    refused = until("committed", 10).committed
    assert (refused.id, refused.error.reason) == (3, "UNKNOWN_MEMBER_ID"), refused
    wait_until(lambda: len(second.got) >= 10, 30, "the other one has read")
    stubborn.cancel()
    second.leave()


def test_one_whose_connection_breaks_is_out_at_once(broker, client):
    group, topic = topics.unique_name("group"), topics.create(broker.kafka, 2)
    fill(broker.kafka, topic, range(20), 2)
    with Client(broker.grpc) as gone:
        dying = Member(gone, group, topic)
        wait_until(lambda: len(dying.got) == 20, 20, "all records")
        survivor = Member(client, group, topic)
        wait_until(lambda: len(survivor.has) == 1, 30, "its share")
        dying.die()
    wait_until(lambda: len(survivor.has) == 2, 15, "everything, long before a session would be over")
    survivor.leave()


def test_a_member_beside_clients_of_the_classic_protocol(broker, client):
    group, topic = topics.unique_name("group"), topics.create(broker.kafka, 2)
    reader = librdkafka.consumer(broker.kafka, group_id=group, auto_offset_reset="earliest", session_timeout_ms=6000)
    reader.subscribe([topic])
    has = lambda count: (reader.poll(0.1), len(reader.assignment()) == count)[1]  # noqa: E731
    try:
        wait_until(lambda: has(2), 30, "it has all")
        member = Member(client, group, topic)
        wait_until(lambda: has(1) and len(member.has) == 1, 30, "each has its share")
        member.leave()
        wait_until(lambda: has(2), 30, "it has all again")
    finally:
        reader.close()


def test_a_classic_group_may_be_none_of_ours(own_broker):
    broker = own_broker(properties={"group.consumer.migration.policy": "disabled"}).start()
    group, topic = topics.unique_name("group"), topics.create(broker.kafka)
    reader = librdkafka.consumer(broker.kafka, group_id=group, auto_offset_reset="earliest")
    reader.subscribe([topic])
    try:
        wait_until(lambda: (reader.poll(0.2), bool(reader.assignment()))[1], 30, "it is a member")
        with Client(broker.grpc) as client:
            stream = client.join(group, topic)
            stream.started()
            with pytest.raises(grpc.RpcError) as caught:
                stream.next()
        assert caught.value.code() == grpc.StatusCode.NOT_FOUND, caught.value
        assert details(caught.value)["ErrorInfo"].reason == "GROUP_ID_NOT_FOUND" and group in caught.value.details()
    finally:
        reader.close()


def test_a_group_of_ours_is_moved_when_it_is_empty(broker, client):
    group, topic = topics.unique_name("group"), topics.create(broker.kafka, 2)
    fill(broker.kafka, topic, range(20), 2)
    member = Member(client, group, topic)
    wait_until(lambda: committed(client, group) == {0: 10, 1: 10}, 20, "all is committed")
    assert "stop it first" in cli.fails("group", "reset", group, "--to", "beginning", "--server", broker.grpc)
    assert "stop them first" in cli.fails("group", "delete", group, "--server", broker.grpc)
    member.leave()
    cli.ok("group", "reset", group, "--to", "7", "--execute", "--server", broker.grpc)
    again = Member(client, group, topic)
    wait_until(lambda: sorted(again.got) == [(p, o) for p in range(2) for o in range(7, 10)], 30, "from there on")
    again.leave()
    cli.ok("group", "delete", group, "--server", broker.grpc)


# The command, which is the Rust client


class Command:
    """`millrace consume --group`, running."""

    def __init__(self, broker, group: str, topic: str, log, *args: str):
        argv = [millrace_binary(), "consume", topic, "--group", group, "--from", "beginning", "--output", "json"]
        self.process = Process([*map(str, argv), *args, "--server", broker.grpc], log)

    def got(self) -> list[tuple[int, int]]:
        lines = self.process.log.read_text().splitlines()
        records = [json.loads(line) for line in lines if line.startswith("{") and line.endswith("}")]
        return [(r["partition"], r["offset"]) for r in records]

    def said(self, word: str) -> bool:
        return f"millrace: {word}" in self.process.log.read_text()


@pytest.fixture
def command(tmp_path):
    made = []

    def start(broker, group: str, topic: str, *args: str) -> Command:
        made.append(Command(broker, group, topic, tmp_path / f"command-{len(made)}.log", *args))
        return made[-1]

    yield start
    for one in made:
        one.process.kill()


def test_the_command_counts_commits_and_goes_on(broker, client, command):
    group, topic = topics.unique_name("group"), topics.create(broker.kafka)
    fill(broker.kafka, topic, range(100), 1)
    ask = ["consume", topic, "--group", group, "--from", "beginning", "--output", "json", "--server", broker.grpc]
    lines = cli.ok(*ask, "--count", "30").splitlines()
    assert [json.loads(line)["offset"] for line in lines] == list(range(30))
    assert committed(client, group) == {0: 30}, "exactly what was printed"
    assert not describe(client, group).members
    second = command(broker, group, topic)
    wait_until(lambda: len(second.got()) == 70, 30, "the rest")
    second.process.terminate()
    assert second.got() == [(0, n) for n in range(30, 100)]
    assert committed(client, group) == {0: 100}
    for wrong in (["--partition", "0"], ["--no-follow"], ["--from", "17"]):
        assert cli.run("consume", topic, "--group", group, *wrong, "--server", broker.grpc).returncode == 2, wrong


def test_commands_share_and_one_is_killed(broker, client, command):
    group, topic = topics.unique_name("group"), topics.create(broker.kafka, 4)
    pair = [command(broker, group, topic) for _ in range(2)]
    wait_until(lambda: all(one.said("assigned") for one in pair), 30, "both are members")

    def shares() -> list[int]:
        return [sum(len(t.partitions) for t in m.assignment) for m in describe(client, group).members]

    wait_until(lambda: shares() == [2, 2], 30, "two each")
    fill(broker.kafka, topic, range(400), 4)
    wait_until(lambda: sorted(pair[0].got() + pair[1].got()) == all_of(4, 100), 30, "all records, each once")
    pair[0].process.kill()
    fill(broker.kafka, topic, range(400, 480), 4)
    wait_until(lambda: {*pair[0].got(), *pair[1].got()} == set(all_of(4, 120)), 30, "the other one goes on")
    assert len(pair[1].got()) == len(set(pair[1].got())), "and nothing comes twice to the same member"


def test_the_broker_is_killed_and_members_go_on(own_broker, command):
    broker = own_broker().start()
    group, topic = topics.unique_name("group"), topics.create(broker.kafka, 2)
    fill(broker.kafka, topic, range(100), 2)
    one = command(broker, group, topic)
    wait_until(lambda: len(one.got()) == 100, 30, "all records")
    for kill in (broker.kill, broker.stop):
        kill()
        broker.start()
        before = len(set(one.got()))
        fill(broker.kafka, topic, range(before, before + 100), 2)
        wait_until(lambda: len(set(one.got())) == before + 100, 25, "the new records, before a session would be over")
    one.process.terminate()
    with Client(broker.grpc) as client:
        assert committed(client, group) == {0: 150, 1: 150}
