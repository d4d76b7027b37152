"""Kafka's protocol at its edges, request by request, with an encoder and a decoder that are not ours.

Every version of every API answers; errors are Kafka's; responses keep the order of requests.
"""

import time
import uuid

import pytest
from kafka.protocol.admin import DescribeClusterRequest, DescribeConfigsRequest
from kafka.protocol.metadata import MetadataRequest

from harness import topics, wire

# What Apache Kafka 4.3.1 advertises for the APIs that Millrace serves; Produce 0 to 2 are advertised, not served.
RANGES = {
    0: (0, 13),
    1: (4, 18),
    2: (1, 11),
    3: (0, 13),
    18: (0, 4),
    19: (2, 7),
    20: (1, 6),
    21: (0, 2),
    22: (0, 5),
    23: (2, 4),
    32: (1, 4),
    33: (0, 2),
    34: (1, 2),
    35: (1, 5),
    37: (0, 3),
    43: (0, 2),
    44: (0, 1),
    55: (0, 2),
    57: (0, 2),
    60: (0, 2),
    61: (0, 0),
    74: (0, 1),
    75: (0, 0),
}
TOPIC_RESOURCE = 2


@pytest.fixture
def connection(bootstrap):
    with wire.Connection(bootstrap) as connection:
        yield connection


def versions(api_key: int, least: int = 0) -> range:
    low, high = RANGES[api_key]
    return range(max(low, least), high + 1)


def produce(connection, topic: str, *values: bytes, version: int = 9, **options):
    """Produces one batch and returns what was said about its partition."""
    request = wire.produce_request(topic, wire.batch(*values), **options)
    return connection.ask(request, version).responses[0].partition_responses[0]


def produce_raw(connection, topic: str, records: bytes, version: int = 9, **options):
    request = wire.produce_request(topic, records, **options)
    return connection.ask(request, version).responses[0].partition_responses[0]


def fetch(connection, topic: str, offset: int, version: int = 11, **options):
    answer = connection.ask(wire.fetch_request(topic, offset, **options), version)
    assert answer.error_code == wire.NONE
    return answer.responses[0].partitions[0]


# ApiVersions


@pytest.mark.parametrize("version", versions(18))
def test_api_versions(connection, version):
    answer = connection.ask(wire.api_versions_request(), version)
    assert answer.error_code == wire.NONE
    advertised = {k.api_key: (k.min_version, k.max_version) for k in answer.api_keys}
    assert {key: advertised.get(key) for key in RANGES} == RANGES


def test_api_versions_of_the_future(connection):
    """Answered in the first version, with error 35 and the range to come back with, on a connection that stays."""
    connection.send_frame(
        b"\x00\x12" + b"\x00\x63" + b"\x00\x00\x00\x07" + b"\x00\x04wire" + b"\x00" + b"\x02a\x02b\x00"
    )
    assert connection.read_frame() == bytes.fromhex("00000007002300000001001200000004")
    assert connection.ask(wire.api_versions_request(), 4).error_code == wire.NONE


@pytest.mark.parametrize("name", ["", "-", "a b", "a\n", "é"])
def test_api_versions_checks_the_client_name(connection, name):
    assert connection.ask(wire.api_versions_request(name=name), 3).error_code == wire.INVALID_REQUEST


# Every version of every API


@pytest.mark.parametrize("version", versions(3))
def test_metadata(connection, bootstrap, new_topic, version):
    topic = new_topic(partitions=2)
    answer = connection.ask(wire.metadata_request([topic]), version)
    (broker,) = answer.brokers
    assert f"{broker.host}:{broker.port}" == bootstrap
    (found,) = answer.topics
    assert (found.error_code, found.name, found.is_internal if version >= 1 else False) == (
        wire.NONE,
        topic,
        False,
    )
    assert sorted(p.partition_index for p in found.partitions) == [0, 1]
    assert all(p.leader_id == broker.node_id for p in found.partitions)


