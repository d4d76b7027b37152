"""Kafka's protocol frame by frame, for what no client would send.

Messages come from kafka-python, whose classes are made from Kafka's own schemas: every version of every request, and
a decoder that is not ours.
"""

import io
import socket
import struct
import time
import uuid
from datetime import UTC, datetime

from kafka.protocol.admin import CreateTopicsRequest, DeleteTopicsRequest
from kafka.protocol.api_header import ResponseClassRegistry
from kafka.protocol.consumer import FetchRequest, ListOffsetsRequest
from kafka.protocol.metadata import ApiVersionsRequest, MetadataRequest
from kafka.protocol.producer import InitProducerIdRequest, ProduceRequest
from kafka.record.default_records import DefaultRecordBatchBuilder
from kafka.record.memory_records import MemoryRecords
from kafka.record.util import calc_crc32c

from .process import wait_until

API_VERSIONS = 18
NO_TOPIC_ID = uuid.UUID(int=0)

# Error codes by the names Kafka gives them.
NONE = 0
OFFSET_OUT_OF_RANGE = 1
CORRUPT_MESSAGE = 2
UNKNOWN_TOPIC_OR_PARTITION = 3
MESSAGE_TOO_LARGE = 10
COORDINATOR_LOAD_IN_PROGRESS = 14
INVALID_TOPIC = 17
INVALID_REQUIRED_ACKS = 21
UNSUPPORTED_VERSION = 35
TOPIC_ALREADY_EXISTS = 36
INVALID_PARTITIONS = 37
INVALID_REPLICATION_FACTOR = 38
INVALID_CONFIG = 40
INVALID_REQUEST = 42
UNSUPPORTED_FOR_MESSAGE_FORMAT = 43
OUT_OF_ORDER_SEQUENCE_NUMBER = 45
INVALID_PRODUCER_EPOCH = 47
UNSUPPORTED_COMPRESSION_TYPE = 76
INVALID_RECORD = 87
UNKNOWN_TOPIC_ID = 100


class Closed(Exception):
    """The broker closed the connection."""


class Connection:
    """One TCP connection that counts its requests and reads whole frames."""

    def __init__(self, address: str, timeout: float = 15):
        host, port = address.rsplit(":", 1)
        self.socket = socket.create_connection((host, int(port)), timeout)
        self.correlation = 0

    def __enter__(self) -> "Connection":
        return self

    def __exit__(self, *_):
        self.close()

    def close(self):
        self.socket.close()

    def send_bytes(self, data: bytes):
        self.socket.sendall(data)

    def send_frame(self, payload: bytes):
        self.send_bytes(struct.pack(">i", len(payload)) + payload)

    def read_exactly(self, size: int) -> bytes:
        parts = []
        while size > 0:
            try:
                part = self.socket.recv(min(size, 1 << 20))
            except ConnectionError as e:
                raise Closed(str(e)) from e
            if not part:
                raise Closed("end of stream")
            parts.append(part)
            size -= len(part)
        return b"".join(parts)

    def read_frame(self) -> bytes:
        (size,) = struct.unpack(">i", self.read_exactly(4))
        return self.read_exactly(size)

    def expect_close(self, timeout: float = 10):
        """Fails unless the broker closes the connection, without another word, in time."""
        self.socket.settimeout(timeout)
        try:
            rest = self.socket.recv(1 << 16)
        except ConnectionError:
            return
        assert rest == b"", f"an answer instead of a closed connection: {rest[:64]!r}"

    def send(self, request, version: int) -> int:
        """Sends a request and returns its correlation id."""
        self.correlation += 1
        request.API_VERSION = version
        request.with_header(correlation_id=self.correlation, client_id="wire")
        self.send_bytes(request.encode(header=True, framed=True))
        return self.correlation

    def receive(self, request, version: int, correlation: int | None = None):
        """Reads the next response, which must be the one to `request`."""
        frame = self.read_frame()
        (got,) = struct.unpack_from(">i", frame)
        assert got == (self.correlation if correlation is None else correlation), "responses out of order"
        return decode_response(request, version, frame)

    def ask(self, request, version: int):
        """Sends a request and reads its response."""
        self.send(request, version)
        return self.receive(request, version)

    def new_producer(self, version: int = 4) -> int:
        """A producer id. Kafka's first answer may be that it is still fetching a block of them."""

        def step():
            answer = self.ask(init_producer_id_request(), version)
            assert answer.error_code in (NONE, COORDINATOR_LOAD_IN_PROGRESS), answer.error_code
            return answer if answer.error_code == NONE else None

        answer = wait_until(step, 10, "a producer id")
        assert answer.producer_epoch == 0
        return answer.producer_id

    def metadata(self, *topics: str, version: int = 9):
        """Metadata of the topics named, or, when none is, of the brokers alone."""
        return self.ask(metadata_request(topics), version)


def decode_response(request, version: int, frame: bytes):
    """Decodes a response frame, header and body, and fails unless that takes every byte of it."""
    response = ResponseClassRegistry._response_class_registry[request.API_KEY]
    stream = io.BytesIO(frame)
    header = response.parse_header(stream, version=version)
    if request.API_KEY == API_VERSIONS and frame[stream.tell() :][:2] == b"\0\x23":
        version = 0  # what is wrong with the version is said in the first one
    flexible = response.flexible_version_q(version)
    decode = response._struct.compiled_decode_from(
        version, compact=flexible, tagged=flexible, data_class=response[None]
    )
    body, end = decode(memoryview(frame), stream.tell())
    assert end == len(frame), f"{response.name} v{version}: {len(frame) - end} bytes too many"
    body._header = header
    return body


