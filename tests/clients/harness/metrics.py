"""The numbers of a running broker."""

import json
import re
import urllib.request


def metrics(broker) -> list[tuple[str, dict[str, str], float]]:
    """Every sample: its name, labels and value."""
    text = urllib.request.urlopen(f"http://{broker.http}/metrics", timeout=10).read().decode()
    found = []
    for line in text.splitlines():
        if line.startswith("#"):
            continue
        name, labels, value = re.fullmatch(r"(\w+)\{(.*)\} (\S+)", line).groups()
        unescaped = {k: json.loads(f'"{v}"') for k, v in re.findall(r'(\w+)="((?:[^"\\]|\\.)*)"', labels)}
        found.append((name, unescaped, float(value)))
    return found


def lags(broker, topic: str) -> dict[tuple[str, int], float]:
    """How far each group is behind in each partition of a topic."""
    found = [(labels, value) for name, labels, value in metrics(broker) if name == "millrace_group_lag"]
    return {(at["group"], int(at["partition"])): value for at, value in found if at["topic"] == topic}


def total(broker, name: str) -> float:
    """A number, over all shards and labels."""
    return sum(value for found, _, value in metrics(broker) if found == name)