@pytest.mark.parametrize("version", versions(0, least=3))
def test_produce(connection, bootstrap, topic, version):
    by_id = topics.topic_id(bootstrap, topic) if version >= 13 else None
    first = produce(connection, topic, b"a", b"b", version=version, topic_id=by_id)
    second = produce(connection, topic, b"c", version=version, topic_id=by_id)
    assert [(p.error_code, p.base_offset) for p in (first, second)] == [(wire.NONE, 0), (wire.NONE, 2)]


@pytest.mark.parametrize("version", versions(1))
def test_fetch(connection, bootstrap, topic, version):
    produce(connection, topic, b"a", b"b")
    by_id = topics.topic_id(bootstrap, topic) if version >= 13 else None
    found = fetch(connection, topic, 0, version=version, topic_id=by_id)
    assert (found.error_code, found.high_watermark) == (wire.NONE, 2)
    assert [r.value for b in wire.batches(found.records) for r in b] == [b"a", b"b"]


@pytest.mark.parametrize("version", versions(2))
def test_list_offsets(connection, topic, version):
    produce(connection, topic, b"a", b"b")
    special = {-2: 0, -1: 2}  # earliest, latest
    if version >= 7:
        special[-3] = 0  # of the largest timestamp: the first of equals
    if version >= 8:
        special[-4] = 0  # earliest local
    if version >= 9:
        special[-5] = -1  # latest tiered
    if version >= 11:
        special[-6] = -1  # earliest pending upload
    found = {}
    for timestamp in special:
        answer = connection.ask(wire.list_offsets_request(topic, timestamp), version).topics[0].partitions[0]
        assert answer.error_code == wire.NONE, timestamp
        found[timestamp] = answer.offset
    assert found == special


@pytest.mark.parametrize("version", versions(19))
def test_create_topics(connection, version):
    name = topics.unique_name("create")
    checked = connection.ask(wire.create_topic_request(name, validate_only=True), version).topics[0]
    made = connection.ask(wire.create_topic_request(name, 2), version).topics[0]
    again = connection.ask(wire.create_topic_request(name), version).topics[0]
    assert [checked.error_code, made.error_code, again.error_code] == [
        wire.NONE,
        wire.NONE,
        wire.TOPIC_ALREADY_EXISTS,
    ]
    if version >= 5:
        assert (made.num_partitions, made.replication_factor) == (2, 1)
    if version >= 7:
        assert made.topic_id != uuid.UUID(int=0)


@pytest.mark.parametrize("version", versions(20))
def test_delete_topics(connection, topic, version):
    first = connection.ask(wire.delete_topic_request(topic), version).responses[0]
    again = connection.ask(wire.delete_topic_request(topic), version).responses[0]
    assert [first.error_code, again.error_code] == [wire.NONE, wire.UNKNOWN_TOPIC_OR_PARTITION]


def test_delete_topic_by_id(connection, bootstrap, topic):
    by_id = topics.topic_id(bootstrap, topic)
    answer = connection.ask(wire.delete_topic_request(None, by_id), 6).responses[0]
    assert (answer.error_code, answer.name) == (wire.NONE, topic)
    answer = connection.ask(wire.delete_topic_request(None, by_id), 6).responses[0]
    assert answer.error_code == wire.UNKNOWN_TOPIC_ID


@pytest.mark.parametrize("version", versions(22))
def test_producer_ids_are_never_given_twice(connection, version):
    assert len({connection.new_producer(version) for _ in range(5)}) == 5


@pytest.mark.parametrize("version", versions(32))
def test_describe_configs(connection, topic, version):
    resource = DescribeConfigsRequest.DescribeConfigsResource
    request = DescribeConfigsRequest(
        include_synonyms=True,
        include_documentation=False,
        resources=[
            resource(
                resource_type=TOPIC_RESOURCE,
                resource_name=topic,
                configuration_keys=["cleanup.policy", "max.message.bytes"],
            )
        ],
    )
    (result,) = connection.ask(request, version).results
    assert result.error_code == wire.NONE
    assert {c.name: c.value for c in result.configs} == {
        "cleanup.policy": "delete",
        "max.message.bytes": "1048588",
    }


