"""Runs those of kafka-python's own tests that take a given broker against a Millrace node: see expected.py.

    kafka_python.py SOURCES BROKER [--all]      SOURCES: kafka-python's sources, BROKER: the millrace binary

`kafka_python.tsv` lists them by their ids without the directory. Its fixtures start brokers by themselves unless they are
given one; the part of theirs that does so is not in its sources, and is replaced by `service.py` below.
"""

import os
import subprocess
import sys
import xml.etree.ElementTree as ET
from pathlib import Path

from expected import PASS, compare, node, table

TIMEOUT = 1200
#: Its tests are gated by the broker's version.
KAFKA_VERSION = "4.3.0"
SERVICE = '''
class ExternalService:
    """A broker that runs already."""

    def __init__(self, host, port):
        self.host, self.port = host, port

    def open(self):
        pass

    def close(self):
        pass

    stop = close

    def dump_logs(self):
        pass


class SpawnedService:
    """No broker is started here."""
'''


def identify(case: ET.Element) -> str:
    """`test_file::test[parameters]`."""
    *_, file = case.attrib["classname"].split(".")
    return f"{file}::{case.attrib['name']}"


def main(sources: Path, binary: str, every: bool) -> int:
    if (sources / "kafka").exists():
        # The installed package is what is tested with, compiled parts and all.
        (sources / "kafka").rename(sources / "kafka.sources")
    (sources / "test" / "__init__.py").touch()
    (sources / "test" / "service.py").write_text(SERVICE)
    skipped = [row[0] for row in table("kafka_python") if row[-1] != PASS]
    deselected = [] if every else [f"--deselect=test/integration/{test.replace('::', '.py::', 1)}" for test in skipped]
    # As its own fixtures set brokers up.
    settings = {"node_id": "0", "num_partitions": "4", "group_min_session_timeout_ms": "1000"}
    with node(binary, group_initial_rebalance_delay_ms="0", **settings) as (broker, scratch):
        results = scratch / "results.xml"
        env = {
            **os.environ,
            "KAFKA_VERSION": KAFKA_VERSION,
            "KAFKA_ROOT": str(sources),
            "KAFKA_URI": f"kafka://{broker.kafka}",
        }
        arguments = ["-q", "-o", "addopts=", "--timeout=60", "--timeout-method=signal", "-p", "no:cacheprovider"]
        arguments += ["--tb=line", "-o", "log_level=CRITICAL", f"--junitxml={results}", *deselected]
        # Those for secured listeners start brokers of their own.
        arguments += ["--ignore=test/integration/test_ssl_integration.py"]
        arguments += ["--ignore=test/integration/test_sasl_integration.py"]
        command = [sys.executable, "-m", "pytest", "test/integration", *arguments]
        subprocess.run(["timeout", "-k", "2", str(TIMEOUT), *command], cwd=sources, env=env)
        outcomes = {}
        for case in ET.parse(results).iter("testcase"):
            kinds = {child.tag for child in case}
            wrong = next((kind for kind in ("failure", "error", "skipped") if kind in kinds), None)
            outcomes[identify(case)] = wrong or PASS
    return compare("kafka_python", outcomes, every)


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), sys.argv[2], "--all" in sys.argv[3:]))
