"""A repair loop: pass after pass until it is stopped, whatever a pass runs into."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable

import structlog

from policies.errors import DependencyError

log = structlog.get_logger(__name__)


class Passes:
    """Makes passes with a pause between them; one that fails is counted, logged and not the last.

    `name` begins the log's events. Belongs to one event loop.
    """

    def __init__(self, name: str, once: Callable[[], Awaitable[object]]) -> None:
        self._failed = f"{name}.failed"
        self._once = once
        self._stopping = asyncio.Event()
        self.failed = 0

    def stop(self) -> None:
        """End `run` after the pass that is under way."""
        self._stopping.set()

    async def run(self, pause_s: float) -> None:
        """Return when it was stopped."""
        while not self._stopping.is_set():
            try:
                await self._once()
            except DependencyError as error:
                self.failed += 1
                log.warning(self._failed, error=str(error))
            except Exception:
                self.failed += 1
                log.exception(self._failed)
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._stopping.wait(), pause_s)