@pytest.mark.parametrize("version", versions(60))
def test_describe_cluster(connection, bootstrap, version):
    request = DescribeClusterRequest(
        include_cluster_authorized_operations=False, endpoint_type=1, include_fenced_brokers=False
    )
    answer = connection.ask(request, version)
    assert answer.error_code == wire.NONE and answer.cluster_id
    assert [f"{b.host}:{b.port}" for b in answer.brokers] == [bootstrap]


# Metadata


def test_metadata_of_all_topics(connection, new_topic):
    names = {new_topic(), new_topic()}
    everything = MetadataRequest(
        topics=None,
        allow_auto_topic_creation=False,
        include_cluster_authorized_operations=False,
        include_topic_authorized_operations=False,
    )
    assert names <= {t.name for t in connection.ask(everything, 9).topics}
    assert connection.metadata().topics == []


def test_metadata_errors(connection):
    def error_of(name: str, auto_create: bool) -> int:
        return connection.ask(wire.metadata_request([name], auto_create), 9).topics[0].error_code

    assert error_of(topics.unique_name("missing"), False) == wire.UNKNOWN_TOPIC_OR_PARTITION
    assert error_of("not a name", False) == wire.INVALID_TOPIC
    assert error_of("not a name", True) == wire.INVALID_TOPIC


def test_metadata_by_unknown_id(connection):
    unknown = MetadataRequest.MetadataRequestTopic(topic_id=uuid.uuid4(), name=None)
    request = MetadataRequest(
        topics=[unknown], allow_auto_topic_creation=False, include_topic_authorized_operations=False
    )
    assert connection.ask(request, 12).topics[0].error_code == wire.UNKNOWN_TOPIC_ID


# Produce


def test_produce_to_nowhere(connection, topic):
    assert produce(connection, topic, b"x", partition=7).error_code == wire.UNKNOWN_TOPIC_OR_PARTITION
    assert produce(connection, topics.unique_name("no"), b"x").error_code == wire.UNKNOWN_TOPIC_OR_PARTITION
    unknown = produce(connection, topic, b"x", version=13, topic_id=uuid.uuid4())
    assert unknown.error_code == wire.UNKNOWN_TOPIC_ID


def test_produce_with_acks_of_two(connection, topic):
    assert produce(connection, topic, b"x", acks=2).error_code == wire.INVALID_REQUIRED_ACKS


@pytest.mark.parametrize(
    "damage, error",
    [
        ("payload", wire.CORRUPT_MESSAGE),
        ("count", wire.INVALID_RECORD),
        ("magic", wire.INVALID_RECORD),
        ("length", wire.INVALID_RECORD),
        ("two batches", wire.INVALID_RECORD),
        ("control", wire.INVALID_RECORD),
    ],
)
def test_bad_batches_are_refused(connection, topic, damage, error):
    answer = produce_raw(connection, topic, damaged(damage))
    assert answer.error_code == error
    assert produce(connection, topic, b"good").base_offset == 0


def test_unknown_codec_is_refused(connection, topic):
    assert produce_raw(connection, topic, damaged("codec")).error_code != wire.NONE
    assert produce(connection, topic, b"good").base_offset == 0


def damaged(how: str) -> bytes:
    """A batch of two records with one fault; its checksum is right unless that is the fault."""
    records = wire.batch(b"one", b"two")
    if how == "payload":
        records[-1] ^= 1
        return records
    if how == "two batches":
        return bytes(records) + bytes(records)
    position, value = {
        "count": (60, 3),
        "magic": (16, 1),
        "length": (11, 200),
        "codec": (22, 7),
        "control": (22, 0x20),
    }[how]
    records[position] = value
    return wire.with_checksum(records)


def test_oversized_batch(connection, new_topic):
    topic = new_topic(max_message_bytes=1000)
    assert produce(connection, topic, b"x" * 1000).error_code == wire.MESSAGE_TOO_LARGE
    assert produce(connection, topic, b"x" * 900).error_code == wire.NONE


