"""The `millrace` command: topics, produce, consume, help and exit statuses."""

import json

import pytest

from harness import cli, kcat, librdkafka, topics, wire

pytestmark = pytest.mark.millrace_only(reason="the millrace command speaks gRPC")


@pytest.fixture
def server(broker) -> list[str]:
    return ["--server", broker.grpc]


def consume(server, topic: str, *args: str) -> list[dict]:
    """Reads with JSON output."""
    text = cli.ok("consume", topic, "--output", "json", *args, *server)
    return [json.loads(line) for line in text.splitlines()]


def test_topic_life(server, bootstrap):
    name = topics.unique_name("cli")
    assert name in cli.ok(
        "topic", "create", name, "--partitions", "3", "--config", "segment.ms=3600000", *server
    )
    assert name in cli.ok("topic", "list", *server).split()
    described = cli.ok("topic", "describe", name, *server)
    assert name in described and "segment.ms" in described and "3600000" in described
    assert f'topic "{name}" with 3 partitions' in kcat.run(bootstrap, "-L").stdout.decode()
    cli.ok("topic", "delete", name, *server)
    assert name not in cli.ok("topic", "list", *server).split()


def test_topic_changes(server, topic):
    cli.ok("produce", topic, *server, stdin=b"one\ntwo\nthree\n")
    altered = cli.ok("topic", "alter", topic, "--config", "segment.ms=3600000", "--partitions", "2", *server)
    assert "segment.ms=3600000" in altered and "2 partitions" in altered
    assert "segment.ms" not in cli.ok("topic", "alter", topic, "--reset", "segment.ms", *server)
    assert "begins at offset 2" in cli.ok("topic", "trim", topic, "--before", "2", *server)
    assert [record["value"] for record in consume(server, topic, "--from", "beginning", "--count", "1")] == ["three"]
    assert "begins at offset 3" in cli.ok("topic", "trim", topic, "--all", *server)
    assert "9" in cli.fails("topic", "trim", topic, "--before", "9", *server)
    assert "no.such.setting" in cli.fails("topic", "alter", topic, "--config", "no.such.setting=1", *server)


def test_topic_errors(server, topic):
    assert topic in cli.fails("topic", "create", topic, *server)
    assert "no-such-topic" in cli.fails("topic", "describe", "no-such-topic", *server)
    assert "no-such-topic" in cli.fails("topic", "delete", "no-such-topic", *server)
    assert "bad/name" in cli.fails("topic", "create", "bad/name", *server)
    assert "no.such.setting" in cli.fails("topic", "create", "x", "--config", "no.such.setting=1", *server)


def test_produce_lines_and_consume(server, bootstrap, topic):
    cli.ok("produce", topic, *server, stdin=b"one\ntwo\nthree\n")
    assert [m.value() for m in librdkafka.read_to_end(bootstrap, topic)] == [b"one", b"two", b"three"]
    assert (
        cli.ok("consume", topic, "--from", "beginning", "--count", "3", "--output", "raw", *server)
        == "one\ntwo\nthree\n"
    )
    assert "two" in cli.ok("consume", topic, "--from", "1", "--count", "1", *server)


@pytest.mark.parametrize("codec", range(5))
def test_produce_compresses(server, bootstrap, topic, codec):
    name = ["none", "gzip", "snappy", "lz4", "zstd"][codec]
    cli.ok("produce", topic, *server, "--compression", name, stdin=b"again and again\n" * 100)
    with wire.Connection(bootstrap) as connection:
        answer = connection.ask(wire.fetch_request(topic, 0), 12).responses[0].partitions[0]
    batches = wire.batches(answer.records)
    assert {batch.compression_type for batch in batches} == {codec}
    assert [r.value for batch in batches for r in batch] == [b"again and again"] * 100
    assert all(batch.producer_id >= 0 for batch in batches), "numbered, so that none is there twice"


def test_produce_with_key_header_and_file(server, bootstrap, new_topic, tmp_path):
    topic, file = new_topic(partitions=3), tmp_path / "lines"
    file.write_bytes(b"from a file\n")
    cli.ok(
        "produce",
        topic,
        "--file",
        str(file),
        "--key",
        "k",
        "--header",
        "h=x",
        "--partition",
        "2",
        "--acks",
        "all",
        *server,
    )
    (message,) = librdkafka.read_to_end(bootstrap, topic, 3)
    assert (message.partition(), message.key(), message.value(), message.headers()) == (
        2,
        b"k",
        b"from a file",
        [("h", b"x")],
    )
    (read,) = consume(server, topic, "--from", "beginning", "--partition", "2", "--count", "1")
    assert (read["partition"], read["offset"], read["key"], read["value"]) == (2, 0, "k", "from a file")


def test_consume_what_kcat_wrote(server, bootstrap, topic):
    kcat.produce(bootstrap, topic, b"k1:v1\nk2:v2", "-K", ":", "-z", "lz4")
    read = consume(server, topic, "--from", "beginning", "--count", "2")
    assert [(r["offset"], r["key"], r["value"]) for r in read] == [(0, "k1", "v1"), (1, "k2", "v2")]


def test_consume_from_a_time(server, bootstrap, topic):
    base = wire.now_ms() - 10_000
    librdkafka.produce_all(
        librdkafka.producer(bootstrap),
        topic,
        [{"value": b"%d" % i, "timestamp": base + i * 1000} for i in range(5)],
    ).check(5)
    iso = wire.rfc3339(base + 2500)
    assert [r["value"] for r in consume(server, topic, "--from", iso, "--count", "2")] == ["3", "4"]


def test_errors_say_what_to_do(server, broker):
    said = cli.fails("topic", "list", "--server", "127.0.0.1:1")
    assert "127.0.0.1:1" in said
    assert "--help" in cli.fails("topic", "burn", *server)
    assert "no-such-topic" in cli.fails("consume", "no-such-topic", "--count", "1", *server)


def test_help_teaches_by_example():
    for command in ([], ["dev"], ["serve"], ["topic"], ["produce"], ["consume"], ["log"]):
        text = cli.ok(*command, "--help")
        assert "millrace" in text and "Usage" in text
    assert "millrace produce" in cli.ok("produce", "--help")
