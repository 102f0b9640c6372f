"""Time and ids, handed in so that tests can hold them still."""

from __future__ import annotations

import os
import threading
import time
from datetime import UTC, datetime
from typing import Final, Protocol


class Clock(Protocol):
    """Wall time and a stopwatch that never runs backwards."""

    def now(self) -> datetime:
        """The time of day, in UTC."""
        ...

    def monotonic_s(self) -> float:
        """Seconds since some fixed moment."""
        ...


class SystemClock:
    """The machine's own clock."""

    def now(self) -> datetime:
        """The time of day, in UTC."""
        return datetime.now(UTC)

    def monotonic_s(self) -> float:
        """Seconds since some fixed moment."""
        return time.monotonic()


class _Entropy:
    """The system's randomness, fetched by the page: each fetch lets go of the GIL."""

    def __init__(self) -> None:
        self._page = b""
        self._used = 0
        self._process = 0

    def take(self, count: int) -> bytes:
        """Return so many bytes that nobody had before, in whatever process this runs."""
        start, end = self._used, self._used + count
        if end > len(self._page) or self._process != os.getpid():
            self._page, self._process = os.urandom(_PAGE), os.getpid()
            start, end = 0, count
        self._used = end
        return self._page[start:end]


_PAGE: Final = 4096
_entropy = threading.local()


def _random(count: int) -> bytes:
    source: _Entropy | None = getattr(_entropy, "source", None)
    if source is None:
        source = _entropy.source = _Entropy()
    return source.take(count)


def new_id(now: datetime) -> str:
    """Return a fresh UUIDv7 (RFC 9562): 48 bits of Unix milliseconds, then randomness."""
    millis = int(now.timestamp() * 1000)
    random = int.from_bytes(_random(10), "big")
    high = (millis << 16) | 0x7000 | (random >> 68)
    low = (0b10 << 62) | (random & ((1 << 62) - 1))
    text = f"{(high << 64) | low:032x}"
    return f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"
