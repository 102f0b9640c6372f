"""The reviews' scripts, where a review lies, and what the replies mean."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from hashlib import sha256
from importlib.resources import files
from math import ceil
from typing import Any, Final, NamedTuple, cast

from actors.reviews.places import in_state, micros, name_of, of_person, places, same_action
from actors.reviews.record import pack, timestamp
from actors.reviews.step import Taken
from cluster.store import keys
from cluster.store.batching import GroupCommit
from cluster.store.client import Call, Script, Store
from policies.message import Message
from policies.parcel import parcel
from policies.review import ENDED, OPEN, Review, State, Step
from policies.review_notice import notice_id
from policies.reviewing import heard_at

REPLY_BYTES_MAX: Final = 4 << 20
EVENTS_MAX: Final = 10_000
OPENED_NOW: Final = 2  # what open.lua replies when it opened the review
OPENED: Final = "open"  # the step of which every review is born
LIVE: Final = "live"  # the shelf of those that have not ended
CLOSED: Final = "ended"

_SCRIPTS: Final = files("actors.reviews") / "scripts"
_DUE: Final = "due"
_RELEASE: Final = "release"
_EVENTS: Final = "events"
_BELL: Final = "bell"
_OPEN_COUNT: Final = Script("""
local count = 0
for _, index in ipairs(KEYS) do count = count + redis.call('ZCARD', index) end
return count
""")


def _script(name: str) -> Script:
    return Script((_SCRIPTS / f"{name}.lua").read_text())


OPENING: Final = _script("open")
MOVE: Final = _script("move")
FOLLOW: Final = _script("follow")
LISTED: Final = _script("listed")
DUE: Final = _script("due")


class Stored(NamedTuple):
    """A review as it lies in the store."""

    review_id: str
    packed: bytes


class Spot(NamedTuple):
    """Where a page of a list ends: on which shelf, behind which name."""

    shelf: str
    name: str


class Slice(NamedTuple):
    """A page as it is stored; `more` says that there is something behind it."""

    more: bool
    ends: Spot
    found: list[Stored]


class ReviewStore:
    """One script for each operation; each is atomic, and harmless when it is repeated."""

    def __init__(self, store: Store, *, kept_s: float) -> None:
        self._store = store
        self._commits = GroupCommit(store)
        self._kept_s = kept_s

    async def close(self) -> None:
        """Return when every call that was accepted is answered."""
        await self._commits.close()

    def opening(self, review: Review) -> Call:
        """Return the call that opens a review that lies beside its held message."""
        tenant, review_id = review.tenant, review.review_id
        return Call(
            OPENING,
            [
                keys.held(tenant),
                keys.review(tenant, review_id),
                keys.reviews(tenant, in_state(review.state)),
                keys.reviews(tenant, _DUE),
                keys.reviews(tenant, _EVENTS),
                keys.reviews(tenant, same_action(review.action_digest)),
            ],
            [
                review_id,
                name_of(review),
                _due_ms(review),
                OPENED,
                review.state.value,
                review.version,
                timestamp(review.opened_at),
                bell(tenant),
                EVENTS_MAX,
            ],
        )

    async def open(self, review: Review) -> bool:
        """Open it, and say whether it was not open before."""
        return await self._commits.run(self.opening(review)) == OPENED_NOW

    async def follow(self, review: Review, note: tuple[bytes, bytes]) -> Any:
        """Open a review that lies beside no held message; see the script for its reply."""
        tenant = review.tenant
        return await self._commits.run(
            Call(
                FOLLOW,
                [
                    keys.review(tenant, review.review_id),
                    keys.reviews(tenant, in_state(review.state)),
                    keys.reviews(tenant, _DUE),
                    keys.reviews(tenant, _EVENTS),
                    keys.wal(tenant),
                    keys.halted(tenant),
                ],
                [
                    review.review_id,
                    pack(review),
                    name_of(review),
                    _due_ms(review),
                    OPENED,
                    review.state.value,
                    review.version,
                    timestamp(review.opened_at),
                    bell(tenant),
                    EVENTS_MAX,
                    *note,
                ],
            )
        )

    def move_call(self, taken: Taken, note: tuple[bytes, bytes], notice: Message | None) -> Call:
        """Return the call that takes one step; see the script for its reply."""
        before, after, tenant = taken.before, taken.after, taken.after.tenant
        packed, parting = pack(after), places(before)
        told = notice_id(after)
        return Call(
            MOVE,
            [
                keys.review(tenant, after.review_id),
                keys.reviews(tenant, ""),
                keys.wal(tenant),
                keys.halted(tenant),
                keys.held(tenant),
                keys.outbox(tenant),
                keys.agents(tenant),
            ],
            [
                after.review_id,
                before.version,
                sha256(packed).hexdigest()[:16],
                after.version,
                packed,
                *note,
                taken.step.value,
                after.state.value,
                timestamp(taken.at),
                bell(tenant),
                EVENTS_MAX,
                _due_ms(after),
                _release_ms(after),
                _fate(taken),
                int(self._kept_s * 1000) if after.state in ENDED else "",
                *(("", "", "") if notice is None else (after.agent, told, parcel(notice, told))),
                int(taken.at.timestamp() * 1000),
                taken.as_of,
                len(parting),
                *(word for place in (*parting, *places(after)) for word in place),
            ],
        )

    async def move(self, call: Call) -> object:
        """Run what `move_call` returned."""
        return await self._commits.run(call)

    async def find(self, tenant: str, review_id: str) -> bytes | None:
        """Return the review, packed."""
        reply = await self._store.execute("GET", keys.review(tenant, review_id))
        return packed_of(reply) if isinstance(reply, bytes) else None

    async def find_all(self, tenant: str, review_ids: Sequence[str]) -> list[Stored]:
        """Return those of these reviews that are there."""
        if not review_ids:
            return []
        names = [keys.review(tenant, review_id) for review_id in review_ids]
        reply = cast("list[bytes | None]", await self._store.execute("MGET", *names))
        pairs = zip(review_ids, reply, strict=True)
        return [Stored(each, packed_of(stored)) for each, stored in pairs if stored is not None]

    async def listed(
        self,
        tenant: str,
        *,
        states: frozenset[State],
        assignee: str | None,
        limit: int,
        after: Spot | None,
    ) -> Slice:
        """Return a page: live ones oldest first, then ended ones newest first."""
        live = [in_state(state) for state in State if state in states - ENDED]
        ended = [in_state(state) for state in State if state in states & ENDED]
        if assignee is not None:  # only who looks at it has a review
            live, ended = [of_person(assignee)] if State.CLAIMED in states else [], []
        begin = after or Spot(LIVE, "")
        reply: Any = await self._store.run(
            Call(
                LISTED,
                [keys.reviews(tenant, ""), keys.review(tenant, "")],
                [limit, REPLY_BYTES_MAX, *begin, len(live), *live, *ended],
            )
        )
        more, shelf, name, *found = reply
        return Slice(bool(more), Spot(shelf.decode(), name.decode()), _all_stored(found))

    async def due(self, tenant: str, now: datetime, at_most: int) -> list[Stored]:
        """Return reviews that time changes now; forget some that ended long ago."""
        keep_from = f"{micros(now - timedelta(seconds=self._kept_s)):016d}:"
        reply: Any = await self._store.run(
            Call(
                DUE,
                [keys.reviews(tenant, ""), keys.review(tenant, "")],
                [
                    int(now.timestamp() * 1000),
                    at_most,
                    REPLY_BYTES_MAX,
                    keep_from,
                    *(in_state(state) for state in State if state in ENDED),
                ],
            )
        )
        return _all_stored(reply[1:])

    async def look_again(self, tenant: str, review_id: str, at: datetime) -> None:
        """Look at this review at that time, if it is still due by then."""
        at_ms = int(at.timestamp() * 1000)
        await self._store.execute("ZADD", keys.reviews(tenant, _DUE), "XX", at_ms, review_id)

    async def approved(self, tenant: str, upto: datetime, at_most: int, *, skip: int) -> list[str]:
        """Return what was approved until then and has not gone, the longest waiting first."""
        upto_ms = int(upto.timestamp() * 1000)
        reply = await self._store.execute(
            "ZRANGEBYSCORE", keys.reviews(tenant, _RELEASE), "-inf", upto_ms, "LIMIT", skip, at_most
        )
        return [review_id.decode() for review_id in cast("list[bytes]", reply)]

    async def open_count(self, tenant: str) -> int:
        """Return how many reviews wait for people."""
        names = [keys.reviews(tenant, in_state(state)) for state in State if state in OPEN]
        return cast("int", await self._store.run(Call(_OPEN_COUNT, names, [])))

    async def held(self, tenant: str, review_id: str) -> bytes | None:
        """Return the parcel of the message that is held for it."""
        reply = await self._store.execute("HGET", keys.held(tenant), review_id)
        return reply if isinstance(reply, bytes) else None

    async def unopened(
        self, tenant: str, cursor: str, at_most: int
    ) -> tuple[str, Mapping[str, bytes]]:
        """Return some packed reviews that nobody opened, by their field, and where to go on.

        The cursor "0" is the start, and the end.
        """
        reply: Any = await self._store.execute(
            "HSCAN", keys.held(tenant), cursor, "MATCH", "*:review", "COUNT", at_most
        )
        fields = [field.decode() for field in reply[1][::2]]
        return reply[0].decode(), dict(zip(fields, reply[1][1::2], strict=True))

    async def events(
        self, tenant: str, after: str, at_most: int
    ) -> list[tuple[bytes, list[bytes]]]:
        """Return the events behind that one, as they are stored."""
        reply = await self._store.execute(
            "XRANGE", keys.reviews(tenant, _EVENTS), f"({after}", "+", "COUNT", at_most
        )
        return cast("list[tuple[bytes, list[bytes]]]", reply)

    async def newest_event(self, tenant: str) -> str:
        """Return the id of the newest event; "0-0" when there was none."""
        reply: Any = await self._store.execute(
            "XREVRANGE", keys.reviews(tenant, _EVENTS), "+", "-", "COUNT", 1
        )
        return reply[0][0].decode() if reply else "0-0"

    async def tenants(self) -> list[str]:
        """Return every tenant that ever had a decision recorded."""
        reply = cast("list[bytes]", await self._store.execute("SMEMBERS", keys.TENANTS))
        return sorted(tenant.decode() for tenant in reply)


def bell(tenant: str) -> str:
    """The channel that rings with every step of every review of the tenant."""
    return keys.reviews(tenant, _BELL)


def packed_of(stored: bytes) -> bytes:
    """Return the review itself from what a key holds: its first line is the scripts' own."""
    return stored.partition(b"\n")[2]


def _all_stored(pairs: Iterable[Any]) -> list[Stored]:
    return [Stored(review_id.decode(), packed_of(stored)) for review_id, stored in pairs]


def _due_ms(review: Review) -> int | str:
    # Rounded up, so that what is found to be due is due.
    return "" if review.due_at is None else ceil(micros(review.due_at) / 1000)


def _release_ms(review: Review) -> int | str:
    # The approval of a review that follows another needs nobody's use: the desk ends it. And what
    # went through broken glass is followed, even if the agent never uses it.
    is_broken = review.glass is not None and review.glass.is_broken
    goes = review.delivers or review.follows is not None or is_broken
    if review.state is not State.APPROVED or not goes:
        return ""
    return micros(heard_at(review)) // 1000


def _fate(taken: Taken) -> str:
    """What becomes of the held message, in the script's words."""
    if taken.after.state not in ENDED:
        return "keep"
    # What was approved may be on its way: then only its release says how it ended.
    by_release = taken.step in {Step.CONSUME, Step.OVERRULE}
    return "have" if taken.before.state is State.APPROVED and not by_release else "drop"
