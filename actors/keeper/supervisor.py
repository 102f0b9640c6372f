"""The supervisor: looks at the server many times a second, and brings a dead one back."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Final, Protocol

import structlog

from cluster.clock import Clock
from cluster.store.embedded import Life
from policies.errors import GovernanceError

log = structlog.get_logger(__name__)

_LOOK_EVERY_S: Final = 0.15
_PAUSE_MIN_S: Final = 0.05
_PAUSE_MAX_S: Final = 5.0
_STEADY_S: Final = 30.0  # after so long without a restart, the next one is not delayed


class Server(Protocol):
    """What is looked after."""

    async def life(self) -> Life:
        """Return what the server shows of itself."""
        ...

    async def ensure(self) -> bool:
        """Return once the server serves: True if this call started it."""
        ...

    async def stop(self) -> None:
        """Stop the server, and return when it is gone."""
        ...


@dataclass(frozen=True, slots=True)
class KeeperStatus:
    """How the server does: its life, how often it was brought back, and the last trouble."""

    life: str
    restarts: int
    failures: int
    last_error: str | None


class Supervisor:
    """Keeps one server alive until it is told to stop.

    The first restart after a quiet time comes at once; each further one waits twice as long as
    the one before, up to five seconds, so that a server that cannot live does not eat the machine.
    """

    def __init__(
        self,
        server: Server,
        *,
        clock: Clock,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._server = server
        self._clock = clock
        self._sleep = sleep
        self._began = False
        self._life = Life.ABSENT
        self._restarts = 0
        self._failures = 0
        self._last_error: str | None = None
        self._pause_s = 0.0
        self._steady_since_s = clock.monotonic_s()

    async def start(self) -> None:
        """Return once the server serves; raises what keeps it from that."""
        started = await self._server.ensure()
        if not self._began:
            self._began = True
            self._life = Life.SERVING
            self._steady_since_s = self._clock.monotonic_s()
            log.info("store.started" if started else "store.adopted")

    async def watch(self) -> None:
        """Start, look, and restart what died or fell silent; never returns and never gives up."""
        while True:
            try:
                await (self.look() if self._began else self.start())
            except (GovernanceError, OSError) as error:
                self._failures += 1
                self._last_error = str(error)
                self._life = Life.ABSENT
                log.error(  # noqa: TRY400  # the error says all; its trace is our own loop
                    "store.restart_failed", error=str(error), retry_in_s=self._pause_s
                )
            await self._sleep(_LOOK_EVERY_S)

    async def look(self) -> None:
        """Look once; bring the server back if it is gone. Raises what keeps it from that."""
        self._life = await self._server.life()
        if self._life in {Life.SERVING, Life.LOADING}:
            if self._clock.monotonic_s() - self._steady_since_s > _STEADY_S:
                self._pause_s = 0.0
            return
        found = self._life
        began_s = self._clock.monotonic_s()
        await self._sleep(self._pause_s)
        self._pause_s = min(max(2 * self._pause_s, _PAUSE_MIN_S), _PAUSE_MAX_S)
        started = await self._server.ensure()
        self._life = Life.SERVING
        self._last_error = None
        if started:
            self._restarts += 1
            self._steady_since_s = self._clock.monotonic_s()
            took_s = round(self._steady_since_s - began_s, 3)
            log.error("store.restarted", was=found.value, restarts=self._restarts, took_s=took_s)

    def status(self) -> KeeperStatus:
        """Return how the server did when it was last looked at."""
        return KeeperStatus(self._life.value, self._restarts, self._failures, self._last_error)

    async def stop(self) -> None:
        """Stop the server for good; the caller has ended `watch` before."""
        await self._server.stop()
        self._life = Life.ABSENT
