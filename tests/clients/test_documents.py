"""What the documents say of the suites of clients is what their tables say."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.parametrize("suite", ["librdkafka", "rdkafka", "kafka_python"])
def test_every_test_that_does_not_pass_is_named(suite):
    lines = (ROOT / "tests" / "conformance" / f"{suite}.tsv").read_text().splitlines()
    rows = [line.split("\t") for line in lines if line and not line.startswith("#")]
    page = (ROOT / "docs" / "compatibility.md").read_text()
    heading = {"librdkafka": "librdkafka", "rdkafka": "The crate rdkafka", "kafka_python": "kafka-python"}[suite]
    (section,) = re.findall(rf"^## {heading}\n(.*?)(?=^## |\Z)", page, re.M | re.S)
    waiting = [f"| {' '.join(row[:-1])} | {row[-1]} |" for row in rows if row[-1] != "pass"]
    assert re.findall(r"^\| .* \|$", section, re.M)[1:] == waiting
    assert f"{len(rows) - len(waiting)} of {len(rows)} pass." in section
