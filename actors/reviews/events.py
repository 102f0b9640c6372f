"""What happens to a tenant's reviews, in order, for whoever follows it."""

from __future__ import annotations

import re
from datetime import datetime
from typing import Final, NamedTuple, Protocol

from actors.reviews.cursor import bad_cursor
from actors.reviews.record import moment
from actors.reviews.store import ReviewStore, bell
from cluster.clock import Clock
from policies.review import State

LISTEN_S: Final = 5.0  # how long a lost ring can go unnoticed
_EVENT_ID: Final = re.compile(r"\A[0-9]{1,18}-[0-9]{1,18}\Z")


class ReviewEvent(NamedTuple):
    """One step of some review; `step` is a `Step`, or `open`."""

    id: str
    review_id: str
    step: str
    state: State
    version: int
    at: datetime


class Listener(Protocol):
    """Waits for a bell (`cluster.store.bell`)."""

    async def wait(self, channel: str, timeout_s: float) -> bool:
        """Return True when it rang, False when the time is over."""
        ...


class Events:
    """The stream of steps of each tenant; the last 10 000 or so are kept."""

    def __init__(self, shelf: ReviewStore, *, bell: Listener, clock: Clock) -> None:
        self._shelf = shelf
        self._bell = bell
        self._clock = clock

    async def after(
        self, tenant: str, event_id: str, *, wait_s: float, limit: int
    ) -> list[ReviewEvent]:
        """Return what happened behind that event, waiting up to `wait_s` for the first.

        "$" stands for the newest one there is now. Raises RefusalError `review.bad_cursor` (422).
        """
        if event_id == "$":
            event_id = await self._shelf.newest_event(tenant)
        elif _EVENT_ID.match(event_id) is None:
            raise bad_cursor()
        until_s = self._clock.monotonic_s() + wait_s
        while True:
            found = await self._shelf.events(tenant, event_id, limit)
            if found:
                return [_event(each) for each in found]
            left_s = until_s - self._clock.monotonic_s()
            if left_s <= 0:
                return []
            await self._bell.wait(bell(tenant), min(left_s, LISTEN_S))


def _event(stored: tuple[bytes, list[bytes]]) -> ReviewEvent:
    event_id, flat = stored
    facts = dict(zip(flat[::2], flat[1::2], strict=True))
    return ReviewEvent(
        id=event_id.decode(),
        review_id=facts[b"r"].decode(),
        step=facts[b"s"].decode(),
        state=State(facts[b"t"].decode()),
        version=int(facts[b"v"]),
        at=moment(facts[b"a"].decode()),
    )
