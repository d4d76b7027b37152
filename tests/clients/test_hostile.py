"""What strangers send: garbage, false lengths, silence, and too much of it. Everybody else is served meanwhile."""

import resource
import socket
import struct
import time

import pytest

from harness import wire

SOCKET_REQUEST_MAX_BYTES = 104_857_600  # Kafka's default for socket.request.max.bytes


@pytest.fixture(autouse=True)
def others_are_served(bootstrap, topic):
    """After whatever happened, an honest client still produces and fetches."""
    yield
    with wire.Connection(bootstrap) as connection:
        answer = connection.ask(wire.produce_request(topic, wire.batch(b"honest")), 9)
        assert answer.responses[0].partition_responses[0].error_code == wire.NONE
        found = connection.ask(wire.fetch_request(topic, 0), 11).responses[0].partitions[0]
        assert wire.batches(found.records)


def header(api_key: int, version: int, correlation: int = 1, client_id: bytes = b"\x00\x01h") -> bytes:
    return struct.pack(">hhi", api_key, version, correlation) + client_id


@pytest.mark.parametrize("size", [SOCKET_REQUEST_MAX_BYTES + 1, 0x7FFFFFFF, -1, -0x80000000])
def test_impossible_frame_lengths(bootstrap, size):
    with wire.Connection(bootstrap) as connection:
        connection.send_bytes(struct.pack(">i", size) + b"x" * 100)
        connection.expect_close()


@pytest.mark.parametrize(
    "data",
    [b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"\0" * 600],
    ids=["http", "tls"],
)
def test_other_protocols(bootstrap, data):
    with wire.Connection(bootstrap) as connection:
        connection.send_bytes(data)
        connection.expect_close(15)


@pytest.mark.parametrize(
    "payload",
    [
        b"",
        b"\x00",
        header(9999, 0),
        header(-1, 0),
        header(3, 99),
        header(3, -1),
        header(3, 1)[:6],
        header(3, 1, client_id=b"\x7f\xffshort"),
        header(3, 1) + b"\x7f\xff\xff\xff",
        header(3, 1) + struct.pack(">i", 1) + b"\x00\x64short",
        header(3, 9) + b"\x00" + b"\xff\xff\xff\xff\x0f",
        header(3, 9) + b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff",
        header(0, 9) + b"\x00" + b"\x00" * 3,
        header(1, 11) + struct.pack(">iiiibii", -1, 0, 0, 0, 0, 0, 0) + b"\x7f\xff\xff\xff",
    ],
    ids=[
        "empty",
        "one byte",
        "unknown api",
        "negative api",
        "future version",
        "negative version",
        "half a header",
        "client id beyond frame",
        "two thousand million topics",
        "name beyond frame",
        "huge compact array",
        "endless varint",
        "half a produce",
        "two thousand million fetches",
    ],
)
def test_malformed_requests_close_the_connection(bootstrap, payload):
    with wire.Connection(bootstrap) as connection:
        connection.send_frame(payload)
        connection.expect_close()


@pytest.mark.millrace_only(reason="Apache Kafka reserves what is announced and runs out of heap")
def test_half_a_frame_then_silence(bootstrap):
    """A request that never ends holds nobody up and costs no more than was sent of it."""
    waiting = [wire.Connection(bootstrap) for _ in range(50)]
    for connection in waiting:
        connection.send_bytes(struct.pack(">i", 90_000_000) + header(0, 9))
    with wire.Connection(bootstrap) as honest:
        assert honest.ask(wire.api_versions_request(), 3).error_code == wire.NONE
    for connection in waiting:
        connection.close()


def test_abrupt_ends(bootstrap, topic):
    """Resets in the middle of requests and of answers."""
    for _ in range(100):
        connection = wire.Connection(bootstrap)
        connection.send(wire.fetch_request(topic, 0, max_wait_ms=10_000), 11)
        connection.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        connection.close()


def test_a_reader_that_does_not_read(bootstrap, topic):
    """Asks for much more than its socket takes and reads nothing."""
    with wire.Connection(bootstrap) as connection:
        for _ in range(8):
            connection.ask(wire.produce_request(topic, wire.batch(b"z" * 900_000)), 9)
    lazy = wire.Connection(bootstrap)
    request = wire.fetch_request(topic, 0, partition_max_bytes=8 << 20)
    ids = [lazy.send(request, 11) for _ in range(20)]
    started = time.monotonic()
    with wire.Connection(bootstrap) as honest:
        for _ in range(50):
            honest.metadata(topic)
    assert time.monotonic() - started < 5
    lazy.receive(request, 11, ids[0])  # late, but whole
    lazy.close()


def test_thousands_of_connections(bootstrap):
    """Up to Millrace's limit per address some are refused; those that are open all work."""
    wanted = 2000
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, max(soft, wanted + 500)), hard))
    connections = []
    try:
        for _ in range(wanted):
            connections.append(wire.Connection(bootstrap))
        served = sum(_answers(c) for c in connections)
        assert served >= 1000, f"only {served} of {wanted} connections were served"
    finally:
        for connection in connections:
            connection.close()


def _answers(connection) -> bool:
    try:
        return connection.ask(wire.api_versions_request(), 3).error_code == wire.NONE
    except (wire.Closed, OSError):
        return False
