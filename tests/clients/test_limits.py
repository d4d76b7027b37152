"""Limits that an operator sets, and a disk that fills up: a clear answer or a closed connection, and everybody else is served."""

import socket
import subprocess
import time
import urllib.request

import pytest

from harness import librdkafka, topics, wire
from harness.process import Process, wait_until
from test_admin import BROKER, DELETE, INVALID_CONFIG, SET, alter

pytestmark = pytest.mark.millrace_only(reason="Millrace's limits")


@pytest.fixture
def served(own_broker, tmp_path):
    """A function that serves with these settings besides the usual ones, and returns the broker."""
    from test_operations import _connects, serve

    def start(**settings):
        broker = own_broker()
        usual = {
            "node.id": 1,
            "listeners": f"PLAINTEXT://{broker.kafka}",
            "grpc.listeners": broker.grpc,
            "http.listeners": broker.http,
            "log.dirs": broker.data,
            "shards": broker.shards,
        }
        lines = {**usual, **{name.replace("_", "."): value for name, value in settings.items()}}
        config = tmp_path / "server.properties"
        config.write_text("".join(f"{name}={value}\n" for name, value in lines.items()))
        broker.process = Process(serve(config), broker.log)
        broker.process.wait_ready(lambda: _connects(broker.http), 20)
        return broker

    return start


def is_served(connection: wire.Connection) -> bool:
    return connection.ask(wire.api_versions_request(), 3).error_code == wire.NONE


def is_refused(address: str) -> bool:
    with wire.Connection(address) as connection:
        try:
            return not is_served(connection)
        except wire.Closed:
            return True


@pytest.mark.parametrize("setting", ["max_connections", "max_connections_per_ip"])
def test_connections(served, setting):
    broker = served(**{setting: 3})
    held = [wire.Connection(broker.kafka) for _ in range(3)]
    assert all(is_served(connection) for connection in held)
    assert is_refused(broker.kafka)
    assert all(is_served(connection) for connection in held)
    held.pop().close()
    wait_until(lambda: not is_refused(broker.kafka), 10, "a place that was given back")
    metrics = urllib.request.urlopen(f"http://{broker.http}/metrics", timeout=10).read().decode()
    assert any(
        line.startswith("millrace_connections_refused_total") and 'port="kafka"' in line and not line.endswith(" 0")
        for line in metrics.splitlines()
    )
    for connection in held:
        connection.close()


@pytest.mark.parametrize("setting", ["max.connections", "max.connections.per.ip"])
def test_connections_are_limited_while_the_broker_runs(served, setting):
    broker = served()
    with wire.Connection(broker.kafka) as one, wire.Connection(broker.kafka) as two:
        assert is_served(one) and is_served(two)
        assert alter(one, BROKER, "", (setting, SET, "2")).error_code == wire.NONE
        wait_until(lambda: is_refused(broker.kafka), 10, "the new limit")
        assert is_served(one) and is_served(two), "those that are open stay"
        assert alter(one, BROKER, "", (setting, DELETE, None)).error_code == wire.NONE
        wait_until(lambda: not is_refused(broker.kafka), 10, "the old limit")
        assert alter(one, BROKER, "", (setting, SET, "none")).error_code == INVALID_CONFIG


def test_idle_connections_are_closed(served):
    broker = served(connections_max_idle_ms=1000)
    with wire.Connection(broker.kafka) as silent, wire.Connection(broker.kafka) as busy:
        assert is_served(silent)
        began = time.monotonic()
        while time.monotonic() - began < 3:
            assert is_served(busy)
            time.sleep(0.2)
        silent.expect_close(5)
        assert is_served(busy)


def test_requests_have_a_largest_size(served):
    broker = served(socket_request_max_bytes=65536)
    name = topics.create(broker.kafka)
    with wire.Connection(broker.kafka) as connection:
        connection.send(wire.produce_request(name, wire.batch(b"x" * 70_000)), 9)
        connection.expect_close()
    with wire.Connection(broker.kafka) as connection:
        assert is_served(connection)


def test_a_slow_reader_is_dropped_and_others_are_served(broker, topic):
    """A client that asks for much and reads nothing costs a bounded amount of memory; others do not notice."""
    sender = librdkafka.producer(broker.kafka)
    librdkafka.produce_all(sender, topic, [{"value": b"x" * 500_000} for _ in range(40)]).check(40)
    with wire.Connection(broker.kafka) as slow:
        slow.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        for _ in range(50):
            slow.send(wire.fetch_request(topic, 0, max_bytes=20_000_000), 11)
        with wire.Connection(broker.kafka) as honest:
            began = time.monotonic()
            for _ in range(50):
                assert is_served(honest)
            assert time.monotonic() - began < 10


@pytest.fixture
def small_disk(tmp_path):
    """A file system of 48 MiB, in memory."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=48m", "tmpfs", str(disk)], capture_output=True)
    if mounted.returncode:
        pytest.skip(f"cannot mount a small file system here: {mounted.stderr.decode().strip()}")
    yield disk
    subprocess.run(["umount", "-l", str(disk)], check=True)


def test_a_full_disk_and_its_end(own_broker, small_disk):
    """Producers are told, consumers go on, nothing acknowledged is lost, and writing resumes by itself."""
    broker = own_broker()
    broker.data = small_disk / "data"
    broker.start()
    name = topics.create(broker.kafka)
    filler = small_disk / "filler"
    with wire.Connection(broker.kafka) as connection:

        def produce(value: bytes):
            answer = connection.ask(wire.produce_request(name, wire.batch(value)), 9)
            return answer.responses[0].partition_responses[0]

        first = produce(b"before")
        assert first.error_code == wire.NONE
        try:
            with open(filler, "wb") as file:
                while True:
                    file.write(b"\0" * 65536)
                    file.flush()
        except OSError:
            pass
        acknowledged, refused = 1, None
        for _ in range(200):
            answer = produce(b"y" * 100_000)
            if answer.error_code != wire.NONE:
                refused = answer.error_code
                break
            acknowledged += 1
        assert refused == 56, refused  # KAFKA_STORAGE_ERROR: retriable
        found = connection.ask(wire.fetch_request(name, 0), 11).responses[0].partitions[0]
        assert found.error_code == wire.NONE and wire.batches(found.records)
        filler.unlink()
        wait_until(lambda: produce(b"after").error_code == wire.NONE, 20, "writing to resume")
    values = [m.value() for m in librdkafka.read_to_end(broker.kafka, name)]
    assert values[0] == b"before" and values[-1] == b"after"
    assert len(values) == acknowledged + 1
    broker.kill()
    broker.start()
    assert [m.value() for m in librdkafka.read_to_end(broker.kafka, name)] == values
