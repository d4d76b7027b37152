"""A TCP proxy for Kafka's protocol that keeps the first request and response of each API and version it sees."""

import asyncio
import struct
import threading
from pathlib import Path

API_NAMES = {
    0: "Produce",
    1: "Fetch",
    2: "ListOffsets",
    3: "Metadata",
    8: "OffsetCommit",
    9: "OffsetFetch",
    10: "FindCoordinator",
    11: "JoinGroup",
    12: "Heartbeat",
    13: "LeaveGroup",
    14: "SyncGroup",
    15: "DescribeGroups",
    16: "ListGroups",
    18: "ApiVersions",
    19: "CreateTopics",
    20: "DeleteTopics",
    21: "DeleteRecords",
    22: "InitProducerId",
    23: "OffsetForLeaderEpoch",
    32: "DescribeConfigs",
    33: "AlterConfigs",
    34: "AlterReplicaLogDirs",
    35: "DescribeLogDirs",
    37: "CreatePartitions",
    42: "DeleteGroups",
    43: "ElectLeaders",
    44: "IncrementalAlterConfigs",
    45: "AlterPartitionReassignments",
    46: "ListPartitionReassignments",
    47: "OffsetDelete",
    55: "DescribeQuorum",
    57: "UpdateFeatures",
    60: "DescribeCluster",
    61: "DescribeProducers",
    68: "ConsumerGroupHeartbeat",
    69: "ConsumerGroupDescribe",
    74: "ListConfigResources",
    75: "DescribeTopicPartitions",
}
LARGEST_KEPT = 16 * 1024


class RecordProxy:
    """Listens on 127.0.0.1, forwards to `upstream`, and writes `<client>-<Api>-v<version>.bin` and `…-response.bin`,
    both without their length prefix. `client` may be changed while it runs."""

    def __init__(self, port: int, upstream: str, directory: Path):
        self.port = port
        self.upstream = upstream
        self.directory = directory
        self.client = "unnamed"
        self._loop = asyncio.new_event_loop()
        self._server: asyncio.Server | None = None
        self._listening = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def start(self):
        self._thread.start()
        self._listening.wait()

    def stop(self):
        self._loop.call_soon_threadsafe(self._server.close)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()

    def _run(self):
        asyncio.set_event_loop(self._loop)
        self._server = self._loop.run_until_complete(asyncio.start_server(self._serve, "127.0.0.1", self.port))
        self._listening.set()
        self._loop.run_forever()
        left = asyncio.all_tasks(self._loop)
        for task in left:
            task.cancel()
        self._loop.run_until_complete(asyncio.gather(*left, return_exceptions=True))
        self._loop.close()

    async def _serve(self, client_reader, client_writer):
        host, port = self.upstream.rsplit(":", 1)
        reader, writer = await asyncio.open_connection(host, int(port))
        asked: dict[int, Path] = {}
        await asyncio.gather(
            self._forward(client_reader, writer, lambda frame: self._keep_request(frame, asked)),
            self._forward(reader, client_writer, lambda frame: self._keep_response(frame, asked)),
        )

    async def _forward(self, reader, writer, seen):
        try:
            while True:
                length = await reader.readexactly(4)
                frame = await reader.readexactly(struct.unpack(">i", length)[0])
                seen(frame)
                writer.write(length + frame)
                await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()

    def _keep_request(self, frame: bytes, asked: dict[int, Path]):
        key, version, correlation = struct.unpack_from(">hhi", frame)
        if key not in API_NAMES:
            return
        path = self.directory / f"{self.client}-{API_NAMES[key]}-v{version}.bin"
        if not path.exists() and len(frame) <= LARGEST_KEPT:
            path.write_bytes(frame)
            asked[correlation] = path.with_name(f"{path.stem}-response.bin")

    def _keep_response(self, frame: bytes, asked: dict[int, Path]):
        path = asked.pop(struct.unpack_from(">i", frame)[0], None)
        if path and len(frame) <= LARGEST_KEPT:
            path.write_bytes(frame)
