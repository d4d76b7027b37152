"""Incremental fetch sessions (KIP-227), frame by frame: what is remembered, what is told again, what is refused."""

import pytest
from kafka.protocol.consumer import FetchRequest

from harness import java, topics, wire

UNKNOWN_TOPIC, SESSION_NOT_FOUND, INVALID_SESSION_EPOCH = 3, 70, 71


@pytest.fixture
def connection(bootstrap):
    with wire.Connection(bootstrap) as connection:
        yield connection


def fetch(connection, session: int, epoch: int, wanted=(), forgotten=(), version: int = 12, topic_ids=None):
    """A fetch of partitions, each (topic, partition, offset)."""
    topic_ids = topic_ids or {}
    topic, forget = FetchRequest.FetchTopic, FetchRequest.ForgottenTopic

    def partition(index: int, offset: int):
        return topic.FetchPartition(
            partition=index,
            current_leader_epoch=-1,
            fetch_offset=offset,
            last_fetched_epoch=-1,
            log_start_offset=-1,
            partition_max_bytes=1 << 20,
        )

    request = FetchRequest(
        replica_id=-1,
        max_wait_ms=100,
        min_bytes=1,
        max_bytes=50 << 20,
        isolation_level=0,
        session_id=session,
        session_epoch=epoch,
        topics=[
            topic(topic=name, topic_id=topic_ids.get(name, wire.NO_TOPIC_ID), partitions=[partition(index, offset)])
            for name, index, offset in wanted
        ],
        forgotten_topics_data=[
            forget(topic=name, topic_id=topic_ids.get(name, wire.NO_TOPIC_ID), partitions=[index])
            for name, index in forgotten
        ],
        rack_id="",
    )
    return connection.ask(request, version)


def told(answer) -> dict:
    """What an answer holds: for each partition whether it has records."""
    assert answer.error_code == wire.NONE
    return {
        (topic.topic, partition.partition_index): bool(partition.records)
        for topic in answer.responses
        for partition in topic.partitions
    }


def produce(connection, name: str, partition: int = 0):
    answer = connection.ask(wire.produce_request(name, wire.batch(b"value"), partition=partition), 9)
    assert answer.responses[0].partition_responses[0].error_code == wire.NONE


@pytest.mark.parametrize("version", range(7, 13))
def test_only_what_changed_is_told(connection, new_topic, version):
    a, b = new_topic(), new_topic(2)
    opened = fetch(connection, 0, 0, [(a, 0, 0), (b, 0, 0), (b, 1, 0)], version=version)
    assert told(opened) == {(a, 0): False, (b, 0): False, (b, 1): False}
    session = opened.session_id
    assert session > 0
    quiet = fetch(connection, session, 1, version=version)
    assert (told(quiet), quiet.session_id) == ({}, session)
    produce(connection, b, 1)
    assert told(fetch(connection, session, 2, version=version)) == {(b, 1): True}
    # The client has it and goes on behind it.
    assert told(fetch(connection, session, 3, [(b, 1, 1)], version=version)) == {}
    # A partition that comes is told, one that goes is not.
    assert told(fetch(connection, session, 4, [(a, 0, 0)], [(b, 0)], version=version)) == {}
    produce(connection, b, 0)
    assert told(fetch(connection, session, 5, version=version)) == {}
    # Ended by a full request, which is answered in full.
    assert told(fetch(connection, session, -1, [(b, 0, 0)], version=version)) == {(b, 0): True}
    assert fetch(connection, session, 6, version=version).error_code == SESSION_NOT_FOUND


@pytest.mark.parametrize("version", range(13, 19))
def test_sessions_by_topic_id(connection, bootstrap, new_topic, version):
    name = new_topic()
    ids = {name: topics.topic_id(bootstrap, name)}
    opened = fetch(connection, 0, 0, [(name, 0, 0)], version=version, topic_ids=ids)
    assert [topic.topic_id for topic in opened.responses] == [ids[name]]
    produce(connection, name)
    more = fetch(connection, opened.session_id, 1, version=version)
    assert [(topic.topic_id, len(topic.partitions)) for topic in more.responses] == [(ids[name], 1)]
    assert told(fetch(connection, opened.session_id, 2, [(name, 0, 1)], version=version, topic_ids=ids)) == {}


def test_epochs_must_follow(connection, new_topic):
    name = new_topic()
    session = fetch(connection, 0, 0, [(name, 0, 0)]).session_id
    assert fetch(connection, session, 2).error_code == INVALID_SESSION_EPOCH
    assert fetch(connection, session, 1).error_code == wire.NONE
    assert fetch(connection, session, 1).error_code == INVALID_SESSION_EPOCH
    assert fetch(connection, session + 1, 1).error_code == SESSION_NOT_FOUND


def test_errors_are_told_each_time(connection, new_topic):
    name, missing = new_topic(), topics.unique_name("missing")
    opened = fetch(connection, 0, 0, [(name, 0, 0), (missing, 0, 0)])
    for epoch in (1, 2):
        answer = fetch(connection, opened.session_id, epoch)
        codes = {t.topic: p.error_code for t in answer.responses for p in t.partitions}
        assert codes == {missing: UNKNOWN_TOPIC}


def test_nothing_left_ends_the_session(connection, new_topic):
    name = new_topic()
    session = fetch(connection, 0, 0, [(name, 0, 0)]).session_id
    ended = fetch(connection, session, 1, forgotten=[(name, 0)])
    assert (told(ended), ended.session_id) == ({}, 0)
    assert fetch(connection, session, 2).error_code == SESSION_NOT_FOUND


def test_who_had_records_waits_for_the_others(connection, new_topic):
    """Partitions take turns when an answer has no room for all of them."""
    name = new_topic(2)
    session = fetch(connection, 0, 0, [(name, 0, 0), (name, 1, 0)]).session_id
    for partition in (0, 1):
        produce(connection, name, partition)
    first = fetch(connection, session, 1)
    assert told(first) == {(name, 0): True, (name, 1): True}
    produce(connection, name, 0)
    order = [p.partition_index for t in fetch(connection, session, 2).responses for p in t.partitions]
    assert order == [0, 1]


def test_the_java_consumer_reads_with_a_session(bootstrap, new_topic):
    """It opens one with its first fetch and goes on incrementally, over more fetches than one."""
    name = new_topic()
    with wire.Connection(bootstrap) as connection:
        for _ in range(50):
            produce(connection, name)
        done = java.run(
            f"{java.TOOLS}.consumer.ConsoleConsumer",
            *("--bootstrap-server", bootstrap, "--topic", name, "--partition", "0", "--offset", "earliest"),
            *("--max-messages", "50", "--timeout-ms", "20000"),
            *("--command-property", "max.partition.fetch.bytes=200"),
        )
    assert done.stdout.splitlines() == ["value"] * 50, done.stderr
