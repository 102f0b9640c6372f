"""The detached actor that tells channels; everything it does is in `herald`."""

from __future__ import annotations

import asyncio
import os
import random
from collections.abc import Callable
from contextlib import suppress
from typing import Final

from actors.herald.feed import Feed
from actors.herald.herald import Herald
from actors.herald.sender import Means, Sender
from actors.herald.store import HeraldStore
from cluster.channels.opening import circuit_of, open_channel
from cluster.channels.reading import load_channels
from cluster.clock import SystemClock
from cluster.heartbeat import keep_beating
from cluster.settings import Settings
from cluster.store.connect import open_store
from policies.review import Review

_NAME: Final = "herald"  # as `actors.roster` seats it


class HeraldActor:
    """Tells what happens to reviews, from when it is made until `stop`.

    An asyncio actor: Ray makes it on its event loop, again after a crash. `read` reads a review
    as its own room stores it.
    """

    def __init__(self, settings: Settings, read: Callable[[bytes], Review]) -> None:
        clock, channels = SystemClock(), load_channels(settings, env=os.environ)
        self._store = open_store(settings)
        store = HeraldStore(self._store)
        means = Means(store=store, clock=clock, chance=random.random, read=read)
        feed = Feed(
            store, channels.interests(), read=read, clock=clock, public_url=channels.public_url
        )
        senders = [
            Sender(plan, open_channel(plan, channels, clock=clock), means, circuit=circuit_of(name))
            for name, plan in channels.plans.items()
        ]
        self._herald = Herald(store, feed, senders, clock=clock)
        self._running = asyncio.create_task(self._herald.run())
        self._beating = asyncio.create_task(keep_beating(self._store, _NAME, self.status))

    async def ready(self) -> None:
        """Return when the loops run. A store that is away is waited for, not an error."""

    async def status(self) -> dict[str, object]:
        """Return what the loops have done since they started."""
        return self._herald.status()

    async def stop(self) -> None:
        """Return when what is under way has ended and the store is let go."""
        self._beating.cancel()
        with suppress(asyncio.CancelledError):
            await self._beating
        self._herald.stop()
        await self._running
        await self._herald.close()
        await self._store.close()
