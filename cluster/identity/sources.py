"""Where the verifying keys come from, and the two sources that are at hand: fixed ones, a file."""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import Final, Protocol

import structlog

from cluster.clock import Clock
from cluster.identity.jwks import DOCUMENT_BYTES_MAX, KeySet, UnusableKeysError, parse_jwks
from policies.errors import DependencyError

GRACE_S: Final = 3600.0  # outlives most outages; a withdrawn key must not outlive a day
FILE_CHECK_S: Final = 0.5

log = structlog.get_logger(__name__)


class KeySource(Protocol):
    """Gives the keys in force. A set that did not change is the same object."""

    def current(self) -> KeySet | None:
        """Return the keys, or None when `keys` has something to do first.

        Never waits and never reads: the road asks this for every message.
        """
        ...

    async def keys(self) -> KeySet:
        """Return the keys, fetched if need be. Raises DependencyError when there are none."""
        ...

    async def newer(self, seen: KeySet) -> KeySet:
        """Return the keys for one who misses a key in `seen`.

        They are `seen` itself when nothing is newer. Raises DependencyError when that is unknown.
        """
        ...

    async def close(self) -> None:
        """Let go of what is open."""
        ...


class FixedKeys:
    """Keys that never change."""

    def __init__(self, keys: KeySet) -> None:
        self._keys = keys

    def current(self) -> KeySet:
        """Return them."""
        return self._keys

    async def keys(self) -> KeySet:
        """Return them."""
        return self._keys

    async def newer(self, seen: KeySet) -> KeySet:
        """Return what was seen: there is nothing newer."""
        return seen

    async def close(self) -> None:
        """Nothing is open."""


class FileKeys:
    """Keys in a file, read again when it changes.

    A change that cannot be used leaves the old keys in force for GRACE_S.
    """

    def __init__(self, path: Path, *, clock: Clock) -> None:
        self._path = path
        self._clock = clock
        self._keys: KeySet | None = None
        self._signature: tuple[int, int, int] | None = None
        self._looked_at_s = float("-inf")
        self._sound_at_s = float("-inf")
        self._trouble: str | None = None

    def current(self) -> KeySet | None:
        """Return the keys if the file was looked at a moment ago and they may still be used."""
        now_s = self._clock.monotonic_s()
        fresh = now_s - self._looked_at_s < FILE_CHECK_S and now_s - self._sound_at_s < GRACE_S
        return self._keys if fresh else None

    async def keys(self) -> KeySet:
        """Look at the file, and read it if it changed."""
        now_s = self._looked_at_s = self._clock.monotonic_s()
        try:
            self._look()
        except (OSError, UnusableKeysError) as error:
            self._troubled(error)
        else:
            self._sound_at_s, self._trouble = now_s, None
        if self._keys is None or now_s - self._sound_at_s >= GRACE_S:
            raise DependencyError("jwks", f"the key file cannot be used: {self._trouble}")
        return self._keys

    async def newer(self, seen: KeySet) -> KeySet:  # noqa: ARG002  # a look is cheap: always look
        """Look at the file now."""
        return await self.keys()

    async def close(self) -> None:
        """Nothing is open."""

    def _look(self) -> None:
        with open(self._path, "rb", opener=_without_waiting) as file:
            facts = os.fstat(file.fileno())
            if not stat.S_ISREG(facts.st_mode):
                raise UnusableKeysError("it is not a file")
            signature = (facts.st_mtime_ns, facts.st_size, facts.st_ino)
            if signature == self._signature:
                return
            self._keys = parse_jwks(file.read(DOCUMENT_BYTES_MAX + 1))
        self._signature = signature
        log.info("jwks.read", keys=len(self._keys.keys), ignored=list(self._keys.ignored))

    def _troubled(self, error: Exception) -> None:
        trouble = error.strerror if isinstance(error, OSError) else str(error)
        if trouble != self._trouble:
            log.error("jwks.file_unusable", path=str(self._path), error=trouble)
        self._trouble = trouble


def _without_waiting(path: str, flags: int) -> int:
    # Else opening a pipe would wait for its writer.
    return os.open(path, flags | os.O_NONBLOCK)
