"""`compression.type` of a topic: batches keep their producer's codec, or get the topic's, by whichever port they come."""

import pytest

from harness import grpc_client, librdkafka, topics, wire
from test_admin import SET, TOPIC, alter

CODECS = ["none", "gzip", "snappy", "lz4", "zstd"]
REQUEST_TIMED_OUT, MESSAGE_TOO_LARGE = 7, 10
VALUES = [b"%d " % i * 200 for i in range(50)]


def codecs_on_disk(bootstrap: str, name: str) -> set[str]:
    """The codecs of the batches as they are stored and fetched."""
    with wire.Connection(bootstrap) as connection:
        answer = connection.ask(wire.fetch_request(name, 0, max_bytes=50_000_000), 12).responses[0].partitions[0]
        assert answer.error_code == wire.NONE
        return {CODECS[batch.compression_type] for batch in wire.batches(answer.records)}


def produce(bootstrap: str, name: str, codec: str):
    # Not by a client that chooses: librdkafka compresses with lz4 only where it finds groups.
    batch = wire.batch(*VALUES, codec=CODECS.index(codec))
    with wire.Connection(bootstrap) as connection:
        answer = connection.ask(wire.produce_request(name, batch), 9).responses[0].partition_responses[0]
        assert answer.error_code == wire.NONE


def values(bootstrap: str, name: str) -> list[bytes]:
    return [message.value() for message in librdkafka.read_to_end(bootstrap, name, 1)]


@pytest.mark.parametrize("kept", ["uncompressed", *CODECS[1:]])
def test_batches_get_the_topics_codec(bootstrap, kept):
    name = topics.create(bootstrap, compression_type=kept)
    for codec in CODECS:
        produce(bootstrap, name, codec)
    assert codecs_on_disk(bootstrap, name) == {"none" if kept == "uncompressed" else kept}
    assert values(bootstrap, name) == VALUES * len(CODECS)


def test_batches_keep_their_producers_codec(bootstrap):
    name = topics.create(bootstrap)
    for codec in CODECS:
        produce(bootstrap, name, codec)
    assert codecs_on_disk(bootstrap, name) == set(CODECS)
    assert values(bootstrap, name) == VALUES * len(CODECS)


def test_it_changes_while_the_broker_runs(bootstrap):
    name = topics.create(bootstrap, compression_type="lz4", compression_zstd_level=-3)
    produce(bootstrap, name, "none")
    with wire.Connection(bootstrap) as connection:
        assert alter(connection, TOPIC, name, ("compression.type", SET, "zstd")).error_code == wire.NONE
    produce(bootstrap, name, "none")
    assert codecs_on_disk(bootstrap, name) == {"lz4", "zstd"}
    assert values(bootstrap, name) == VALUES * 2


def test_what_is_too_large_in_the_topics_codec_is_refused(bootstrap):
    """It passes as it comes, and would not once it is inflated."""
    name = topics.create(bootstrap, compression_type="uncompressed", max_message_bytes=20_000)
    kept = topics.create(bootstrap, max_message_bytes=20_000)
    batch = wire.batch(b"x" * 100_000, codec=CODECS.index("gzip"))
    with wire.Connection(bootstrap) as connection:
        for topic, expected in ((kept, wire.NONE), (name, MESSAGE_TOO_LARGE)):
            answer = connection.ask(wire.produce_request(topic, batch), 9).responses[0].partition_responses[0]
            assert answer.error_code == expected


@pytest.mark.millrace_only(reason="gRPC is ours")
def test_what_comes_by_grpc_is_compressed_too(broker):
    name = topics.create(broker.kafka, compression_type="gzip")
    with grpc_client.Client(broker.grpc) as client:
        for at in range(0, len(VALUES), 10):
            client.publish(name, *VALUES[at : at + 10])
    assert codecs_on_disk(broker.kafka, name) == {"gzip"}
    assert values(broker.kafka, name) == VALUES


@pytest.mark.millrace_only(reason="it is about our bound")
def test_batches_that_inflate_take_no_more_memory_than_there_is(own_broker):
    """Forty small batches in one request that would be 40 MB: those for which there is no room are to be sent again."""
    broker = own_broker(properties={"queued.max.request.bytes": str(16 << 20)}).start()
    name = topics.create(broker.kafka, partitions=40, compression_type="uncompressed")
    batch = wire.batch(bytes(1_000_000), codec=CODECS.index("gzip"))
    request = wire.produce_request(name, batch)
    parts = request.topic_data[0].partition_data
    parts += [type(parts[0])(index=index, records=bytes(batch)) for index in range(1, 40)]
    with wire.Connection(broker.kafka) as connection:
        answers = connection.ask(request, 9).responses[0].partition_responses
        codes = [answer.error_code for answer in answers]
        assert set(codes) == {wire.NONE, REQUEST_TIMED_OUT} and codes.count(wire.NONE) >= 4
        refused = next(answer for answer in answers if answer.error_code == REQUEST_TIMED_OUT)
        assert "no memory left" in refused.error_message
        again = wire.produce_request(name, batch, partition=refused.index)
        assert connection.ask(again, 9).responses[0].partition_responses[0].error_code == wire.NONE
