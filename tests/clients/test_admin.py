"""Topics and settings that change while the broker runs, and what tools ask about a node: request by request, and
whether it takes effect."""

import pytest
from kafka.protocol.admin import (
    AlterConfigsRequest,
    AlterReplicaLogDirsRequest,
    CreatePartitionsRequest,
    DescribeConfigsRequest,
    DescribeLogDirsRequest,
    DescribeProducersRequest,
    DescribeQuorumRequest,
    DescribeTopicPartitionsRequest,
    ElectLeadersRequest,
    IncrementalAlterConfigsRequest,
    ListConfigResourcesRequest,
    UpdateFeaturesRequest,
)
from kafka.protocol.consumer import OffsetForLeaderEpochRequest

from conftest import TARGET
from harness import topics, wire
from harness.process import wait_until

TOPIC, BROKER = 2, 4
SET, DELETE, APPEND, SUBTRACT = range(4)
UNKNOWN_TOPIC, MESSAGE_TOO_LARGE, INVALID_PARTITIONS, INVALID_ASSIGNMENT = 3, 10, 37, 39
INVALID_CONFIG, INVALID_REQUEST, LOG_DIR_NOT_FOUND, FENCED_EPOCH, UNKNOWN_EPOCH = 40, 42, 57, 74, 75
ELECTION_NOT_NEEDED = 84


@pytest.fixture
def connection(bootstrap):
    with wire.Connection(bootstrap) as connection:
        yield connection


def create_partitions(connection, name: str, count: int, version: int = 3, assignments=None, validate_only=False):
    topic = CreatePartitionsRequest.CreatePartitionsTopic
    if assignments is not None:
        one = topic.CreatePartitionsAssignment
        assignments = [one(broker_ids=brokers) for brokers in assignments]
    wanted = topic(name=name, count=count, assignments=assignments)
    request = CreatePartitionsRequest(topics=[wanted], timeout_ms=10_000, validate_only=validate_only)
    return connection.ask(request, version).results[0]


def alter(connection, kind: int, name: str, *changes, version: int = 1, validate_only=False):
    """Changes settings, each (name, operation, value), and returns what was said."""
    resource = IncrementalAlterConfigsRequest.AlterConfigsResource
    change = resource.AlterableConfig
    configs = [change(name=key, config_operation=operation, value=value) for key, operation, value in changes]
    one = resource(resource_type=kind, resource_name=name, configs=configs)
    request = IncrementalAlterConfigsRequest(resources=[one], validate_only=validate_only)
    return connection.ask(request, version).responses[0]


def replace(connection, kind: int, name: str, settings: dict, version: int = 2):
    resource = AlterConfigsRequest.AlterConfigsResource
    configs = [resource.AlterableConfig(name=key, value=value) for key, value in settings.items()]
    one = resource(resource_type=kind, resource_name=name, configs=configs)
    return connection.ask(AlterConfigsRequest(resources=[one], validate_only=False), version).responses[0]


def setting(connection, kind: int, name: str, key: str):
    """One setting as it is described: (value, source, synonyms)."""
    resource = DescribeConfigsRequest.DescribeConfigsResource
    one = resource(resource_type=kind, resource_name=name, configuration_keys=[key])
    request = DescribeConfigsRequest(resources=[one], include_synonyms=True, include_documentation=False)
    result = connection.ask(request, 4).results[0]
    assert result.error_code == wire.NONE
    if not result.configs:
        return None
    config = result.configs[0]
    return config.value, config.config_source, [(s.name, s.value, s.source) for s in config.synonyms]


def wait_for_setting(connection, kind: int, name: str, key: str, value):
    """Kafka answers before every thread goes by a new setting."""
    wait_until(lambda: (setting(connection, kind, name, key) or (None,))[0] == value, 10, f"{key}={value}")


def produced(connection, name: str, size: int) -> int:
    """The error code of one record of this size."""
    request = wire.produce_request(name, wire.batch(b"x" * size))
    return connection.ask(request, 9).responses[0].partition_responses[0].error_code


# CreatePartitions


@pytest.mark.parametrize("version", range(4))
def test_partitions_are_added_and_served(connection, bootstrap, new_topic, version):
    name = new_topic(2)
    assert produced(connection, name, 10) == wire.NONE
    assert create_partitions(connection, name, 5, version).error_code == wire.NONE
    topics.wait_for_leaders(bootstrap, name, 5)
    assert len(connection.metadata(name).topics[0].partitions) == 5
    for partition in range(5):
        answer = connection.ask(wire.produce_request(name, wire.batch(b"v"), partition=partition), 9)
        appended = answer.responses[0].partition_responses[0]
        assert (appended.error_code, appended.base_offset) == (wire.NONE, 1 if partition == 0 else 0)


