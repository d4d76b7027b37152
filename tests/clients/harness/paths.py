"""Where things are. Every one of them can be named by an environment variable instead."""

import os
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]
CACHE = ROOT / ".cache"
KAFKA_LIBS = CACHE / "kafka-4.3.1" / "libs"
GRPCURL = CACHE / "bin" / "grpcurl"
PROTOS = ROOT / "proto" / "api"


def millrace_binary() -> Path:
    """The `millrace` under test: MILLRACE_BIN, or the newest build in the target directory."""
    if named := os.environ.get("MILLRACE_BIN"):
        return Path(named)
    target = Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target"))
    built = [p for profile in ("release", "sim", "debug") if (p := target / profile / "millrace").exists()]
    if not built:
        raise FileNotFoundError("no millrace binary: run `cargo build -p millrace`, or set MILLRACE_BIN")
    return max(built, key=lambda p: p.stat().st_mtime)
