"""Mixed traffic that can be checked record by record: the same seed makes the same records, whoever asks."""

import random
from dataclasses import dataclass

CODECS = ("none", "gzip", "snappy", "lz4", "zstd")
LARGEST = 1_000_000
_MATERIAL = 4 << 20


@dataclass(frozen=True)
class Record:
    """A record as it is sent, and as it must come back."""

    partition: int
    key: bytes | None
    value: bytes | None
    headers: list[tuple[str, bytes | None]]
    timestamp: int

    def as_read(self) -> tuple:
        return self.key, self.value, self.headers, self.timestamp


class Traffic:
    """An endless stream of records with sizes from nothing to nearly the limit, compressible and not."""

    def __init__(self, seed: int, partitions: int, base_time: int):
        self._random = random.Random(seed)
        self._partitions = partitions
        self._time = base_time
        noise = self._random.randbytes(_MATERIAL)
        words = [b"%d," % (n * n) for n in range(5000)]
        self._material = (noise, b"".join(words) * (_MATERIAL // sum(map(len, words)) + 1))

    def take(self, total_bytes: int):
        """Yields records until their values add up to so many bytes."""
        sent = 0
        while sent < total_bytes:
            record = self._next()
            sent += len(record.value or b"")
            yield record

    def _next(self) -> Record:
        rng = self._random
        self._time += rng.randrange(3)
        headers = [(f"h{i}", self._bytes(rng.randrange(20))) for i in range(rng.choice((0, 0, 0, 1, 3)))]
        key = rng.choice((None, b"", self._bytes(rng.randrange(1, 40))))
        return Record(rng.randrange(self._partitions), key, self._value(), headers, self._time)

    def _value(self) -> bytes | None:
        dice = self._random.random()
        if dice < 0.02:
            return self._random.choice((None, b""))
        if dice < 0.75:
            return self._bytes(self._random.randrange(1, 400))
        if dice < 0.99:
            return self._bytes(self._random.randrange(400, 16_000))
        return self._bytes(self._random.randrange(16_000, LARGEST))

    def _bytes(self, size: int) -> bytes:
        material = self._random.choice(self._material)
        start = self._random.randrange(_MATERIAL - size)
        return material[start : start + size]
