"""The repair loop that lets go what people approved, whoever crashed before it went."""

from __future__ import annotations

from typing import Final

import structlog

from actors.reviews.client import Reviews
from cluster.errors import StoreUnavailableError
from cluster.passes import Passes
from policies.errors import DependencyError, GovernanceError
from policies.review import Review
from serve_app.desk import Desk

AGE_S: Final = 2.0  # younger approvals are still in the hands of who approved last
PAUSE_S: Final = 1.0
NAMED_MAX: Final = 1024
RELEASES: Final = 64  # how many approvals of a tenant one pass lets go

log = structlog.get_logger(__name__)


class Releases:
    """The repair loop of a gateway: what was approved goes, whoever crashed before it did."""

    def __init__(self, desk: Desk, reviews: Reviews) -> None:
        self._desk = desk
        self._reviews = reviews
        self._named: set[tuple[str, str]] = set()
        self._halted: set[str] = set()
        self._passes = Passes("releases", self.once)

    async def run(self) -> None:
        """Pass after pass until `stop`; one that fails is counted, logged and followed by more."""
        await self._passes.run(PAUSE_S)

    def stop(self) -> None:
        """End `run` after the pass that is under way."""
        self._passes.stop()

    async def once(self) -> int:
        """Make one bounded pass over every tenant and return how many went. DependencyError."""
        went = 0
        for tenant in await self._reviews.tenants():
            try:
                went += await self._serve(tenant)
            except StoreUnavailableError:
                raise
            except DependencyError as error:
                # A tenant whose log is halted must not keep the others waiting.
                if tenant not in self._halted:
                    self._halted.add(tenant)
                    log.warning("releases.postponed", tenant=tenant, error=str(error))
            else:
                self._halted.discard(tenant)
        return went

    async def _serve(self, tenant: str) -> int:
        approved = await self._reviews.approved(tenant, older_than_s=AGE_S, limit=RELEASES)
        return sum([await self._release(review) for review in approved])

    async def _release(self, review: Review) -> bool:
        """Let it go; one that cannot go keeps no other waiting, and is named once."""
        try:
            return await self._desk.resume(review)
        except DependencyError:
            raise
        except GovernanceError as error:
            named = review.review_id, error.code
            if named not in self._named:
                if len(self._named) >= NAMED_MAX:
                    self._named.clear()
                self._named.add(named)
                log.warning("release.refused", review_id=review.review_id, error=str(error))
            return False
