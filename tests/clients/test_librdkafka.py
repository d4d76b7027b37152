"""confluent-kafka, the Python client on a recent librdkafka: producers, consumers and the admin client."""

import pytest
from confluent_kafka import KafkaError, KafkaException, TopicPartition
from confluent_kafka.admin import ConfigResource, NewTopic, ResourceType

from harness import librdkafka, topics, wire

CODECS = ["none", "gzip", "snappy", "lz4", "zstd"]
MAX_MESSAGE_BYTES = 1_048_588  # Kafka's default for max.message.bytes: a whole batch, its 61 header bytes included


@pytest.mark.parametrize("codec", CODECS)
def test_round_trip(bootstrap, topic, codec):
    values = [b"%s %d " % (codec.encode(), i) * (i % 50) for i in range(2000)]
    sender = librdkafka.producer(bootstrap, compression_type=codec, linger_ms=20)
    librdkafka.produce_all(sender, topic, [{"value": v} for v in values]).check(2000)
    assert [m.value() for m in librdkafka.read_to_end(bootstrap, topic)] == values


@pytest.mark.parametrize("acks", ["0", "1", "all"])
def test_acks(bootstrap, topic, acks):
    sender = librdkafka.producer(bootstrap, acks=acks)
    reports = librdkafka.produce_all(sender, topic, [{"value": b"%d" % i} for i in range(300)])
    reports.check(300)
    if acks != "0":
        assert [m.offset() for m in reports.messages] == list(range(300))
    expect_values(bootstrap, topic, [b"%d" % i for i in range(300)])


def test_idempotent_producer(bootstrap, new_topic):
    topic = new_topic(partitions=3)
    sender = librdkafka.producer(bootstrap, enable_idempotence=True, compression_type="lz4")
    librdkafka.produce_all(sender, topic, [{"value": b"%d" % i, "partition": i % 3} for i in range(3000)]).check(
        3000
    )
    read = librdkafka.read_to_end(bootstrap, topic, 3)
    for partition in range(3):
        mine = [m.value() for m in read if m.partition() == partition]
        assert mine == [b"%d" % i for i in range(partition, 3000, 3)]


def test_null_and_empty(bootstrap, topic):
    shapes = [{"key": k, "value": v} for k in (None, b"", b"k") for v in (None, b"", b"v")]
    librdkafka.produce_all(librdkafka.producer(bootstrap), topic, shapes).check(9)
    read = librdkafka.read_to_end(bootstrap, topic)
    assert [{"key": m.key(), "value": m.value()} for m in read] == shapes


def test_headers_keep_order_and_repeat(bootstrap, topic):
    headers = [("a", b"1"), ("b", None), ("a", b""), ("", b"nameless"), ("binary", bytes(range(256)))]
    librdkafka.produce_all(librdkafka.producer(bootstrap), topic, [{"value": b"v", "headers": headers}]).check(1)
    assert librdkafka.read_to_end(bootstrap, topic)[0].headers() == headers


def test_timestamps(bootstrap, topic):
    now = wire.now_ms()
    times = [now, now + 1, now - 100_000]
    librdkafka.produce_all(librdkafka.producer(bootstrap), topic, [{"value": b"v", "timestamp": t} for t in times])
    read = librdkafka.read_to_end(bootstrap, topic)
    create_time = 1
    assert [m.timestamp() for m in read] == [(create_time, t) for t in times]


@pytest.mark.parametrize("codec", ["none", "zstd"])
def test_sizes_up_to_the_limit(bootstrap, topic, codec):
    sizes = [0, 1, 2, 63, 64, 127, 128, 8191, 8192, 16384, 65535, 65536, 500_000, MAX_MESSAGE_BYTES - 200]
    sender = librdkafka.producer(bootstrap, compression_type=codec, message_max_bytes=MAX_MESSAGE_BYTES)
    values = [bytes([i]) * size for i, size in enumerate(sizes)]
    librdkafka.produce_all(sender, topic, [{"value": v} for v in values]).check(len(sizes))
    assert [m.value() for m in librdkafka.read_to_end(bootstrap, topic)] == values


def test_too_large_is_an_error(bootstrap, new_topic):
    topic = new_topic(max_message_bytes=5000)
    sender = librdkafka.producer(bootstrap)
    librdkafka.produce_all(sender, topic, [{"value": b"x" * 4000}]).check(1)
    reports = librdkafka.produce_all(sender, topic, [{"value": b"y" * 6000}])
    assert [e.code() for e in reports.errors] == [KafkaError.MSG_SIZE_TOO_LARGE]
    expect_values(bootstrap, topic, [b"x" * 4000])


def test_small_fetches_still_bring_large_records(bootstrap, topic):
    values = [bytes([i]) * 300_000 for i in range(5)]
    librdkafka.produce_all(librdkafka.producer(bootstrap), topic, [{"value": v} for v in values]).check(5)
    read = librdkafka.read_to_end(bootstrap, topic, fetch_message_max_bytes=1000, fetch_max_bytes=1_000_000)
    assert [m.value() for m in read] == values


def test_watermarks_count_records(bootstrap, topic):
    sender = librdkafka.producer(bootstrap, linger_ms=50, compression_type="gzip")
    librdkafka.produce_all(sender, topic, [{"value": b"%d" % i} for i in range(100)]).check(100)
    with_consumer(bootstrap, lambda c: c.get_watermark_offsets(TopicPartition(topic, 0), timeout=10), (0, 100))


