"""Every client writes with every codec that it has, and every client reads all of it: offsets, timestamps, keys, values, headers.

One topic with a partition for each writer and codec. Clients in other languages are small programs in `matrix/`: records go in and
come out as lines of JSON, bytes in base64.
"""

import asyncio
import base64
import json
import os
import random
import subprocess

import aiokafka
import pytest
from kafka import KafkaConsumer, KafkaProducer, TopicPartition

from conftest import TARGET
from harness import grpc_client, java, librdkafka, paths, topics, wire

CODECS = ["none", "gzip", "snappy", "lz4", "zstd"]
RECORDS = 200
HERE = paths.ROOT / "tests" / "clients" / "matrix"


def records(seed: int) -> list[tuple]:
    """Timestamp, key, value and headers. What not every client can say, null headers and headers of one name, is tested elsewhere."""
    rng, now = random.Random(seed), wire.now_ms()
    made = []
    for at in range(RECORDS):
        key = None if at % 7 == 0 else b"" if at % 11 == 0 else rng.randbytes(rng.randrange(1, 40))
        value = None if at % 13 == 0 and key is not None else b"" if at % 17 == 0 else b"%d " % at * rng.randrange(1, 300)
        headers = [("a", b""), ("h\u00e4", rng.randbytes(5))] if at % 3 == 0 else []
        made.append((now + at % 5, key, value, headers))
    return made


# Writers: each sends to one partition and returns the offsets.


def write_librdkafka(broker, topic, partition, codec, wanted):
    sender = librdkafka.producer(broker.kafka, compression_type=codec, linger_ms=20, enable_idempotence=True)
    sent = [
        {"partition": partition, "timestamp": timestamp, "key": key, "value": value, "headers": headers}
        for timestamp, key, value, headers in wanted
    ]
    deliveries = librdkafka.produce_all(sender, topic, sent)
    deliveries.check(len(sent))
    return [message.offset() for message in deliveries.messages]


def write_kafka_python(broker, topic, partition, codec, wanted):
    producer = KafkaProducer(
        bootstrap_servers=broker.kafka, compression_type=None if codec == "none" else codec, linger_ms=20
    )
    sent = [
        producer.send(topic, partition=partition, timestamp_ms=timestamp, key=key, value=value, headers=headers)
        for timestamp, key, value, headers in wanted
    ]
    offsets = [future.get(30).offset for future in sent]
    producer.close()
    return offsets


def write_aiokafka(broker, topic, partition, codec, wanted):
    async def run():
        producer = aiokafka.AIOKafkaProducer(
            bootstrap_servers=broker.kafka,
            compression_type=None if codec == "none" else codec,
            linger_ms=20,
            enable_idempotence=True,
        )
        await producer.start()
        sent = [
            await producer.send(
                topic, partition=partition, timestamp_ms=timestamp, key=key, value=value, headers=headers
            )
            for timestamp, key, value, headers in wanted
        ]
        offsets = [(await future).offset for future in sent]
        await producer.stop()
        return offsets

    return asyncio.run(run())


def encode(content: bytes | None) -> str | None:
    return None if content is None else base64.b64encode(content).decode()


def decode(text: str | None) -> bytes | None:
    return None if text is None else base64.b64decode(text)


