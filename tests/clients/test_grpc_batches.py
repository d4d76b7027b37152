"""gRPC for clients that do the work themselves: numbered batches that can be sent again, and whole Kafka record batches both ways."""

import grpc
import pytest
from kafka.record import MemoryRecords

from harness import librdkafka, topics as kafka_topics, wire
from harness.grpc_client import TIMEOUT, Client, at, beginning, details, log
from test_grpc import fails

pytestmark = pytest.mark.millrace_only(reason="Apache Kafka has no gRPC port")
CODECS = ["none", "gzip", "snappy", "lz4", "zstd"]


@pytest.fixture
def client(broker):
    with Client(broker.grpc) as client:
        yield client


def produce(client, *batches, **options):
    """Sends the batches in one stream, and returns their results."""
    request = log.ProduceRequest(options=log.ProduceOptions(**options), batches=batches)
    return [r for response in client.log.Produce(iter([request]), timeout=TIMEOUT) for r in response.results]


def new_producer(client) -> tuple[int, int]:
    answer = client.log.InitProducer(log.InitProducerRequest(), timeout=TIMEOUT)
    return answer.producer_id, answer.producer_epoch


def numbered(topic: str, producer: tuple[int, int], sequence: int, *values: bytes, partition: int | None = 0):
    numbers = log.ProducerSequence(
        producer_id=producer[0], producer_epoch=producer[1], base_sequence=sequence
    )
    records = [log.Record(value=value) for value in values]
    return log.ProduceBatch(topic=topic, partition=partition, records=records, sequence=numbers)


def outcome(result) -> int | str:
    """The base offset, or the reason why not."""
    (part,) = result.partitions
    return part.error.reason if part.HasField("error") else part.base_offset


def values(bootstrap: str, topic: str) -> list[bytes]:
    return [m.value() for m in librdkafka.read_to_end(bootstrap, topic, 1)]


def test_a_batch_that_comes_again_is_appended_once(client, bootstrap, topic):
    producer = new_producer(client)
    batches = [numbered(topic, producer, n * 2, b"%d" % n, b"and") for n in range(7)]
    assert [outcome(r) for r in produce(client, *batches)] == [0, 2, 4, 6, 8, 10, 12]
    # The last five are known.
    assert [outcome(r) for r in produce(client, *batches[2:])] == [4, 6, 8, 10, 12]
    assert outcome(produce(client, batches[0])[0]) == "OUT_OF_ORDER_SEQUENCE_NUMBER"
    assert outcome(produce(client, numbered(topic, producer, 15, b"gap"))[0]) == "OUT_OF_ORDER_SEQUENCE_NUMBER"
    assert outcome(produce(client, numbered(topic, producer, 14, b"next"))[0]) == 14
    assert values(bootstrap, topic) == [v for n in range(7) for v in (b"%d" % n, b"and")] + [b"next"]


def test_producers_are_told_apart(client, topic):
    one, other = new_producer(client), new_producer(client)
    assert one[0] != other[0] and one[1] == other[1] == 0
    results = produce(client, numbered(topic, one, 0, b"a"), numbered(topic, other, 0, b"a"))
    assert [outcome(r) for r in results] == [0, 1]


def test_numbers_survive_a_restart(own_broker):
    broker = own_broker().start()
    topic = kafka_topics.create(broker.kafka)
    with Client(broker.grpc) as client:
        producer = new_producer(client)
        assert outcome(produce(client, numbered(topic, producer, 0, b"a", b"b"))[0]) == 0
    broker.kill()
    broker.start()
    with Client(broker.grpc) as client:
        assert outcome(produce(client, numbered(topic, producer, 0, b"a", b"b"))[0]) == 0
        assert outcome(produce(client, numbered(topic, producer, 2, b"c"))[0]) == 2
        assert new_producer(client)[0] != producer[0]


@pytest.mark.parametrize(
    "change, field",
    [
        (dict(partition=None), "batches[0].partition"),
        (dict(producer=(-1, 0)), "batches[0].sequence"),
        (dict(producer=(5, 40_000)), "batches[0].sequence"),
        (dict(sequence=-1), "batches[0].sequence"),
    ],
)
def test_numbers_that_are_none(client, topic, change, field):
    wrong = numbered(topic, **{"producer": (5, 0), "sequence": 0, **change}) if change else None
    wrong.records.add(value=b"x")
    error = fails(lambda: produce(client, wrong), grpc.StatusCode.INVALID_ARGUMENT)
    assert [v.field for v in details(error)["BadRequest"].field_violations] == [field]