def test_offsets_for_times(bootstrap, topic):
    base = wire.now_ms() - 10_000
    sender = librdkafka.producer(bootstrap, linger_ms=50)
    records = [{"value": b"%d" % i, "timestamp": base + i * 10} for i in range(100)]
    librdkafka.produce_all(sender, topic, records).check(100)

    def look_up(c):
        asked = [0, base, base + 1, base + 500, base + 990, base + 991]
        return [c.offsets_for_times([TopicPartition(topic, 0, t)], timeout=10)[0].offset for t in asked]

    end = -1
    with_consumer(bootstrap, look_up, [0, 0, 1, 50, 99, end])


def test_consumer_waits_for_what_comes(bootstrap, topic):
    reader = librdkafka.consumer(bootstrap, enable_partition_eof=False, fetch_wait_max_ms=10_000)
    reader.assign([TopicPartition(topic, 0, 0)])
    assert reader.poll(0.5) is None
    librdkafka.produce_all(librdkafka.producer(bootstrap), topic, [{"value": b"at last"}]).check(1)
    message = reader.poll(5)  # well below fetch.wait.max.ms: the record itself must wake the fetch
    assert message is not None and message.value() == b"at last"
    reader.close()


def test_offset_out_of_range_resets(bootstrap, topic):
    librdkafka.produce_all(librdkafka.producer(bootstrap), topic, [{"value": b"0"}, {"value": b"1"}]).check(2)
    reader = librdkafka.consumer(bootstrap, auto_offset_reset="earliest", enable_partition_eof=False)
    reader.assign([TopicPartition(topic, 0, 1_000_000)])
    message = reader.poll(10)
    assert message.error() is None and (message.offset(), message.value()) == (0, b"0")
    reader.close()


@pytest.fixture
def admin(bootstrap):
    return librdkafka.admin(bootstrap)


def test_list_topics(bootstrap, admin, new_topic):
    topic = new_topic(partitions=4)
    cluster = admin.list_topics(timeout=10)
    assert len(cluster.brokers) == 1 and cluster.cluster_id
    (node,) = cluster.brokers.values()
    assert f"{node.host}:{node.port}" == bootstrap
    assert {p.id: (p.leader, p.replicas, p.isrs) for p in cluster.topics[topic].partitions.values()} == {
        i: (node.id, [node.id], [node.id]) for i in range(4)
    }


def test_admin_creates_and_deletes(bootstrap, admin):
    name = topics.unique_name("admin")
    admin.create_topics([NewTopic(name, 2, 1, config={"segment.ms": "3600000"})])[name].result(20)
    topics.wait_for_leaders(bootstrap, name, 2)
    assert_fails(admin.create_topics([NewTopic(name, 2, 1)])[name], KafkaError.TOPIC_ALREADY_EXISTS)
    admin.delete_topics([name])[name].result(20)
    assert_fails(admin.delete_topics([name])[name], KafkaError.UNKNOWN_TOPIC_OR_PART)


@pytest.mark.parametrize(
    "new_topic_args, code",
    [
        (("bad/name", 1, 1), KafkaError.TOPIC_EXCEPTION),
        (("a" * 250, 1, 1), KafkaError.TOPIC_EXCEPTION),
        (("..", 1, 1), KafkaError.TOPIC_EXCEPTION),
        (("no-such-replication", 1, 3), KafkaError.INVALID_REPLICATION_FACTOR),
    ],
)
def test_admin_refuses(admin, new_topic_args, code):
    future = admin.create_topics([NewTopic(*new_topic_args)])[new_topic_args[0]]
    assert_fails(future, code)


@pytest.mark.parametrize("config", [{"no.such.setting": "1"}, {"segment.ms": "soon"}, {"segment.bytes": "100"}])
def test_admin_refuses_settings(admin, config):
    name = topics.unique_name("config")
    future = admin.create_topics([NewTopic(name, 1, 1, config=config)])[name]
    assert_fails(future, KafkaError.INVALID_CONFIG)


def test_describe_configs(admin, new_topic):
    topic = new_topic(segment_ms=3600000)
    resource = ConfigResource(ResourceType.TOPIC, topic)
    entries = admin.describe_configs([resource])[resource].result(20)
    assert (entries["segment.ms"].value, entries["segment.ms"].is_default) == ("3600000", False)
    assert (entries["max.message.bytes"].value, entries["max.message.bytes"].is_default) == ("1048588", True)
    assert entries["cleanup.policy"].value == "delete"
    synonyms = {s.name: s.value for s in entries["max.message.bytes"].synonyms.values()}
    assert synonyms == {"message.max.bytes": "1048588"}


def test_describe_configs_of_the_broker(admin):
    (node,) = admin.list_topics(timeout=10).brokers
    resource = ConfigResource(ResourceType.BROKER, str(node))
    entries = admin.describe_configs([resource])[resource].result(20)
    assert entries["message.max.bytes"].value == "1048588"


def test_describe_configs_of_nothing(admin):
    resource = ConfigResource(ResourceType.TOPIC, topics.unique_name("missing"))
    future = admin.describe_configs([resource])[resource]
    assert_fails(future, KafkaError.UNKNOWN_TOPIC_OR_PART)


def test_describe_cluster(bootstrap, admin):
    answer = admin.describe_cluster().result(20)
    assert [f"{n.host}:{n.port}" for n in answer.nodes] == [bootstrap]
    assert answer.controller.id == answer.nodes[0].id and answer.cluster_id


def assert_fails(future, code: int):
    with pytest.raises(KafkaException) as caught:
        future.result(20)
    assert caught.value.args[0].code() == code, caught.value


def expect_values(bootstrap: str, topic: str, values: list[bytes]):
    assert [m.value() for m in librdkafka.read_to_end(bootstrap, topic)] == values


def with_consumer(bootstrap: str, ask, expected):
    reader = librdkafka.consumer(bootstrap)
    try:
        assert ask(reader) == expected
    finally:
        reader.close()
