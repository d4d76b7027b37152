"""Runs librdkafka's own tests against a Millrace node, one process for each, and compares with what is expected.

    librdkafka.py SUITE BROKER [--all]          SUITE: librdkafka's built tests/ folder, BROKER: the millrace binary

`librdkafka.tsv` beside this file lists the tests: number, name, and what is expected (see expected.py). With `--all` those
run too that are not to pass, most of which end at their own time limits. A test that fails leaks threads, so each has a
process of its own; some use fixed topic names, so the node starts empty.
"""

import os
import re
import shlex
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from expected import PASS, Report, node, table

from harness import java

TIMEOUT = 900
AT_ONCE = 2
#: Tests are gated by the broker's version. This one has everything that needs no group of the new kind.
KAFKA_VERSION = "3.9.0"


def kafkas_scripts(directory: Path) -> Path:
    """A Kafka distribution as far as the tests need one: the script with which some of them create their topics."""
    script = directory / "kafka" / "bin" / "kafka-topics.sh"
    script.parent.mkdir(parents=True)
    script.write_text(f'#!/bin/sh\nexec {shlex.join(java.command(f"{java.TOOLS}.TopicCommand"))} "$@"\n')
    script.chmod(0o755)
    return directory / "kafka"


def run(suite: Path, conf: Path, scripts: Path, bootstrap: str, number: str, name: str) -> tuple[str, float, str]:
    """The outcome of a test, or of the part of it with this name, how long it took, and the first line of what went wrong."""
    env = {
        **os.environ,
        "LD_LIBRARY_PATH": "../src:../src-cpp",
        "RDKAFKA_TEST_CONF": str(conf),
        "KAFKA_PATH": str(scripts),
        "BROKERS": bootstrap,
        "TEST_KAFKA_VERSION": KAFKA_VERSION,
        "TESTS": number,
    }
    if name.startswith("do_test_"):
        env["SUBTESTS"] = name
    started = time.monotonic()
    command = ["timeout", "-k", "2", str(TIMEOUT), "./test-runner", "-p1", "-L", "-K"]
    done = subprocess.run(command, cwd=suite, env=env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    text = re.sub(r"\x1b\[[0-9;]*m", "", done.stdout.decode(errors="replace"))
    took = time.monotonic() - started
    # One number may stand for several tests, some of which are for other brokers.
    rows = re.findall(rf"^\|\s+{number}_\w+\s+\|\s+(\w+)", text, re.M)
    if "PASSED" in rows and set(rows) <= {"PASSED", "SKIPPED"}:
        return PASS, took, ""
    why = re.search(r'^### Test "\d{4}[^"]*" failed at .*\n(.*)$', text, re.M)
    return (rows[0].lower() if rows else "died"), took, why[1] if why else ""


def main(suite: Path, binary: str, every: bool) -> int:
    tests = [test for test in table("librdkafka") if every or test[2] == PASS]
    report = Report()
    with node(binary, num_partitions="4") as (broker, scratch), ThreadPoolExecutor(AT_ONCE) as pool:
        conf = scratch / "librdkafka.conf"
        conf.write_text(f"bootstrap.servers={broker.kafka}\nbroker.address.family=v4\n")
        scripts = kafkas_scripts(scratch)
        outcomes = pool.map(lambda test: run(suite, conf, scripts, broker.kafka, *test[:2]), tests)
        for (number, name, expected), (outcome, took, why) in zip(tests, outcomes, strict=True):
            report.tell(f"{number} {name}", expected, outcome, f"{took:.0f} s  {why}")
    return report.close()


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), sys.argv[2], "--all" in sys.argv[3:]))
