"""Fixtures: a broker shared by the tests of one shard count, and brokers of one's own for tests that end them.

MILLRACE_TEST_TARGET=kafka runs the same tests against Apache Kafka, which proves the tests themselves.
"""

import contextlib
import os

import pytest

from harness import topics
from harness.broker import Broker, Kafka, Millrace

TARGET = os.environ.get("MILLRACE_TEST_TARGET", "millrace")
SHARDS = [int(n) for n in os.environ.get("MILLRACE_TEST_SHARDS", "1,2").split(",")]


def pytest_collection_modifyitems(items):
    for item in items:
        if TARGET == "kafka" and (only := item.get_closest_marker("millrace_only")):
            item.add_marker(pytest.mark.skip(reason=only.kwargs["reason"]))


def new_broker(directory, shards: int, properties: dict[str, str] | None = None, **options) -> Broker:
    if TARGET == "kafka":
        return Kafka(directory, properties=properties)
    return Millrace(directory, shards, properties=properties, **options)


_targets = ["kafka"] if TARGET == "kafka" else [f"{n}shard" for n in SHARDS]


@pytest.fixture(scope="session", params=_targets)
def shards(request) -> int:
    return 0 if request.param == "kafka" else int(request.param.removesuffix("shard"))


@pytest.fixture(scope="session")
def broker(shards, tmp_path_factory):
    """A running broker that many tests share. Leave it as you found it, apart from topics of your own."""
    shared = new_broker(tmp_path_factory.mktemp(f"broker-{shards}"), shards)
    try:
        yield shared.start()
        assert shared.stop() in (0, 143), f"not a clean exit:\n{shared.process.tail()}"
    finally:
        shared.close()


@contextlib.contextmanager
def broker_factory(shards: int, directory):
    """Makes brokers that have not started yet, and ends those that still run in the end."""
    made = []

    def make(**options) -> Broker:
        home = directory / f"broker-{len(made) + 1}"
        home.mkdir()
        made.append(new_broker(home, shards, **options))
        return made[-1]

    try:
        yield make
    finally:
        for one in made:
            one.close()


@pytest.fixture
def own_broker(shards, tmp_path):
    """Makes brokers for this test alone: `own_broker()` is one that has not started yet."""
    with broker_factory(shards, tmp_path) as make:
        yield make


@pytest.fixture
def bootstrap(broker) -> str:
    return broker.kafka


@pytest.fixture
def new_topic(bootstrap):
    """Creates topics on the shared broker: `new_topic(partitions=3, max_message_bytes=5000)`."""

    def make(partitions: int = 1, **configs) -> str:
        return topics.create(bootstrap, partitions, **configs)

    return make


@pytest.fixture
def topic(new_topic) -> str:
    return new_topic()
