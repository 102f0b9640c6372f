"""The repair loop: what was recorded is opened, and what time asks for is done, whoever crashed."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Final

import structlog

from actors.reviews.client import Reviews
from cluster import metrics
from cluster.errors import StoreUnavailableError
from cluster.passes import Passes
from policies.errors import DependencyError

PAUSE_S: Final = 0.5
TICKS: Final = 256  # how many reviews of one tenant one call moves
TICK_RUNS: Final = 8  # how often a pass calls for one that has more

log = structlog.get_logger(__name__)


@dataclass(slots=True)
class Counts:
    """What the loop has done since it started."""

    passes: int = 0
    adopted: int = 0
    moved: int = 0
    postponed: int = 0


class Timers:
    """Opens reviews whose opening was cut short, and takes the steps that time asks for.

    Two loops at the same time do no harm: of two steps from one version one is taken.
    """

    def __init__(self, reviews: Reviews) -> None:
        self._reviews = reviews
        self._passes = Passes("timers", self.once)
        self._halted: set[str] = set()
        self._counts = Counts()

    def status(self) -> dict[str, int]:
        """Return the counts, how many tenants' logs take no steps, and what is damaged."""
        return {
            **asdict(self._counts),
            "failed_passes": self._passes.failed,
            "halted": len(self._halted),
            "damaged": self._reviews.damaged,
        }

    def stop(self) -> None:
        """End `run` after the pass that is under way."""
        self._passes.stop()

    async def run(self) -> None:
        """Pass after pass until `stop`; one that fails is counted, logged and followed by more."""
        await self._passes.run(PAUSE_S)

    async def once(self) -> None:
        """Make one bounded pass over every tenant. Raises DependencyError."""
        waiting = 0
        for tenant in await self._reviews.tenants():
            await self._serve(tenant)
            waiting += await self._reviews.open_count(tenant)
        metrics.REVIEWS_OPEN.set(waiting)
        self._counts.passes += 1

    async def _serve(self, tenant: str) -> None:
        try:
            self._counts.adopted += await self._reviews.adopt(tenant)
            await self._tick(tenant)
        except StoreUnavailableError:
            raise
        except DependencyError as error:
            # A tenant whose log is halted must not keep the others waiting.
            self._counts.postponed += 1
            if tenant not in self._halted:
                self._halted.add(tenant)
                log.warning("timers.postponed", tenant=tenant, error=str(error))
        except Exception:
            self._counts.postponed += 1
            log.exception("timers.postponed", tenant=tenant)
        else:
            self._halted.discard(tenant)

    async def _tick(self, tenant: str) -> None:
        for _ in range(TICK_RUNS):
            moved = await self._reviews.tick(tenant, TICKS)
            self._counts.moved += moved
            if moved < TICKS:
                break
