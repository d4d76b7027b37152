"""A plain Python gRPC client: topics, produce, consume with a credit window, errors with details, restarts."""

import time

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import ProtoReflectionDescriptorDatabase

from harness import kcat, librdkafka, topics as kafka_topics, wire
from harness.grpc_client import TIMEOUT, Client, at, beginning, details
from harness.grpc_client import cluster, groups, log, partitions, record, topics

pytestmark = pytest.mark.millrace_only(reason="Apache Kafka has no gRPC port")
SERVICES = {"millrace.v1.Log", "millrace.v1.Topics", "millrace.v1.Groups", "millrace.v1.Cluster"}


@pytest.fixture
def client(broker):
    with Client(broker.grpc) as client:
        yield client


def fails(call, code: grpc.StatusCode) -> grpc.RpcError:
    with pytest.raises(grpc.RpcError) as caught:
        call()
    assert caught.value.code() == code, caught.value
    assert caught.value.details(), "an error without a message"
    return caught.value


# Standard services


def test_health(client):
    stub = health_pb2_grpc.HealthStub(client.channel)
    for service in {"", *SERVICES}:
        answer = stub.Check(health_pb2.HealthCheckRequest(service=service), timeout=TIMEOUT)
        assert answer.status == health_pb2.HealthCheckResponse.SERVING, service
    fails(
        lambda: stub.Check(health_pb2.HealthCheckRequest(service="no.Such"), timeout=TIMEOUT),
        grpc.StatusCode.NOT_FOUND,
    )
    watch = stub.Watch(health_pb2.HealthCheckRequest(service=""), timeout=TIMEOUT)
    assert next(watch).status == health_pb2.HealthCheckResponse.SERVING
    watch.cancel()


def test_reflection_knows_what_we_compiled(client):
    database = ProtoReflectionDescriptorDatabase(client.channel)
    assert SERVICES <= set(database.get_services())
    for source in (log, record, topics, groups, partitions, cluster):
        served = database.FindFileByName(source.DESCRIPTOR.name)
        assert [m.name for m in served.message_type] == list(source.DESCRIPTOR.message_types_by_name)
    assert database.FindFileContainingSymbol("millrace.v1.Log.Consume").name == "millrace/v1/log.proto"


def test_unknown_method(client):
    call = client.channel.unary_unary("/millrace.v1.Log/Burn")
    fails(lambda: call(b"", timeout=TIMEOUT), grpc.StatusCode.UNIMPLEMENTED)


# Topics and cluster


def test_topic_life(client, bootstrap):
    name = kafka_topics.unique_name("grpc")
    made = client.topics.Create(
        topics.CreateTopicRequest(name=name, partition_count=3, configs={"segment.ms": "3600000"}),
        timeout=TIMEOUT,
    ).topic
    assert (made.name, made.partition_count, made.replication_factor) == (name, 3, 1)
    assert len(made.topic_id) == 22
    client.publish(name, b"one", b"two", partition=1)
    seen = client.topics.Describe(
        topics.DescribeTopicRequest(name=name, include_offsets=True), timeout=TIMEOUT
    ).topic
    assert [(p.log_start_offset, p.high_watermark) for p in seen.partitions] == [(0, 0), (0, 2), (0, 0)]
    assert dict(seen.configs) == {"segment.ms": "3600000"} and seen.topic_id == made.topic_id
    listed = client.topics.List(topics.ListTopicsRequest(), timeout=TIMEOUT).topics
    assert (name, 3) in [(t.name, t.partition_count) for t in listed]
    assert f'topic "{name}" with 3 partitions' in kcat.run(bootstrap, "-L").stdout.decode()
    client.topics.Delete(topics.DeleteTopicRequest(topic_id=made.topic_id), timeout=TIMEOUT)
    error = fails(
        lambda: client.topics.Describe(topics.DescribeTopicRequest(name=name), timeout=TIMEOUT),
        grpc.StatusCode.NOT_FOUND,
    )
    assert details(error)["ErrorInfo"].reason == "UNKNOWN_TOPIC_OR_PARTITION"


def test_topic_pages(client, new_topic):
    names = sorted(new_topic() for _ in range(5))
    seen, token = [], ""
    while True:
        page = client.topics.List(topics.ListTopicsRequest(page_size=2, page_token=token), timeout=TIMEOUT)
        assert len(page.topics) <= 2
        seen += [t.name for t in page.topics]
        token = page.next_page_token
        if not token:
            break
    assert seen == sorted(set(seen)) and set(names) <= set(seen)


