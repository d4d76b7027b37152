"""Captures what real clients send to Apache Kafka, and what it answers, for the codec tests of `proto`.

cd tests/clients && ../../.cache/venv/bin/python -m tools.capture ../../proto/testdata/captured [FUNCTION...]

With functions of this file named (`use_admin`), only those are run, and what others captured stays.
"""

import sys
import tempfile
from pathlib import Path

from confluent_kafka.admin import ConfigResource, NewTopic, ResourceType
from kafka.protocol.admin import (
    AlterConfigsRequest,
    AlterPartitionReassignmentsRequest,
    AlterReplicaLogDirsRequest,
    CreatePartitionsRequest,
    DeleteRecordsRequest,
    DescribeClusterRequest,
    DescribeConfigsRequest,
    DescribeLogDirsRequest,
    DescribeProducersRequest,
    DescribeQuorumRequest,
    DescribeTopicPartitionsRequest,
    ElectLeadersRequest,
    IncrementalAlterConfigsRequest,
    ListConfigResourcesRequest,
    ListPartitionReassignmentsRequest,
    UpdateFeaturesRequest,
)
from kafka.protocol.consumer import OffsetForLeaderEpochRequest

from harness import consumer_wire, group_wire, java, kcat, librdkafka, topics, wire
from harness.broker import Kafka
from harness.process import free_ports, wait_until
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


def use_admin(address: str):
    """The same for requests about topics, settings and the node."""
    name = "admin-topic"
    with wire.Connection(address) as connection:
        connection.ask(wire.create_topic_request(name, 2), 7)
        topics.wait_for_leaders(address, name, 2)
        producer_id = connection.new_producer()
        records = wire.batch(b"one", b"two", producer=(producer_id, 0, 0))
        connection.ask(wire.produce_request(name, records, topic_id=topics.topic_id(address, name)), 13)
        for request, versions in admin_requests(name):
            for version in versions:
                connection.ask(request, version)
        for version in range(4):
            topic = CreatePartitionsRequest.CreatePartitionsTopic
            wanted = topic(name=name, count=3 + version, assignments=None)
            connection.ask(
                CreatePartitionsRequest(topics=[wanted], timeout_ms=9000, validate_only=False), version
            )


def admin_requests(name: str):
    """Each request, and the versions that Apache Kafka 4.3.1 takes."""
    records = DeleteRecordsRequest.DeleteRecordsTopic
    yield (
        DeleteRecordsRequest(
            topics=[records(name=name, partitions=[records.DeleteRecordsPartition(partition_index=0, offset=1)])],
            timeout_ms=9000,
        ),
        range(3),
    )
    epochs = OffsetForLeaderEpochRequest.OffsetForLeaderTopic
    epoch = epochs.OffsetForLeaderPartition(partition=0, current_leader_epoch=-1, leader_epoch=0)
    yield OffsetForLeaderEpochRequest(replica_id=-2, topics=[epochs(topic=name, partitions=[epoch])]), range(2, 5)
    settings = AlterConfigsRequest.AlterConfigsResource
    setting = settings.AlterableConfig(name="segment.ms", value="7200000")
    yield (
        AlterConfigsRequest(
            resources=[settings(resource_type=2, resource_name=name, configs=[setting])], validate_only=False
        ),
        range(3),
    )
    settings = IncrementalAlterConfigsRequest.AlterConfigsResource
    setting = settings.AlterableConfig(name="cleanup.policy", config_operation=2, value="compact")
    yield (
        IncrementalAlterConfigsRequest(
            resources=[settings(resource_type=2, resource_name=name, configs=[setting])], validate_only=False
        ),
        range(2),
    )
    move = AlterReplicaLogDirsRequest.AlterReplicaLogDir
    moved = move.AlterReplicaLogDirTopic(name=name, partitions=[0])
    yield AlterReplicaLogDirsRequest(dirs=[move(path="/nowhere", topics=[moved])]), range(1, 3)
    topic = DescribeLogDirsRequest.DescribableLogDirTopic(topic=name, partitions=[0, 1])
    yield DescribeLogDirsRequest(topics=[topic]), range(1, 6)
    topic = ElectLeadersRequest.TopicPartitions(topic=name, partitions=[0])
    yield ElectLeadersRequest(election_type=0, topic_partitions=[topic], timeout_ms=9000), range(3)
    topic = AlterPartitionReassignmentsRequest.ReassignableTopic
    partitions = [
        topic.ReassignablePartition(partition_index=0, replicas=[1]),
        topic.ReassignablePartition(partition_index=1, replicas=None),
    ]
    request = AlterPartitionReassignmentsRequest(
        timeout_ms=9000, allow_replication_factor_change=False, topics=[topic(name=name, partitions=partitions)]
    )
    yield request, range(2)
    topic = ListPartitionReassignmentsRequest.ListPartitionReassignmentsTopics
    listed = topic(name=name, partition_indexes=[0, 1])
    yield ListPartitionReassignmentsRequest(timeout_ms=9000, topics=[listed]), range(1)
    topic = DescribeQuorumRequest.TopicData
    partition = topic.PartitionData(partition_index=0)
    yield DescribeQuorumRequest(topics=[topic(topic_name="__cluster_metadata", partitions=[partition])]), range(3)
    feature = UpdateFeaturesRequest.FeatureUpdateKey(
        feature="metadata.version", max_version_level=30, allow_downgrade=False, upgrade_type=1
    )
    yield UpdateFeaturesRequest(timeout_ms=9000, feature_updates=[feature], validate_only=False), range(3)
    topic = DescribeProducersRequest.TopicRequest(name=name, partition_indexes=[0, 7])
    yield DescribeProducersRequest(topics=[topic]), range(1)
    yield ListConfigResourcesRequest(resource_types=[2, 4]), range(2)
    described = DescribeTopicPartitionsRequest
    yield (
        described(
            topics=[described.TopicRequest(name=name)],
            response_partition_limit=1,
            cursor=described.Cursor(topic_name=name, partition_index=0),
        ),
        range(1),
    )


