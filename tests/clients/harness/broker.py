"""The two brokers that the tests run against: Millrace, and Apache Kafka as the referee of what Kafka does."""

import json
import socket
from pathlib import Path

from . import java
from .paths import millrace_binary
from .process import Process, StartFailed, free_ports


class Broker:
    """A broker with a data directory of its own, which lives from `start` to `stop` or `kill` and can start again
    on the same ports."""

    name: str

    def __init__(self, directory: Path):
        self.directory = directory
        self.data = directory / "data"
        self.log = directory / "broker.log"
        self.kafka: str | None = None
        self.process: Process | None = None

    @property
    def port(self) -> int:
        return int(self.kafka.rsplit(":", 1)[1])

    def start(self) -> "Broker":
        raise NotImplementedError

    def stop(self) -> int:
        """SIGTERM; returns the exit status."""
        return self.process.terminate()

    def kill(self):
        """SIGKILL."""
        self.process.kill()

    def restart(self):
        self.stop()
        self.start()

    def close(self):
        """Ends whatever still runs, for tear-down."""
        if self.process and self.process.running():
            self.kill()

    def partition_dir(self, topic: str, partition: int = 0) -> Path:
        return self.data / f"{topic}-{partition}"


class Millrace(Broker):
    """`millrace dev`; `millrace serve` where settings are given."""

    name = "millrace"

    def __init__(
        self,
        directory: Path,
        shards: int = 1,
        extra: tuple[str, ...] = (),
        properties: dict[str, str] | None = None,
    ):
        super().__init__(directory)
        self.shards = shards
        self.properties = properties
        self.extra = extra
        self.kafka, self.grpc, self.http = (f"127.0.0.1:{port}" for port in free_ports(3))

    def argv(self) -> list[str]:
        ports = ["--ports-file", str(self.directory / "ports.json")]
        if self.properties is not None:
            file = self.directory / "server.properties"
            settings = {
                "listeners": f"PLAINTEXT://{self.kafka}",
                "grpc.listeners": self.grpc,
                "http.listeners": self.http,
                "log.dirs": self.data,
                "shards": self.shards,
                **self.properties,
            }
            file.write_text("".join(f"{name}={value}\n" for name, value in settings.items()))
            return [str(millrace_binary()), "serve", "--config", str(file), *ports, *self.extra]
        return [
            str(millrace_binary()),
            "dev",
            "--kafka",
            self.kafka,
            "--grpc",
            self.grpc,
            "--http",
            self.http,
            "--data",
            str(self.data),
            "--shards",
            str(self.shards),
            *ports,
            *self.extra,
        ]

    def start(self, timeout: float = 30) -> "Millrace":
        ports = self.directory / "ports.json"
        ports.unlink(missing_ok=True)
        self.process = Process(self.argv(), self.log)
        addresses = self.process.wait_ready(lambda: _json_or_none(ports), timeout)
        self.kafka, self.grpc, self.http = addresses["kafka"], addresses["grpc"], addresses["http"]
        return self


class Kafka(Broker):
    """A single Apache Kafka node, broker and controller in one process."""

    name = "kafka"

    def __init__(
        self, directory: Path, advertised: str | None = None, properties: dict[str, str] | None = None
    ):
        super().__init__(directory)
        self.advertised = advertised
        self.properties = properties or {}
        self.controller_port: int | None = None

    def start(self, timeout: float = 90) -> "Kafka":
        if self.kafka is None:
            broker_port, self.controller_port = free_ports(2)
            self.kafka = f"127.0.0.1:{broker_port}"
            self._format()
        heap = ["-Xms512m", "-Xmx512m", "-XX:+UseG1GC"]
        self.process = Process(java.command("kafka.Kafka", str(self._properties()), jvm=heap), self.log)
        self.process.wait_ready(self._answers, timeout)
        return self

    def _properties(self) -> Path:
        return self.directory / "server.properties"

    def _format(self):
        self._properties().write_text(
            _KAFKA_PROPERTIES.format(
                kafka=self.kafka,
                advertised=self.advertised or self.kafka,
                controller=f"127.0.0.1:{self.controller_port}",
                data=self.data,
            )
            + "".join(f"{name}={value}\n" for name, value in self.properties.items())
        )
        uuid = java.run("kafka.tools.StorageTool", "random-uuid").stdout.strip()
        done = java.run("kafka.tools.StorageTool", "format", "-t", uuid, "-c", str(self._properties()))
        if done.returncode != 0:
            raise StartFailed(done.stdout + done.stderr)

    def _answers(self) -> bool:
        """Whether Metadata names the broker: it listens before it is registered."""
        from . import wire

        try:
            with wire.Connection(self.kafka, timeout=5) as connection:
                return len(connection.metadata().brokers) == 1
        except (OSError, socket.timeout, wire.Closed):
            return False


def _json_or_none(path: Path):
    """The file's content once it is complete."""
    try:
        return json.loads(path.read_text())
    except (FileNotFoundError, json.JSONDecodeError):
        return None


_KAFKA_PROPERTIES = """\
process.roles=broker,controller
node.id=1
controller.quorum.voters=1@{controller}
listeners=PLAINTEXT://{kafka},CONTROLLER://{controller}
advertised.listeners=PLAINTEXT://{advertised}
controller.listener.names=CONTROLLER
listener.security.protocol.map=CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT
inter.broker.listener.name=PLAINTEXT
log.dirs={data}
num.partitions=1
offsets.topic.replication.factor=1
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
share.coordinator.state.topic.replication.factor=1
share.coordinator.state.topic.min.isr=1
group.initial.rebalance.delay.ms=0
"""
