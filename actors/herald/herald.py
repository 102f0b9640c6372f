"""The herald: a feed for all tenants, and a sender for each channel, none waiting for another."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import asdict
from functools import partial
from typing import Final

import structlog

from actors.herald.feed import Feed
from actors.herald.sender import Sender
from actors.herald.store import HeraldStore
from cluster import metrics
from cluster.clock import Clock
from cluster.passes import Passes
from policies.errors import DependencyError

PAUSE_S: Final = 0.5
TIDY_S: Final = 60.0

log = structlog.get_logger(__name__)


class Herald:
    """Tells channels what happens to reviews, from `run` until `stop`. Idle without channels."""

    def __init__(
        self, store: HeraldStore, feed: Feed, senders: Sequence[Sender], *, clock: Clock
    ) -> None:
        self._store = store
        self._feed = feed
        self._senders = tuple(senders)
        self._clock = clock
        self._tenants: list[str] = []
        self._tidied: dict[str, float] = {}
        self._rested: set[str] = set()
        self._begun = False
        self._feeding = Passes("herald", self.feed)
        self._sending = tuple(
            Passes(f"herald.{sender.name}", partial(self.send, sender)) for sender in self._senders
        )

    def status(self) -> dict[str, object]:
        """Return what was read and queued, and what became of it, by channel."""
        return {
            **asdict(self._feed.counts),
            "failed_passes": self._feeding.failed + sum(each.failed for each in self._sending),
            "channels": {sender.name: asdict(sender.counts) for sender in self._senders},
        }

    async def run(self) -> None:
        """Pass after pass until `stop`; a failed one is counted, logged and followed by more."""
        await asyncio.gather(*(passes.run(PAUSE_S) for passes in (self._feeding, *self._sending)))

    def stop(self) -> None:
        """End `run` after the passes that are under way."""
        for passes in (self._feeding, *self._sending):
            passes.stop()

    async def close(self) -> None:
        """Let go of every channel."""
        for sender in self._senders:
            await sender.close()

    async def feed(self) -> None:
        """Queue what is new for every tenant.

        Raises the first DependencyError of one, once all others were served.
        """
        tenants = await self._store.tenants()
        if not self._senders:
            await self._rest(tenants)
        elif not self._begun:
            # Before anything happens, so that a new tenant's first step is behind it.
            await self._store.since(self._now_ms())
            self._begun = True
        # First: what waits already can be sent, whatever comes now.
        self._tenants = tenants
        failed = [error for tenant in tenants if (error := await self._serve(tenant)) is not None]
        self._feed.counts.passes += 1
        if failed:
            raise failed[0]

    async def send(self, sender: Sender) -> None:
        """Send what is due in one channel. Raises DependencyError."""
        await sender.once(self._tenants)

    async def _serve(self, tenant: str) -> DependencyError | None:
        """Return why nothing could be queued: one tenant, or its shard, keeps no other waiting."""
        try:
            await self._tidy(tenant)
            if self._senders:
                await self._feed.serve(tenant)
        except DependencyError as error:
            log.warning("herald.postponed", tenant=tenant, error=str(error))
            return error
        except Exception:
            log.exception("herald.postponed", tenant=tenant)
        return None

    async def _tidy(self, tenant: str) -> None:
        """Give up what waits for channels that do not hear of the tenant any more.

        Now and then: a gateway that was not started anew yet may still queue for them.
        """
        now_s = self._clock.monotonic_s()
        if now_s - self._tidied.get(tenant, float("-inf")) < TIDY_S:
            return
        known = {sender.name for sender in self._senders if sender.concerns(tenant)}
        if not known:
            await self._store.untell(tenant)
        for channel in await self._store.channels(tenant):
            if channel not in known:
                moved, dropped = await self._store.retire(tenant, channel, self._now_ms())
                metrics.NOTIFICATIONS.labels(channel, "dead").inc(moved)
                metrics.NOTIFICATIONS_DROPPED.inc(dropped)
                log.warning(
                    "herald.retired", tenant=tenant, channel=channel, dead=moved, dropped=dropped
                )
        self._tidied[tenant] = now_s

    async def _rest(self, tenants: Sequence[str]) -> None:
        # Channels that come back later begin then, not with what happened in between.
        new = [tenant for tenant in tenants if tenant not in self._rested]
        if new:
            await self._store.forget(new)
            self._rested |= set(new)

    def _now_ms(self) -> int:
        return int(self._clock.now().timestamp() * 1000)