def use_groups(address: str):
    """The same for consumer groups: a static member, which needs no second round, in a group of its own for each version."""
    topic = topics.create(address, 2, prefix="group-topic")
    ids = {topic: topics.topic_id(address, topic)}
    with wire.Connection(address) as connection:
        for version in range(7):
            connection.ask(group_wire.find_coordinator("group", "other"), version)
        wait_until(lambda: connection.ask(group_wire.list_all(), 4).error_code == wire.NONE, 30, "a coordinator")
        for version in range(10):
            group = f"group-{version}"
            instance = "name" if version >= 5 else None

            def joined() -> tuple:
                answer = connection.ask(group_wire.join(group, instance=instance), version)
                if answer.error_code == 79:  # MEMBER_ID_REQUIRED
                    answer = connection.ask(group_wire.join(group, answer.member_id), version)
                return answer.error_code == wire.NONE and (answer.generation_id, answer.member_id)

            generation, member = wait_until(joined, 30, "a member")
            assignment = {member: b"\x00\x00\x00\x00\x00\x00\xff\xff\xff\xff"}
            connection.ask(group_wire.sync(group, generation, member, assignment, instance), min(version, 5))
            connection.ask(group_wire.heartbeat(group, generation, member, instance), min(version, 4))
            commit = group_wire.commit(
                group, {(topic, 0): 7, (topic, 1): 9}, generation, member, instance=instance, metadata="m", topic_ids=ids
            )
            connection.ask(commit, min(version + 2, 10))
            connection.ask(group_wire.fetch(group, {topic: [0, 1]}, ids), version + 1)
            connection.ask(group_wire.describe(group), min(version, 6))
            connection.ask(group_wire.list_all(), min(version, 5))
            connection.ask(group_wire.leave(group, member), min(version, 5))
            connection.ask(group_wire.forget(group, {topic: [0]}), 0)
            connection.ask(group_wire.delete(group, "none"), min(version, 2))


def use_consumer_groups(address: str):
    """The new protocol of groups: a static member of each version, byte by byte."""
    topic = topics.create(address, 2, prefix="consumer-topic")
    with wire.Connection(address) as connection:
        connection.ask(group_wire.find_coordinator("group"), 6)
        for version in range(2):
            group = f"consumer-group-{version}"
            code = lambda: connection.ask(group_wire.fetch(group, {topic: [0]}), 8).groups[0].error_code  # noqa: B023, E731
            wait_until(lambda: code() == wire.NONE, 30, "a coordinator")  # noqa: B023
            said = {"instance": "name", "rack": "rack", "topics": [topic], "assignor": "range"}
            assert consumer_wire.join(connection, group, version=version, **said).error == wire.NONE
            consumer_wire.describe(connection, group, version=version)


CLIENTS = [
    ("kcat", use_kcat),
    ("librdkafka", use_librdkafka),
    ("java", use_java),
    ("kafka-python", use_every_version),
    ("kafka-python", use_admin),
    ("kafka-python", use_groups),
    ("wire", use_consumer_groups),
]


def main(directory: Path, functions: list[str]):
    directory.mkdir(parents=True, exist_ok=True)
    if not functions:
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
            for proxy.client, use in CLIENTS:
                if not functions or use.__name__ in functions:
                    use(address)
            proxy.stop()
        finally:
            broker.close()
    print(f"{len(list(directory.glob('*.bin')))} frames in {directory}")


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2:])