def test_acks_zero_has_no_answer(connection, topic):
    connection.send(wire.produce_request(topic, wire.batch(b"silent"), acks=0), 9)
    assert connection.metadata(topic).topics[0].error_code == wire.NONE
    values = [r.value for b in wire.batches(fetch(connection, topic, 0).records) for r in b]
    assert values == [b"silent"]


def test_acks_zero_error_closes(connection, topic):
    connection.send(wire.produce_request(topic, damaged("payload"), acks=0), 9)
    connection.expect_close()


def test_log_append_time(connection, new_topic):
    topic = new_topic(message_timestamp_type="LogAppendTime")
    before = wire.now_ms()
    answer = produce(connection, topic, b"x", b"y")
    assert answer.log_append_time_ms >= before
    (found,) = wire.batches(fetch(connection, topic, 0).records)
    assert found.validate_crc()
    assert [(r.timestamp, r.timestamp_type) for r in found] == [(answer.log_append_time_ms, 1)] * 2


def test_timestamp_of_the_far_future(connection, topic):
    invalid_timestamp = 32
    records = wire.batch(b"x", timestamp=wire.now_ms() + 7_200_000)
    assert produce_raw(connection, topic, records).error_code == invalid_timestamp


# Idempotent producers


@pytest.fixture
def producer_id(connection) -> int:
    return connection.new_producer()


def send_sequence(connection, topic: str, producer: int, epoch: int, sequence: int, records: int = 1):
    data = wire.batch(*[b"%d" % (sequence + i) for i in range(records)], producer=(producer, epoch, sequence))
    answer = produce_raw(connection, topic, data)
    return answer.error_code, answer.base_offset


def test_duplicates_are_answered_like_the_first(connection, topic, producer_id):
    first = [send_sequence(connection, topic, producer_id, 0, s, 2) for s in (0, 2, 4, 6, 8)]
    assert first == [(wire.NONE, offset) for offset in (0, 2, 4, 6, 8)]
    again = [send_sequence(connection, topic, producer_id, 0, s, 2) for s in (0, 2, 4, 6, 8)]
    assert again == first
    assert send_sequence(connection, topic, producer_id, 0, 10) == (wire.NONE, 10)


def test_sixth_last_batch_is_a_duplicate_without_offset(connection, topic, producer_id):
    for sequence in range(7):
        assert send_sequence(connection, topic, producer_id, 0, sequence) == (wire.NONE, sequence)
    duplicate_sequence_number = 46
    assert send_sequence(connection, topic, producer_id, 0, 0)[0] in (
        duplicate_sequence_number,
        wire.OUT_OF_ORDER_SEQUENCE_NUMBER,
    )
    assert fetch(connection, topic, 0).high_watermark == 7


def test_gap_in_sequence(connection, topic, producer_id):
    assert send_sequence(connection, topic, producer_id, 0, 0) == (wire.NONE, 0)
    assert send_sequence(connection, topic, producer_id, 0, 2)[0] == wire.OUT_OF_ORDER_SEQUENCE_NUMBER
    assert send_sequence(connection, topic, producer_id, 0, 1) == (wire.NONE, 1)


def test_epochs(connection, topic, producer_id):
    assert send_sequence(connection, topic, producer_id, 1, 0) == (wire.NONE, 0)
    assert send_sequence(connection, topic, producer_id, 0, 1)[0] == wire.INVALID_PRODUCER_EPOCH
    assert send_sequence(connection, topic, producer_id, 2, 5)[0] == wire.OUT_OF_ORDER_SEQUENCE_NUMBER
    assert send_sequence(connection, topic, producer_id, 2, 0) == (wire.NONE, 1)


