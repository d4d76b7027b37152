"""Runs librdkafka's own tests against a Millrace node, one process for each, and compares with what is expected.

    librdkafka.py SUITE BROKER [--all]          SUITE: librdkafka's built tests/ folder, BROKER: the millrace binary

`librdkafka.tsv` beside this file lists the tests: number, name, `pass` or the reason why not yet. Runs those that are to
pass; with `--all` the others too, most of which end at their own time limits. Exits with 1 when a test that is to pass
does not, or one that is not expected to pass does. A test that fails leaks threads, so each has a process of its own;
some use fixed topic names, so the node starts empty.
"""

import os
import re
import shlex
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parent / "clients"))

from harness import java  # noqa: E402
from harness.broker import Millrace  # noqa: E402

TIMEOUT = 200
AT_ONCE = 2
#: Tests are gated by the broker's version. This one has everything that needs no group of the new kind.
KAFKA_VERSION = "3.9.0"


def expectations() -> list[tuple[str, str, str]]:
    lines = (HERE / "librdkafka.tsv").read_text().splitlines()
    return [tuple(line.split("\t")) for line in lines if line and not line.startswith("#")]


def kafkas_scripts(directory: Path) -> Path:
    """A Kafka distribution as far as the tests need one: the script with which some of them create their topics."""
    script = directory / "kafka" / "bin" / "kafka-topics.sh"
    script.parent.mkdir(parents=True)
    script.write_text(f'#!/bin/sh\nexec {shlex.join(java.command(f"{java.TOOLS}.TopicCommand"))} "$@"\n')
    script.chmod(0o755)
    return directory / "kafka"


def run(suite: Path, conf: Path, scripts: Path, bootstrap: str, number: str) -> tuple[str, float, str]:
    """The outcome of a test, how long it took, and the first line of what went wrong."""
    env = {
        **os.environ,
        "LD_LIBRARY_PATH": "../src:../src-cpp",
        "RDKAFKA_TEST_CONF": str(conf),
        "KAFKA_PATH": str(scripts),
        "BROKERS": bootstrap,
        "TEST_KAFKA_VERSION": KAFKA_VERSION,
        "TESTS": number,
    }
    started = time.monotonic()
    command = ["timeout", "-k", "2", str(TIMEOUT), "./test-runner", "-p1", "-L", "-K"]
    done = subprocess.run(command, cwd=suite, env=env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    text = re.sub(r"\x1b\[[0-9;]*m", "", done.stdout.decode(errors="replace"))
    took = time.monotonic() - started
    # One number may stand for several tests, some of which are for other brokers.
    rows = re.findall(rf"^\|\s+{number}_\w+\s+\|\s+(\w+)", text, re.M)
    if "PASSED" in rows and set(rows) <= {"PASSED", "SKIPPED"}:
        return "pass", took, ""
    why = re.search(r'^### Test "\d{4}[^"]*" failed at .*\n(.*)$', text, re.M)
    return (rows[0].lower() if rows else "died"), took, why[1] if why else ""


def main(suite: Path, binary: str, every: bool) -> int:
    os.environ["MILLRACE_BIN"] = binary
    wrong = []
    with tempfile.TemporaryDirectory(prefix="millrace-conformance-") as scratch:
        broker = Millrace(Path(scratch), 2, properties={"num.partitions": "4"}).start()
        conf = Path(scratch) / "librdkafka.conf"
        conf.write_text(f"bootstrap.servers={broker.kafka}\nbroker.address.family=v4\n")
        scripts = kafkas_scripts(Path(scratch))
        tests = [test for test in expectations() if every or test[2] == "pass"]
        try:
            with ThreadPoolExecutor(AT_ONCE) as pool:
                outcomes = pool.map(lambda test: run(suite, conf, scripts, broker.kafka, test[0]), tests)
                for (number, name, expected), (outcome, took, why) in zip(tests, outcomes, strict=True):
                    as_expected = (outcome == "pass") == (expected == "pass")
                    mark = " " if as_expected else "!"
                    print(f"{mark} {number} {name:<28} {outcome:<8} {took:5.0f} s  {expected}  {why}", flush=True)
                    if not as_expected:
                        wrong.append(number)
        finally:
            broker.close()
    passed = sum(expected == "pass" for _, _, expected in tests)
    print(f"{len(tests)} tests, {passed} expected to pass, {len(wrong)} not as expected: {' '.join(wrong) or 'none'}")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), sys.argv[2], "--all" in sys.argv[3:]))
