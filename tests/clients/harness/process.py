"""A child process that is started with a log file, waited for and ended by its pid."""

import os
import random
import signal
import socket
import subprocess
import time
from pathlib import Path


class StartFailed(Exception):
    """The process ended, or said nothing, before it was ready. The message carries the end of its output."""


# Below those that the kernel gives to whoever names none: there a connection of some client, which ends where a broker is
# about to start again, would take its port.
_OURS = range(10_000, 32_768)


def free_ports(count: int) -> list[int]:
    """Ports of 127.0.0.1 that were free a moment ago, all different."""
    free = []
    for port in random.sample(_OURS, k=len(_OURS)):
        with socket.socket() as s:
            try:
                s.bind(("127.0.0.1", port))
            except OSError:
                continue
        free.append(port)
        if len(free) == count:
            return free
    raise OSError(f"{count} ports of 127.0.0.1 from {_OURS.start} to {_OURS.stop - 1} were not free")


def wait_until(condition, timeout: float, what: str, interval: float = 0.02):
    """Polls something that can not be awaited, and returns its first true answer."""
    deadline = time.monotonic() + timeout
    while True:
        answer = condition()
        if answer:
            return answer
        if time.monotonic() > deadline:
            raise TimeoutError(f"not within {timeout} s: {what}")
        time.sleep(interval)


class Process:
    """One run of a program. Its output goes to `log`, from which failures quote."""

    def __init__(self, argv: list[str], log: Path, env: dict | None = None, cwd: Path | None = None):
        self.log = log
        with open(log, "ab") as out:
            self.popen = subprocess.Popen(
                argv,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=subprocess.STDOUT,
                env={**os.environ, **(env or {})},
                cwd=cwd,
                start_new_session=True,
            )

    @property
    def pid(self) -> int:
        return self.popen.pid

    def running(self) -> bool:
        return self.popen.poll() is None

    def tail(self, size: int = 4000) -> str:
        return self.log.read_bytes()[-size:].decode(errors="replace")

    def wait_ready(self, ready, timeout: float):
        """Waits until `ready()` is true; a process that ends before is a failure."""

        def step():
            answer = ready()
            if not answer and not self.running():
                raise StartFailed(f"exit status {self.popen.returncode} before it was ready:\n{self.tail()}")
            return answer

        try:
            return wait_until(step, timeout, "ready")
        except TimeoutError as e:
            raise StartFailed(f"{e}\n{self.tail()}") from e

    def terminate(self, timeout: float = 30) -> int:
        """SIGTERM, and the exit status. One that does not end is killed and reported."""
        if self.running():
            os.kill(self.pid, signal.SIGTERM)
        try:
            return self.popen.wait(timeout)
        except subprocess.TimeoutExpired:
            self.kill()
            raise AssertionError(f"still running {timeout} s after SIGTERM:\n{self.tail()}") from None

    def kill(self):
        """SIGKILL."""
        if self.running():
            os.kill(self.pid, signal.SIGKILL)
        self.popen.wait()
