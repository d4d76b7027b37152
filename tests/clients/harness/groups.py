"""Groups whose members hear of each other within seconds, what members have read, and what a group has committed."""

import re

from . import group_wire as gw
from . import wire
from .process import Process

NUMBER = re.compile(rb"^r-(\d+)$", re.M)
# Members come every second, and are out after six of silence.
QUICK = {
    "group.consumer.session.timeout.ms": "6000",
    "group.consumer.min.session.timeout.ms": "5000",
    "group.consumer.heartbeat.interval.ms": "1000",
    "group.consumer.min.heartbeat.interval.ms": "500",
    "group.consumer.assignment.interval.ms": "200",
    "group.initial.rebalance.delay.ms": "0",
}


def numbers(process: Process) -> list[int]:
    """The numbers of the records that a member has read, as it says."""
    return [int(number) for number in NUMBER.findall(process.log.read_bytes())]


def committed(bootstrap: str, group: str, topic: str, partitions: int) -> list[int]:
    """How far a group has come, by partition."""
    with wire.Connection(bootstrap) as connection:
        (answer,) = connection.ask(gw.fetch(group, {topic: list(range(partitions))}), 9).groups
    found = {p.partition_index: p.committed_offset for p in answer.topics[0].partitions}
    return [found[partition] for partition in range(partitions)]
