"""Requests of the new group protocol (KIP-848), byte by byte: kafka-python has no schemas of them."""

import struct
import uuid
from dataclasses import dataclass, field

HEARTBEAT = 68
DESCRIBE = 69

# Error codes by the names Kafka gives them.
NONE = 0
INVALID_GROUP_ID = 24
UNKNOWN_MEMBER_ID = 25
UNSUPPORTED_VERSION = 35
INVALID_REQUEST = 42
NON_EMPTY_GROUP = 68
GROUP_ID_NOT_FOUND = 69
GROUP_MAX_SIZE_REACHED = 81
FENCED_INSTANCE_ID = 82
FENCED_MEMBER_EPOCH = 110
UNRELEASED_INSTANCE_ID = 111
UNSUPPORTED_ASSIGNOR = 112
STALE_MEMBER_EPOCH = 113
INVALID_REGULAR_EXPRESSION = 128

# Partitions by topic id.
Partitions = dict[uuid.UUID, list[int]]


@dataclass
class Heartbeat:
    """An answer. `assignment` is None when nothing changes."""

    error: int
    message: str | None
    member: str | None
    epoch: int
    interval_ms: int
    assignment: Partitions | None


@dataclass
class Member:
    id: str
    instance: str | None
    epoch: int
    topics: list[str]
    regex: str | None
    assigned: dict[str, list[int]]
    target: dict[str, list[int]]
    kind: int = -1


@dataclass
class Group:
    error: int
    message: str | None
    id: str
    state: str
    epoch: int
    assignment_epoch: int
    assignor: str
    members: list[Member] = field(default_factory=list)


def varint(number: int) -> bytes:
    out = bytearray()
    while number > 0x7F:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    out.append(number)
    return bytes(out)


def text(value: str | None) -> bytes:
    return varint(0) if value is None else varint(len(value.encode()) + 1) + value.encode()


def array(items, write) -> bytes:
    return varint(0) if items is None else varint(len(items) + 1) + b"".join(map(write, items))


def topic_partitions(item: tuple[uuid.UUID, list[int]]) -> bytes:
    topic, partitions = item
    return topic.bytes + array(partitions, lambda number: struct.pack(">i", number)) + b"\0"


class Reader:
    def __init__(self, data: bytes):
        self.data = data
        self.at = 0

    def take(self, size: int) -> bytes:
        part = self.data[self.at : self.at + size]
        assert len(part) == size, "the answer ends too early"
        self.at += size
        return part

    def number(self, form: str) -> int:
        return struct.unpack(">" + form, self.take(struct.calcsize(">" + form)))[0]

    def varint(self) -> int:
        number = shift = 0
        while True:
            byte = self.take(1)[0]
            number |= (byte & 0x7F) << shift
            shift += 7
            if byte < 0x80:
                return number

    def text(self) -> str | None:
        size = self.varint()
        return None if size == 0 else self.take(size - 1).decode()

    def array(self, read) -> list | None:
        size = self.varint()
        return None if size == 0 else [read() for _ in range(size - 1)]

    def no_tags(self):
        assert self.varint() == 0, "a tag that nobody knows"

    def by_id(self) -> Partitions:
        def one():
            topic, partitions = uuid.UUID(bytes=self.take(16)), self.array(lambda: self.number("i"))
            self.no_tags()
            return topic, partitions

        return dict(self.array(one))

    def by_name(self) -> dict[str, list[int]]:
        def one():
            self.take(16)
            topic, partitions = self.text(), self.array(lambda: self.number("i"))
            self.no_tags()
            return topic, sorted(partitions)

        found = dict(self.array(one))
        self.no_tags()
        return found


def ask(connection, api: int, version: int, body: bytes) -> Reader:
    """Sends a request, and reads its answer up to the body's second field."""
    connection.correlation += 1
    head = struct.pack(">hhih", api, version, connection.correlation, 4) + b"wire\0"
    connection.send_frame(head + body)
    reader = Reader(connection.read_frame())
    assert reader.number("i") == connection.correlation, "responses out of order"
    reader.no_tags()
    assert reader.number("i") == 0, "throttled"
    return reader


def heartbeat(
    connection,
    group: str,
    member: str = "",
    epoch: int = 0,
    *,
    version: int = 1,
    instance: str | None = None,
    rack: str | None = None,
    rebalance_ms: int = -1,
    topics: list[str] | None = None,
    regex: str | None = None,
    assignor: str | None = None,
    owned: Partitions | None = None,
) -> Heartbeat:
    body = text(group) + text(member) + struct.pack(">i", epoch) + text(instance) + text(rack)
    body += struct.pack(">i", rebalance_ms) + array(topics, text)
    if version >= 1:
        body += text(regex)
    body += text(assignor) + array(None if owned is None else list(owned.items()), topic_partitions) + b"\0"
    reader = ask(connection, HEARTBEAT, version, body)
    error, message, member_id = reader.number("h"), reader.text(), reader.text()
    epoch, interval = reader.number("i"), reader.number("i")
    assignment = None
    if reader.number("b") >= 0:
        assignment = reader.by_id()
        reader.no_tags()
    reader.no_tags()
    assert reader.at == len(reader.data), "bytes behind the answer"
    return Heartbeat(error, message, member_id, epoch, interval, assignment)


def join(connection, group: str, member: str | None = None, **more) -> Heartbeat:
    """The first heartbeat of a member."""
    member = str(uuid.uuid4()) if member is None else member
    return heartbeat(connection, group, member, 0, rebalance_ms=more.pop("rebalance_ms", 60_000), owned={}, **more)


def describe(connection, *groups: str, version: int = 1) -> list[Group]:
    reader = ask(connection, DESCRIBE, version, array(list(groups), text) + b"\0\0")

    def one_member() -> Member:
        member, instance, _rack, epoch = reader.text(), reader.text(), reader.text(), reader.number("i")
        reader.text(), reader.text()
        topics, regex = reader.array(reader.text), reader.text()
        assigned, target = reader.by_name(), reader.by_name()
        kind = reader.number("b") if version >= 1 else -1
        reader.no_tags()
        return Member(member, instance, epoch, topics, regex, assigned, target, kind)

    def one() -> Group:
        group = Group(
            reader.number("h"),
            reader.text(),
            reader.text(),
            reader.text(),
            reader.number("i"),
            reader.number("i"),
            reader.text(),
        )
        group.members = reader.array(one_member)
        reader.number("i")
        reader.no_tags()
        return group

    found = reader.array(one)
    reader.no_tags()
    return found
