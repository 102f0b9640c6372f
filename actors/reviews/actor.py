"""The detached actor that runs the timers; everything it does is in `timers`."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress
from typing import Final

from actors.reviews.client import Notary, Reviews
from actors.reviews.timers import Timers
from cluster.clock import SystemClock
from cluster.heartbeat import keep_beating
from cluster.settings import Settings
from cluster.store.connect import open_bell, open_store

_NAME: Final = "reviews"  # as `actors.roster` seats it


class ReviewsActor:
    """Opens what was recorded and takes the steps of time, from when it is made until `stop`.

    An asyncio actor: Ray makes it on its event loop, again after a crash. `notary_of` makes its
    notary here, so that no key travels.
    """

    def __init__(self, settings: Settings, notary_of: Callable[[Settings], Notary]) -> None:
        self._store, self._bell = open_store(settings), open_bell(settings)
        notary = notary_of(settings)
        self._reviews = Reviews(self._store, clock=SystemClock(), notary=notary, bell=self._bell)
        self._timers = Timers(self._reviews)
        self._running = asyncio.create_task(self._timers.run())
        self._beating = asyncio.create_task(keep_beating(self._store, _NAME, self.status))

    async def ready(self) -> None:
        """Return when the loop runs. A store that is away is waited for, not an error."""

    async def status(self) -> dict[str, int]:
        """Return what the loop has done since it started."""
        return self._timers.status()

    async def stop(self) -> None:
        """Return when the pass that is under way has ended and the store is let go."""
        self._beating.cancel()
        with suppress(asyncio.CancelledError):
            await self._beating
        self._timers.stop()
        await self._running
        await self._reviews.close()
        await self._bell.close()
        await self._store.close()