def test_partitions_that_cannot_be_added(connection, new_topic):
    name = new_topic(2)
    for asked, code, message in [
        ({"count": 2}, INVALID_PARTITIONS, "Topic already has 2 partition(s)."),
        (
            {"count": 1},
            INVALID_PARTITIONS,
            f"The topic {name} currently has 2 partition(s); 1 would not be an increase.",
        ),
        (
            {"count": 4, "assignments": [[1]]},
            INVALID_ASSIGNMENT,
            "Attempted to add 2 additional partition(s), but only 1 assignment(s) were specified.",
        ),
    ]:
        answer = create_partitions(connection, name, **asked)
        assert (answer.error_code, answer.error_message) == (code, message)
    assert create_partitions(connection, "no-such-topic", 3).error_code == UNKNOWN_TOPIC
    assert create_partitions(connection, name, 4, validate_only=True).error_code == wire.NONE
    assert len(connection.metadata(name).topics[0].partitions) == 2


# AlterConfigs and IncrementalAlterConfigs


@pytest.mark.parametrize("version", range(2))
def test_a_topic_setting_takes_effect(connection, new_topic, version):
    name = new_topic()
    assert produced(connection, name, 5000) == wire.NONE
    assert alter(connection, TOPIC, name, ("max.message.bytes", SET, "2000"), version=version).error_code == 0
    wait_until(lambda: produced(connection, name, 5000) == MESSAGE_TOO_LARGE, 10, "the new limit")
    value, source, synonyms = setting(connection, TOPIC, name, "max.message.bytes")
    assert (value, source) == ("2000", 1)
    assert synonyms == [("max.message.bytes", "2000", 1), ("message.max.bytes", "1048588", 5)]
    assert alter(connection, TOPIC, name, ("max.message.bytes", DELETE, None), version=version).error_code == 0
    wait_until(lambda: produced(connection, name, 5000) == wire.NONE, 10, "the old limit")


@pytest.mark.parametrize("version", range(3))
def test_all_settings_of_a_topic_are_replaced(connection, new_topic, version):
    name = new_topic(segment_ms=7_200_000, max_message_bytes=9000)
    assert replace(connection, TOPIC, name, {"segment.ms": "3600000"}, version).error_code == wire.NONE
    wait_for_setting(connection, TOPIC, name, "max.message.bytes", "1048588")
    assert setting(connection, TOPIC, name, "segment.ms")[:2] == ("3600000", 1)


def test_settings_of_all_brokers_and_of_one(connection, new_topic):
    name = new_topic()
    key, synonym = "max.message.bytes", "message.max.bytes"
    try:
        assert alter(connection, BROKER, "", (synonym, SET, "3000")).error_code == wire.NONE
        wait_for_setting(connection, TOPIC, name, key, "3000")
        assert setting(connection, TOPIC, name, key)[1] == 3
        assert setting(connection, BROKER, "", synonym)[:2] == ("3000", 3)
        assert produced(connection, name, 5000) == MESSAGE_TOO_LARGE
        assert alter(connection, BROKER, "1", (synonym, SET, "8000")).error_code == wire.NONE
        wait_for_setting(connection, TOPIC, name, key, "8000")
        assert [source for _, _, source in setting(connection, TOPIC, name, key)[2]] == [2, 3, 5]
        assert produced(connection, name, 5000) == wire.NONE
        assert alter(connection, TOPIC, name, (key, SET, "1000")).error_code == wire.NONE
        wait_for_setting(connection, TOPIC, name, key, "1000")
        assert [source for _, _, source in setting(connection, TOPIC, name, key)[2]] == [1, 2, 3, 5]
    finally:
        for broker in ("1", ""):
            assert alter(connection, BROKER, broker, (synonym, DELETE, None)).error_code == wire.NONE
    wait_until(lambda: setting(connection, BROKER, "", synonym) is None, 10, "the default of all brokers")


