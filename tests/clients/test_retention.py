"""What a partition need not keep goes: by size, by time, and because somebody asks. What it must keep stays."""

import time

import pytest
from kafka.protocol.admin import DeleteRecordsRequest

from conftest import TARGET
from harness import librdkafka, topics, wire
from harness.process import wait_until
from test_admin import SET, TOPIC, alter

EARLIEST, LATEST = -2, -1
OUT_OF_RANGE, UNKNOWN_TOPIC = 1, 3
SEGMENT = 1 << 20
SETTINGS = {"log.retention.check.interval.ms": "200", "log.segment.delete.delay.ms": "100"}
if TARGET == "kafka":
    # Else it looks for the first time after half a minute.
    SETTINGS["log.initial.task.delay.ms"] = "200"


def offset(connection, name: str, which: int) -> int:
    found = connection.ask(wire.list_offsets_request(name, which), 6).topics[0].partitions[0]
    assert found.error_code == wire.NONE
    return found.offset


def produce(connection, name: str, size: int, count: int, timestamp: int | None = None):
    for _ in range(count):
        request = wire.produce_request(name, wire.batch(b"x" * size, timestamp=timestamp))
        assert connection.ask(request, 9).responses[0].partition_responses[0].error_code == wire.NONE


def delete_records(connection, name: str, below: int, version: int = 2, partition: int = 0):
    topic = DeleteRecordsRequest.DeleteRecordsTopic
    one = topic.DeleteRecordsPartition(partition_index=partition, offset=below)
    request = DeleteRecordsRequest(topics=[topic(name=name, partitions=[one])], timeout_ms=10_000)
    answer = connection.ask(request, version).topics[0].partitions[0]
    return answer.error_code, answer.low_watermark


def read_all(bootstrap: str, name: str) -> list:
    return [message.offset() for message in librdkafka.read_to_end(bootstrap, name, 1)]


def files(broker, name: str) -> list[str]:
    return sorted(path.name for path in (broker.data / f"{name}-0").iterdir() if path.suffix == ".log")


@pytest.fixture
def retaining(own_broker):
    return own_broker(properties=SETTINGS).start()


def test_by_size(retaining):
    name = topics.create(retaining.kafka, segment_bytes=SEGMENT, retention_bytes=2 * SEGMENT)
    with wire.Connection(retaining.kafka) as connection:
        produce(connection, name, 100_000, 60)
        # Retention also comes by in the middle of it: without one more segment it would be too little, and not before.
        wait_until(lambda: offset(connection, name, EARLIEST) == 30, 20, "the oldest segments to go")
        wait_until(lambda: len(files(retaining, name)) <= 4, 20, "their files to go")
        start, end = offset(connection, name, EARLIEST), offset(connection, name, LATEST)
    assert end == 60 and (end - start) * 100_000 >= 2 * SEGMENT, "what it may keep is kept"
    assert read_all(retaining.kafka, name) == list(range(start, end))


def test_by_time(retaining):
    name = topics.create(retaining.kafka, segment_bytes=SEGMENT, retention_ms=60_000)
    with wire.Connection(retaining.kafka) as connection:
        produce(connection, name, 100_000, 15, timestamp=wire.now_ms() - 3_600_000)
        produce(connection, name, 100_000, 15)
        # Up to where a segment holds something that is young enough.
        wait_until(lambda: offset(connection, name, EARLIEST) in range(1, 16), 20, "the old segment to go")
        assert offset(connection, name, LATEST) == 30


def test_all_of_it_may_go(retaining):
    """The active segment as well: the log is empty then, and goes on where it was."""
    name = topics.create(retaining.kafka, retention_ms=60_000)
    with wire.Connection(retaining.kafka) as connection:
        produce(connection, name, 100, 5, timestamp=wire.now_ms() - 3_600_000)
        wait_until(lambda: offset(connection, name, EARLIEST) == 5, 20, "everything to go")
        produce(connection, name, 100, 1)
        assert (offset(connection, name, EARLIEST), offset(connection, name, LATEST)) == (5, 6)
    assert read_all(retaining.kafka, name) == [5]


def test_a_new_limit_takes_effect(retaining):
    name = topics.create(retaining.kafka, retention_ms=-1)
    with wire.Connection(retaining.kafka) as connection:
        produce(connection, name, 100, 5, timestamp=wire.now_ms() - 365 * 24 * 3_600_000)
        time.sleep(1)
        assert offset(connection, name, EARLIEST) == 0
        assert alter(connection, TOPIC, name, ("retention.ms", SET, "1000")).error_code == wire.NONE
        wait_until(lambda: offset(connection, name, EARLIEST) == 5, 20, "everything to go")


@pytest.mark.millrace_only(reason="Kafka writes log starts once a minute: a kill brings deleted records back")
def test_the_start_stays_after_a_kill(retaining):
    name = topics.create(retaining.kafka, segment_bytes=SEGMENT, retention_bytes=SEGMENT)
    with wire.Connection(retaining.kafka) as connection:
        produce(connection, name, 100_000, 40)
        wait_until(lambda: offset(connection, name, EARLIEST) >= 20, 20, "the oldest segments to go")
        assert delete_records(connection, name, 35) == (wire.NONE, 35)
    retaining.kill()
    retaining.start()
    topics.wait_for_leaders(retaining.kafka, name, 1)
    with wire.Connection(retaining.kafka) as connection:
        assert (offset(connection, name, EARLIEST), offset(connection, name, LATEST)) == (35, 40)
    assert read_all(retaining.kafka, name) == list(range(35, 40))


@pytest.mark.parametrize("version", range(3))
def test_records_are_deleted(bootstrap, new_topic, version):
    name = new_topic()
    with wire.Connection(bootstrap) as connection:
        produce(connection, name, 10, 9)
        assert delete_records(connection, name, 4, version) == (wire.NONE, 4)
        assert offset(connection, name, EARLIEST) == 4
        assert delete_records(connection, name, 2, version) == (wire.NONE, 4), "what is gone is gone"
        for below in (10, -2):
            assert delete_records(connection, name, below, version)[0] == OUT_OF_RANGE
        assert delete_records(connection, name, 1, version, partition=3)[0] == UNKNOWN_TOPIC
        assert delete_records(connection, "no-such-topic", 1, version)[0] == UNKNOWN_TOPIC
        answer = connection.ask(wire.fetch_request(name, 3), 11).responses[0].partitions[0]
        assert answer.error_code == OUT_OF_RANGE
        assert delete_records(connection, name, -1, version) == (wire.NONE, 9)
        assert read_all(bootstrap, name) == []
        produce(connection, name, 10, 1)
    assert read_all(bootstrap, name) == [9]
