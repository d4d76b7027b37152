"""Runs the tests of the Rust crate `rdkafka` that need a broker against a Millrace node: see expected.py.

    rdkafka.py CRATE BROKER [--all]             CRATE: the crate's sources, BROKER: the millrace binary

`rdkafka.tsv` lists them as `program::test`. All of a program's tests run in one process, two at a time, as the crate's own
CI does, those that are not to pass with `--all` only. Some look for the broker at port 9092 whatever they are told: this
program moves into a network of its own, where the port is free.
"""

import ctypes
import fcntl
import os
import re
import socket
import struct
import subprocess
import sys
from pathlib import Path

from expected import PASS, compare, node, table

TIMEOUT = 600
KAFKA_VERSION = "3.9"
#: Asks nothing of a broker, but a host elsewhere that does not answer.
LEFT_OUT = {"test_base_producer_timeout"}


def move_to_own_network():
    """A loopback of our own, for this process and those that it starts."""
    CLONE_NEWNET, SIOCSIFFLAGS, IFF_UP_RUNNING = 0x40000000, 0x8914, 0x41
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.unshare(CLONE_NEWNET) != 0:
        raise OSError(ctypes.get_errno(), "a network namespace: run this as root")
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as any_socket:
        fcntl.ioctl(any_socket, SIOCSIFFLAGS, struct.pack("16sh14x", b"lo", IFF_UP_RUNNING))


def main(crate: Path, binary: str, every: bool) -> int:
    expected = {row[0]: row[-1] for row in table("rdkafka")}
    outcomes: dict[str, str] = {}
    # What is needed from elsewhere comes before.
    subprocess.run(["cargo", "test", "--no-run", "--quiet"], cwd=crate, check=True)
    move_to_own_network()
    for program in sorted({test.split("::")[0] for test in expected}):
        # The tests of some programs count topics: each program has a node of its own.
        settings = {"node_id": "0", "num_partitions": "3", "group_initial_rebalance_delay_ms": "0"}
        with node(binary, port=9092, **settings) as (broker, _):
            env = {**os.environ, "KAFKA_HOST": broker.kafka, "KAFKA_VERSION": KAFKA_VERSION}
            skipped = [t.split("::", 1)[1] for t, what in expected.items() if what != PASS and t.startswith(program)]
            skips = [] if every else [argument for test in skipped for argument in ("--skip", test)]
            command = ["cargo", "test", "--offline", "--test", program, "--", "--test-threads=2", *skips]
            done = subprocess.run(
                ["timeout", "-k", "2", str(TIMEOUT), *command], cwd=crate, env=env, capture_output=True, text=True
            )
            found = re.findall(r"^test (\S+) \.\.\. (\w+)", done.stdout, re.M)
            # What a test prints may come between its name and its outcome: failures are listed again in the end.
            failed = set(re.findall(r"^    (\S+)$", done.stdout.rpartition("failures:")[2], re.M))
            for test, outcome in found:
                if test in LEFT_OUT:
                    continue
                ok = outcome == "ok" or (outcome != "FAILED" and test not in failed)
                outcomes[f"{program}::{test}"] = PASS if ok and done.returncode in (0, 101) else outcome
            if not found:
                print(f"{program}: no test ran\n{done.stderr[-2000:]}", file=sys.stderr)
    return compare("rdkafka", outcomes, every)


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), sys.argv[2], "--all" in sys.argv[3:]))
