"""kill -9 under the load of many clients: every acknowledged record is there, in order, at its offset; those of idempotent producers once.

MILLRACE_KILLS says how often (3 by default), MILLRACE_KILL_SEED when within the load.
"""

import asyncio
import os
import random
import subprocess
import threading
import time

import aiokafka
import pytest
from kafka import KafkaProducer

from harness import librdkafka, paths, topics
from harness.process import wait_until

KILLS = int(os.environ.get("MILLRACE_KILLS", 3))
SEED = int(os.environ.get("MILLRACE_KILL_SEED", time.time_ns() % 1_000_000))
PARTITIONS = 2
UNANSWERED = 500


class Load(threading.Thread):
    """A producer that sends numbered records until it is told to stop, and notes where each was acknowledged."""

    exactly_once = True

    def __init__(self, name: str, broker, topic: str):
        super().__init__(daemon=True)
        self.kind = name
        self.broker = broker
        self.topic = topic
        self.sent = 0
        self.acknowledged: dict[int, int] = {}
        self.errors = []
        self.unanswered: int | None = None
        self._ended = threading.Event()

    def run(self):
        while not self._ended.is_set():
            if self.sent - len(self.acknowledged) - len(self.errors) < UNANSWERED and self.send(self.sent):
                self.sent += 1
            else:
                self.wait()
        self.finish()
        self.unanswered = self.sent - len(self.acknowledged) - len(self.errors)

    def send(self, number: int) -> bool:
        """Hands a record over; `False` if there is no room for it now."""
        raise NotImplementedError

    def wait(self):
        """Something else may happen meanwhile."""
        time.sleep(0.01)

    def finish(self):
        """Waits for what is unanswered."""
        raise NotImplementedError

    def end(self):
        """No more records; `join` waits until those that were sent are answered."""
        self._ended.set()

    def value(self, number: int) -> bytes:
        return b"%s:%d:" % (self.kind.encode(), number) + b"." * (number * 7919 % 1500)


class Librdkafka(Load):
    SETTINGS = {
        "idempotent": {"enable_idempotence": True},
        "compressed": {"enable_idempotence": True, "compression_type": "zstd", "linger_ms": 5},
        "all": {"acks": "all", "max_in_flight_requests_per_connection": 1},
        "leader": {"acks": "1", "max_in_flight_requests_per_connection": 1},
    }

    def __init__(self, name: str, broker, topic: str):
        super().__init__(name, broker, topic)
        self.exactly_once = "enable_idempotence" in self.SETTINGS[name]
        self._producer = librdkafka.producer(
            broker.kafka,
            retry_backoff_ms=20,
            reconnect_backoff_max_ms=200,
            retries=10_000,
            message_timeout_ms=120_000,
            **self.SETTINGS[name],
        )

    def send(self, number: int) -> bool:
        try:
            self._producer.produce(
                self.topic, self.value(number), partition=number % PARTITIONS, on_delivery=self._reporter(number)
            )
            return True
        except BufferError:
            return False
        finally:
            self._producer.poll(0)

    def wait(self):
        self._producer.poll(0.02)

    def finish(self):
        self._producer.flush(120)

    def _reporter(self, number: int):
        def report(error, message):
            if error is not None:
                self.errors.append(error)
            else:
                self.acknowledged[number] = message.offset()

        return report


class KafkaPython(Load):
    def __init__(self, name: str, broker, topic: str):
        super().__init__(name, broker, topic)
        self._producer = KafkaProducer(
            bootstrap_servers=broker.kafka,
            enable_idempotence=True,
            linger_ms=2,
            retry_backoff_ms=50,
            reconnect_backoff_max_ms=200,
            delivery_timeout_ms=120_000,
            max_block_ms=120_000,
        )

    def send(self, number: int) -> bool:
        sent = self._producer.send(self.topic, self.value(number), partition=number % PARTITIONS)
        sent.add_callback(lambda placed: self.acknowledged.__setitem__(number, placed.offset))
        sent.add_errback(self.errors.append)
        return True

    def finish(self):
        self._producer.flush(120)
        self._producer.close()


class AioKafka(Load):
    def run(self):
        asyncio.run(self._run())
        self.unanswered = self.sent - len(self.acknowledged) - len(self.errors)

    async def _run(self):
        producer = aiokafka.AIOKafkaProducer(
            bootstrap_servers=self.broker.kafka,
            enable_idempotence=True,
            linger_ms=2,
            retry_backoff_ms=50,
            request_timeout_ms=120_000,
        )
        await producer.start()
        answers = set()
        while not self._ended.is_set():
            if len(answers) >= UNANSWERED:
                await asyncio.wait(answers, return_when=asyncio.FIRST_COMPLETED)
                continue
            number = self.sent
            future = await producer.send(self.topic, self.value(number), partition=number % PARTITIONS)
            self.sent += 1
            answers.add(future)
            future.add_done_callback(lambda done, number=number: self._answered(done, number, answers))
            if number % 20 == 0:
                await asyncio.sleep(0.005)
        await asyncio.wait_for(producer.flush(), 120)
        await producer.stop()

    def _answered(self, done, number: int, answers: set):
        answers.discard(done)
        if done.exception() is not None:
            self.errors.append(done.exception())
        else:
            self.acknowledged[number] = done.result().offset


class Rust(Load):
    """Our own client, by gRPC: the example `numbers` of the client crate."""

    def run(self):
        program = paths.millrace_binary().parent / "examples" / "numbers"
        argv = [str(program), self.broker.grpc, self.topic, str(PARTITIONS)]
        process = subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        closer = threading.Thread(target=lambda: (self._ended.wait(), process.stdin.close()), daemon=True)
        closer.start()
        for line in process.stdout:
            number, _, offset = map(int, line.split())
            self.acknowledged[number] = offset
        self.sent = len(self.acknowledged)
        if process.wait(120) != 0:
            self.errors.append("it failed")
        self.unanswered = 0


PRODUCERS = {
    **{name: Librdkafka for name in Librdkafka.SETTINGS},
    "kafka-python": KafkaPython,
    "aiokafka": AioKafka,
    "rust": Rust,
}


@pytest.mark.timeout(120 + KILLS * 30)
@pytest.mark.millrace_only(reason="Apache Kafka needs a quarter of a minute for each restart")
def test_nothing_acknowledged_is_lost(own_broker):
    print(f"MILLRACE_KILL_SEED={SEED} MILLRACE_KILLS={KILLS}")
    rng = random.Random(SEED)
    broker = own_broker().start()
    settings = {"segment_bytes": 4_000_000}  # small enough that kills meet rolls
    loads = [
        load(kind, broker, topics.create(broker.kafka, PARTITIONS, prefix=kind, **settings))
        for kind, load in PRODUCERS.items()
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
    before = {load.kind: len(load.acknowledged) for load in loads}
    stuck = []

    def all_moved() -> bool:
        stuck[:] = [
            f"{load.kind} at {before[load.kind]} of {load.sent}, {load.errors[:1]}"
            for load in loads
            if len(load.acknowledged) <= before[load.kind]
        ]
        return not stuck

    try:
        wait_until(all_moved, 60, "acknowledgements")
    except TimeoutError as error:
        raise TimeoutError(f"no acknowledgements: {'; '.join(stuck)}") from error


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
        if load.exactly_once:
            assert numbers == list(mine), f"{load.kind}-{partition}: not exactly once"