@pytest.mark.parametrize(
    "request_fields, code, field",
    [
        (dict(name="bad/name"), grpc.StatusCode.INVALID_ARGUMENT, "name"),
        (dict(name=""), grpc.StatusCode.INVALID_ARGUMENT, "name"),
        (dict(name="p", partition_count=0), grpc.StatusCode.INVALID_ARGUMENT, "partition_count"),
        (dict(name="r", replication_factor=3), grpc.StatusCode.INVALID_ARGUMENT, "replication_factor"),
        (dict(name="c", configs={"no.such": "1"}), grpc.StatusCode.INVALID_ARGUMENT, "configs"),
    ],
)
def test_create_errors_name_the_field(client, request_fields, code, field):
    error = fails(lambda: client.topics.Create(topics.CreateTopicRequest(**request_fields), timeout=TIMEOUT), code)
    found = details(error)
    assert [v.field.split("[")[0].split(".")[0] for v in found["BadRequest"].field_violations] == [field]
    assert found["ErrorInfo"].reason.isupper() and found["ErrorInfo"].domain


def test_a_topic_changes(client, bootstrap, topic):
    """Settings, partitions and the start of a log; a Kafka client sees all of it."""
    client.publish(topic, *(b"%d" % i for i in range(5)))
    altered = client.topics.AlterConfigs(
        topics.AlterTopicConfigsRequest(name=topic, set={"segment.ms": "3600000", "max.message.bytes": "9000"}),
        timeout=TIMEOUT,
    )
    assert dict(altered.topic.configs) == {"segment.ms": "3600000", "max.message.bytes": "9000"}
    altered = client.topics.AlterConfigs(
        topics.AlterTopicConfigsRequest(name=topic, unset=["segment.ms"]), timeout=TIMEOUT
    )
    assert dict(altered.topic.configs) == {"max.message.bytes": "9000"}
    added = client.topics.AddPartitions(
        topics.AddPartitionsRequest(name=topic, partition_count=3), timeout=TIMEOUT
    )
    assert added.topic.partition_count == len(added.topic.partitions) == 3
    assert f'topic "{topic}" with 3 partitions' in kcat.run(bootstrap, "-L").stdout.decode()
    left = client.topics.DeleteRecords(topics.DeleteRecordsRequest(name=topic, before_offset=3), timeout=TIMEOUT)
    assert left.log_start_offset == 3
    read = [record["payload"] for record in kcat.consume(bootstrap, topic)]
    assert read == ["3", "4"]
    left = client.topics.DeleteRecords(topics.DeleteRecordsRequest(name=topic), timeout=TIMEOUT)
    assert left.log_start_offset == 5


def test_changes_that_are_refused(client, topic):
    for call, request, code, reason in [
        ("AlterConfigs", {"name": topic, "set": {"no.such": "1"}}, "INVALID_ARGUMENT", "INVALID_CONFIG"),
        ("AlterConfigs", {"name": "nope", "set": {"segment.ms": "1"}}, "NOT_FOUND", "UNKNOWN_TOPIC_OR_PARTITION"),
        ("AddPartitions", {"name": topic, "partition_count": 1}, "INVALID_ARGUMENT", "INVALID_PARTITIONS"),
        ("AddPartitions", {"name": "nope", "partition_count": 2}, "NOT_FOUND", "UNKNOWN_TOPIC_OR_PARTITION"),
        ("DeleteRecords", {"name": topic, "before_offset": 7}, "OUT_OF_RANGE", "OFFSET_OUT_OF_RANGE"),
        ("DeleteRecords", {"name": topic, "partition": 9}, "NOT_FOUND", "UNKNOWN_TOPIC_OR_PARTITION"),
    ]:
        message = {
            "AlterConfigs": topics.AlterTopicConfigsRequest,
            "AddPartitions": topics.AddPartitionsRequest,
            "DeleteRecords": topics.DeleteRecordsRequest,
        }[call](**request)
        method = getattr(client.topics, call)
        error = fails(lambda: method(message, timeout=TIMEOUT), grpc.StatusCode[code])
        assert details(error)["ErrorInfo"].reason == reason, (call, request)


def test_create_twice(client, topic):
    error = fails(
        lambda: client.topics.Create(topics.CreateTopicRequest(name=topic), timeout=TIMEOUT),
        grpc.StatusCode.ALREADY_EXISTS,
    )
    assert details(error)["ErrorInfo"].reason == "TOPIC_ALREADY_EXISTS"


