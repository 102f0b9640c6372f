"""The detached actor that runs the repair loop; everything it does is in `redelivery`."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import Final

from actors.mailbox.client import Mailboxes
from actors.mailbox.mailbox import Terms
from actors.mailbox.redelivery import Redelivery
from actors.mailbox.store import MailboxStore
from cluster.clock import SystemClock
from cluster.heartbeat import keep_beating
from cluster.settings import Settings
from cluster.store.connect import open_bell, open_store

_NAME: Final = "mailbox"  # as `actors.roster` seats it


class MailboxActor:
    """Finishes cut-short deliveries and sweeps mailboxes, from when it is made until `stop`.

    An asyncio actor: Ray makes it on its event loop, again after a crash.
    """

    def __init__(self, settings: Settings) -> None:
        terms, clock = Terms.of(settings), SystemClock()
        self._store, self._bell = open_store(settings), open_bell(settings)
        self._mailboxes = Mailboxes(self._store, bell=self._bell, clock=clock, terms=terms)
        self._redelivery = Redelivery(self._mailboxes, MailboxStore(self._store, terms), clock)
        self._running = asyncio.create_task(self._redelivery.run())
        self._beating = asyncio.create_task(keep_beating(self._store, _NAME, self.status))

    async def ready(self) -> None:
        """Return when the loop runs. A store that is away is waited for, not an error."""

    async def status(self) -> dict[str, int]:
        """Return what the loop has done since it started."""
        return self._redelivery.status()

    async def stop(self) -> None:
        """Return when the pass that is under way has ended and the store is let go."""
        self._beating.cancel()
        with suppress(asyncio.CancelledError):
            await self._beating
        self._redelivery.stop()
        await self._running
        await self._mailboxes.close()
        await self._bell.close()
        await self._store.close()
