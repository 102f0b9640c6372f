"""Waiting for a log to grow: one look at its size for all who wait."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final

LOOK_S: Final = 0.01


class Tail:
    """The growing end of one log, as one process sees it."""

    def __init__(self, size: Callable[[], int]) -> None:
        self._size = size
        self._waiting = 0
        self._look: asyncio.Task[None] | None = None
        self._growth: asyncio.Future[None] | None = None

    async def grown(self, seen: int, *, timeout_s: float) -> bool:
        """Return True once the log is not of the size that was seen; False when time runs out."""
        if self._size() != seen:
            return True
        if timeout_s <= 0:
            return False
        if self._growth is None or self._growth.done():
            self._growth = asyncio.get_running_loop().create_future()
        self._waiting += 1
        if self._look is None or self._look.done():
            self._look = asyncio.create_task(self._watch(seen))
        try:
            async with asyncio.timeout(timeout_s):
                await asyncio.shield(self._growth)
        except TimeoutError:
            return False
        else:
            return True
        finally:
            self._waiting -= 1

    async def _watch(self, size: int) -> None:
        while self._waiting:
            await asyncio.sleep(LOOK_S)
            now = self._size()
            if now != size and self._growth is not None and not self._growth.done():
                self._growth.set_result(None)
            size = now
