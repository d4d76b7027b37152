"""kill -9 in the midst of commits of many clients: no committed offset goes back, and the members go on.

MILLRACE_KILLS and MILLRACE_KILL_SEED as in test_kill9.py.
"""

import asyncio
import random
import threading
import time

import aiokafka
import kafka
import pytest
from aiokafka.errors import KafkaError as AioKafkaError
from aiokafka.structs import TopicPartition as AioPartition
from confluent_kafka import KafkaException, TopicPartition
from kafka.errors import KafkaError
from kafka.structs import OffsetAndMetadata

from harness import group_wire as gw
from harness import librdkafka, topics, wire
from harness.process import free_ports, wait_until
from test_kill9 import KILLS, SEED

PARTITIONS = 3
GROUPS_OF_EACH = 2
LOADING = (14, 15, 16)


class Committer(threading.Thread):
    """The one member of a group: it commits one offset after the other, of all partitions, and notes which were acknowledged."""

    def __init__(self, number: int, broker, topic: str):
        super().__init__(daemon=True)
        self.group = f"{type(self).__name__}-{number}"
        self.at = broker.kafka
        self.topic = topic
        self.sent = self.acknowledged = 0
        self.broken: BaseException | None = None
        self.ended = threading.Event()

    def run(self):
        try:
            self.work()
        except BaseException as error:  # noqa: BLE001: whatever it is, the test tells
            self.broken = error

    def work(self):
        """Joins, commits until it is ended, leaves."""
        raise NotImplementedError


class Librdkafka(Committer):
    def work(self):
        member = librdkafka.consumer(
            self.at,
            group_id=self.group,
            auto_offset_reset="latest",
            session_timeout_ms=6000,
            reconnect_backoff_max_ms=200,
        )
        member.subscribe([self.topic])
        while not self.ended.is_set():
            member.consume(1, 0.005)
            if len(member.assignment()) < PARTITIONS:
                continue
            self.sent += 1
            offsets = [TopicPartition(self.topic, p, self.sent) for p in range(PARTITIONS)]
            try:
                done = member.commit(offsets=offsets, asynchronous=False)
            except KafkaException:
                continue
            if all(partition.error is None for partition in done):
                self.acknowledged = self.sent
        member.close()


class KafkaPython(Committer):
    def work(self):
        member = kafka.KafkaConsumer(
            self.topic,
            bootstrap_servers=self.at,
            group_id=self.group,
            enable_auto_commit=False,
            auto_offset_reset="latest",
            session_timeout_ms=6000,
            retry_backoff_ms=50,
            reconnect_backoff_max_ms=200,
        )
        partitions = [kafka.TopicPartition(self.topic, p) for p in range(PARTITIONS)]
        while not self.ended.is_set():
            member.poll(timeout_ms=5)
            if len(member.assignment()) < PARTITIONS:
                continue
            self.sent += 1
            try:
                member.commit({p: OffsetAndMetadata(self.sent, "", -1) for p in partitions}, timeout_ms=20_000)
            except KafkaError:
                continue
            self.acknowledged = self.sent
        member.close(autocommit=False)


class AioKafka(Committer):
    def work(self):
        asyncio.run(self._work())

    async def _work(self):
        member = aiokafka.AIOKafkaConsumer(
            self.topic,
            bootstrap_servers=self.at,
            group_id=self.group,
            enable_auto_commit=False,
            auto_offset_reset="latest",
            session_timeout_ms=6000,
            retry_backoff_ms=50,
        )
        await member.start()
        partitions = [AioPartition(self.topic, p) for p in range(PARTITIONS)]
        while not self.ended.is_set():
            await asyncio.sleep(0.005)
            if len(member.assignment()) < PARTITIONS:
                continue
            self.sent += 1
            try:
                await asyncio.wait_for(member.commit(dict.fromkeys(partitions, self.sent)), 20)
            except (AioKafkaError, TimeoutError):
                continue
            self.acknowledged = self.sent
        await member.stop()


@pytest.mark.timeout(180 + KILLS * 60)
@pytest.mark.millrace_only(reason="Apache Kafka needs a quarter of a minute for each restart")
def test_no_committed_offset_goes_back(own_broker):
    print(f"MILLRACE_KILL_SEED={SEED} MILLRACE_KILLS={KILLS}")
    dice = random.Random(SEED)
    broker = own_broker(properties={"group.initial.rebalance.delay.ms": "0"}).start()
    topic = topics.create(broker.kafka, PARTITIONS)
    kinds = (Librdkafka, KafkaPython, AioKafka)
    committers = [kind(number, broker, topic) for kind in kinds for number in range(GROUPS_OF_EACH)]
    for committer in committers:
        committer.start()
    for _ in range(KILLS):
        wait_for_progress(committers)
        time.sleep(dice.uniform(0, 0.7))
        broker.kill()
        look_where_no_client_is(broker, committers)
        broker.start()
    wait_for_progress(committers)
    for committer in committers:
        committer.ended.set()
    for committer in committers:
        committer.join(60)
        assert not committer.is_alive() and committer.broken is None, f"{committer.group}: {committer.broken!r}"
    broker.kill()
    look_where_no_client_is(broker, committers)


def wait_for_progress(committers):
    """Every one has had a commit acknowledged that it sent after now."""
    before = {committer.group: committer.sent for committer in committers}

    def stuck() -> list[str]:
        return [
            f"{c.group} at {c.acknowledged} of {c.sent}, {c.broken!r}"
            for c in committers
            if c.acknowledged <= before[c.group]
        ]

    try:
        wait_until(lambda: not stuck(), 60, "commits")
    except TimeoutError as error:
        raise TimeoutError(f"no commits: {'; '.join(stuck())}") from error


def look_where_no_client_is(broker, committers):
    """Starts the broker at an address that no client knows: a commit that is sent again would hide one that is lost."""
    known, broker.kafka = broker.kafka, f"127.0.0.1:{free_ports(1)[0]}"
    broker.start()
    with wire.Connection(broker.kafka) as connection:
        for committer in committers:
            found = wait_until(lambda c=committer: offsets(connection, c), 30, "the group is known")
            # Looked at last: what the clients had received when the broker was killed, they have read by now.
            assert all(committer.acknowledged <= offset <= committer.sent for offset in found), (
                f"{committer.group}: {committer.acknowledged} acknowledged, {committer.sent} sent, {found} found"
            )
    broker.kill()
    broker.kafka = known


def offsets(connection, committer) -> list[int] | None:
    """What the group has committed in each partition; `None` while its coordinator is not there."""
    (answer,) = connection.ask(gw.fetch(committer.group, {committer.topic: list(range(PARTITIONS))}), 9).groups
    if answer.error_code in LOADING:
        return None
    assert answer.error_code == 0
    found = {p.partition_index: p for p in answer.topics[0].partitions}
    assert sorted(found) == list(range(PARTITIONS)) and not any(p.error_code for p in found.values())
    return [found[p].committed_offset for p in range(PARTITIONS)]
