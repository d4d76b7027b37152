"""Starting, stopping, refusing and being watched: what an operator meets."""

import os
import re
import signal
import socket
import time
import urllib.error
import urllib.request

import pytest

from harness import cli, librdkafka, topics, wire
from harness.process import Process, free_ports

pytestmark = pytest.mark.millrace_only(reason="about the millrace process")


def get(address: str, path: str) -> tuple[int, str]:
    try:
        with urllib.request.urlopen(f"http://{address}{path}", timeout=10) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as e:
        return e.code, e.read().decode()


def test_says_where_it_listens(own_broker):
    broker = own_broker().start()
    said = broker.process.tail()
    for address in (broker.kafka, broker.grpc, broker.http):
        assert address in said
    assert re.search(rf"^kafka {re.escape(broker.kafka)}$", said, re.M)


def test_ready_quickly(own_broker):
    """From start to served, with a margin for a busy machine on the 200 ms that an idle one needs."""

    def start() -> float:
        broker = own_broker()
        began = time.monotonic()
        broker.start()
        with wire.Connection(broker.kafka) as connection:
            connection.ask(wire.api_versions_request(), 3)
        took = time.monotonic() - began
        assert broker.stop() == 0
        return took

    assert min(start() for _ in range(3)) < 1.0


@pytest.mark.parametrize("stop_signal", [signal.SIGTERM, signal.SIGINT])
def test_clean_stop(own_broker, stop_signal):
    broker = own_broker().start()
    name = topics.create(broker.kafka)
    librdkafka.produce_all(librdkafka.producer(broker.kafka), name, [{"value": b"kept"}]).check(1)
    marker = broker.data / ".kafka_cleanshutdown"
    assert not marker.exists()
    os.kill(broker.process.pid, stop_signal)
    assert broker.process.popen.wait(20) == 0
    assert marker.exists()
    broker.start()
    assert not marker.exists()
    assert [m.value() for m in librdkafka.read_to_end(broker.kafka, name)] == [b"kept"]


def test_stop_answers_what_is_in_flight(own_broker):
    broker = own_broker().start()
    name = topics.create(broker.kafka)
    sender = librdkafka.producer(broker.kafka, linger_ms=0)
    reports = librdkafka.Deliveries()
    for i in range(200):
        sender.produce(name, b"%d" % i, on_delivery=reports)
    sender.flush(10)
    with wire.Connection(broker.kafka) as connection:
        waiting = wire.fetch_request(name, 200, max_wait_ms=60_000)
        connection.send(waiting, 11)
        began = time.monotonic()
        assert broker.stop() == 0
        assert time.monotonic() - began < 15  # a fetch that waits does not hold a stop up
    reports.check(200)


def test_topics_and_settings_survive(own_broker):
    broker = own_broker().start()
    name = topics.create(broker.kafka, 3, segment_ms=3600000)
    identity = topics.topic_id(broker.kafka, name)
    for end in (broker.stop, broker.kill):
        end()
        broker.start()
        assert topics.topic_id(broker.kafka, name) == identity
        described = cli.ok("topic", "describe", name, "--server", broker.grpc)
        assert "segment.ms" in described and "3600000" in described


def test_shards_may_change_between_starts(own_broker):
    broker = own_broker().start()
    name = topics.create(broker.kafka, 4)
    sender = librdkafka.producer(broker.kafka)
    librdkafka.produce_all(sender, name, [{"value": b"%d" % i, "partition": i % 4} for i in range(100)]).check(100)
    broker.stop()
    broker.shards = 3 - broker.shards
    broker.start()
    read = librdkafka.read_to_end(broker.kafka, name, 4)
    assert sorted(int(m.value()) for m in read) == list(range(100))


def refused(broker) -> str:
    """Starts a broker that must not start, and returns what it said."""
    process = Process(broker.argv(), broker.log)
    try:
        status = process.popen.wait(15)
    finally:
        process.kill()
    said = process.tail()
    assert status not in (0, 101) and status > 0, said
    assert "panicked" not in said
    return said


def test_second_broker_on_the_same_data(own_broker):
    first, second = own_broker().start(), own_broker()
    second.data = first.data
    said = refused(second)
    assert str(first.data) in said
    with wire.Connection(first.kafka) as connection:
        assert connection.ask(wire.api_versions_request(), 3).error_code == wire.NONE


@pytest.mark.parametrize("port", ["kafka", "grpc", "http"])
def test_second_broker_on_the_same_port(own_broker, port):
    first, second = own_broker().start(), own_broker()
    setattr(second, port, getattr(first, port))
    assert getattr(first, port) in refused(second)


