"""Notifications that were not sent, as operators see them."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final, NamedTuple

from actors.herald.letter import DeadNotification
from actors.herald.store import HeraldStore
from cluster.clock import Clock
from cluster.store.client import Store
from policies.errors import RefusalError
from policies.notification import Interest

PAGE_MAX: Final = 100
_CURSOR: Final = re.compile(r"\A[0-9]{16}:[A-Za-z0-9._:-]{1,200}\Z")


class LetterPage(NamedTuple):
    """Some of the dead letters, and the cursor of what is behind them, None for nothing."""

    letters: tuple[DeadNotification, ...]
    next_cursor: str | None


class Notifications:
    """What waits to be sent no more, and sending it all the same.

    Every method raises DependencyError when the store cannot be reached.
    """

    def __init__(self, store: Store, *, interests: Sequence[Interest], clock: Clock) -> None:
        self._shelf = HeraldStore(store)
        self._interests = tuple(interests)
        self._clock = clock

    async def dead_letters(
        self, tenant: str, *, after: str | None = None, limit: int = 50
    ) -> LetterPage:
        """Return what was not sent, oldest first.

        Raises RefusalError `notification.bad_cursor` (422) for a cursor that is none.
        """
        if after is not None and _CURSOR.match(after) is None:
            raise RefusalError("notification.bad_cursor", "this is no cursor of this list", 422)
        found = await self._shelf.letters(tenant, after or "", min(limit, PAGE_MAX) + 1)
        page = tuple(found[:limit])
        return LetterPage(page, page[-1].cursor if len(found) > limit else None)

    async def redrive(self, tenant: str, letter_id: str) -> None:
        """Queue it again, as if it had just come; repeating it is fine.

        Raises RefusalError `notification.not_found` (404) when it is no dead letter, and
        `notification.no_channel` (409) when its channel does not hear of the tenant any more.
        """
        now_ms = int(self._clock.now().timestamp() * 1000)
        hearing = [each.channel for each in self._interests if each.concerns(tenant)]
        outcome = await self._shelf.redrive(tenant, letter_id, hearing, now_ms=now_ms)
        if outcome == "unheard":
            raise RefusalError(
                "notification.no_channel",
                f"the channel of {letter_id[:120]!r} is not in the channels file any more, or does"
                " not hear of this tenant; it stays a dead letter",
                409,
            )
        if outcome == "unknown":
            raise RefusalError(
                "notification.not_found",
                f"there is no dead letter {letter_id[:120]!r} here; it may have been sent since",
                404,
            )
