"""kcat: lists, produces and consumes, with every codec and every shape of record."""

import pytest

from harness import kcat, topics

CODECS = ["none", "gzip", "snappy", "lz4", "zstd"]


def test_lists_broker_and_topics(bootstrap, new_topic):
    name = new_topic(partitions=3)
    listing = kcat.run(bootstrap, "-L").stdout.decode()
    assert f"at {bootstrap} (controller)" in listing
    assert f'topic "{name}" with 3 partitions' in listing


@pytest.mark.parametrize("codec", CODECS)
def test_round_trip(bootstrap, topic, codec):
    lines = [b"value %d of the %s round trip" % (i, codec.encode()) for i in range(500)]
    kcat.produce(bootstrap, topic, b"\n".join(lines), "-z", codec)
    read = kcat.consume(bootstrap, topic)
    assert [r["payload"].encode() for r in read] == lines
    assert [r["offset"] for r in read] == list(range(500))


def test_keys_and_headers(bootstrap, topic):
    kcat.produce(
        bootstrap, topic, b"k1:v1\nk2:v2", "-K", ":", "-H", "origin=kcat", "-H", "empty=", "-H", "origin=twice"
    )
    read = kcat.consume(bootstrap, topic)
    assert [(r["key"], r["payload"]) for r in read] == [("k1", "v1"), ("k2", "v2")]
    assert all(r["headers"] == ["origin", "kcat", "empty", "", "origin", "twice"] for r in read)


def test_null_is_not_empty(bootstrap, topic):
    kcat.produce(bootstrap, topic, b":\nk:\n:v", "-K", ":", "-Z")
    assert [(r["key"], r["payload"]) for r in kcat.consume(bootstrap, topic)] == [
        (None, None),
        ("k", None),
        (None, "v"),
    ]
    with_empty = topics.create(bootstrap)
    kcat.produce(bootstrap, with_empty, b"k:\n:v", "-K", ":")
    assert [(r["key"], r["payload"]) for r in kcat.consume(bootstrap, with_empty)] == [("k", ""), ("", "v")]


def test_topic_is_created_on_first_use(bootstrap):
    name = topics.unique_name("auto")
    kcat.produce(bootstrap, name, b"first\nsecond")
    assert [r["payload"] for r in kcat.consume(bootstrap, name)] == ["first", "second"]


def test_named_partition_and_offset(bootstrap, new_topic):
    name = new_topic(partitions=3)
    kcat.produce(bootstrap, name, b"a\nb\nc\nd", "-p", "2")
    done = kcat.run(bootstrap, "-C", "-t", name, "-p", "2", "-o", "1", "-c", "2", "-q", "-f", "%p/%o/%s\n")
    assert done.stdout == b"2/1/b\n2/2/c\n"
    assert kcat.consume(bootstrap, name, "-p", "0") == []


def test_offset_by_time(bootstrap, topic):
    kcat.produce(bootstrap, topic, b"one\ntwo")
    answer = kcat.run(bootstrap, "-Q", "-t", f"{topic}:0:1").stdout.decode()
    assert f"{topic} [0] offset 0" in answer
    future = 4_000_000_000_000
    answer = kcat.run(bootstrap, "-Q", "-t", f"{topic}:0:{future}").stdout.decode()
    assert f"{topic} [0] offset -1" in answer
