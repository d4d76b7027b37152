"""A hundred megabytes of mixed traffic, checked record by record: sizes, codecs, keys, headers, times, partitions."""

import itertools
import os

import pytest

from harness import kcat, librdkafka, wire
from harness.traffic import CODECS, Traffic

TOTAL = int(os.environ.get("MILLRACE_MIXED_BYTES", 100_000_000))
PARTITIONS = 4


@pytest.mark.timeout(400)
def test_every_record_comes_back(bootstrap, new_topic):
    """One producer per codec, in turn, some idempotent, some with several requests in flight."""
    topic = new_topic(partitions=PARTITIONS, segment_bytes=8_000_000, segment_index_bytes=100_000)
    base_time, share = wire.now_ms() - 1_000_000, TOTAL // len(CODECS)
    for seed, codec in enumerate(CODECS):
        sender = librdkafka.producer(
            bootstrap,
            compression_type=codec,
            linger_ms=seed * 5,
            message_max_bytes=1_048_588,
            enable_idempotence=seed % 2 == 0,
            queue_buffering_max_kbytes=64_000,
        )
        sent = librdkafka.produce_all(sender, topic, (as_sent(r) for r in records(seed, base_time, share)))
        assert not sent.errors, sent.errors[0]
    expected = [[] for _ in range(PARTITIONS)]
    for seed, _ in enumerate(CODECS):
        for record in records(seed, base_time, share):
            expected[record.partition].append(record)
    check(
        librdkafka.read_to_end(bootstrap, topic, PARTITIONS, timeout=200, queued_max_messages_kbytes=64_000),
        expected,
    )
    assert [last_offset(bootstrap, topic, p) for p in range(PARTITIONS)] == [len(e) for e in expected]


def records(seed: int, base_time: int, size: int):
    return Traffic(seed, PARTITIONS, base_time).take(size)


def as_sent(record) -> dict:
    return {
        "partition": record.partition,
        "key": record.key,
        "value": record.value,
        "headers": record.headers,
        "timestamp": record.timestamp,
    }


def check(messages, expected):
    positions = [itertools.count() for _ in expected]
    for message in messages:
        partition, offset = message.partition(), message.offset()
        assert offset == next(positions[partition]), f"partition {partition}: offset {offset} out of turn"
        read = (message.key(), message.value(), message.headers() or [], message.timestamp()[1])
        assert read == expected[partition][offset].as_read(), f"partition {partition}, offset {offset} differs"
    assert [next(p) for p in positions] == [len(e) for e in expected], "records are missing at the end"


def last_offset(bootstrap: str, topic: str, partition: int) -> int:
    answer = kcat.run(bootstrap, "-C", "-t", topic, "-p", str(partition), "-o", "-1", "-e", "-q", "-f", "%o\n")
    return int(answer.stdout) + 1