def program(argv: list[str], wanted=(), partition: int = 0, **env) -> list[str]:
    """Runs one of the small programs; what it printed."""
    lines = [
        json.dumps(
            {
                "partition": partition,
                "timestamp": timestamp,
                "key": encode(key),
                "value": encode(value),
                "headers": [[name, encode(content)] for name, content in headers],
            }
        )
        for timestamp, key, value, headers in wanted
    ]
    environment = {**os.environ, **env}
    done = subprocess.run(
        argv, input="\n".join(lines), capture_output=True, text=True, timeout=120, env=environment
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


def java_program(*args: str, **kwargs) -> list[str]:
    return program(java.source_command(HERE / "Matrix.java", *args), **kwargs)


def write_java(broker, topic, partition, codec, wanted):
    return [
        int(line)
        for line in java_program("produce", broker.kafka, topic, codec, wanted=wanted, partition=partition)
    ]


def write_kafkajs(broker, topic, partition, codec, wanted):
    argv = ["node", str(HERE / "kafkajs.mjs"), "produce", broker.kafka, topic, codec]
    lines = program(argv, wanted, partition, NODE_PATH=str(paths.CACHE / "node" / "node_modules"))
    return [int(line) for line in lines]


def rskafka(*args: str, **kwargs) -> list[str]:
    return program([str(paths.CACHE / "rskafka-matrix" / "release" / "rskafka-matrix"), *args], **kwargs)


def write_rskafka(broker, topic, partition, codec, wanted):
    return [
        int(line) for line in rskafka("produce", broker.kafka, topic, codec, wanted=wanted, partition=partition)
    ]


WRITERS = {
    "librdkafka": (write_librdkafka, CODECS),
    "kafka-python": (write_kafka_python, CODECS),
    "aiokafka": (write_aiokafka, CODECS),
    "java": (write_java, CODECS),
    "kafkajs": (write_kafkajs, ["none", "gzip"]),
    "rskafka": (write_rskafka, CODECS),
}


# Readers: each reads every partition from its beginning and returns, by partition, offset, timestamp, key, value and headers.


def read_librdkafka(broker, topic, partitions):
    found = {partition: [] for partition in range(partitions)}
    for m in librdkafka.read_to_end(broker.kafka, topic, partitions):
        headers = [tuple(header) for header in m.headers() or []]
        found[m.partition()].append((m.offset(), m.timestamp()[1], m.key(), m.value(), headers))
    return found


def read_kafka_python(broker, topic, partitions):
    consumer = KafkaConsumer(bootstrap_servers=broker.kafka, auto_offset_reset="earliest")
    consumer.assign([TopicPartition(topic, partition) for partition in range(partitions)])
    found, left = {partition: [] for partition in range(partitions)}, partitions * RECORDS
    while left > 0:
        for some in consumer.poll(timeout_ms=5000).values():
            for r in some:
                found[r.partition].append((r.offset, r.timestamp, r.key, r.value, list(r.headers)))
                left -= 1
    consumer.close()
    return found


def read_aiokafka(broker, topic, partitions):
    async def run():
        consumer = aiokafka.AIOKafkaConsumer(bootstrap_servers=broker.kafka, auto_offset_reset="earliest")
        await consumer.start()
        consumer.assign([aiokafka.TopicPartition(topic, partition) for partition in range(partitions)])
        found, left = {partition: [] for partition in range(partitions)}, partitions * RECORDS
        while left > 0:
            for some in (await consumer.getmany(timeout_ms=5000)).values():
                for r in some:
                    found[r.partition].append((r.offset, r.timestamp, r.key, r.value, list(r.headers)))
                    left -= 1
        await consumer.stop()
        return found

    return asyncio.run(run())


def from_lines(lines: list[str], partitions: int):
    found = {partition: [] for partition in range(partitions)}
    for line in map(json.loads, lines):
        headers = [(name, decode(content)) for name, content in line["headers"]]
        record = (line["offset"], line["timestamp"], decode(line["key"]), decode(line["value"]), headers)
        found[line["partition"]].append(record)
    return found


def read_java(broker, topic, partitions):
    counts = ",".join([str(RECORDS)] * partitions)
    return from_lines(java_program("consume", broker.kafka, topic, counts), partitions)


def read_rskafka(broker, topic, partitions):
    counts = ",".join([str(RECORDS)] * partitions)
    return from_lines(rskafka("consume", broker.kafka, topic, counts), partitions)


def read_grpc(broker, topic, partitions):
    found = {partition: [] for partition in range(partitions)}
    with grpc_client.Client(broker.grpc) as client:
        stream = client.consume(*[grpc_client.beginning(topic, partition) for partition in range(partitions)])
        stream.started()
        for s, r in stream.records(partitions * RECORDS):
            key, value = (getattr(r, name) if r.HasField(name) else None for name in ("key", "value"))
            headers = [(h.key, h.value if h.HasField("value") else None) for h in r.headers]
            found[s.partition].append((r.offset, r.timestamp_ms, key, value, headers))
        stream.cancel()
    return found


READERS = {
    "librdkafka": read_librdkafka,
    "kafka-python": read_kafka_python,
    "aiokafka": read_aiokafka,
    "java": read_java,
    "rskafka": read_rskafka,
    **({} if TARGET == "kafka" else {"grpc": read_grpc}),
}


@pytest.fixture(scope="module")
def written(broker):
    """The topic, and what is in each of its partitions, by who wrote it with which codec."""
    pairs = [(writer, codec) for writer, (_, codecs) in WRITERS.items() for codec in codecs]
    topic, expected = topics.create(broker.kafka, partitions=len(pairs)), {}
    for partition, (writer, codec) in enumerate(pairs):
        wanted = records(partition)
        offsets = WRITERS[writer][0](broker, topic, partition, codec, wanted)
        assert offsets == list(range(RECORDS)), f"{writer} {codec}"
        expected[partition] = (f"{writer} {codec}", [(at, *record) for at, record in enumerate(wanted)])
    return topic, expected


@pytest.mark.parametrize("reader", READERS)
def test_everybody_reads_what_everybody_wrote(broker, written, reader):
    topic, expected = written
    found = READERS[reader](broker, topic, len(expected))
    for partition, (who, wanted) in expected.items():
        assert found[partition] == wanted, f"{reader} reads what {who} wrote"


@pytest.mark.parametrize("writer", WRITERS)
def test_batches_have_the_codec_that_was_asked_for(broker, written, writer):
    topic, expected = written
    for partition, (who, _) in expected.items():
        name, codec = who.split()
        if name != writer:
            continue
        with wire.Connection(broker.kafka) as connection:
            answer = connection.ask(wire.fetch_request(topic, 0, partition), 12).responses[0].partitions[0]
        assert {CODECS[batch.compression_type] for batch in wire.batches(answer.records)} == {codec}, who
