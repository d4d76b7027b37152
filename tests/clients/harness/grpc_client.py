"""A plain Python gRPC client, with stubs generated from our .proto files by grpcio-tools."""

import importlib
import queue
import sys
import tempfile
import threading

import grpc
from google.rpc import error_details_pb2
from grpc_status import rpc_status
from grpc_tools import protoc

from .paths import PROTOS

_out_directory = tempfile.TemporaryDirectory(prefix="millrace-stubs-")  # gone when the process ends
_out = _out_directory.name
_sources = sorted(str(p) for p in (PROTOS / "millrace").rglob("*.proto"))
if protoc.main(["protoc", f"-I{PROTOS}", f"--python_out={_out}", f"--grpc_python_out={_out}", *_sources]) != 0:
    raise RuntimeError(f"protoc could not compile {PROTOS}")
sys.path.insert(0, _out)

log = importlib.import_module("millrace.v1.log_pb2")
record = importlib.import_module("millrace.v1.record_pb2")
topics = importlib.import_module("millrace.v1.topics_pb2")
cluster = importlib.import_module("millrace.v1.cluster_pb2")
groups = importlib.import_module("millrace.v1.groups_pb2")
partitions = importlib.import_module("millrace.v1.partitions_pb2")
_log_grpc = importlib.import_module("millrace.v1.log_pb2_grpc")
_topics_grpc = importlib.import_module("millrace.v1.topics_pb2_grpc")
_cluster_grpc = importlib.import_module("millrace.v1.cluster_pb2_grpc")
_groups_grpc = importlib.import_module("millrace.v1.groups_pb2_grpc")

TIMEOUT = 20


class Client:
    """One channel and the stubs on it."""

    def __init__(self, address: str):
        self.channel = grpc.insecure_channel(
            address,
            options=[
                ("grpc.use_local_subchannel_pool", 1),
                ("grpc.initial_reconnect_backoff_ms", 100),
                ("grpc.max_reconnect_backoff_ms", 500),
            ],
        )
        self.log = _log_grpc.LogStub(self.channel)
        self.topics = _topics_grpc.TopicsStub(self.channel)
        self.cluster = _cluster_grpc.ClusterStub(self.channel)
        self.groups = _groups_grpc.GroupsStub(self.channel)

    def __enter__(self) -> "Client":
        return self

    def __exit__(self, *_):
        self.channel.close()

    def publish(self, topic: str, *values: bytes, partition: int | None = 0) -> list:
        """Publishes values to one partition and returns the results."""
        request = log.PublishRequest(
            topic=topic, partition=partition, records=[log.Record(value=v) for v in values]
        )
        return list(self.log.Publish(request, timeout=TIMEOUT).partitions)

    def join(self, group: str, *names: str, explicit: bool = False, **options) -> "Consumption":
        """Opens a consuming stream that is a member of a group."""
        membership = log.GroupMembership(
            group_id=group,
            topics=names,
            otherwise=log.EDGE_BEGINNING,
            commits=log.COMMIT_MODE_EXPLICIT if explicit else log.COMMIT_MODE_AUTOMATIC,
            commit_interval_ms=200,
            **options,
        )
        return Consumption(self.log, log.ConsumeStart(group=membership, credit_bytes=1 << 20))

    def consume(self, *starts, **options) -> "Consumption":
        """Opens a consuming stream on `PartitionStart`s."""
        return Consumption(self.log, log.ConsumeStart(partitions=starts, **options))


class Consumption:
    """A consuming stream: responses come out, credit goes in. A thread reads it, from the first `next` on, and at most
    two responses ahead: whoever does not ask holds the broker up."""

    def __init__(self, stub, start):
        self._requests = queue.SimpleQueue()
        self._requests.put(log.ConsumeRequest(start=start))
        self._responses = queue.Queue(maxsize=1)
        self._reader: threading.Thread | None = None
        self.call = stub.Consume(iter(self._requests.get, None))

    def grant(self, size: int):
        self._requests.put(log.ConsumeRequest(credit=log.Credit(bytes=size)))

    def commit(self, topic: str, offsets: dict[int, int], id: int = 0):
        marks = [log.PartitionCommit(topic=topic, partition=p, next_offset=o) for p, o in offsets.items()]
        self._requests.put(log.ConsumeRequest(commit=log.Commit(id=id, partitions=marks)))

    def release(self, parts):
        """Gives up what was revoked."""
        self._requests.put(log.ConsumeRequest(release=log.Release(partitions=parts)))

    def finish(self):
        """Closes the client's side."""
        self._requests.put(None)

    def next(self, timeout: float = TIMEOUT):
        """The next response, or None at the end of the stream; TimeoutError when neither comes."""
        if self._reader is None:
            self._reader = threading.Thread(target=self._read, daemon=True)
            self._reader.start()
        try:
            response = self._responses.get(timeout=timeout)
        except queue.Empty:
            raise TimeoutError(f"no response within {timeout} s") from None
        if isinstance(response, grpc.RpcError):
            raise response
        return response

    def _read(self):
        try:
            for response in self.call:
                self._responses.put(response)
            self._responses.put(None)
        except grpc.RpcError as error:
            self._responses.put(error)

    def started(self):
        response = self.next()
        assert response.WhichOneof("event") == "started", response
        return response.started

    def records(self, count: int, grant: bool = False) -> list:
        """Reads so many records, granting back what was used if asked to. Returns (set, record) pairs."""
        found = []
        while len(found) < count:
            response = self.next()
            assert response.WhichOneof("event") == "records", response
            if grant:
                self.grant(response.records.bytes)
            found += [(s, r) for s in response.records.sets for r in s.records]
        return found

    def cancel(self):
        self.call.cancel()
        self.finish()


def at(topic: str, partition: int | None = 0, **position):
    """Where to start: `edge=log.EDGE_BEGINNING`, `offset=3` or `timestamp_ms=…`."""
    return log.PartitionStart(topic=topic, partition=partition, **position)


def beginning(topic: str, partition: int | None = 0):
    return at(topic, partition, edge=log.EDGE_BEGINNING)


def details(error: grpc.RpcError) -> dict:
    """The `google.rpc` details of a failed call, by type name."""
    status = rpc_status.from_call(error)
    assert status is not None, f"no details: {error}"
    found = {}
    for packed in status.details:
        kind = packed.type_url.rsplit(".", 1)[1]
        message = getattr(error_details_pb2, kind)()
        assert packed.Unpack(message)
        found[kind] = message
    return found