def test_a_numbered_batch_is_for_one_partition(client, new_topic):
    batch = numbered(new_topic(partitions=2), new_producer(client), 0, b"x")
    batch.records.add(value=b"y", partition=1)
    fails(lambda: produce(client, batch), grpc.StatusCode.INVALID_ARGUMENT)


def whole(topic: str, records: bytes, partition: int | None = 0):
    return log.ProduceBatch(topic=topic, partition=partition, record_batch=bytes(records))


@pytest.mark.parametrize("codec", range(5))
def test_whole_batches_are_appended_as_they_are(client, bootstrap, topic, codec):
    producer, sent = new_producer(client), [b"%d" % n * 50 for n in range(20)]
    batch = wire.batch(*sent, codec=codec, producer=(*producer, 0))
    assert [outcome(r) for r in produce(client, whole(topic, batch), whole(topic, batch))] == [0, 0]
    assert values(bootstrap, topic) == sent
    with wire.Connection(bootstrap) as connection:
        stored = connection.ask(wire.fetch_request(topic, 0), 12).responses[0].partitions[0].records
    # But for what the leader writes: base offset and leader epoch.
    assert bytes(stored)[16:] == bytes(batch)[16:]


def test_what_is_no_batch_is_refused(client, topic):
    good = wire.batch(b"x")
    damaged = bytearray(good)
    damaged[-1] ^= 1
    results = produce(client, whole(topic, damaged), whole(topic, b"nonsense"), whole(topic, good))
    assert [outcome(r) for r in results] == ["CORRUPT_MESSAGE", "INVALID_RECORD", 0]
    both = whole(topic, good)
    both.records.add(value=b"x")
    for batch, field in [
        (both, "record_batch"),
        (whole(topic, good, partition=None), "partition"),
    ]:
        error = fails(lambda wrong=batch: produce(client, wrong), grpc.StatusCode.INVALID_ARGUMENT)
        assert [v.field for v in details(error)["BadRequest"].field_violations] == [f"batches[0].{field}"]


def read_batches(stream, upto: int) -> tuple[list, list]:
    """The sets up to this offset, and the batches in them."""
    sets = []
    while not sets or sets[-1].next_offset < upto:
        response = stream.next()
        assert response.WhichOneof("event") == "records", response
        sets += response.records.sets
        assert response.records.bytes == sum(s.ByteSize() for s in response.records.sets)
    batches = []
    for s in sets:
        records = MemoryRecords(s.record_batches)
        while records.has_next():
            batches.append(records.next_batch())
    return sets, batches


def test_whole_batches_are_read_as_they_are(client, bootstrap, topic):
    for codec in CODECS:
        with wire.Connection(bootstrap) as connection:
            batch = wire.batch(*[b"%d" % n * 30 for n in range(10)], codec=CODECS.index(codec))
            answer = connection.ask(wire.produce_request(topic, batch), 9)
            assert answer.responses[0].partition_responses[0].error_code == wire.NONE
    with wire.Connection(bootstrap) as connection:
        stored = connection.ask(wire.fetch_request(topic, 0), 12).responses[0].partitions[0].records
    stream = client.consume(at(topic, offset=3), record_batches=True)
    stream.started()
    sets, batches = read_batches(stream, 50)
    assert b"".join(s.record_batches for s in sets) == bytes(stored)
    assert [CODECS[b.compression_type] for b in batches] == CODECS
    assert not any(s.records for s in sets) and sets[-1].high_watermark == 50
    # What comes later, too.
    client.publish(topic, b"later")
    sets, batches = read_batches(stream, 51)
    assert [r.value for b in batches for r in b] == [b"later"]
    stream.cancel()


def test_whole_batches_obey_credit_and_message_size(client, new_topic):
    names = [new_topic(max_message_bytes=5_000_000) for _ in range(3)]
    for name in names:
        for _ in range(4):
            client.publish(name, b"x" * 10_000)
    client.publish(names[0], b"y" * 100_000)
    stream = client.consume(
        *map(beginning, names), record_batches=True, max_message_bytes=25_000, credit_bytes=1
    )
    stream.started()
    seen, used = {name: 0 for name in names}, 0
    while sum(seen.values()) < 13:
        response = stream.next().records
        assert response.ByteSize() <= 25_000 or len(response.sets) == 1
        for s in response.sets:
            seen[s.topic] = s.next_offset
        used += response.bytes
        stream.grant(used + 25_000 - 1 if used < 50_000 else response.bytes)
    assert seen == {names[0]: 5, names[1]: 4, names[2]: 4}
    stream.cancel()