def test_settings_that_are_refused(connection, new_topic):
    name = new_topic()
    good = ("segment.ms", SET, "3600000")
    for changes, code, message in [
        ([good, ("max.message.bytes", SET, "many")], INVALID_CONFIG, None),
        ([good, ("no.such.setting", SET, "1")], INVALID_CONFIG, "Unknown topic config name: no.such.setting"),
        ([good, ("segment.bytes", SET, "1")], INVALID_CONFIG, None),
        ([good, good], INVALID_REQUEST, "Error due to duplicate config keys"),
        ([good, ("max.message.bytes", SET, None)], INVALID_REQUEST, "Null value not supported for : max.message.bytes"),
        (
            [good, ("max.message.bytes", APPEND, "1")],
            INVALID_CONFIG,
            "Can't APPEND to key max.message.bytes because its type is not LIST.",
        ),
    ]:
        answer = alter(connection, TOPIC, name, *changes)
        assert (answer.error_code, answer.resource_name) == (code, name), (changes, answer.error_message)
        assert message in (None, answer.error_message)
        assert setting(connection, TOPIC, name, "segment.ms")[1] == 5, "all of it or nothing"
    answer = alter(connection, TOPIC, "no-such-topic", good)
    assert answer.error_code == UNKNOWN_TOPIC
    answer = alter(connection, BROKER, "1", ("log.dirs", SET, "/elsewhere"))
    assert (answer.error_code, answer.error_message) == (
        INVALID_REQUEST,
        "Cannot update these configs dynamically: [log.dirs]" if TARGET != "kafka" else answer.error_message,
    )
    assert alter(connection, TOPIC, name, good, validate_only=True).error_code == wire.NONE
    assert setting(connection, TOPIC, name, "segment.ms")[1] == 5


def test_changes_survive_a_restart(own_broker):
    broker = own_broker().start()
    name = topics.create(broker.kafka)
    with wire.Connection(broker.kafka) as connection:
        assert create_partitions(connection, name, 3).error_code == wire.NONE
        topics.wait_for_leaders(broker.kafka, name, 3)
        assert alter(connection, TOPIC, name, ("max.message.bytes", SET, "2000")).error_code == wire.NONE
        assert alter(connection, BROKER, "", ("log.roll.ms", SET, "3600000")).error_code == wire.NONE
        sent = wire.produce_request(name, wire.batch(b"kept"), partition=2)
        assert connection.ask(sent, 9).responses[0].partition_responses[0].error_code == wire.NONE
    broker.kill()
    broker.start()
    topics.wait_for_leaders(broker.kafka, name, 3)
    with wire.Connection(broker.kafka) as connection:
        assert produced(connection, name, 5000) == MESSAGE_TOO_LARGE
        assert setting(connection, TOPIC, name, "segment.ms")[:2] == ("3600000", 3)
        answer = connection.ask(wire.list_offsets_request(name, -1, 2), 6)
        assert answer.topics[0].partitions[0].offset == 1


# What tools ask


@pytest.mark.parametrize("version", range(2, 5))
def test_offset_for_leader_epoch(connection, new_topic, version):
    name = new_topic()
    assert produced(connection, name, 10) == wire.NONE

    def ask(epoch: int, current: int = -1, partition: int = 0):
        topic = OffsetForLeaderEpochRequest.OffsetForLeaderTopic
        one = topic.OffsetForLeaderPartition(
            partition=partition, current_leader_epoch=current, leader_epoch=epoch
        )
        request = OffsetForLeaderEpochRequest(replica_id=-2, topics=[topic(topic=name, partitions=[one])])
        answer = connection.ask(request, version).topics[0].partitions[0]
        return answer.error_code, answer.leader_epoch, answer.end_offset

    assert ask(0) == (wire.NONE, 0, 1)
    assert ask(5) == (wire.NONE, -1, -1)
    assert ask(-1)[0] == wire.NONE
    assert ask(0, current=0) == (wire.NONE, 0, 1)
    assert ask(0, current=9)[0] == UNKNOWN_EPOCH
    assert ask(0, partition=7)[0] == UNKNOWN_TOPIC


def test_partitions_are_described_some_at_a_time(connection, new_topic):
    names = sorted(new_topic(3) for _ in range(2))
    request = DescribeTopicPartitionsRequest
    asked = [request.TopicRequest(name=name) for name in [*names, "no-such-topic"]]
    cursor, seen, errors = None, [], {}
    for _ in range(10):
        answer = connection.ask(request(topics=asked, response_partition_limit=2, cursor=cursor), 0)
        for topic in answer.topics:
            seen += [(topic.name, p.partition_index, p.leader_id) for p in topic.partitions]
            if topic.error_code:
                errors[topic.name] = topic.error_code
        assert sum(len(topic.partitions) for topic in answer.topics) <= 2
        if answer.next_cursor is None:
            break
        cursor = request.Cursor(
            topic_name=answer.next_cursor.topic_name, partition_index=answer.next_cursor.partition_index
        )
    assert seen == [(name, partition, 1) for name in names for partition in range(3)]
    assert errors == {"no-such-topic": UNKNOWN_TOPIC}


