"""A damaged partition, made whole again by its operator: skipped or cut off, with what was removed kept."""

import pytest

from harness import cli, librdkafka, topics, wire

pytestmark = pytest.mark.millrace_only(reason="it is about our files and our command")
BATCHES, RECORDS = 6, 10
DAMAGED = 3


@pytest.fixture
def damaged(own_broker):
    """A stopped broker with a partition of which one batch has a flipped bit."""
    broker = own_broker().start()
    broker.topic = topics.create(broker.kafka)
    with wire.Connection(broker.kafka) as connection:
        for n in range(BATCHES):
            batch = wire.batch(*[b"%d-%d" % (n, r) for r in range(RECORDS)])
            answer = connection.ask(wire.produce_request(broker.topic, batch), 9)
            assert answer.responses[0].partition_responses[0].error_code == wire.NONE
    broker.stop()
    broker.directory = broker.partition_dir(broker.topic)
    path = broker.directory / f"{0:020d}.log"
    content = bytearray(path.read_bytes())
    content[len(content) // BATCHES * DAMAGED + 90] ^= 1
    path.write_bytes(content)
    return broker


def values(broker) -> list[tuple[int, bytes]]:
    return [(m.offset(), m.value()) for m in librdkafka.read_to_end(broker.kafka, broker.topic, 1, check_crcs=True)]


def expected(*batches: int) -> list[tuple[int, bytes]]:
    return [(n * RECORDS + r, b"%d-%d" % (n, r)) for n in batches for r in range(RECORDS)]


def repair(broker, *args: str):
    return cli.run("log", "repair", str(broker.directory), *args)


def test_it_says_what_is_damaged_and_changes_nothing(damaged):
    before = {path.name: path.read_bytes() for path in damaged.directory.iterdir()}
    assert cli.run("log", "verify", str(damaged.directory)).returncode == 1
    said = repair(damaged)
    assert said.returncode == 1
    assert f"offsets {DAMAGED * RECORDS} to {DAMAGED * RECORDS + RECORDS - 1}" in said.stdout.decode()
    assert b"--skip" in said.stdout and b"--truncate" in said.stdout
    assert {path.name: path.read_bytes() for path in damaged.directory.iterdir()} == before


def test_skip(damaged):
    done = repair(damaged, "--skip")
    assert done.returncode == 0, done.stderr
    cli.ok("log", "verify", str(damaged.directory))
    assert [p.name for p in damaged.directory.glob("*.cut-*")] == [f"{0:020d}.log.cut-{DAMAGED * RECORDS}"]
    damaged.start()
    assert values(damaged) == expected(*[n for n in range(BATCHES) if n != DAMAGED])
    with wire.Connection(damaged.kafka) as connection:
        answer = connection.ask(wire.produce_request(damaged.topic, wire.batch(b"more")), 9)
        assert answer.responses[0].partition_responses[0].base_offset == BATCHES * RECORDS
    refused = repair(damaged, "--skip")
    assert refused.returncode == 2 and b"a broker is running" in refused.stderr


@pytest.mark.parametrize("how", ["start", "kill"])
def test_truncate(damaged, how):
    done = repair(damaged, "--truncate")
    assert done.returncode == 0, done.stderr
    damaged.start()
    if how == "kill":
        damaged.kill()
        damaged.start()
    assert values(damaged) == expected(*range(DAMAGED))
    with wire.Connection(damaged.kafka) as connection:
        answer = connection.ask(wire.produce_request(damaged.topic, wire.batch(b"more")), 9)
        assert answer.responses[0].partition_responses[0].base_offset == DAMAGED * RECORDS
    assert "damaged" not in damaged.process.tail() and "missing" not in damaged.process.tail()
