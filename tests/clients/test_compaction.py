"""Of the records of a key the last one stays: every reader ends up with the same values, offsets never change, and tombstones go in the end."""

import random
import re
import threading
import time

import pytest
from kafka import KafkaConsumer, TopicPartition

from harness import grpc_client, java, kcat, librdkafka, topics, wire
from harness.process import wait_until
from test_admin import SET, TOPIC, alter
from test_files import dump

SEGMENT = 1 << 20
CODECS = ["none", "gzip", "snappy", "lz4", "zstd"]
SETTINGS = {"log.cleaner.backoff.ms": "100", "log.segment.delete.delay.ms": "100"}
COMPACT = {"cleanup_policy": "compact", "segment_bytes": SEGMENT, "min_cleanable_dirty_ratio": "0.01"}
KEYS = 300
INVALID_RECORD = 87


@pytest.fixture
def compacting(own_broker):
    return own_broker(properties=SETTINGS).start()


def write(bootstrap: str, name: str, rounds: int, tombstones: bool = False, seed: int = 0) -> list:
    """Every key again and again, with every codec; the records in the order of their offsets."""
    rng, written = random.Random(seed), []
    for round_ in range(rounds):
        settings = {"compression_type": CODECS[round_ % 5], "enable_idempotence": round_ % 2 == 0}
        sender = librdkafka.producer(bootstrap, linger_ms=5, **settings)
        records = []
        for key in rng.sample(range(KEYS), KEYS):
            gone = tombstones and key % 10 == 0
            value = None if gone else bytes(rng.randrange(256) for _ in range(20)) * rng.randrange(10, 40)
            records.append({"key": b"key-%d" % key, "value": value})
        librdkafka.produce_all(sender, name, records).check(len(records))
        written += [(record["key"], record["value"]) for record in records]
    return written


def filler(bootstrap: str, name: str):
    """Enough to leave what came before out of the active segment. Keys of their own."""
    sender = librdkafka.producer(bootstrap)
    records = [{"key": b"filler-%d" % i, "value": random.randbytes(100_000)} for i in range(12)]
    librdkafka.produce_all(sender, name, records).check(len(records))


def read(bootstrap: str, name: str) -> list:
    return [(m.offset(), m.key(), m.value()) for m in librdkafka.read_to_end(bootstrap, name, 1)]


def latest(records) -> dict:
    """What a reader ends up with."""
    table = {}
    for key, value in records:
        table[key] = value
    return {key: value for key, value in table.items() if value is not None and not key.startswith(b"filler")}


def compacted(bootstrap: str, name: str, most: int) -> list:
    found = []

    def few() -> bool:
        found[:] = [r for r in read(bootstrap, name) if not r[1].startswith(b"filler")]
        return len(found) <= most

    wait_until(few, 60, f"at most {most} records to be left", interval=0.5)
    return found


def test_the_last_value_of_every_key_stays_where_it_was(compacting):
    name = topics.create(compacting.kafka, **COMPACT)
    written = write(compacting.kafka, name, 20)
    filler(compacting.kafka, name)
    left = compacted(compacting.kafka, name, KEYS)
    assert [(written[o][0], written[o][1]) for o, _, _ in left] == [(key, value) for _, key, value in left]
    assert latest((key, value) for _, key, value in left) == latest(written)
    assert {key for _, key, _ in left} == {b"key-%d" % key for key in range(KEYS)}
    compacting.restart()
    assert [r for r in read(compacting.kafka, name) if not r[1].startswith(b"filler")] == left


@pytest.mark.millrace_only(reason="it is about batches without records, and about gRPC")
def test_every_reader_gets_along_with_what_is_left(compacting):
    name = topics.create(compacting.kafka, **COMPACT)
    expected = latest(write(compacting.kafka, name, 10))
    filler(compacting.kafka, name)
    compacted(compacting.kafka, name, KEYS)
    everything = read(compacting.kafka, name)
    count = len(everything)

    partition = TopicPartition(name, 0)
    consumer = KafkaConsumer(bootstrap_servers=compacting.kafka, consumer_timeout_ms=20_000)
    consumer.assign([partition])
    consumer.seek_to_beginning(partition)
    found = []
    while len(found) < count:
        for records in consumer.poll(timeout_ms=5000).values():
            found += [(r.offset, r.key, r.value) for r in records]
    consumer.close()
    assert found == everything

    done = kcat.run(compacting.kafka, "-C", "-t", name, "-o", "beginning", "-e", "-q", "-f", "%o %k\\n")
    assert done.stdout.splitlines() == [b"%d %s" % (offset, key) for offset, key, _ in everything]
    done = java.run(
        f"{java.TOOLS}.consumer.ConsoleConsumer",
        *("--bootstrap-server", compacting.kafka, "--topic", name, "--partition", "0", "--offset", "earliest"),
        *("--max-messages", str(count), "--timeout-ms", "20000"),
        *("--formatter-property", "print.key=true", "--formatter-property", "print.offset=true"),
        *("--formatter-property", "print.value=false"),
    )
    assert f"Processed a total of {count} messages" in done.stderr, done.stderr
    shown = [tuple(line.split("\t")) for line in done.stdout.splitlines()]
    assert shown == [(f"Offset:{offset}", key.decode()) for offset, key, _ in everything]

    with grpc_client.Client(compacting.grpc) as client:
        consumption = client.consume(grpc_client.beginning(name))
        consumption.started()
        records = consumption.records(count)
        consumption.cancel()
    values = [(r.offset, r.key, r.value if r.HasField("value") else None) for _, r in records]
    assert values == everything
    assert latest((key, value) for _, key, value in everything) == expected

    # From the middle of what is gone, too.
    with wire.Connection(compacting.kafka) as connection:
        for offset in random.Random(1).sample(range(everything[-1][0]), 20):
            answer = connection.ask(wire.fetch_request(name, offset), 12).responses[0].partitions[0]
            assert answer.error_code == wire.NONE
            last = [b.base_offset + b.last_offset_delta for b in wire.batches(answer.records)]
            assert last and last[0] >= offset


