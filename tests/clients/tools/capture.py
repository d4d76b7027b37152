"""Captures what real clients send to Apache Kafka, and what it answers, for the codec tests of `proto`.

cd tests/clients && ../../.cache/venv/bin/python -m tools.capture ../../proto/testdata/captured
"""

import sys
import tempfile
from pathlib import Path

from confluent_kafka.admin import ConfigResource, NewTopic, ResourceType
from kafka.protocol.admin import DescribeClusterRequest, DescribeConfigsRequest

from harness import java, kcat, librdkafka, topics, wire
from harness.broker import Kafka
from harness.process import free_ports
from tools.record_proxy import RecordProxy


def use_kcat(address: str):
    kcat.run(address, "-L")
    kcat.produce(address, "kcat-topic", b"k1:v1\nk2:v2", "-K", ":", "-H", "name=value", "-z", "gzip")
    kcat.consume(address, "kcat-topic")
    kcat.run(address, "-Q", "-t", "kcat-topic:0:1")


def use_librdkafka(address: str):
    admin = librdkafka.admin(address)
    admin.create_topics([NewTopic("librdkafka-topic", 2, 1, config={"retention.ms": "3600000"})])[
        "librdkafka-topic"
    ].result(20)
    topics.wait_for_leaders(address, "librdkafka-topic", 2)
    resource = ConfigResource(ResourceType.TOPIC, "librdkafka-topic")
    admin.describe_configs([resource])[resource].result(20)
    admin.describe_cluster().result(20)
    sender = librdkafka.producer(address, enable_idempotence=True, compression_type="lz4", linger_ms=50)
    librdkafka.produce_all(
        sender,
        "librdkafka-topic",
        [
            {"key": b"k", "value": b"v%d" % i, "headers": [("h", b"x"), ("n", None)], "partition": 0}
            for i in range(5)
        ],
    )
    librdkafka.read_to_end(address, "librdkafka-topic", 2)
    admin.delete_topics(["librdkafka-topic"])["librdkafka-topic"].result(20)


def use_java(address: str):
    java.tool(
        "TopicCommand",
        address,
        "--create",
        "--topic",
        "java-topic",
        "--partitions",
        "2",
        "--config",
        "retention.ms=3600000",
    )
    java.tool(
        "ConsoleProducer",
        address,
        "--topic",
        "java-topic",
        "--compression-codec",
        "zstd",
        "--reader-property",
        "parse.key=true",
        stdin="k1\tv1\nk2\tv2\n",
    )
    java.run(
        f"{java.TOOLS}.consumer.ConsoleConsumer",
        "--bootstrap-server",
        address,
        "--topic",
        "java-topic",
        "--partition",
        "0",
        "--offset",
        "earliest",
        "--timeout-ms",
        "2000",
    )
    java.tool("GetOffsetShell", address, "--topic", "java-topic", "--time", "max-timestamp")
    java.run(
        "kafka.admin.ConfigCommand", "--bootstrap-server", address, "--describe", "--topic", "java-topic", "--all"
    )
    java.run(f"{java.TOOLS}.ClusterTool", "list-endpoints", "--bootstrap-server", address)
    java.tool("TopicCommand", address, "--delete", "--topic", "java-topic")


def use_every_version(address: str):
    """Every version of every request, as kafka-python's schemas encode them; the answers are Apache Kafka's."""
    name = "versions-topic"
    with wire.Connection(address) as connection:
        for version in range(5):
            connection.ask(wire.api_versions_request(), version)
        for version in range(2, 8):
            connection.ask(
                wire.create_topic_request(f"{name}-{version}", 2, configs={"retention.ms": "3600000"}), version
            )
            topics.wait_for_leaders(address, f"{name}-{version}", 2)
        target = f"{name}-7"
        by_id = topics.topic_id(address, target)
        for version in range(0, 14):
            connection.ask(wire.metadata_request([target]), version)
        for version in range(6):
            connection.ask(wire.init_producer_id_request(), version)
        for version in range(3, 14):
            records = wire.batch(b"one", b"two", codec=version % 5)
            connection.ask(wire.produce_request(target, records, topic_id=by_id), version)
        for version in range(4, 19):
            connection.ask(wire.fetch_request(target, 0, topic_id=by_id), version)
        for version in range(1, 12):
            connection.ask(wire.list_offsets_request(target, -1), version)
        for version in range(1, 5):
            connection.ask(describe_configs_request(target), version)
        for version in range(3):
            connection.ask(
                DescribeClusterRequest(
                    include_cluster_authorized_operations=True, endpoint_type=1, include_fenced_brokers=False
                ),
                version,
            )
        for version in range(1, 7):
            connection.ask(wire.delete_topic_request(f"{name}-{version + 1}"), version)


def describe_configs_request(topic: str) -> DescribeConfigsRequest:
    resource = DescribeConfigsRequest.DescribeConfigsResource
    return DescribeConfigsRequest(
        include_synonyms=True,
        include_documentation=True,
        resources=[
            resource(
                resource_type=2, resource_name=topic, configuration_keys=["cleanup.policy", "max.message.bytes"]
            )
        ],
    )


CLIENTS = {"kcat": use_kcat, "librdkafka": use_librdkafka, "java": use_java, "kafka-python": use_every_version}


def main(directory: Path):
    directory.mkdir(parents=True, exist_ok=True)
    for old in directory.glob("*.bin"):
        old.unlink()
    (port,) = free_ports(1)
    address = f"127.0.0.1:{port}"
    with tempfile.TemporaryDirectory() as scratch:
        broker = Kafka(Path(scratch), advertised=address)
        try:
            broker.start()
            proxy = RecordProxy(port, broker.kafka, directory)
            proxy.start()
            for proxy.client, use in CLIENTS.items():
                use(address)
            proxy.stop()
        finally:
            broker.close()
    print(f"{len(list(directory.glob('*.bin')))} frames in {directory}")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
