"""kcat, the command-line client on librdkafka. Debian 12 ships one that is several years old: a test in itself."""

import json
import subprocess


def run(bootstrap: str, *args: str, stdin: bytes = b"", timeout: float = 30) -> subprocess.CompletedProcess:
    """Runs kcat; a failure raises with what it printed."""
    done = subprocess.run(
        ["kcat", "-b", bootstrap, "-X", "broker.address.family=v4", *args],
        input=stdin,
        capture_output=True,
        timeout=timeout,
    )
    if done.returncode != 0:
        raise AssertionError(
            f"kcat {' '.join(args)}: status {done.returncode}\n{done.stderr.decode(errors='replace')}"
        )
    return done


def produce(bootstrap: str, topic: str, data: bytes, *args: str):
    """Produces one record per line of `data`."""
    return run(bootstrap, "-P", "-t", topic, *args, stdin=data)


def consume(bootstrap: str, topic: str, *args: str) -> list[dict]:
    """Reads a topic from the beginning to its end, as kcat's JSON envelopes."""
    done = run(bootstrap, "-C", "-t", topic, "-o", "beginning", "-e", "-q", "-J", *args)
    return [json.loads(line) for line in done.stdout.decode().splitlines()]