def test_duplicates_are_known_after_a_restart(own_broker):
    broker = own_broker().start()
    name = topics.create(broker.kafka)
    with wire.Connection(broker.kafka) as connection:
        producer = connection.new_producer()
        sent = [send_sequence(connection, name, producer, 0, s) for s in range(5)]
    broker.restart()
    topics.wait_for_leaders(broker.kafka, name, 1)
    with wire.Connection(broker.kafka) as connection:
        assert send_sequence(connection, name, producer, 0, 4) == sent[4]
        assert send_sequence(connection, name, producer, 0, 5) == (wire.NONE, 5)
        assert connection.new_producer() != producer


# Fetch


def test_fetch_out_of_range(connection, topic):
    produce(connection, topic, b"x")
    assert fetch(connection, topic, 5).error_code == wire.OFFSET_OUT_OF_RANGE
    assert fetch(connection, topic, -1).error_code == wire.OFFSET_OUT_OF_RANGE
    assert fetch(connection, topic, 1, max_wait_ms=0).error_code == wire.NONE


def test_fetch_from_nowhere(connection, topic):
    assert fetch(connection, topic, 0, partition=9).error_code == wire.UNKNOWN_TOPIC_OR_PARTITION
    answer = connection.ask(wire.fetch_request("", 0, topic_id=uuid.uuid4()), 13)
    assert answer.responses[0].partitions[0].error_code == wire.UNKNOWN_TOPIC_ID


def test_fetch_always_brings_a_whole_batch(connection, topic):
    for size in (10_000, 20_000):
        produce(connection, topic, b"x" * size)
    found = fetch(connection, topic, 0, max_bytes=1, partition_max_bytes=1)
    (whole,) = wire.batches(found.records)
    assert whole.validate_crc() and [len(r.value) for r in whole] == [10_000]


def test_fetch_in_the_middle_of_a_batch(connection, topic):
    produce(connection, topic, b"a", b"b", b"c")
    (whole,) = wire.batches(fetch(connection, topic, 2).records)
    assert (whole.base_offset, [r.value for r in whole]) == (0, [b"a", b"b", b"c"])


def test_fetch_waits_its_time(connection, topic):
    started = time.monotonic()
    found = fetch(connection, topic, 0, max_wait_ms=700)
    assert found.error_code == wire.NONE and not found.records
    assert 0.6 < time.monotonic() - started < 5


def test_fetch_wakes_when_records_come(bootstrap, connection, topic):
    request = wire.fetch_request(topic, 0, max_wait_ms=20_000)
    connection.send(request, 11)
    with wire.Connection(bootstrap) as other:
        produce(other, topic, b"wake up")
    started = time.monotonic()
    found = connection.receive(request, 11).responses[0].partitions[0]
    assert time.monotonic() - started < 5
    assert [r.value for b in wire.batches(found.records) for r in b] == [b"wake up"]


def test_fetch_of_many_partitions(connection, new_topic):
    topic = new_topic(partitions=6)
    for partition in range(6):
        produce(connection, topic, b"p%d" % partition, partition=partition)
    request = wire.fetch_request(topic, 0)
    one = request.topics[0].partitions[0]
    wanted = type(one)
    request.topics[0].partitions = [
        wanted(
            partition=p,
            current_leader_epoch=-1,
            fetch_offset=0,
            last_fetched_epoch=-1,
            log_start_offset=-1,
            partition_max_bytes=1 << 20,
        )
        for p in range(6)
    ]
    found = {
        p.partition_index: [r.value for b in wire.batches(p.records) for r in b]
        for t in connection.ask(request, 11).responses
        for p in t.partitions
    }
    assert found == {p: [b"p%d" % p] for p in range(6)}


# Connections


def test_answers_keep_the_order_of_requests(bootstrap, connection, topic):
    slow = wire.fetch_request(topic, 0, max_wait_ms=600)
    quick, last = wire.metadata_request([topic]), wire.list_offsets_request(topic, -1)
    ids = [connection.send(slow, 11), connection.send(quick, 9), connection.send(last, 6)]
    connection.receive(slow, 11, ids[0])
    connection.receive(quick, 9, ids[1])
    connection.receive(last, 6, ids[2])


