"""The `millrace` command."""

import subprocess

from .paths import millrace_binary


def run(*args: str, stdin: bytes = b"", timeout: float = 30) -> subprocess.CompletedProcess:
    """Runs `millrace` to its end, whatever its exit status."""
    return subprocess.run([millrace_binary(), *args], input=stdin, capture_output=True, timeout=timeout)


def ok(*args: str, stdin: bytes = b"", timeout: float = 30) -> str:
    """Runs `millrace`, which must succeed, and returns its standard output."""
    done = run(*args, stdin=stdin, timeout=timeout)
    assert done.returncode == 0, f"millrace {' '.join(args)}: status {done.returncode}\n{done.stderr.decode()}"
    return done.stdout.decode()


def fails(*args: str, stdin: bytes = b"", timeout: float = 30) -> str:
    """Runs `millrace`, which must fail without a panic, and returns what it said about it."""
    done = run(*args, stdin=stdin, timeout=timeout)
    said = done.stderr.decode()
    assert done.returncode not in (0, 101) and done.returncode > 0, f"status {done.returncode}: {said}"
    assert said.strip() and "panicked" not in said
    return said
