"""The ledger's Ray shell. `actors.roster` seats it, detached, with `max_restarts=-1`."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Mapping
from dataclasses import asdict

import structlog

from actors.ledger.errors import LedgerError
from actors.ledger.sequencer import open_sequencer
from cluster.settings import Settings
from cluster.store.connect import open_store

log = structlog.get_logger(__name__)


class LedgerActor:
    """Turns the write-ahead streams into signed trees, from when it is made until `stop`.

    Its truth is in the files and in the store, so it may be killed at any moment.
    """

    def __init__(self, settings: Settings) -> None:
        self._store = open_store(settings)
        self._sequencer = open_sequencer(self._store, settings)
        self._opening = asyncio.create_task(self._sequencer.start())
        self._running = asyncio.create_task(self._run())
        self._running.add_done_callback(_end_with)

    async def ready(self) -> None:
        """Return once every log is verified; raise what is wrong with one that is not."""
        await asyncio.shield(self._opening)

    async def status(self) -> Mapping[str, Mapping[str, object]]:
        """Return how each log stands, by tenant; the root log under the empty name."""
        return {name: asdict(log) for name, log in self._sequencer.status().items()}

    async def stop(self) -> None:
        """Take in what is on its way, and let go of the ledger and the store."""
        self._running.remove_done_callback(_end_with)
        self._sequencer.stop()
        await self._running
        self._sequencer.close()
        await self._store.close()

    async def _run(self) -> None:
        try:
            await asyncio.shield(self._opening)
        except LedgerError:
            return  # it is not served; `ready` says what is wrong
        await self._sequencer.run()


def _end_with(running: asyncio.Task[None]) -> None:
    # What a write that failed has left is unknown: Ray starts us again, and all is verified.
    error = None if running.cancelled() else running.exception()
    if error is not None:
        log.error("sequencer.ended", error=repr(error), exc_info=error)
        os._exit(1)
