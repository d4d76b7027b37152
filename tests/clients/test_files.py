"""Kafka's own kafka-dump-log (DumpLogSegments) reads what the broker leaves on disk, after a stop and after kill -9."""

import re
from pathlib import Path

import pytest

from conftest import TARGET, broker_factory
from harness import java, librdkafka, topics

RECORDS = 6000


@pytest.fixture(params=["stopped", "killed"], scope="module")
def ended(request, shards, tmp_path_factory):
    """A broker that has written several segments, all four kinds of file among them, and no longer runs."""
    with broker_factory(shards, tmp_path_factory.mktemp("files")) as make:
        broker = make().start()
        broker.topic = topics.create(broker.kafka, segment_bytes=1_048_576)
        write_records(broker)
        broker.clean = request.param == "stopped"
        if broker.clean:
            broker.stop()
        else:
            broker.kill()
        yield broker


def write_records(broker):
    for settings in ({"compression_type": "none"}, {"compression_type": "zstd", "enable_idempotence": True}):
        sender = librdkafka.producer(broker.kafka, linger_ms=5, batch_size=20_000, **settings)
        records = [{"key": b"%d" % i, "value": bytes([i % 256]) * 1000} for i in range(RECORDS // 2)]
        librdkafka.produce_all(sender, broker.topic, records).check(RECORDS // 2)


def files(broker, suffix: str) -> list[Path]:
    return sorted(broker.partition_dir(broker.topic).glob(f"*{suffix}"))


def dump(paths: list[Path], *options: str) -> str:
    done = java.run(f"{java.TOOLS}.DumpLogSegments", *options, "--files", ",".join(map(str, paths)))
    assert done.returncode == 0 and "Exception" not in done.stderr, done.stderr
    return done.stdout


def test_segments(ended):
    logs = files(ended, ".log")
    assert len(logs) >= 3
    text = dump(logs, "--deep-iteration")
    assert "invalid" not in text and "isvalid: false" not in text
    batches = [
        (int(b), int(last))
        for b, last in re.findall(r"^baseOffset: (\d+) lastOffset: (\d+) .*isvalid: true", text, re.M)
    ]
    assert [b for b, _ in batches] == [0] + [last + 1 for _, last in batches[:-1]]
    assert batches[-1][1] == RECORDS - 1
    first_offsets = [int(n) for n in re.findall(r"Log starting offset: (\d+)", text)]
    assert first_offsets == [int(path.stem) for path in logs]


def test_indexes(ended):
    indexes = files(ended, ".index") + files(ended, ".timeindex")
    assert len(indexes) == 2 * len(files(ended, ".log"))
    if TARGET == "kafka" and not ended.clean:
        indexes = [p for p in indexes if p.stem != files(ended, ".log")[-1].stem]  # still preallocated
    text = dump(indexes)
    for complaint in ("Mismatches", "mismatch", "Non-secutive", "out of order", "do not belong"):
        assert complaint not in text, text[-2000:]
    assert len(re.findall(r"^offset: \d+ position: \d+", text, re.M)) > 100
    checked = dump(indexes, "--index-sanity-check")
    # The index of a segment that is still short has no entry: nothing to check.
    assert checked.count("passed sanity check.") + checked.count("is empty.") == len(indexes), checked


def test_producer_snapshots(ended):
    snapshots = files(ended, ".snapshot")
    assert snapshots
    text = dump(snapshots)
    if ended.clean:
        assert snapshots[-1].stem == f"{RECORDS:020d}"
        assert re.search(
            rf"producerId: \d+ producerEpoch: 0 .*lastSequence: {RECORDS // 2 - 1} lastOffset: {RECORDS - 1}", text
        )


def test_cluster_metadata(ended):
    logs = sorted((ended.data / "__cluster_metadata-0").glob("*.log"))
    text = dump(logs, "--cluster-metadata-decoder")
    assert "invalid" not in text
    assert re.search(rf'"type":"TOPIC_RECORD".*"name":"{ended.topic}"', text)
    assert '"type":"PARTITION_RECORD"' in text
    assert re.search(r'"type":"CONFIG_RECORD".*"name":"segment.bytes","value":"1048576"', text)


def test_layout(ended):
    properties = dict(
        line.split("=", 1)
        for line in (ended.data / "meta.properties").read_text().splitlines()
        if "=" in line and not line.startswith("#")
    )
    assert properties["version"] == "1" and properties["cluster.id"] and properties["node.id"]
    assert (ended.data / ".kafka_cleanshutdown").exists() == ended.clean
    directory = ended.partition_dir(ended.topic)
    assert re.fullmatch(r"version: 0\ntopic_id: [\w-]{22}\n?", (directory / "partition.metadata").read_text())
    epochs = (directory / "leader-epoch-checkpoint").read_text().splitlines()
    assert epochs[:3] == ["0", "1", "0 0"]
    if ended.clean:
        recovery = (ended.data / "recovery-point-offset-checkpoint").read_text().splitlines()
        assert recovery[0] == "0" and f"{ended.topic} 0 {RECORDS}" in recovery
