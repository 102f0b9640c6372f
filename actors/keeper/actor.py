"""The keeper's Ray shell. `actors.roster` seats it, detached, with `max_restarts=-1`."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from dataclasses import asdict

from actors.keeper.supervisor import Supervisor
from cluster.clock import SystemClock
from cluster.settings import Settings
from cluster.store.embedded import EmbeddedValkey


class KeeperActor:
    """Keeps the embedded store of these settings alive.

    The server is no child of the actor's life: when Ray restarts the actor, it adopts the server
    that runs, and looks after it from its first moment, asked or not.
    """

    def __init__(self, settings: Settings) -> None:
        self._supervisor = Supervisor(EmbeddedValkey(settings.data_dir), clock=SystemClock())
        self._watching = asyncio.create_task(self._supervisor.watch())

    async def ready(self) -> None:
        """Return once the store serves; raises what keeps it from that."""
        await self._supervisor.start()

    async def status(self) -> dict[str, object]:
        """Return how the store does, for health reports."""
        return asdict(self._supervisor.status())

    async def stop(self) -> None:
        """Stop the store for good."""
        self._watching.cancel()
        with suppress(asyncio.CancelledError):
            await self._watching
        await self._supervisor.stop()