def metadata_request(topics=(), auto_create: bool = False):
    """Metadata of topics by name."""
    named = [MetadataRequest.MetadataRequestTopic(topic_id=None, name=name) for name in topics]
    return MetadataRequest(
        topics=named,
        allow_auto_topic_creation=auto_create,
        include_cluster_authorized_operations=False,
        include_topic_authorized_operations=False,
    )


def api_versions_request(name: str = "wire", version: str = "1"):
    """ApiVersions, introducing a client."""
    return ApiVersionsRequest(client_software_name=name, client_software_version=version)


def batch(
    *values: bytes, codec: int = 0, producer: tuple[int, int, int] = (-1, -1, -1), timestamp: int | None = None
) -> bytearray:
    """A record batch of some values. `producer` is (id, epoch, base sequence). The time is now by default: old records
    fall to retention, and old producers are forgotten."""
    timestamp = now_ms() if timestamp is None else timestamp
    builder = DefaultRecordBatchBuilder(
        magic=2,
        compression_type=codec,
        is_transactional=False,
        producer_id=producer[0],
        producer_epoch=producer[1],
        base_sequence=producer[2],
        batch_size=1 << 24,
    )
    for offset, value in enumerate(values):
        builder.append(offset, timestamp=timestamp, key=None, value=value, headers=[])
    return bytearray(builder.build())


def now_ms() -> int:
    """Milliseconds since the Unix epoch."""
    return int(time.time() * 1000)


def rfc3339(milliseconds: int) -> str:
    """A time as people write it."""
    return (
        datetime.fromtimestamp(milliseconds / 1000, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    )


def with_checksum(records: bytearray) -> bytearray:
    """The batch with the checksum of what it now holds."""
    records[17:21] = struct.pack(">I", calc_crc32c(bytes(records[21:])))
    return records


def produce_request(
    topic: str, records: bytes, partition: int = 0, acks: int = -1, topic_id: uuid.UUID | None = None
):
    """Produce of one batch to one partition. From version 13 on, topics go by id."""
    data = ProduceRequest.TopicProduceData
    return ProduceRequest(
        transactional_id=None,
        acks=acks,
        timeout_ms=10_000,
        topic_data=[
            data(
                name=topic,
                topic_id=topic_id or NO_TOPIC_ID,
                partition_data=[data.PartitionProduceData(index=partition, records=bytes(records))],
            )
        ],
    )


def fetch_request(
    topic: str,
    offset: int,
    partition: int = 0,
    *,
    max_wait_ms: int = 500,
    min_bytes: int = 1,
    max_bytes: int = 50 << 20,
    partition_max_bytes: int = 1 << 20,
    topic_id: uuid.UUID | None = None,
):
    """A full fetch of one partition. From version 13 on, topics go by id."""
    wanted = FetchRequest.FetchTopic
    return FetchRequest(
        replica_id=-1,
        max_wait_ms=max_wait_ms,
        min_bytes=min_bytes,
        max_bytes=max_bytes,
        isolation_level=0,
        session_id=0,
        session_epoch=-1,
        forgotten_topics_data=[],
        rack_id="",
        topics=[
            wanted(
                topic=topic,
                topic_id=topic_id or NO_TOPIC_ID,
                partitions=[
                    wanted.FetchPartition(
                        partition=partition,
                        current_leader_epoch=-1,
                        fetch_offset=offset,
                        last_fetched_epoch=-1,
                        log_start_offset=-1,
                        partition_max_bytes=partition_max_bytes,
                    )
                ],
            )
        ],
    )


def list_offsets_request(topic: str, timestamp: int, partition: int = 0):
    """ListOffsets of one partition. Negative timestamps are Kafka's special positions (-1 latest, -2 earliest…)."""
    wanted = ListOffsetsRequest.ListOffsetsTopic
    return ListOffsetsRequest(
        replica_id=-1,
        isolation_level=0,
        timeout_ms=5000,
        topics=[
            wanted(
                name=topic,
                partitions=[
                    wanted.ListOffsetsPartition(
                        partition_index=partition, current_leader_epoch=-1, timestamp=timestamp
                    )
                ],
            )
        ],
    )


def init_producer_id_request(transactional_id: str | None = None):
    """InitProducerId of a producer that is new."""
    return InitProducerIdRequest(
        transactional_id=transactional_id, transaction_timeout_ms=60_000, producer_id=-1, producer_epoch=-1
    )


def create_topic_request(
    name: str, partitions: int = 1, replication: int = 1, configs: dict | None = None, validate_only: bool = False
):
    """CreateTopics of one topic."""
    topic = CreateTopicsRequest.CreatableTopic
    return CreateTopicsRequest(
        timeout_ms=10_000,
        validate_only=validate_only,
        topics=[
            topic(
                name=name,
                num_partitions=partitions,
                replication_factor=replication,
                assignments=[],
                configs=[topic.CreatableTopicConfig(name=k, value=v) for k, v in (configs or {}).items()],
            )
        ],
    )


def delete_topic_request(name: str | None, topic_id: uuid.UUID | None = None):
    """DeleteTopics of one topic, in all versions' fields."""
    return DeleteTopicsRequest(
        timeout_ms=10_000,
        topic_names=[name] if name else [],
        topics=[DeleteTopicsRequest.DeleteTopicState(name=name, topic_id=topic_id or NO_TOPIC_ID)],
    )


def batches(records: bytes | None) -> list:
    """The whole record batches in what a fetch answered."""
    found, reader = [], MemoryRecords(bytes(records or b""))
    while reader.has_next():
        found.append(reader.next_batch())
    return found