@pytest.mark.parametrize("version", range(1, 6))
def test_log_dirs(connection, new_topic, version):
    name = new_topic(2)
    records = wire.batch(b"x" * 1000)
    connection.ask(wire.produce_request(name, records), 9)
    topic = DescribeLogDirsRequest.DescribableLogDirTopic
    request = DescribeLogDirsRequest(topics=[topic(topic=name, partitions=[0, 1, 7])])
    (result,) = connection.ask(request, version).results
    assert (result.error_code, result.log_dir[0]) == (wire.NONE, "/")
    (found,) = result.topics
    sizes = {p.partition_index: (p.partition_size, p.offset_lag, p.is_future_key) for p in found.partitions}
    assert sizes == {0: (len(records), 0, False), 1: (0, 0, False)}
    if version >= 4:
        assert 0 < result.usable_bytes < result.total_bytes
    (all_of_it,) = connection.ask(DescribeLogDirsRequest(topics=None), version).results
    assert name in {topic.name for topic in all_of_it.topics}

    move = AlterReplicaLogDirsRequest.AlterReplicaLogDir
    moved = move.AlterReplicaLogDirTopic(name=name, partitions=[0])
    for path, code in [(result.log_dir, wire.NONE), ("/nowhere", LOG_DIR_NOT_FOUND)]:
        answer = connection.ask(AlterReplicaLogDirsRequest(dirs=[move(path=path, topics=[moved])]), 2)
        assert answer.results[0].partitions[0].error_code == code


def test_producers_are_described(connection, new_topic):
    name = new_topic()
    producer_id = connection.new_producer()
    records = wire.batch(b"a", b"b", producer=(producer_id, 0, 0))
    connection.ask(wire.produce_request(name, records), 9)
    request = DescribeProducersRequest
    asked = request.TopicRequest(name=name, partition_indexes=[0, 7])
    known, unknown = connection.ask(request(topics=[asked]), 0).topics[0].partitions
    (producer,) = known.active_producers
    assert (producer.producer_id, producer.producer_epoch, producer.last_sequence) == (producer_id, 0, 1)
    assert (producer.coordinator_epoch, producer.current_txn_start_offset) == (-1, -1)
    assert producer.last_timestamp > 0
    assert unknown.error_code == UNKNOWN_TOPIC


def test_leaders_need_no_election(connection, new_topic):
    name = new_topic()
    topic = ElectLeadersRequest.TopicPartitions
    for version in range(3):
        request = ElectLeadersRequest(
            election_type=0, topic_partitions=[topic(topic=name, partitions=[0, 7])], timeout_ms=5000
        )
        answer = connection.ask(request, version)
        results = answer.replica_election_results[0].partition_result
        codes = {result.partition_id: result.error_code for result in results}
        assert codes == {0: ELECTION_NOT_NEEDED, 7: UNKNOWN_TOPIC}
        every = ElectLeadersRequest(election_type=0, topic_partitions=None, timeout_ms=5000)
        results = connection.ask(every, version).replica_election_results
        assert name in {result.topic for result in results}
        assert not any(result.partition_result for result in results)


def test_the_quorum_is_one_node(connection):
    topic = DescribeQuorumRequest.TopicData
    for version in range(3):
        asked = topic(topic_name="__cluster_metadata", partitions=[topic.PartitionData(partition_index=0)])
        answer = connection.ask(DescribeQuorumRequest(topics=[asked]), version)
        partition = answer.topics[0].partitions[0]
        assert (answer.error_code, partition.error_code, partition.leader_id) == (wire.NONE, wire.NONE, 1)
        assert [voter.replica_id for voter in partition.current_voters] == [1]
        assert partition.high_watermark <= partition.current_voters[0].log_end_offset


def test_features_stay_as_they_are(connection):
    def update(level: int, version: int):
        key = UpdateFeaturesRequest.FeatureUpdateKey(
            feature="metadata.version", max_version_level=level, allow_downgrade=False, upgrade_type=1
        )
        request = UpdateFeaturesRequest(timeout_ms=5000, feature_updates=[key], validate_only=True)
        answer = connection.ask(request, version)
        return answer.error_code or (answer.results[0].error_code if version < 2 else 0)

    for version in (1, 2):
        assert update(30, version) == wire.NONE
        assert update(20, version) != wire.NONE
        assert update(999, version) != wire.NONE


def test_what_has_settings_is_listed(connection, new_topic):
    name = new_topic()

    def listed(*kinds: int, version: int = 1):
        answer = connection.ask(ListConfigResourcesRequest(resource_types=list(kinds)), version)
        assert answer.error_code == wire.NONE
        return {(resource.resource_type, resource.resource_name) for resource in answer.config_resources}

    assert (TOPIC, name) in listed(TOPIC)
    assert listed(BROKER) == {(BROKER, "1")}
    assert {(TOPIC, name), (BROKER, "1")} <= listed()
    assert listed(version=0) == set()