def test_requests_sent_byte_by_byte(connection, topic):
    request = wire.metadata_request([topic])
    request.API_VERSION = 9
    request.with_header(correlation_id=1, client_id="slow")
    for byte in request.encode(header=True, framed=True):
        connection.send_bytes(bytes([byte]))
    assert connection.receive(request, 9, 1).topics[0].name == topic


def test_many_requests_in_one_write(connection, topic):
    count, request, frames = 200, wire.metadata_request([topic]), b""
    request.API_VERSION = 9
    for i in range(count):
        request.with_header(correlation_id=i, client_id="eager")
        frames += bytes(request.encode(header=True, framed=True))
    connection.send_bytes(frames)
    for i in range(count):
        connection.receive(request, 9, i)


# Topics


@pytest.mark.parametrize(
    "arguments, error",
    [
        (dict(name="a b"), wire.INVALID_TOPIC),
        (dict(name=""), wire.INVALID_TOPIC),
        (dict(name="."), wire.INVALID_TOPIC),
        (dict(name="x" * 250), wire.INVALID_TOPIC),
        (dict(name="p", partitions=0), wire.INVALID_PARTITIONS),
        (dict(name="p", partitions=-2), wire.INVALID_PARTITIONS),
        (dict(name="r", replication=0), wire.INVALID_REPLICATION_FACTOR),
        (dict(name="r", replication=2), wire.INVALID_REPLICATION_FACTOR),
        (dict(name="c", configs={"no.such": "1"}), wire.INVALID_CONFIG),
        (dict(name="c", configs={"cleanup.policy": "burn"}), wire.INVALID_CONFIG),
        (dict(name="c", configs={"segment.bytes": "1048575"}), wire.INVALID_CONFIG),
    ],
)
def test_create_topics_refuses(connection, arguments, error):
    assert connection.ask(wire.create_topic_request(**arguments), 5).topics[0].error_code == error


def test_names_that_collide(connection, bootstrap):
    name = topics.unique_name("a.b_c")
    assert connection.ask(wire.create_topic_request(name), 5).topics[0].error_code == wire.NONE
    twin = name.replace(".", "_")
    assert connection.ask(wire.create_topic_request(twin), 5).topics[0].error_code == wire.INVALID_TOPIC


def test_default_partitions_and_replication(connection):
    answer = connection.ask(wire.create_topic_request(topics.unique_name(), -1, -1), 5).topics[0]
    assert (answer.error_code, answer.num_partitions, answer.replication_factor) == (wire.NONE, 1, 1)


def test_a_new_topic_has_nothing_of_the_old(connection, bootstrap):
    name = topics.create(bootstrap)
    produce(connection, name, b"old")
    old_id = topics.topic_id(bootstrap, name)
    connection.ask(wire.delete_topic_request(name), 5)
    assert connection.ask(wire.create_topic_request(name), 5).topics[0].error_code == wire.NONE
    topics.wait_for_leaders(bootstrap, name, 1)
    assert topics.topic_id(bootstrap, name) != old_id
    assert produce(connection, name, b"new").base_offset == 0
    stale = connection.ask(wire.fetch_request("", 0, topic_id=old_id), 13)
    assert stale.responses[0].partitions[0].error_code == wire.UNKNOWN_TOPIC_ID


@pytest.mark.millrace_only(reason="Kafka describes as many as are asked for")
def test_settings_in_one_answer_are_bounded(bootstrap):
    """A group need not be there to be described, and may be named often: its name takes bytes, its settings kilobytes."""
    resource = DescribeConfigsRequest.DescribeConfigsResource
    many = [resource(resource_type=32, resource_name="g" * 100, configuration_keys=None) for _ in range(20_000)]
    request = DescribeConfigsRequest(resources=many, include_synonyms=False, include_documentation=False)
    with wire.Connection(bootstrap, timeout=60) as connection:
        codes = [result.error_code for result in connection.ask(request, 1).results]
    assert codes[0] == 0 and codes[-1] == 42
    assert 10_000 < codes.count(0) < 20_000
