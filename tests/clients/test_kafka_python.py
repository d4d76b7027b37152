"""kafka-python, a client that shares no code with librdkafka or Java."""

import pytest
from kafka import KafkaConsumer, KafkaProducer, TopicPartition

from harness import wire

CODECS = [None, "gzip", "snappy", "lz4", "zstd"]


@pytest.mark.parametrize("codec", CODECS, ids=str)
def test_round_trip(bootstrap, new_topic, codec):
    topic = new_topic(partitions=2)
    producer = KafkaProducer(bootstrap_servers=bootstrap, compression_type=codec, linger_ms=20)
    sent = [(i % 2, b"key %d" % i, b"value %d" % i * 20, [("n", b"%d" % i)]) for i in range(400)]
    futures = [producer.send(topic, partition=p, key=k, value=v, headers=h) for p, k, v, h in sent]
    producer.flush(timeout=30)
    assert [f.get(timeout=10).offset for f in futures] == [i // 2 for i in range(400)]
    producer.close()
    read = read_all(bootstrap, topic, 2, 400)
    assert sorted((r.partition, r.offset, r.key, r.value, list(r.headers)) for r in read) == sorted(
        (p, i // 2, k, v, h) for i, (p, k, v, h) in enumerate(sent)
    )


def test_positions(bootstrap, topic):
    producer = KafkaProducer(bootstrap_servers=bootstrap)
    base = wire.now_ms() - 1000
    for i in range(20):
        producer.send(topic, value=b"%d" % i, timestamp_ms=base + i)
    producer.flush(timeout=30)
    producer.close()
    partition = TopicPartition(topic, 0)
    consumer = KafkaConsumer(bootstrap_servers=bootstrap)
    assert consumer.beginning_offsets([partition]) == {partition: 0}
    assert consumer.end_offsets([partition]) == {partition: 20}
    found = consumer.offsets_for_times({partition: base + 7})[partition]
    assert (found.offset, found.timestamp) == (7, base + 7)
    consumer.close()


def read_all(bootstrap: str, topic: str, partitions: int, count: int) -> list:
    consumer = KafkaConsumer(bootstrap_servers=bootstrap, consumer_timeout_ms=20_000)
    consumer.assign([TopicPartition(topic, p) for p in range(partitions)])
    consumer.seek_to_beginning()
    read = []
    for record in consumer:
        read.append(record)
        if len(read) == count:
            break
    consumer.close()
    return read