def test_data_of_a_newer_format_is_refused(own_broker):
    broker = own_broker().start()
    broker.stop()
    properties = broker.data / "meta.properties"
    properties.write_text(re.sub(r"^version=1$", "version=99", properties.read_text(), flags=re.M))
    said = refused(broker)
    assert "99" in said and "meta.properties" in said


def test_data_directory_that_can_not_be_made(own_broker, tmp_path):
    broker = own_broker()
    (tmp_path / "file").write_text("")
    broker.data = tmp_path / "file"
    assert str(broker.data) in refused(broker)


def test_health_and_metrics(broker, topic):
    assert get(broker.http, "/health")[0] == 200
    librdkafka.produce_all(librdkafka.producer(broker.kafka), topic, [{"value": b"counted"}]).check(1)
    librdkafka.read_to_end(broker.kafka, topic)
    status, text = get(broker.http, "/metrics")
    assert status == 200
    samples = {}
    for line in text.splitlines():
        if line and not line.startswith("#"):
            sample = re.fullmatch(r"(millrace_\w+|process_\w+)(\{[^}]*\})? (-?[\d.e+-]+|NaN|\+Inf)", line)
            assert sample, f"not Prometheus text: {line}"
            samples.setdefault(sample[1], []).append((sample[2] or "", float(sample[3])))
    assert sum(v for _, v in samples["millrace_appended_records_total"]) >= 1
    assert sum(v for _, v in samples["millrace_syncs_total"]) >= 1
    assert len(samples["millrace_partitions"]) == broker.shards
    assert any('api="Produce"' in labels for labels, _ in samples["millrace_request_seconds_count"])
    assert get(broker.http, "/no-such-page")[0] == 404


def test_log_dump_and_verify(own_broker):
    broker = own_broker().start()
    name = topics.create(broker.kafka)
    sender = librdkafka.producer(broker.kafka, compression_type="zstd", linger_ms=20)
    librdkafka.produce_all(sender, name, [{"value": b"%d" % i} for i in range(1000)]).check(1000)
    broker.stop()
    directory = broker.partition_dir(name)
    assert "zstd" in cli.ok("log", "dump", str(directory))
    cli.ok("log", "verify", str(directory))
    cli.ok("log", "verify", str(broker.data))
    segment = directory / f"{0:020d}.log"
    damaged = bytearray(segment.read_bytes())
    damaged[len(damaged) // 2] ^= 0xFF
    segment.write_bytes(damaged)
    assert (
        segment.name
        in cli.fails("log", "verify", str(directory)) + cli.run("log", "verify", str(directory)).stdout.decode()
    )


def test_serve_reads_kafkas_names(own_broker, tmp_path):
    """The properties file says it all; ports are fixed, as in production."""
    kafka, grpc, http = (f"127.0.0.1:{p}" for p in free_ports(3))
    broker = own_broker()
    config = tmp_path / "server.properties"
    config.write_text(
        f"# comment\nnode.id=7\nlisteners=PLAINTEXT://{kafka}\ngrpc.listeners={grpc}\n"
        f"http.listeners={http}\nlog.dirs={broker.data}\nnum.partitions=3\nshards={broker.shards}\n"
        "auto.create.topics.enable=true\nnum.io.threads=8\n"
    )
    broker.process = Process(serve(config), broker.log)
    broker.process.wait_ready(lambda: _connects(kafka), 20)
    with wire.Connection(kafka) as connection:
        name = topics.unique_name("served")
        connection.ask(wire.metadata_request([name], auto_create=True), 9)
        assert [b.node_id for b in connection.metadata().brokers] == [7]
    topics.wait_for_leaders(kafka, name, 3)
    assert "num.io.threads" in broker.process.tail(100_000)  # a warning: it has no meaning here
    assert broker.stop() == 0


@pytest.mark.parametrize(
    "line, named",
    [
        ("no.such.setting=1", "no.such.setting"),
        ("num.partitions=many", "num.partitions"),
        ("listeners=PLAINTEXT://nowhere", "listeners"),
    ],
)
def test_serve_refuses_settings_by_name(own_broker, tmp_path, line, named):
    config = tmp_path / "server.properties"
    config.write_text(f"node.id=1\nlog.dirs={tmp_path / 'data'}\n{line}\n")
    said = cli.fails("serve", "--config", str(config))
    assert named in said and "3" in said  # the line it stands in


def serve(config) -> list[str]:
    return [str(cli.millrace_binary()), "serve", "--config", str(config)]


def _connects(address: str) -> bool:
    host, port = address.split(":")
    try:
        socket.create_connection((host, int(port)), 1).close()
        return True
    except OSError:
        return False
