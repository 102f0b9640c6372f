"""The one door to the store: every call passes its circuit and its deadline."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True, slots=True)
class Script:
    """A Lua script; its keys all carry the same tenant's hash tag."""

    source: str


@dataclass(frozen=True, slots=True)
class Call:
    """One run of a script: `keys` and `args` as Lua's KEYS and ARGV."""

    script: Script
    keys: Sequence[str]
    args: Sequence[str | bytes | int | float]


class Store(Protocol):
    """A Redis that fails loudly.

    Replies are bytes, ints, None and lists of these. Every method raises StoreUnavailableError
    when the store is down, slow, or its circuit is open, and `redis.ResponseError` for a command
    that the store itself refuses (a bug of ours).
    """

    async def execute(self, *command: str | bytes | float) -> object:
        """Run one command and return its reply."""
        ...

    async def run(self, call: Call) -> object:
        """Run one script, atomically."""
        ...

    async def run_many(self, calls: Sequence[Call]) -> list[object]:
        """Run scripts in one round trip, each atomic; one that failed returns its exception."""
        ...
