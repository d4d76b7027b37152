"""kill -9 under load: every acknowledged record is there, in order, at its offset; those of idempotent producers once.

MILLRACE_KILLS says how often (3 by default), MILLRACE_KILL_SEED when within the load.
"""

import os
import random
import threading
import time

import pytest

from harness import librdkafka, topics
from harness.process import wait_until

KILLS = int(os.environ.get("MILLRACE_KILLS", 3))
SEED = int(os.environ.get("MILLRACE_KILL_SEED", time.time_ns() % 1_000_000))
PARTITIONS = 2
PRODUCERS = {
    "idempotent": {"enable_idempotence": True},
    "compressed": {"enable_idempotence": True, "compression_type": "lz4", "linger_ms": 5},
    "all": {"acks": "all", "max_in_flight_requests_per_connection": 1},
    "leader": {"acks": "1", "max_in_flight_requests_per_connection": 1},
}
EXACTLY_ONCE = {"idempotent", "compressed"}


class Load(threading.Thread):
    """A producer that sends numbered records until it is told to stop, and notes where each was acknowledged."""

    def __init__(self, name: str, bootstrap: str, topic: str):
        super().__init__(daemon=True)
        self.kind = name
        self.topic = topic
        self.sent = 0
        self.acknowledged: dict[int, int] = {}
        self.errors = []
        self.unanswered: int | None = None
        self._ended = threading.Event()
        self._producer = librdkafka.producer(
            bootstrap,
            queue_buffering_max_messages=1000,
            retry_backoff_ms=20,
            reconnect_backoff_max_ms=200,
            retries=10_000,
            message_timeout_ms=120_000,
            **PRODUCERS[name],
        )

    def run(self):
        while not self._ended.is_set():
            try:
                self._producer.produce(
                    self.topic,
                    self.value(self.sent),
                    partition=self.sent % PARTITIONS,
                    on_delivery=self._reporter(self.sent),
                )
                self.sent += 1
                self._producer.poll(0)
            except BufferError:
                self._producer.poll(0.02)
        self.unanswered = self._producer.flush(120)

    def end(self):
        """No more records; `join` waits until those that were sent are answered."""
        self._ended.set()

    def value(self, number: int) -> bytes:
        return b"%s:%d:" % (self.kind.encode(), number) + b"." * (number * 7919 % 1500)

    def _reporter(self, number: int):
        def report(error, message):
            if error is not None:
                self.errors.append(error)
            else:
                self.acknowledged[number] = message.offset()

        return report


@pytest.mark.timeout(120 + KILLS * 30)
@pytest.mark.millrace_only(reason="Apache Kafka needs a quarter of a minute for each restart")
def test_nothing_acknowledged_is_lost(own_broker):
    print(f"MILLRACE_KILL_SEED={SEED} MILLRACE_KILLS={KILLS}")
    rng = random.Random(SEED)
    broker = own_broker().start()
    settings = {"segment_bytes": 4_000_000}  # small enough that kills meet rolls
    loads = [
        Load(kind, broker.kafka, topics.create(broker.kafka, PARTITIONS, prefix=kind, **settings))
        for kind in PRODUCERS
    ]
    for load in loads:
        load.start()
    for _ in range(KILLS):
        wait_for_progress(loads)
        time.sleep(rng.uniform(0, 0.7))
        broker.kill()
        broker.start()
    wait_for_progress(loads)
    for load in loads:
        load.end()
    for load in loads:
        load.join()
    broker.kill()
    broker.start()
    for load in loads:
        topics.wait_for_leaders(broker.kafka, load.topic, PARTITIONS)
        verify(broker.kafka, load)


def wait_for_progress(loads):
    """Every producer has had something acknowledged since now."""
    before = [len(load.acknowledged) for load in loads]
    wait_until(lambda: all(len(load.acknowledged) > b for load, b in zip(loads, before)), 60, "acknowledgements")


def verify(bootstrap: str, load: Load):
    assert load.errors == [] and load.unanswered == 0, (
        f"{load.kind}: {load.errors[:1]}, {load.unanswered} unanswered"
    )
    assert len(load.acknowledged) == load.sent
    read = librdkafka.read_to_end(bootstrap, load.topic, PARTITIONS)
    for partition in range(PARTITIONS):
        log = [m for m in read if m.partition() == partition]
        assert [m.offset() for m in log] == list(range(len(log))), f"{load.kind}: offsets are not consecutive"
        numbers = [int(m.value().split(b":")[1]) for m in log]
        assert all(m.value() == load.value(n) for m, n in zip(log, numbers)), f"{load.kind}: a record differs"
        mine = range(partition, load.sent, PARTITIONS)
        lost = [n for n in mine if not (load.acknowledged[n] < len(log) and numbers[load.acknowledged[n]] == n)]
        assert not lost, (
            f"{load.kind}-{partition}: {len(lost)} acknowledged records are not at their offsets: {lost[:5]}"
        )
        in_order = [load.acknowledged[n] for n in mine]
        assert in_order == sorted(set(in_order)), f"{load.kind}-{partition}: acknowledged out of order"
        if load.kind in EXACTLY_ONCE:
            assert numbers == list(mine), f"{load.kind}-{partition}: not exactly once"