def test_describe_cluster(client, broker):
    answer = client.cluster.Describe(cluster.DescribeClusterRequest(), timeout=TIMEOUT)
    (node,) = answer.brokers
    assert {(e.protocol, f"{e.host}:{e.port}") for e in node.endpoints} == {
        (cluster.PROTOCOL_KAFKA, broker.kafka),
        (cluster.PROTOCOL_GRPC, broker.grpc),
    }
    assert answer.cluster_id and answer.controller_id == node.id


# Produce


def test_publish_and_read_with_kcat(client, bootstrap, topic):
    request = log.PublishRequest(
        topic=topic,
        records=[
            log.Record(
                key=b"k", value=b"v", headers=[record.Header(key="h", value=b"x")], timestamp_ms=wire.now_ms()
            ),
            log.Record(value=b""),
            log.Record(key=b"tombstone"),
        ],
    )
    (result,) = client.log.Publish(request, timeout=TIMEOUT).partitions
    assert (result.partition, result.base_offset) == (0, 0)
    read = librdkafka.read_to_end(bootstrap, topic)
    assert [(m.key(), m.value(), m.headers()) for m in read] == [
        (b"k", b"v", [("h", b"x")]),
        (None, b"", None),
        (b"tombstone", None, None),
    ]
    assert read[0].timestamp()[1] == request.records[0].timestamp_ms


