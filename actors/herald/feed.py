"""From what happened to what is to be told: each step is read once, and queued for who wants it.

Laws of this file:
1. The cursor moves in the script that queues, so a crash loses nothing and queues nothing twice.
2. When events were forgotten before they were read, what is told comes from the reviews as they
   are: each that waits, and the end of each of which something was told. That is said aloud.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final

import structlog

from actors.herald.place import Place, Shelf
from actors.herald.store import HeraldStore
from cluster import metrics
from cluster.clock import Clock
from policies.errors import GovernanceError
from policies.notification import (
    Happening,
    Interest,
    Notification,
    first_known,
    notification_of,
)
from policies.review import ENDED, Review

STRETCH: Final = 200  # events, or reviews, that one call looks at
STRETCHES: Final = 16  # of one tenant in one pass

_EPOCH: Final = datetime.fromisoformat("1970-01-01T00:00:00Z")

Read = Callable[[bytes], Review]
"""Reads a stored review; raises GovernanceError for a damaged one."""

log = structlog.get_logger(__name__)


@dataclass(slots=True)
class Counts:
    """What the feed has done since it started."""

    passes: int = 0
    read: int = 0
    queued: int = 0
    gaps: int = 0
    unreadable: int = 0


@dataclass(frozen=True, slots=True)
class _Found:
    """What a stretch came to, and the place behind it; `full` says that there may be more.

    `forgotten` are reviews of which nobody can be told anything any more.
    """

    behind: Place
    happenings: list[Happening] = field(default_factory=list)
    forgotten: list[str] = field(default_factory=list)
    full: bool = False


class Feed:
    """Reads each tenant's events from where it left off, and queues what channels want.

    Two of these at the same time do no harm: of two that read the same, one queues it.
    """

    def __init__(
        self,
        store: HeraldStore,
        interests: Sequence[Interest],
        *,
        read: Read,
        clock: Clock,
        public_url: str | None,
    ) -> None:
        self._store = store
        self._interests = tuple(interests)
        self._read = read
        self._clock = clock
        self._public_url = public_url
        self._places: dict[str, Place] = {}
        self.counts = Counts()

    def concerns(self, tenant: str) -> bool:
        """Say whether any channel wants to hear of this tenant."""
        return any(interest.concerns(tenant) for interest in self._interests)

    async def serve(self, tenant: str) -> None:
        """Queue what is new, a bounded part of it. Raises DependencyError."""
        for _ in range(STRETCHES):
            place = self._places.get(tenant) or await self._place(tenant)
            found = await self._look(tenant, place)
            if str(found.behind) == str(place):
                return
            await self._queue(tenant, place, found)
            if not found.full:
                return

    async def _place(self, tenant: str) -> Place:
        cursor = await self._store.cursor(tenant)
        if not cursor:
            # From when there were channels: a tenant's first review may be older than this look.
            since_ms = await self._store.since(self._now_ms())
            first = Place(await self._store.last_before(tenant, since_ms))
            stood = await self._store.enqueue(
                tenant, (None, first), [], ended=[], now_ms=self._now_ms()
            )
            cursor = stood.cursor or str(first)
        place = self._places[tenant] = Place.parse(cursor)
        return place

    async def _look(self, tenant: str, place: Place) -> _Found:
        match place.shelf:
            case None:
                return await self._look_on(tenant, place)
            case Shelf.OPEN:
                names = await self._store.open_reviews(tenant, place.after, STRETCH)
                review_ids = [name[17:] for name in names]
            case Shelf.TOLD:
                names = review_ids = await self._store.told_reviews(tenant, place.after, STRETCH)
        if not names:
            following = Shelf.TOLD if place.shelf is Shelf.OPEN else None
            return _Found(Place(place.event, following), full=True)
        reviews = await self._reviews(tenant, review_ids)
        # Those that wait were told from the first list.
        standing = [first_known(review) for review in reviews.values()]
        return _Found(
            Place(place.event, place.shelf, names[-1]),
            [each for each in standing if place.shelf is Shelf.OPEN or each.is_over],
            [review_id for review_id in review_ids if review_id not in reviews],
            full=True,
        )

    async def _look_on(self, tenant: str, place: Place) -> _Found:
        stretch = await self._store.events(tenant, place.event, STRETCH)
        if stretch.gap:
            newest = await self._store.newest(tenant)
            self.counts.gaps += 1
            metrics.HERALD_GAPS.inc()
            log.error("herald.gap", tenant=tenant, behind=place.event, newest=newest)
            return _Found(Place(newest, Shelf.OPEN), full=True)
        if not stretch.events:
            return _Found(place)
        happenings = [happening for _, happening in stretch.events]
        return _Found(Place(stretch.events[-1][0]), happenings, full=len(happenings) >= STRETCH)

    async def _queue(self, tenant: str, place: Place, found: _Found) -> None:
        reviews = await self._reviews(tenant, [each.review_id for each in found.happenings])
        notifications = [
            one
            for happening in found.happenings
            for one in self._notifications(happening, reviews.get(happening.review_id))
        ]
        ended = {each.review_id for each in found.happenings if each.state in ENDED}
        queued = await self._store.enqueue(
            tenant,
            (place, found.behind),
            notifications,
            ended=[*sorted(ended), *found.forgotten],
            now_ms=self._now_ms(),
        )
        if queued.cursor is not None:
            self._places[tenant] = Place.parse(queued.cursor)
            return
        self._places[tenant] = found.behind
        self.counts.read += len(found.happenings)
        self.counts.queued += queued.queued
        metrics.NOTIFICATIONS_DROPPED.inc(queued.dropped)
        for channel in queued.fallen:
            metrics.NOTIFICATIONS.labels(channel, "dead").inc()
        if queued.fallen:
            log.error(
                "herald.queue_full",
                tenant=tenant,
                channels=sorted(set(queued.fallen)),
                dead=len(queued.fallen),
                dropped=queued.dropped,
            )

    async def _reviews(self, tenant: str, review_ids: Sequence[str]) -> dict[str, Review]:
        known: dict[str, Review] = {}
        wanted = list(dict.fromkeys(review_ids))
        stored = await self._store.reviews(tenant, wanted)
        for review_id, packed in zip(wanted, stored, strict=True):
            try:
                if packed is not None:
                    known[review_id] = self._read(packed)
                    continue
                reason = "it is not kept any more"
            except GovernanceError as error:
                reason = str(error)
            self.counts.unreadable += 1
            metrics.HERALD_UNREADABLE.inc()
            log.error("herald.unreadable", tenant=tenant, review_id=review_id, reason=reason)
        return known

    def _notifications(self, happening: Happening, review: Review | None) -> list[Notification]:
        if review is None:
            return []
        return [
            notification_of(
                happening, review, channel=interest.channel, public_url=self._public_url
            )
            for interest in self._interests
            if interest.wants(happening, review)
        ]

    def _now_ms(self) -> int:
        return (self._clock.now() - _EPOCH) // timedelta(milliseconds=1)
