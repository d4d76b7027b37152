"""Groups that have members go from the classic protocol to the new one and back, as their clients are started anew one after another."""

import sys
import threading
import time
from pathlib import Path

import pytest

from conftest import SHARDS, new_broker
from harness import consumer_wire as cw
from harness import group_wire as gw
from harness import java, librdkafka, paths, topics, wire
from harness.groups import QUICK, committed, numbers
from harness.process import Process, wait_until

HERE = Path(__file__).parent / "groups"
PARTITIONS = 6


@pytest.fixture(scope="module")
def quick(shards, tmp_path_factory):
    if shards not in (0, max(SHARDS)):
        pytest.skip("a group has one coordinator on one core: once is enough, with the most cores")
    broker = new_broker(tmp_path_factory.mktemp(f"migration-{shards}"), shards, properties=QUICK)
    try:
        yield broker.start()
    finally:
        broker.close()


@pytest.fixture
def start(tmp_path):
    """Starts members, and ends those that still run."""
    made = []

    def one(client: str, bootstrap: str, group: str, topic: str) -> Process:
        log = tmp_path / f"member-{len(made)}-{client}.log"
        if client.startswith("java"):
            wanted = ("--bootstrap-server", bootstrap, "--group", group, "--topic", topic, "--from-beginning")
            protocol = "consumer" if client == "java-848" else "classic"
            chosen = {"classic": ["heartbeat.interval.ms=1000", "session.timeout.ms=6000"]}.get(protocol, [])
            chosen = [f"--command-property={it}" for it in (f"group.protocol={protocol}", *chosen)]
            argv = java.command(f"{java.TOOLS}.consumer.ConsoleConsumer", *wanted, *chosen)
        elif client == "kafkajs":
            argv = ["node", str(HERE / "member.mjs"), bootstrap, group, topic]
        else:
            argv = [sys.executable, str(HERE / "member.py"), client, bootstrap, group, topic]
        made.append(Process(argv, log, env={"NODE_PATH": str(paths.CACHE / "node" / "node_modules")}))
        return made[-1]

    yield one
    for process in made:
        process.kill()


class Writer(threading.Thread):
    """Writes records as long as it is let, a few at a time, in order into each partition."""

    def __init__(self, bootstrap: str, topic: str):
        super().__init__(daemon=True)
        self.sender = librdkafka.producer(bootstrap, enable_idempotence=True)
        self.topic, self.written, self.stops = topic, 0, threading.Event()

    def run(self):
        while not self.stops.wait(0.05):
            numbers = range(self.written, self.written + 60)
            records = [{"value": b"r-%d" % n, "partition": n % PARTITIONS} for n in numbers]
            librdkafka.produce_all(self.sender, self.topic, records).check(len(records))
            self.written += len(records)

    def stop(self) -> int:
        self.stops.set()
        self.join()
        return self.written


def group_is(bootstrap: str, group: str) -> tuple[str, str, list[int]]:
    """Its type, its state, and of each member whether it speaks the new protocol."""
    with wire.Connection(bootstrap) as connection:
        listed = {it.group_id: it for it in connection.ask(gw.list_all(), 5).groups}
        if group not in listed:
            return ("", "", [])
        kind = listed[group].group_type.lower()
        if kind == "classic":
            (found,) = connection.ask(gw.describe(group), 5).groups
            return (kind, found.group_state, [0] * len(found.members))
        (found,) = cw.describe(connection, group)
        return (kind, found.state, sorted(member.kind for member in found.members))


@pytest.mark.parametrize(
    ("old", "new", "gone"),
    [
        ("librdkafka", "librdkafka-848", "leaves"),
        ("librdkafka", "librdkafka-848", "is killed"),
        pytest.param(
            *("librdkafka-cooperative", "librdkafka-848", "leaves"),
            marks=pytest.mark.millrace_only(reason="Kafka takes librdkafka's assignor for one that it must not part from"),
        ),
        ("kafka-python", "librdkafka-848", "leaves"),
        ("kafkajs", "librdkafka-848", "leaves"),
        ("java", "java-848", "is killed"),
    ],
)
def test_a_group_goes_over_and_back_one_member_after_another(quick, start, old, new, gone):
    """Records are written all the while. None is skipped, and everything comes to be committed."""
    at, group = quick.kafka, topics.unique_name("group")
    topic = topics.create(at, PARTITIONS)
    writer = Writer(at, topic)
    everybody: list[Process] = []

    def add(client: str) -> Process:
        everybody.append(start(client, at, group, topic))
        return everybody[-1]

    def settles(kind: str, kinds: list[int]):
        wanted = (kind, "Stable", kinds)
        try:
            wait_until(lambda: group_is(at, group) == wanted, 60, f"the group is {wanted}", interval=0.1)
        except TimeoutError:
            tails = "\n".join(process.tail(600) for process in everybody)
            raise AssertionError(f"{wanted}, not {group_is(at, group)}:\n{tails}") from None
        before = {process: len(numbers(process)) for process in everybody if process.running()}
        more = lambda: all(len(numbers(process)) > count for process, count in before.items())  # noqa: E731
        wait_until(more, 60, "every member reads", interval=0.1)

    def ends(process: Process):
        process.terminate() if gone == "leaves" else process.kill()

    pair = [add(old), add(old)]
    writer.start()
    settles("classic", [0, 0])
    over = [("consumer", [0, 1]), ("consumer", [1, 1])]
    back = [("consumer", [0, 1]), ("classic", [0, 0])]
    for client, steps in ((new, over), (old, back)):
        for place, (kind, kinds) in enumerate(steps):
            ends(pair[place])
            pair[place] = add(client)
            settles(kind, kinds)
    written = writer.stop()
    done = [written // PARTITIONS] * PARTITIONS
    wait_until(lambda: committed(at, group, topic, PARTITIONS) == done, 60, "all is committed", interval=0.2)
    assert {number for process in everybody for number in numbers(process)} == set(range(written))


def test_a_group_of_several_kinds_of_clients(quick, start):
    """Members of both protocols share a topic, and what one leaves the others get."""
    at, group = quick.kafka, topics.unique_name("group")
    topic = topics.create(at, PARTITIONS)
    writer = Writer(at, topic)
    clients = ["librdkafka", "kafka-python", "aiokafka", "librdkafka-848"]
    members = [start(client, at, group, topic) for client in clients]
    writer.start()
    shared = ("consumer", "Stable", [0, 0, 0, 1])
    wait_until(lambda: group_is(at, group) == shared, 60, "all are members", interval=0.1)
    before = [len(numbers(member)) for member in members]
    reads = lambda: all(len(numbers(member)) > count for member, count in zip(members, before, strict=True))  # noqa: E731
    wait_until(reads, 60, "every member reads", interval=0.1)
    members[1].terminate()
    shared = ("consumer", "Stable", [0, 0, 1])
    wait_until(lambda: group_is(at, group) == shared, 60, "one has left", interval=0.1)
    time.sleep(1)
    written = writer.stop()
    done = [written // PARTITIONS] * PARTITIONS
    wait_until(lambda: committed(at, group, topic, PARTITIONS) == done, 60, "all is committed", interval=0.2)
    assert {number for member in members for number in numbers(member)} == set(range(written))
