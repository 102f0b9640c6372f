"""From what happened to what is to be told: each step is read once, and queued for who wants it.

Laws of this file:
1. The cursor moves in the script that queues, so a crash loses nothing and queues nothing twice.
2. When events were forgotten before they were read, what is told comes from the reviews as they
   are: each that waits, and the end of each of which something was told. That is said aloud.
3. What cannot be read keeps nothing else waiting; but what a newer build wrote is left to one, for
   a while.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Final

import structlog

from actors.herald.place import Place, Shelf
from actors.herald.store import HeraldStore, Unread
from cluster import metrics
from cluster.clock import Clock
from policies.errors import GovernanceError, NewerRecordError
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
NEWER_KEPT: Final = timedelta(minutes=10)  # for a newer herald to take over, in an upgrade

_EPOCH: Final = datetime.fromisoformat("1970-01-01T00:00:00Z")

Read = Callable[[bytes], Review]
"""Reads a stored review; raises NewerRecordError for one of a newer build, and GovernanceError for
a damaged one."""

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

    `forgotten` are reviews of which nobody can be told anything any more, `unread` is what is
    passed over for good.
    """

    behind: Place
    happenings: list[tuple[Happening, Review | None]] = field(default_factory=list)
    forgotten: list[str] = field(default_factory=list)
    unread: list[Unread] = field(default_factory=list)
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
        self._began_at = clock.now()
        self._places: dict[str, Place] = {}
        self._awaited: dict[str, str] = {}
        self.counts = Counts()

    def concerns(self, tenant: str) -> bool:
        """Say whether any channel wants to hear of this tenant."""
        return any(interest.concerns(tenant) for interest in self._interests)

    async def serve(self, tenant: str) -> None:
        """Queue what is new, a bounded part of it. Raises DependencyError.

        Of a tenant that no channel concerns it is passed over: who is told of it later hears what
        happens then.
        """
        if not self.concerns(tenant):
            await self._pass_over(tenant)
            return
        for _ in range(STRETCHES):
            place = self._places.get(tenant) or await self._place(tenant)
            found = await self._look(tenant, place)
            if str(found.behind) == str(place):
                return
            await self._queue(tenant, place, found)
            if not found.full:
                return

    async def _pass_over(self, tenant: str) -> None:
        place = self._places.get(tenant) or await self._place(tenant)
        newest = Place(await self._store.newest(tenant))
        if str(newest) != str(place):
            await self._queue(tenant, place, _Found(newest))

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
        found = _Found(Place(place.event, place.shelf, names[-1]), full=True)
        for review_id, review in (await self._reviews(tenant, review_ids)).items():
            if isinstance(review, Unread):
                found.unread.append(review)
                found.forgotten.append(review_id)
                continue
            standing = first_known(review)
            # Those that wait were told from the first list.
            if place.shelf is Shelf.OPEN or standing.is_over:
                found.happenings.append((standing, review))
        return found

    async def _look_on(self, tenant: str, place: Place) -> _Found:
        stretch = await self._store.events(tenant, place.event, STRETCH)
        if stretch.gap:
            newest = await self._store.newest(tenant)
            self.counts.gaps += 1
            metrics.HERALD_GAPS.inc()
            log.error("herald.gap", tenant=tenant, behind=place.event, newest=newest)
            return _Found(Place(newest, Shelf.OPEN), full=True)
        return await self._readable(tenant, place, stretch.events)

    async def _readable(
        self, tenant: str, place: Place, events: Sequence[tuple[str, Happening | Unread]]
    ) -> _Found:
        """Return what these events come to, as far as none must be left to a newer herald."""
        happened = [event for _, event in events if isinstance(event, Happening)]
        reviews = await self._reviews(tenant, [event.review_id for event in happened])
        found = _Found(place, full=len(events) >= STRETCH)
        for event_id, event in events:
            told = reviews[event.review_id] if isinstance(event, Happening) else event
            if isinstance(told, Unread):
                if isinstance(event, Happening) and told.newer_at is not None:
                    told = told._replace(newer_at=event.at)
                if self._is_left(told):
                    self._say_left(tenant, event_id, told)
                    return replace(found, full=False)
                found.unread.append(told)
            if isinstance(event, Happening):
                found.happenings.append((event, told if isinstance(told, Review) else None))
            found = replace(found, behind=Place(event_id))
        return found

    def _is_left(self, unread: Unread) -> bool:
        if unread.newer_at is None:
            return False
        now = self._clock.now()
        # Also of an age below none: nobody waits for ever for a clock that was wrong.
        return abs(now - unread.newer_at) < NEWER_KEPT or now - self._began_at < NEWER_KEPT

    def _say_left(self, tenant: str, event_id: str, unread: Unread) -> None:
        if self._awaited.get(tenant) != event_id:
            self._awaited[tenant] = event_id
            log.warning(
                "herald.newer", tenant=tenant, review_id=unread.review_id, reason=unread.reason
            )

    async def _queue(self, tenant: str, place: Place, found: _Found) -> None:
        notifications = [
            one
            for happening, review in found.happenings
            for one in self._notifications(happening, review)
        ]
        ended = {each.review_id for each, _ in found.happenings if each.state in ENDED}
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
        self._say_unread(tenant, found.unread)
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

    def _say_unread(self, tenant: str, unread: Sequence[Unread]) -> None:
        for review_id, reason, _ in unread:
            self.counts.unreadable += 1
            metrics.HERALD_UNREADABLE.inc()
            log.error("herald.unreadable", tenant=tenant, review_id=review_id, reason=reason)

    async def _reviews(self, tenant: str, review_ids: Sequence[str]) -> dict[str, Review | Unread]:
        """Return each of them; of one of a newer build, it says that it was written just now."""
        known: dict[str, Review | Unread] = {}
        wanted = list(dict.fromkeys(review_ids))
        stored = await self._store.reviews(tenant, wanted)
        for review_id, packed in zip(wanted, stored, strict=True):
            if packed is None:
                known[review_id] = Unread(review_id, "it is not kept any more")
                continue
            try:
                known[review_id] = self._read(packed)
            except NewerRecordError as error:
                known[review_id] = Unread(review_id, str(error), self._clock.now())
            except GovernanceError as error:
                known[review_id] = Unread(review_id, str(error))
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
