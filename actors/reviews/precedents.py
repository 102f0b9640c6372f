"""What is like a review: ended ones as precedents, and open ones about exactly the same action."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace
from importlib.resources import files
from typing import Any, Final, NamedTuple, cast

from actors.reviews.cursor import cursor_of, spot_of
from actors.reviews.places import id_in, like_it, marks_in, same_action, time_in
from actors.reviews.store import LIVE, ReviewStore, Spot, Stored
from cluster.store import keys
from cluster.store.client import Call, Script, Store
from policies.afterwards import afterwards_id
from policies.errors import RefusalError
from policies.precedent import Precedent, likeness, marks_of, precedence
from policies.review import ENDED, Review

NEWEST: Final = 128  # of what shares one mark, so many are looked at
PRECEDENTS_MAX: Final = 20
_SPARE: Final = 4  # so many more are read at once, in place of what is damaged or forgotten

ALIKE: Final = Script((files("actors.reviews") / "scripts" / "alike.lua").read_text())

Read = Callable[[Stored], Review | None]


class Named(NamedTuple):
    """A review by its id, and the cursor of what is behind it."""

    review_id: str
    cursor: str


class Same(NamedTuple):
    """Reviews about one action, and whether there is more behind them."""

    found: tuple[Named, ...]
    is_more: bool


class Precedents:
    """Finds what is like a review; what `read` cannot read is left out.

    Every method raises DependencyError when the store cannot be reached.
    """

    def __init__(self, store: Store, shelf: ReviewStore, read: Read) -> None:
        self._store = store
        self._shelf = shelf
        self._read = read

    async def of(self, review: Review, limit: int) -> list[Precedent]:
        """Return the ended reviews that are most like this one, and what was said of broken glass.

        They are found among the newest `NEWEST` that share a mark with it, for each of its marks.
        Raises RefusalError `review.out_of_range` (422) for a limit over `PRECEDENTS_MAX`.
        """
        if not 1 <= limit <= PRECEDENTS_MAX:
            detail = f"limit is from 1 to {PRECEDENTS_MAX}"
            raise RefusalError("review.out_of_range", detail, 422)
        names = await self._ranked(review)
        found: list[Precedent] = []
        while names and len(found) < limit:
            some, names = names[: limit + _SPARE], names[limit + _SPARE :]
            found += _precedents(review, await self._read_all(review.tenant, some))
        found.sort(key=lambda one: precedence(one.likeness, one.ended_at, one.review.review_id))
        return await self._with_afterwards(review.tenant, found[:limit])

    async def same(self, tenant: str, digest: str, *, limit: int, cursor: str | None) -> Same:
        """Return what is open about exactly this action, oldest first.

        Raises RefusalError `review.bad_cursor` (422) for a cursor that is none.
        """
        after = "-" if cursor is None else f"({spot_of(cursor).name}"
        index = keys.reviews(tenant, same_action(digest))
        reply = await self._store.execute("ZRANGEBYLEX", index, after, "+", "LIMIT", 0, limit + 1)
        names = [name.decode() for name in cast("list[bytes]", reply)]
        found = [Named(id_in(name), cursor_of(Spot(LIVE, name))) for name in names[:limit]]
        return Same(tuple(found), is_more=len(names) > limit)

    async def same_count(self, tenant: str, digest: str) -> int:
        """Return how many reviews are open about exactly this action."""
        index = keys.reviews(tenant, same_action(digest))
        return cast("int", await self._store.execute("ZCARD", index))

    async def _ranked(self, review: Review) -> list[str]:
        """Return the ids of the candidates in their order, by what their places say of them."""
        reply: Any = await self._store.run(
            Call(ALIKE, [keys.reviews(review.tenant, "")], [NEWEST, *like_it(review)])
        )
        marks, this = marks_of(review), {review.review_id, review.follows}
        ranks = []
        for raw, noted in reply:
            name = raw.decode()
            if id_in(name) not in this:
                alike = likeness(marks, marks_in(noted.decode()))
                ranks.append(precedence(alike, time_in(name), id_in(name)))
        return [review_id for _, _, review_id in sorted(ranks)]

    async def _read_all(self, tenant: str, review_ids: list[str]) -> list[Review]:
        found = await self._shelf.find_all(tenant, review_ids)
        return [past for stored in found if (past := self._read(stored))]

    async def _with_afterwards(self, tenant: str, found: list[Precedent]) -> list[Precedent]:
        broken = {
            one.review.review_id: afterwards_id(one.review)
            for one in found
            if one.review.glass is not None and one.review.glass.is_broken
        }
        later = {one.follows: one for one in await self._read_all(tenant, list(broken.values()))}
        return [replace(one, afterwards=later.get(one.review.review_id)) for one in found]


def _precedents(review: Review, past: Iterable[Review]) -> list[Precedent]:
    marks = marks_of(review)
    return [
        Precedent(review=one, likeness=likeness(marks, marks_of(one)), ended_at=one.closing.at)
        for one in past
        if one.state in ENDED and one.closing is not None
    ]
