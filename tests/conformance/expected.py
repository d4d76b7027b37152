"""What is expected of each test of a suite, and how an outcome is told and counted.

A table lists tests: their id, an optional name, and `pass` or the reason why not yet, separated by tabs. Runs take those that are to pass,
with `--all` the others too. A test that is to pass and does not is wrong, and so is one that passes and is not expected to: the table
would be behind.
"""

import os
import sys
import tempfile
from contextlib import contextmanager
from pathlib import Path

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parent / "clients"))

from harness.broker import Millrace  # noqa: E402
from harness.process import free_ports  # noqa: E402

PASS = "pass"


def table(name: str) -> list[tuple[str, ...]]:
    lines = (HERE / f"{name}.tsv").read_text().splitlines()
    return [tuple(line.split("\t")) for line in lines if line and not line.startswith("#")]


@contextmanager
def node(binary: str, port: int = 0, **properties: str):
    """A node of two shards with an empty directory, and that directory's parent for whatever else a suite needs. Port 0 is any."""
    os.environ["MILLRACE_BIN"] = binary
    settings = {name.replace("_", "."): value for name, value in properties.items()}
    with tempfile.TemporaryDirectory(prefix="millrace-conformance-") as scratch:
        broker = Millrace(Path(scratch), 2, properties=settings)
        # Some tests look for the address among what the node was told.
        broker.kafka = f"127.0.0.1:{port or free_ports(1)[0]}"
        settings["advertised.listeners"] = f"PLAINTEXT://{broker.kafka}"
        try:
            broker.start()
            yield broker, Path(scratch)
        finally:
            broker.close()


class Report:
    """Tells outcomes as they come, and in the end which were not as expected."""

    def __init__(self):
        self.count = self.to_pass = 0
        self.wrong: list[str] = []

    def tell(self, test: str, expected: str, outcome: str, why: str = "", width: int = 32):
        as_expected = (outcome == PASS) == (expected == PASS)
        self.count += 1
        self.to_pass += expected == PASS
        if not as_expected:
            self.wrong.append(test.split()[0])
        print(f"{' ' if as_expected else '!'} {test:<{width}} {outcome:<8} {expected}  {why}", flush=True)

    def close(self) -> int:
        """The exit status."""
        wrong = " ".join(self.wrong) or "none"
        print(f"{self.count} tests, {self.to_pass} expected to pass, {len(self.wrong)} not as expected: {wrong}")
        return 1 if self.wrong else 0


def compare(name: str, outcomes: dict[str, str], every: bool) -> int:
    """Tells a whole suite's outcomes; a test that the table does not have is wrong, as is one that did not run."""
    report = Report()
    expected = {row[0]: row[-1] for row in table(name)}
    for test in sorted(expected.keys() | outcomes.keys()):
        wanted = expected.get(test, "not in the table")
        if every or wanted in (PASS, "not in the table"):
            report.tell(test, wanted, outcomes.get(test, "not run"), width=70)
    return report.close()
