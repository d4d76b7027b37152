"""Kafka's own Java clients and tools. Each JVM takes most of a second, so each test asks for much at once."""

import re

import pytest

from harness import java, topics, wire

CODECS = ["none", "gzip", "snappy", "lz4", "zstd"]


def console_consumer(bootstrap: str, topic: str, count: int, *args: str) -> list[str]:
    """Reads partition 0 with the console consumer, which needs no group for that."""
    done = java.run(
        f"{java.TOOLS}.consumer.ConsoleConsumer",
        "--bootstrap-server",
        bootstrap,
        "--topic",
        topic,
        "--partition",
        "0",
        "--offset",
        "earliest",
        "--max-messages",
        str(count),
        "--timeout-ms",
        "20000",
        *args,
    )
    assert f"Processed a total of {count} messages" in done.stderr, done.stderr
    return done.stdout.splitlines()


@pytest.mark.parametrize("codec", CODECS)
def test_console_round_trip(bootstrap, topic, codec):
    lines = [f"{codec} {i}" for i in range(500)]
    done = java.tool(
        "ConsoleProducer", bootstrap, "--topic", topic, "--compression-codec", codec, stdin="\n".join(lines) + "\n"
    )
    assert done.returncode == 0 and "ERROR" not in done.stderr, done.stderr
    assert console_consumer(bootstrap, topic, 500) == lines


def test_console_keys_headers_and_nulls(bootstrap, topic):
    properties = ["parse.key=true", "parse.headers=true", "null.marker=NULL"]
    done = java.tool(
        "ConsoleProducer",
        bootstrap,
        "--topic",
        topic,
        "--sync",
        "--request-required-acks",
        "all",
        *[a for p in properties for a in ("--reader-property", p)],
        stdin="h1:x,h2:y\tkey\tvalue\nh1:z\tNULL\tempty key\nNULL\tkey\tNULL\n",
    )
    assert done.returncode == 0, done.stderr
    shown = [
        "print.key=true",
        "print.headers=true",
        "print.offset=true",
        "print.partition=true",
        "key.separator=|",
        "null.literal=NULL",
    ]
    read = console_consumer(bootstrap, topic, 3, *[a for p in shown for a in ("--formatter-property", p)])
    assert read == [
        "Partition:0|Offset:0|h1:x,h2:y|key|value",
        "Partition:0|Offset:1|h1:z|NULL|empty key",
        "Partition:0|Offset:2|NO_HEADERS|key|NULL",
    ]


def test_console_producer_without_acks(bootstrap, topic):
    done = java.tool(
        "ConsoleProducer",
        bootstrap,
        "--topic",
        topic,
        "--request-required-acks",
        "0",
        "--command-property",
        "enable.idempotence=false",
        stdin="a\nb\n",
    )
    assert done.returncode == 0, done.stderr
    assert console_consumer(bootstrap, topic, 2) == ["a", "b"]


def test_get_offset_shell(bootstrap, new_topic):
    topic = new_topic(partitions=2)
    base = wire.now_ms() - 1000
    with wire.Connection(bootstrap) as connection:
        for i in range(3):
            records = wire.batch(b"x", b"y", timestamp=base + i)
            answer = connection.ask(wire.produce_request(topic, records, partition=1), 9)
            assert answer.responses[0].partition_responses[0].error_code == wire.NONE

    def offsets(time: str) -> list[str]:
        done = java.tool("GetOffsetShell", bootstrap, "--topic", topic, "--time", time)
        assert done.returncode == 0, done.stderr
        return done.stdout.splitlines()

    assert offsets("latest") == [f"{topic}:0:0", f"{topic}:1:6"]
    assert offsets("earliest") == [f"{topic}:0:0", f"{topic}:1:0"]
    assert offsets("max-timestamp") == [f"{topic}:1:4"]
    assert offsets(str(base + 1)) == [f"{topic}:1:2"]


def test_topic_command(bootstrap):
    name = topics.unique_name("java")

    def command(*args: str):
        return java.tool("TopicCommand", bootstrap, *args)

    done = command("--create", "--topic", name, "--partitions", "3", "--config", "segment.ms=3600000")
    assert (done.returncode, done.stdout) == (0, f"Created topic {name}.\n"), done.stderr
    again = command("--create", "--topic", name)
    assert again.returncode == 1 and f"Topic '{name}' already exists." in again.stdout
    assert name in command("--list").stdout.splitlines()
    described = command("--describe", "--topic", name).stdout
    assert re.search(
        rf"Topic: {name}\s+TopicId: [\w-]{{22}}\s+PartitionCount: 3\s+ReplicationFactor: 1", described
    )
    assert "segment.ms=3600000" in described
    assert len(re.findall(r"Partition: \d\s+Leader: \d+\s+Replicas: \d+\s+Isr: \d+", described)) == 3
    assert command("--delete", "--topic", name).returncode == 0
    gone = command("--describe", "--topic", name)
    assert gone.returncode == 1 and "does not exist as expected" in gone.stdout + gone.stderr


def test_broker_api_versions(bootstrap):
    done = java.tool("BrokerApiVersionsCommand", bootstrap)
    assert done.returncode == 0, done.stderr
    usable = dict(re.findall(r"(\w+)\(\d+\): .*\[usable: (\d+)\]", done.stdout))
    assert {name: int(usable[name]) for name in NEWEST} == NEWEST


# The newest versions, which Apache Kafka 4.3.1 and its Java client agree on.
NEWEST = {
    "Produce": 13,
    "Fetch": 18,
    "ListOffsets": 11,
    "Metadata": 13,
    "ApiVersions": 4,
    "CreateTopics": 7,
    "DeleteTopics": 6,
    "InitProducerId": 5,
    "DescribeConfigs": 4,
    "DescribeCluster": 2,
}


def test_perf_producer_and_console_consumer(bootstrap, topic):
    done = java.run(
        f"{java.TOOLS}.ProducerPerformance",
        "--bootstrap-server",
        bootstrap,
        "--topic",
        topic,
        "--num-records",
        "20000",
        "--record-size",
        "500",
        "--throughput",
        "-1",
        "--command-property",
        "acks=all",
        "compression.type=lz4",
    )
    assert "20000 records sent" in done.stdout, done.stdout + done.stderr
    read = console_consumer(bootstrap, topic, 20000)
    assert {len(line) for line in read} == {500}