@pytest.mark.millrace_only(reason="Kafka leaves gaps, and its tool needs its broker stopped")
def test_kafkas_own_tool_reads_the_files(compacting):
    name = topics.create(compacting.kafka, **COMPACT)
    write(compacting.kafka, name, 10, tombstones=True)
    filler(compacting.kafka, name)
    compacted(compacting.kafka, name, KEYS)
    compacting.stop()
    directory = compacting.partition_dir(name)
    logs = sorted(directory.glob("*.log"))
    text = dump(logs, "--deep-iteration")
    assert "isvalid: false" not in text
    batches = re.findall(r"^baseOffset: (\d+) lastOffset: (\d+) count: (\d+) .*isvalid: true", text, re.M)
    ranges = [(int(first), int(last)) for first, last, _ in batches]
    assert [first for first, _ in ranges] == [0] + [last + 1 for _, last in ranges[:-1]], "there is no gap"
    assert any(count == "0" for _, _, count in batches)
    assert "deleteHorizonMs: OptionalLong[" in text
    text = dump(sorted(directory.glob("*.index")) + sorted(directory.glob("*.timeindex")))
    for complaint in ("Mismatches", "mismatch", "Non-secutive", "out of order", "do not belong"):
        assert complaint not in text, text[-2000:]
    lines = (compacting.data / "cleaner-offset-checkpoint").read_text().splitlines()
    assert lines[:1] == ["0"] and any(re.fullmatch(rf"{name} 0 \d+", line) for line in lines)


def test_tombstones_go_when_their_time_is_over(compacting):
    name = topics.create(compacting.kafka, delete_retention_ms=1000, **COMPACT)
    written = write(compacting.kafka, name, 3) + write(compacting.kafka, name, 2, tombstones=True, seed=1)
    filler(compacting.kafka, name)
    left = compacted(compacting.kafka, name, KEYS)
    tombstones = [key for _, key, value in left if value is None]
    assert latest((key, value) for _, key, value in left) == latest(written)
    # Seen by the first pass, dropped by one that comes later than a second after it.
    time.sleep(1.1)
    filler(compacting.kafka, name)
    left = compacted(compacting.kafka, name, KEYS - KEYS // 10)
    assert all(value is not None for _, _, value in left) and len(tombstones) <= KEYS // 10
    assert latest((key, value) for _, key, value in left) == latest(written)


def test_records_without_a_key_are_refused(compacting):
    name = topics.create(compacting.kafka, cleanup_policy="compact,delete")
    with wire.Connection(compacting.kafka) as connection:
        request = wire.produce_request(name, wire.batch(b"no key"))
        answer = connection.ask(request, 9).responses[0].partition_responses[0]
        assert answer.error_code == INVALID_RECORD
        assert [error.batch_index for error in answer.record_errors] == [0]
        assert alter(connection, TOPIC, name, ("cleanup.policy", SET, "delete")).error_code == wire.NONE
        answer = connection.ask(request, 9).responses[0].partition_responses[0]
        assert answer.error_code == wire.NONE


def test_compacting_begins_when_the_topic_says_so(compacting):
    settings = {**COMPACT, "cleanup_policy": "delete"}
    name = topics.create(compacting.kafka, **settings)
    written = write(compacting.kafka, name, 10)
    filler(compacting.kafka, name)
    time.sleep(0.5)
    assert len(read(compacting.kafka, name)) == 10 * KEYS + 12
    with wire.Connection(compacting.kafka) as connection:
        assert alter(connection, TOPIC, name, ("cleanup.policy", SET, "compact")).error_code == wire.NONE
    left = compacted(compacting.kafka, name, KEYS)
    assert latest((key, value) for _, key, value in left) == latest(written)


@pytest.mark.millrace_only(reason="it is about ours")
def test_killed_while_it_compacts(compacting):
    name = topics.create(compacting.kafka, **COMPACT)
    written = []
    for round_ in range(6):
        written += write(compacting.kafka, name, 4, seed=round_)
        if round_ == 0:
            filler(compacting.kafka, name)
        # At another moment each time.
        time.sleep(0.02 * round_)
        compacting.kill()
        compacting.start()
        assert latest((key, value) for _, key, value in read(compacting.kafka, name)) == latest(written)
    filler(compacting.kafka, name)
    left = compacted(compacting.kafka, name, KEYS)
    assert latest((key, value) for _, key, value in left) == latest(written)


@pytest.mark.millrace_only(reason="it is about ours")
def test_readers_and_writers_go_on_meanwhile(compacting):
    name = topics.create(compacting.kafka, **COMPACT)
    stop, wrong = threading.Event(), []

    def look():
        while not stop.is_set():
            offsets = [offset for offset, _, _ in read(compacting.kafka, name)]
            if offsets != sorted(set(offsets)):
                wrong.append(offsets)

    reader = threading.Thread(target=look)
    reader.start()
    try:
        written = [record for seed in range(8) for record in write(compacting.kafka, name, 5, seed=seed)]
    finally:
        stop.set()
        reader.join()
    assert not wrong
    filler(compacting.kafka, name)
    left = compacted(compacting.kafka, name, KEYS)
    assert latest((key, value) for _, key, value in left) == latest(written)
