"""A member of a group: prints the value of each record once it has processed it, and commits what it printed.

    python member.py CLIENT BOOTSTRAP GROUP TOPIC

It leaves the group on SIGTERM. Whoever kills it finds everything printed that it committed.
"""

import asyncio
import signal
import sys

stopping = False


def stop(*_):
    global stopping
    stopping = True


def show(values):
    for value in values:
        sys.stdout.buffer.write(value + b"\n")
    sys.stdout.flush()


def librdkafka(bootstrap: str, group: str, topic: str, **more):
    from confluent_kafka import Consumer, KafkaException

    more = more or {"session.timeout.ms": 6000}
    member = Consumer(
        {
            "bootstrap.servers": bootstrap,
            "group.id": group,
            "auto.offset.reset": "earliest",
            "enable.auto.commit": False,
            "topic.metadata.refresh.interval.ms": 2000,
            **more,
        }
    )
    member.subscribe([topic])
    while not stopping:
        messages = [m for m in member.consume(200, 0.2) if m.error() is None]
        show(m.value() for m in messages)
        if messages:
            try:
                member.commit(asynchronous=False)
            except KafkaException as error:
                print(f"not committed: {error}", file=sys.stderr)
    member.close()


def librdkafka_cooperative(bootstrap: str, group: str, topic: str):
    """By the classic protocol; it keeps what it has through a rebalance."""
    strategy = {"partition.assignment.strategy": "cooperative-sticky"}
    librdkafka(bootstrap, group, topic, **strategy, **{"session.timeout.ms": 6000})


def librdkafka_848(bootstrap: str, group: str, topic: str):
    """By the new protocol of groups; a topic that begins with ^ is a regular expression."""
    librdkafka(bootstrap, group, topic, **{"group.protocol": "consumer"})


def kafka_python(bootstrap: str, group: str, topic: str):
    from kafka import KafkaConsumer
    from kafka.coordinator.assignors.range import RangePartitionAssignor
    from kafka.errors import KafkaError

    member = KafkaConsumer(
        topic,
        bootstrap_servers=bootstrap,
        group_id=group,
        auto_offset_reset="earliest",
        enable_auto_commit=False,
        session_timeout_ms=6000,
        partition_assignment_strategy=[RangePartitionAssignor],
    )
    while not stopping:
        found = member.poll(timeout_ms=200, max_records=200)
        show(record.value for records in found.values() for record in records)
        if found:
            try:
                member.commit()
            except KafkaError as error:
                print(f"not committed: {error}", file=sys.stderr)
    member.close(autocommit=False)


def aiokafka(bootstrap: str, group: str, topic: str):
    from aiokafka import AIOKafkaConsumer
    from aiokafka.coordinator.assignors.range import RangePartitionAssignor
    from aiokafka.errors import KafkaError

    async def run():
        member = AIOKafkaConsumer(
            topic,
            bootstrap_servers=bootstrap,
            group_id=group,
            auto_offset_reset="earliest",
            enable_auto_commit=False,
            session_timeout_ms=6000,
            partition_assignment_strategy=(RangePartitionAssignor,),
        )
        await member.start()
        while not stopping:
            found = await member.getmany(timeout_ms=200, max_records=200)
            show(record.value for records in found.values() for record in records)
            if found:
                try:
                    await member.commit()
                except KafkaError as error:
                    print(f"not committed: {error}", file=sys.stderr)
        await member.stop()

    asyncio.run(run())


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, stop)
    clients = {
        "librdkafka": librdkafka,
        "librdkafka-848": librdkafka_848,
        "librdkafka-cooperative": librdkafka_cooperative,
        "kafka-python": kafka_python,
        "aiokafka": aiokafka,
    }
    clients[sys.argv[1]](*sys.argv[2:])