def test_produce_stream_answers_in_order(client, bootstrap, new_topic):
    topic = new_topic(partitions=2)

    def requests():
        yield log.ProduceRequest(options=log.ProduceOptions(acks=log.ACKS_ALL))
        for i in range(200):
            yield log.ProduceRequest(
                batches=[
                    log.ProduceBatch(
                        id=i,
                        topic=topic,
                        partition=i % 2,
                        records=[log.Record(value=b"%d-%d" % (i, j)) for j in range(5)],
                    )
                ]
            )

    results = [r for response in client.log.Produce(requests(), timeout=60) for r in response.results]
    assert [r.id for r in results] == list(range(200))
    assert [(r.partitions[0].partition, r.partitions[0].base_offset) for r in results] == [
        (i % 2, i // 2 * 5) for i in range(200)
    ]
    read = [m.value() for m in librdkafka.read_to_end(bootstrap, topic, 2) if m.partition() == 1]
    assert read == [b"%d-%d" % (i, j) for i in range(1, 200, 2) for j in range(5)]


def test_produce_by_key_agrees_with_java(client, bootstrap, new_topic):
    """The partitioner is Kafka's: the same keys land where librdkafka's murmur2 puts them."""
    topic = new_topic(partitions=7)
    keys = [b"key-%d" % i for i in range(100)]
    request = log.PublishRequest(topic=topic, records=[log.Record(key=k, value=b"grpc") for k in keys])
    client.log.Publish(request, timeout=TIMEOUT)
    sender = librdkafka.producer(bootstrap, partitioner="murmur2_random")
    librdkafka.produce_all(sender, topic, [{"key": k, "value": b"kafka"} for k in keys]).check(100)
    homes = {"grpc": {}, "kafka": {}}
    for message in librdkafka.read_to_end(bootstrap, topic, 7):
        homes[message.value().decode()][message.key()] = message.partition()
    assert homes["grpc"] == homes["kafka"] and len(homes["grpc"]) == 100


def test_failed_batch_does_not_end_the_stream(client, topic):
    def batch(number: int, **where):
        return log.ProduceRequest(batches=[log.ProduceBatch(id=number, records=[log.Record(value=b"x")], **where)])

    requests = [
        batch(1, topic=topic, partition=0),
        batch(2, topic=topic, partition=99),
        batch(3, topic=topic, partition=0),
    ]
    results = [r for response in client.log.Produce(iter(requests), timeout=TIMEOUT) for r in response.results]
    assert [r.id for r in results] == [1, 2, 3]
    failed = results[1].error if results[1].HasField("error") else results[1].partitions[0].error
    assert failed.reason == "UNKNOWN_TOPIC_OR_PARTITION" and failed.message
    assert [results[i].partitions[0].base_offset for i in (0, 2)] == [0, 1]


def test_too_large_record(client, new_topic):
    topic = new_topic(max_message_bytes=1000)
    error = fails(lambda: client.publish(topic, b"x" * 2000), grpc.StatusCode.INVALID_ARGUMENT)
    assert details(error)["ErrorInfo"].reason in ("MESSAGE_TOO_LARGE", "RECORD_TOO_LARGE")


def test_publish_without_records(client, topic):
    error = fails(
        lambda: client.log.Publish(log.PublishRequest(topic=topic), timeout=TIMEOUT),
        grpc.StatusCode.INVALID_ARGUMENT,
    )
    assert [v.field for v in details(error)["BadRequest"].field_violations] == ["records"]


# Consume


def test_consume_what_kafka_clients_wrote(client, bootstrap, topic):
    headers = [("a", b"1"), ("b", None)]
    sent = [{"key": None, "value": b"v%d" % i * 100, "headers": headers} for i in range(300)]
    for codec in ("gzip", "snappy", "lz4", "zstd", "none"):
        librdkafka.produce_all(librdkafka.producer(bootstrap, compression_type=codec), topic, sent).check(300)
    stream = client.consume(beginning(topic))
    (position,) = stream.started().partitions
    assert (position.partition, position.next_offset, position.high_watermark) == (0, 0, 1500)
    read = stream.records(1500)
    assert [r.offset for _, r in read] == list(range(1500))
    assert [r.value for _, r in read] == [s["value"] for s in sent] * 5
    assert not read[0][1].HasField("key")
    assert [(h.key, h.value if h.HasField("value") else None) for h in read[0][1].headers] == headers
    assert read[-1][0].next_offset == 1500 and read[-1][0].timestamp_type == record.TIMESTAMP_TYPE_CREATE_TIME
    stream.cancel()


@pytest.mark.parametrize(
    "position, first",
    [(dict(edge=log.EDGE_BEGINNING), 0), (dict(offset=7), 7), (dict(edge=log.EDGE_END), 10), (dict(), 10)],
)
def test_start_positions(client, topic, position, first):
    client.publish(topic, *[b"%d" % i for i in range(10)])
    stream = client.consume(at(topic, **position))
    assert stream.started().partitions[0].next_offset == first
    client.publish(topic, b"10")
    assert [r.offset for _, r in stream.records(11 - first)] == list(range(first, 11))
    stream.cancel()


def test_start_by_time(client, topic):
    base = wire.now_ms() - 1000
    records = [log.Record(value=b"%d" % i, timestamp_ms=base + i * 10) for i in range(10)]
    client.log.Publish(log.PublishRequest(topic=topic, partition=0, records=records), timeout=TIMEOUT)
    stream = client.consume(at(topic, timestamp_ms=base + 55))
    assert stream.started().partitions[0].next_offset == 6
    stream.cancel()


def test_all_partitions(client, new_topic):
    topic = new_topic(partitions=4)
    for partition in range(4):
        client.publish(topic, b"p%d" % partition, partition=partition)
    stream = client.consume(beginning(topic, None))
    assert [p.partition for p in stream.started().partitions] == [0, 1, 2, 3]
    assert sorted((s.partition, r.value) for s, r in stream.records(4)) == [(p, b"p%d" % p) for p in range(4)]
    stream.cancel()


def test_follows_as_records_come(client, topic):
    stream = client.consume(at(topic), max_wait_ms=10_000)
    stream.started()
    for i in range(5):
        client.publish(topic, b"%d" % i)
        started = time.monotonic()
        assert [r.value for _, r in stream.records(1)] == [b"%d" % i]
        assert time.monotonic() - started < 5
    stream.cancel()


def test_credit_window(client, topic):
    """No more is sent than was granted, but for the record that crosses the line; a grant continues without gap."""
    for _ in range(10):
        client.publish(topic, *[b"x" * 1000 for _ in range(100)])
    window, one_record = 50_000, 1200
    stream = client.consume(beginning(topic), credit_bytes=window)
    stream.started()
    used, seen = 0, []
    with pytest.raises(TimeoutError):
        while True:
            sent = stream.next(timeout=1.5).records
            used += sent.bytes
            seen += [r.offset for s in sent.sets for r in s.records]
    assert window - one_record <= used <= window + one_record
    stream.grant(10_000_000)
    seen += [r.offset for _, r in stream.records(1000 - len(seen))]
    assert seen == list(range(1000))
    stream.cancel()


def test_record_larger_than_the_window(client, bootstrap, topic):
    client.publish(topic, b"small")
    client.publish(topic, b"L" * 500_000)
    client.publish(topic, b"last")
    stream = client.consume(beginning(topic), credit_bytes=1000)
    stream.started()
    assert [len(r.value) for _, r in stream.records(3, grant=True)] == [5, 500_000, 4]
    stream.cancel()


def test_messages_stay_below_the_clients_limit(client, bootstrap, topic):
    sender = librdkafka.producer(bootstrap, compression_type="zstd", linger_ms=50, message_max_bytes=1_000_000)
    librdkafka.produce_all(sender, topic, [{"value": b"z" * 100_000} for _ in range(100)]).check(100)
    stream = client.consume(beginning(topic), max_message_bytes=300_000)
    stream.started()
    count = 0
    while count < 100:
        response = stream.next()
        assert response.ByteSize() <= 300_000
        count += sum(len(s.records) for s in response.records.sets)
    stream.cancel()


def test_slow_reader_holds_nobody_up(broker, client, topic):
    for _ in range(40):
        client.publish(topic, b"y" * 900_000)
    with Client(broker.grpc) as other:
        slow = other.consume(beginning(topic))
        slow.started()
        started = time.monotonic()
        for _ in range(20):
            client.publish(topic, b"quick")
        assert time.monotonic() - started < 10
        assert len(slow.records(60)) == 60
        slow.cancel()


def test_half_closed_stream_drains_its_credit(client, topic):
    client.publish(topic, *[b"x" * 1000 for _ in range(100)])
    stream = client.consume(beginning(topic), credit_bytes=20_000)
    stream.started()
    stream.finish()
    count = 0
    while (response := stream.next()) is not None:
        count += sum(len(s.records) for s in response.records.sets)
    assert 10 <= count < 25
    assert stream.call.code() == grpc.StatusCode.OK


@pytest.mark.parametrize(
    "start, code, reason",
    [
        (dict(topic="no-such-topic"), grpc.StatusCode.NOT_FOUND, "UNKNOWN_TOPIC_OR_PARTITION"),
        (dict(partition=9, offset=0), grpc.StatusCode.NOT_FOUND, "UNKNOWN_TOPIC_OR_PARTITION"),
        (dict(offset=1000), grpc.StatusCode.OUT_OF_RANGE, "OFFSET_OUT_OF_RANGE"),
    ],
)
def test_consume_errors(client, topic, start, code, reason):
    wanted = {"topic": topic, "partition": 0, **start}
    stream = client.consume(at(**wanted))

    def read():
        while stream.next() is not None:
            pass

    assert details(fails(read, code))["ErrorInfo"].reason == reason


def test_first_request_must_start(client):
    call = client.log.Consume(iter([log.ConsumeRequest(credit=log.Credit(bytes=1))]), timeout=TIMEOUT)
    fails(lambda: next(call), grpc.StatusCode.INVALID_ARGUMENT)


def test_deleted_topic_ends_its_consumers(client, topic):
    stream = client.consume(beginning(topic))
    stream.started()
    client.topics.Delete(topics.DeleteTopicRequest(name=topic), timeout=TIMEOUT)

    def read():
        while (response := stream.next()) is not None:
            assert response.WhichOneof("event") == "failed"

    fails(read, grpc.StatusCode.NOT_FOUND)


def test_garbage_on_the_grpc_port(broker, client, topic):
    for data in (
        b"GET / HTTP/1.1\r\nHost: x\r\n\r\n",
        b"\0" * 1000,
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + b"\xff\xff\xff\x00\x00\x00\x00\x00\x00",
    ):
        with wire.Connection(broker.grpc) as connection:
            connection.send_bytes(data)
            drain_until_closed(connection)
    assert client.publish(topic, b"still here")[0].base_offset == 0


def drain_until_closed(connection):
    """HTTP/2 says settings and good-bye before it closes."""
    with pytest.raises(wire.Closed):
        while True:
            connection.read_exactly(1)


def test_survives_a_restart(own_broker):
    """A consumer goes on from its next offset when the broker is back; nothing is missed and nothing repeated."""
    broker = own_broker().start()
    topic = kafka_topics.create(broker.kafka)
    with Client(broker.grpc) as client:
        client.publish(topic, *[b"%d" % i for i in range(100)])
        stream = client.consume(beginning(topic), credit_bytes=1_000_000)
        stream.started()
        read = stream.records(100)
        next_offset = read[-1][0].next_offset
        for end in (broker.stop, broker.kill):
            end()
            with pytest.raises(grpc.RpcError) as caught:
                while True:
                    stream.next()
            assert caught.value.code() == grpc.StatusCode.UNAVAILABLE
            broker.start()
            grpc.channel_ready_future(client.channel).result(timeout=TIMEOUT)
            client.publish(topic, b"after")
            stream = client.consume(at(topic, offset=next_offset), credit_bytes=1_000_000)
            stream.started()
            ((found, _),) = after = stream.records(1)
            assert [(r.offset, r.value) for _, r in after] == [(next_offset, b"after")]
            next_offset = found.next_offset
        stream.cancel()
