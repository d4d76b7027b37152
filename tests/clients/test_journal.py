"""The journal: what was acknowledged comes back from it when a power cut has taken it from the logs.

A power cut is played by `kill -9` and cutting the segments back to what had been synced.
"""

import os
import re

import pytest

from conftest import TARGET
from harness import librdkafka, topics, wire
from harness.process import wait_until

pytestmark = pytest.mark.skipif(TARGET == "kafka", reason="Kafka has no journal")

PARTITIONS = 8
BYTES = 1 << 20


@pytest.fixture
def broker(own_broker, shards):
    """A broker with small journals, all of which are there, and `broker.topic`."""
    broker = own_broker(properties={"log.journal.bytes": str(BYTES)}).start()
    broker.topic = topics.create(broker.kafka, PARTITIONS)
    produce(broker, b"first")
    wait_until(lambda: len(journals(broker)) == shards, 10, "a journal for each shard")
    # Being made, it takes nothing yet: until it does, logs sync themselves.
    wait_until(lambda: produce(broker, b"more") and takes(broker), 10, "journals that take records")
    return broker


def journals(broker) -> list:
    whole = lambda path: path.stat().st_size == BYTES  # noqa: E731
    return [path for path in broker.data.iterdir() if path.name.startswith("millrace.journal-") and whole(path)]


def takes(broker) -> bool:
    return all(path.read_bytes()[:4] == b"MRJF" for path in journals(broker))


def produce(broker, value: bytes) -> bool:
    """Writes a record to every partition, acknowledged by all."""
    with wire.Connection(broker.kafka) as connection:
        for partition in range(PARTITIONS):
            request = wire.produce_request(broker.topic, wire.batch(value), partition=partition, acks=-1)
            answer = connection.ask(request, 9)
            assert answer.responses[0].partition_responses[0].error_code == wire.NONE
    return True


def segments(broker) -> list:
    return [p for n in range(PARTITIONS) for p in broker.partition_dir(broker.topic, n).glob("*.log")]


def values(broker) -> dict[int, list[bytes]]:
    found = {partition: [] for partition in range(PARTITIONS)}
    for message in librdkafka.read_to_end(broker.kafka, broker.topic, PARTITIONS):
        assert message.offset() == len(found[message.partition()])
        found[message.partition()].append(message.value())
    return found


def test_what_the_segments_lost_comes_back(broker):
    before = {path: path.stat().st_size for path in segments(broker)}
    known = len(values(broker)[0])
    for number in range(30):
        produce(broker, b"record %d" % number)
    broker.kill()
    assert all(path.stat().st_size > before[path] for path in segments(broker))
    for path, size in before.items():
        os.truncate(path, size)
    old = {path.name for path in journals(broker)}
    broker.start()
    expected = [b"record %d" % number for number in range(30)]
    for partition, found in values(broker).items():
        assert found[known:] == expected, f"partition {partition}"
    restored = re.findall(r"the log's end came back from the journal", broker.log.read_text())
    assert len(restored) == PARTITIONS
    # Nothing needs them any more, and the next ones have other names.
    assert not old & {path.name for path in broker.data.iterdir()}
    produce(broker, b"goes on")
    assert all(found[-1] == b"goes on" for found in values(broker).values())


def test_halves_are_used_again(broker):
    """Many times what a journal holds; what is in the segments is not there twice after a kill."""
    sent = [f"{n}:".encode() + b"." * 4000 for n in range(2000)]
    records = ({"value": value, "partition": n % PARTITIONS} for n, value in enumerate(sent))
    known = len(values(broker)[0])
    sender = librdkafka.producer(broker.kafka, acks="all", linger_ms=0, batch_size=20_000)
    librdkafka.produce_all(sender, broker.topic, records).check(len(sent))
    broker.kill()
    broker.start()
    for partition, found in values(broker).items():
        assert found[known:] == sent[partition::PARTITIONS]


def test_a_clean_stop_leaves_none(broker):
    produce(broker, b"last")
    assert broker.stop() == 0
    assert not [path for path in broker.data.iterdir() if "journal" in path.name]
    broker.start()
    assert all(found[-1] == b"last" for found in values(broker).values())


@pytest.mark.parametrize("damage", ["random", "cut", "empty"])
def test_a_damaged_journal_is_no_reason_not_to_start(broker, damage):
    produce(broker, b"last")
    broker.kill()
    for path in journals(broker):
        whole = path.read_bytes()
        path.write_bytes({"random": whole[:9] + os.urandom(len(whole) - 9), "cut": whole[:5000], "empty": b""}[damage])
    broker.start()
    assert all(found[-1] == b"last" for found in values(broker).values())
