"""confluent-kafka (librdkafka) with the settings that all tests share."""

import time
from collections.abc import Iterable

from confluent_kafka import OFFSET_BEGINNING, Consumer, KafkaError, Message, Producer, TopicPartition
from confluent_kafka.admin import AdminClient

COMMON = {"broker.address.family": "v4", "socket.timeout.ms": 20_000, "log_level": 0}


def producer(bootstrap: str, **settings) -> Producer:
    """A producer; `linger_ms=5` sets `linger.ms`."""
    return Producer({**COMMON, "bootstrap.servers": bootstrap, **_dotted(settings)})


def consumer(bootstrap: str, **settings) -> Consumer:
    """A consumer that never joins a group: the group id is there because the library insists on one."""
    return Consumer(
        {
            **COMMON,
            "bootstrap.servers": bootstrap,
            "group.id": "unused",
            "enable.auto.commit": False,
            "auto.offset.reset": "error",
            "enable.partition.eof": True,
            **_dotted(settings),
        }
    )


def admin(bootstrap: str) -> AdminClient:
    return AdminClient({**COMMON, "bootstrap.servers": bootstrap})


class Deliveries:
    """Collects delivery reports: `messages` that were acknowledged, `errors` of those that were not."""

    def __init__(self):
        self.messages: list[Message] = []
        self.errors: list[KafkaError] = []

    def __call__(self, error, message):
        if error is not None:
            self.errors.append(error)
        else:
            self.messages.append(message)

    def check(self, count: int):
        """Everything was acknowledged."""
        assert not self.errors, f"{len(self.errors)} failed, first: {self.errors[0]}"
        assert len(self.messages) == count


def produce_all(sender: Producer, topic: str, records: Iterable[dict]) -> Deliveries:
    """Produces records (keyword arguments of `Producer.produce`) and waits until all are answered."""
    reports = Deliveries()
    for record in records:
        while True:
            try:
                sender.produce(topic, on_delivery=reports, **record)
                break
            except BufferError:
                sender.poll(0.1)
        sender.poll(0)
    left = sender.flush(60)
    assert left == 0, f"{left} records were not answered"
    return reports


def read_to_end(bootstrap: str, topic: str, partitions: int = 1, timeout: float = 60, **settings) -> list[Message]:
    """Reads every partition from the beginning to its end, without a group."""
    reader = consumer(bootstrap, **settings)
    try:
        reader.assign([TopicPartition(topic, p, OFFSET_BEGINNING) for p in range(partitions)])
        found, open_partitions = [], set(range(partitions))
        deadline = time.monotonic() + timeout
        while open_partitions:
            assert time.monotonic() < deadline, f"only {len(found)} records within {timeout} s"
            for message in reader.consume(5000, timeout=0.5):
                if message.error() is None:
                    found.append(message)
                elif message.error().code() == KafkaError._PARTITION_EOF:
                    open_partitions.discard(message.partition())
                else:
                    raise AssertionError(str(message.error()))
        return found
    finally:
        reader.close()


def _dotted(settings: dict) -> dict:
    return {key.replace("_", "."): value for key, value in settings.items()}
