"""Several log.dirs: where partitions go, and what one of them that fails takes with it."""

import shutil

import pytest
from kafka.protocol.admin import AlterReplicaLogDirsRequest, DescribeLogDirsRequest

from conftest import TARGET
from harness import topics, wire
from harness.process import wait_until

STORAGE_ERROR = 56
PARTITIONS = 6


@pytest.fixture
def broker(own_broker, tmp_path):
    """A broker with the directories `broker.dirs`, and a topic with two partitions in each, a record in every one."""
    dirs = [tmp_path / name for name in ("a", "b", "c")]
    broker = own_broker(properties={"log.dirs": ",".join(map(str, dirs))}).start()
    broker.dirs = dirs
    broker.topic = topics.create(broker.kafka, PARTITIONS, segment_bytes=1 << 20)
    assert produce(broker) == [wire.NONE] * PARTITIONS
    broker.homes = homes(broker)
    return broker


def produce(broker, value: bytes = b"x", topic: str | None = None) -> list[int]:
    """Writes a record to every partition; the error codes."""
    codes = []
    with wire.Connection(broker.kafka) as connection:
        for partition in range(PARTITIONS):
            batch = wire.batch(value)
            request = wire.produce_request(topic or broker.topic, batch, partition=partition, acks=-1)
            answer = connection.ask(request, 9)
            codes.append(answer.responses[0].partition_responses[0].error_code)
    return codes


def described(broker) -> dict:
    """What each directory has: its error code, and its partitions of the topic."""
    with wire.Connection(broker.kafka) as connection:
        results = connection.ask(DescribeLogDirsRequest(topics=None), 4).results
    held = lambda result: {p.partition_index for t in result.topics if t.name == broker.topic for p in t.partitions}  # noqa: E731
    return {result.log_dir: (result.error_code, held(result)) for result in results}


def homes(broker) -> dict:
    """The directory of each partition, by what is on the disks."""
    where = {p: [d for d in broker.dirs if (d / f"{broker.topic}-{p}").is_dir()] for p in range(PARTITIONS)}
    assert all(len(found) == 1 for found in where.values()), where
    return {partition: found[0] for partition, found in where.items()}


def held(broker, directory) -> set[int]:
    return {partition for partition, home in broker.homes.items() if home == directory}


def read(broker, partition: int) -> list[bytes]:
    """All values, batch by batch, each of one record."""
    values: list[bytes] = []
    with wire.Connection(broker.kafka) as connection:
        while True:
            request = wire.fetch_request(broker.topic, len(values), partition, max_wait_ms=0)
            found = connection.ask(request, 11).responses[0].partitions[0]
            assert found.error_code == wire.NONE
            batches = wire.batches(found.records)
            if not batches:
                assert len(values) == found.high_watermark
                return values
            values += [record.value for batch in batches for record in batch]


def test_partitions_are_spread(broker):
    assert sorted(map(len, (held(broker, directory) for directory in broker.dirs))) == [2, 2, 2]
    assert described(broker) == {str(d): (wire.NONE, held(broker, d)) for d in broker.dirs}
    for directory in broker.dirs:
        assert (directory / "meta.properties").exists()
    broker.stop()
    broker.start()
    assert homes(broker) == broker.homes
    assert all(read(broker, partition) == [b"x"] for partition in range(PARTITIONS))


# Kafka, killed before it has told the controller where a log is, makes it anew elsewhere.
@pytest.mark.parametrize("how", ["stop"] if TARGET == "kafka" else ["stop", "kill"])
def test_one_that_is_missing_at_the_start(broker, how):
    """Its partitions are offline, and are not made anew anywhere; the others go on. Back again, they are there."""
    lost = broker.dirs[1]
    broker.stop() if how == "stop" else broker.kill()
    lost.rename(lost.with_name("elsewhere"))
    lost.write_text("not a directory")
    broker.start()
    codes = produce(broker, b"y")
    offline = {partition for partition, code in enumerate(codes) if code != wire.NONE}
    assert offline == held(broker, lost), codes
    assert described(broker)[str(lost)][0] == STORAGE_ERROR
    other = topics.create(broker.kafka, PARTITIONS)
    assert produce(broker, topic=other) == [wire.NONE] * PARTITIONS, "new partitions go to those that work"
    broker.stop() if how == "stop" else broker.kill()
    lost.unlink()
    lost.with_name("elsewhere").rename(lost)
    broker.start()
    assert homes(broker) == broker.homes
    for partition in range(PARTITIONS):
        assert read(broker, partition) == ([b"x"] if partition in offline else [b"x", b"y"])


@pytest.mark.millrace_only(reason="Kafka takes a directory offline with the first of its logs that fails")
def test_one_that_fails_while_the_broker_runs(broker):
    """Without their directory logs cannot begin another segment: those of its logs that try are offline, no others."""
    lost = broker.dirs[2]
    lost.rename(lost.with_name("elsewhere"))
    written = 0

    def fails() -> bool:
        nonlocal written
        codes = produce(broker, b"z" * 200_000)
        written += 1
        assert all(code == wire.NONE or partition in held(broker, lost) for partition, code in enumerate(codes))
        return {p for p, code in enumerate(codes) if code == STORAGE_ERROR} == held(broker, lost)

    wait_until(fails, timeout=60, what="the logs of the lost directory are offline")
    assert broker.stop() == 1, "not all was closed"
    lost.with_name("elsewhere").rename(lost)
    for directory in broker.dirs:
        marker = (directory / ".kafka_cleanshutdown").exists()
        assert marker == (directory != lost), "those that work need no recovery"
    broker.start()
    for partition in range(PARTITIONS):
        values = read(broker, partition)
        assert len(values) == 1 + written if partition not in held(broker, lost) else 1 < len(values) <= 1 + written
    assert produce(broker) == [wire.NONE] * PARTITIONS


@pytest.mark.millrace_only(reason="Kafka moves it while it runs")
def test_a_log_is_not_moved_while_the_broker_runs(broker):
    move = AlterReplicaLogDirsRequest.AlterReplicaLogDir
    topic = move.AlterReplicaLogDirTopic(name=broker.topic, partitions=[0])
    with wire.Connection(broker.kafka) as connection:
        for directory in broker.dirs:
            request = AlterReplicaLogDirsRequest(dirs=[move(path=str(directory), topics=[topic])])
            (result,) = connection.ask(request, 2).results
            code = result.partitions[0].error_code
            assert code == (wire.NONE if directory == broker.homes[0] else 42)


@pytest.mark.parametrize("how", ["stop", "kill"])
def test_moved_by_hand_while_the_broker_is_down(broker, how):
    """It is where it is found, and stays so when its former directory is what fails."""
    source = broker.homes[0]
    target = next(directory for directory in broker.dirs[1:] if directory != source)
    broker.stop() if how == "stop" else broker.kill()
    log = f"{broker.topic}-0"
    shutil.move(source / log, target / log)
    broker.start()
    assert 0 in described(broker)[str(target)][1]
    assert read(broker, 0) == [b"x"]
    assert produce(broker, b"y") == [wire.NONE] * PARTITIONS
    broker.kill()
    broker.start()
    assert read(broker, 0) == [b"x", b"y"]
    assert homes(broker)[0] == target
