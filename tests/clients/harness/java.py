"""Apache Kafka's own command-line classes. A JVM costs most of a second, so callers ask for much at once."""

import subprocess

from .paths import KAFKA_LIBS

TOOLS = "org.apache.kafka.tools"
_SMALL_JVM = ["-Xmx512m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1"]


def command(main_class: str, *args: str, jvm: list[str] | None = None) -> list[str]:
    """The command line of one of Kafka's classes."""
    return ["java", *(jvm or _SMALL_JVM), "-cp", f"{KAFKA_LIBS}/*", main_class, *args]


def run(main_class: str, *args: str, stdin: bytes | str | None = None, timeout: float = 60):
    """Runs a class to its end. Its exit status is often 0 on errors too: look at the output."""
    if isinstance(stdin, bytes):
        stdin = stdin.decode()
    return subprocess.run(
        command(main_class, *args),
        input=stdin if stdin is not None else "",
        capture_output=True,
        text=True,
        timeout=timeout,
    )


def tool(name: str, bootstrap: str, *args: str, **kwargs):
    """Runs `org.apache.kafka.tools.<name>` against a broker."""
    return run(f"{TOOLS}.{name}", "--bootstrap-server", bootstrap, *args, **kwargs)


def source_command(source, *args: str) -> list[str]:
    """The command line of a program that is compiled as it starts, with Kafka's classes."""
    return ["java", *_SMALL_JVM, "-cp", f"{KAFKA_LIBS}/*", str(source), *args]
