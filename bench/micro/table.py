"""Prints what the micro-benchmarks counted: table.py FOLDER [PART OF A NAME]."""

import json
import re
import sys
from pathlib import Path

# As in benches/hot_paths/main.rs.
OPERATIONS = 100


def payload(case):
    """Bytes of values in a case like b_16x1k; nothing for one that has none."""
    found = re.search(r"(\d+)x(\d+)(k?)$", case)
    return int(found[1]) * int(found[2]) * (1024 if found[3] else 1) if found else None


def instructions(summary):
    """How many callgrind counted."""
    return summary["profiles"][0]["data"]["parts"][0]["metrics"]["Ir"]["values"]["new"]


def main(folder, part):
    rows = []
    for path in Path(folder).rglob("summary.json"):
        summary = json.loads(path.read_text())
        name, case = summary["function_name"], summary["id"]
        if part in name:
            rows.append((name, case, payload(case), instructions(summary) / OPERATIONS))
    if not rows:
        sys.exit("nothing was counted")
    print("| operation | input | instructions | a byte |\n|---|---|---|---|")
    for name, case, size, count in sorted(rows, key=lambda row: (row[0], row[2] or 0, row[1])):
        per_byte = f"{count / size:.2f}" if size else ""
        print(f"| {name} | {re.sub('^[bp]_', '', case)} | {count:,.0f} | {per_byte} |")


main(sys.argv[1], sys.argv[2] if len(sys.argv) > 2 else "")
