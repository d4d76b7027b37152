"""Topics for tests: created with settings through Kafka's protocol, under names that no other test uses."""

import itertools
import os

from . import wire
from .process import wait_until

EARLIEST = -2
_numbers = itertools.count(1)


def unique_name(prefix: str = "t") -> str:
    return f"{prefix}-{os.getpid()}-{next(_numbers)}"


def create(bootstrap: str, partitions: int = 1, prefix: str = "t", **configs) -> str:
    """Creates a topic and returns its name. `max_message_bytes=…` sets `max.message.bytes`."""
    name = unique_name(prefix)
    settings = {key.replace("_", "."): str(value) for key, value in configs.items()}
    with wire.Connection(bootstrap) as connection:
        answer = connection.ask(wire.create_topic_request(name, partitions, configs=settings), 5)
    result = answer.topics[0]
    assert result.error_code == 0, f"create {name}: error {result.error_code}, {result.error_message}"
    wait_for_leaders(bootstrap, name, partitions)
    return name


def wait_for_leaders(bootstrap: str, name: str, partitions: int):
    """Kafka answers CreateTopics before each partition has a leader that knows it; wait as a client would."""
    with wire.Connection(bootstrap) as connection:
        for partition in range(partitions):
            request = wire.list_offsets_request(name, EARLIEST, partition)

            def led() -> bool:
                return connection.ask(request, 6).topics[0].partitions[0].error_code == wire.NONE

            wait_until(led, 20, f"a leader of {name}-{partition}")


def topic_id(bootstrap: str, name: str):
    """The id of a topic, as Metadata has it."""
    with wire.Connection(bootstrap) as connection:
        return connection.metadata(name, version=12).topics[0].topic_id
