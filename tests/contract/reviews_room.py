"""Reviews on the real store, for the contract tests of their room."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final

import orjson
from contract.mailbox_office import Silence

from actors.ledger import wal
from actors.ledger.notary import LedgerNotary
from actors.reviews.client import KEPT_S, Listener, Moved, Reviews
from actors.reviews.places import like_it
from actors.reviews.store import MOVE
from cluster.clock import Clock
from cluster.store import keys
from cluster.store.client import Call, Store
from policies.message import Message
from policies.panel import Choice
from policies.parcel import parcel
from policies.review import ENDED, OPEN, Claimed, Person, Quorum, Review, State, Voted

from builders import a_message, a_person, a_quorum, a_review
from fakes import FakeClock

if TYPE_CHECKING:
    from contract.conftest import Valkey

WAL_KEY: Final = bytes(32)
HOUR: Final = timedelta(hours=1)


@dataclass
class Room:
    """One tenant's reviews on the real store, seen by one process."""

    store: Store
    reviews: Reviews
    clock: Any  # a FakeClock unless a test brought its own
    tenant: str

    def review(self, number: int, **changes: Any) -> Review:
        now, review = self.clock.now(), a_review(**changes)
        return replace(
            review,
            review_id=f"r{number}",
            decision_id=f"r{number}",
            message_id=f"m{number}",
            tenant=self.tenant,
            ladder=changes.get("ladder", replace(review.ladder, next_at=now + HOUR / 6)),
            opened_at=changes.get("opened_at", now),
            expires_at=changes.get("expires_at", now + HOUR),
        )

    def message(self, review: Review) -> Message:
        return a_message(id=review.message_id, tenant=self.tenant, expires_at=review.expires_at)

    async def hold(self, number: int, **changes: Any) -> Review:
        """Leave what the ledger's record leaves."""
        review = self.review(number, **changes)
        packed = parcel(self.message(review), review.decision_id)
        beside = self.reviews.packed(review)
        held = keys.held(self.tenant)
        await self.store.execute("SADD", keys.TENANTS, self.tenant)
        await self.store.execute(
            "HSET", held, review.review_id, packed, f"{review.review_id}:review", beside
        )
        return review

    async def open(self, number: int, **changes: Any) -> Review:
        """Hold a message, and open its review as the recorder does."""
        review = await self.hold(number, **changes)
        assert self.reviews.opened(await self.store.run(self.reviews.opening(review)))
        return review

    async def claim(self, review_id: str, by: Person | None = None, seconds: float = 60) -> Review:
        by = by or a_person()
        event = Claimed(by=by, seconds=seconds)
        return (await self.reviews.advance(self.tenant, review_id, event, by=by.name)).review

    async def vote(
        self, review_id: str, choice: Choice = Choice.APPROVE, by: Person | None = None
    ) -> Moved:
        by = by or a_person()
        event = Voted(by=by, choice=choice, reason="because")
        return await self.reviews.advance(self.tenant, review_id, event, by=by.name)

    async def find(self, review_id: str) -> Review:
        return await self.reviews.find(self.tenant, review_id)

    async def let_go(self, review_id: str) -> None:
        """Take the message out of the held, as the record of its release does."""
        assert await self.store.execute("HDEL", keys.held(self.tenant), review_id) == 1

    async def notes(self) -> list[Mapping[str, Any]]:
        """The records of steps in the ledger's stream; every one of them is sound."""
        reply: Any = await self.store.execute("XRANGE", keys.wal(self.tenant), "-", "+")
        records = [wal.checked(each, tenant=self.tenant, wal_key=WAL_KEY) for each in reply]
        assert {record.about.kind for record in records} <= {"review", "authority"}
        steps = [record for record in records if record.about.kind == "review"]
        return [orjson.loads(record.body)["review"] for record in steps]

    async def steps(self) -> list[tuple[str, str, int]]:
        """What the stream of events says."""
        events = await self.reviews.events(self.tenant, after="0-0", limit=1000)
        return [(event.review_id, event.step, event.version) for event in events]

    async def fields(self, key: str) -> set[str]:
        reply: Any = await self.store.execute("HKEYS", key)
        return {field.decode() for field in reply}

    async def held(self) -> set[str]:
        return await self.fields(keys.held(self.tenant))

    async def outbox(self) -> set[str]:
        return await self.fields(keys.outbox(self.tenant))

    async def register(self, agent: str = "writer") -> None:
        await self.store.execute("HSET", keys.agents(self.tenant), agent, "1 {}")

    async def index(self, part: str) -> set[str]:
        """The reviews in one index."""
        reply: Any = await self.store.execute("ZRANGE", keys.reviews(self.tenant, part), 0, -1)
        return {name.decode().rpartition(":")[2] for name in reply}

    async def places(self, prefix: str) -> set[tuple[str, str]]:
        """The indexes whose name begins so, each with the reviews in it."""
        start = keys.reviews(self.tenant, "")
        names: Any = await self.store.execute("KEYS", f"{start}{prefix}*")
        parts = [name.decode().removeprefix(start) for name in names]
        return {(part, review_id) for part in parts for review_id in await self.index(part)}

    async def _alike_are_sound(self, reviews: Sequence[Review]) -> None:
        """What is open stands with its equals, what has ended with its like, and is noted there."""
        first = [review for review in reviews if review.follows is None]
        opened = [review for review in first if review.state in OPEN]
        ended = [review for review in first if review.state in ENDED]
        same = {(f"same:{review.action_digest}", review.review_id) for review in opened}
        like = {(place, review.review_id) for review in ended for place in like_it(review)}
        assert await self.places("same:") == same
        assert await self.places("like:") == like
        noted = await self.fields(keys.reviews(self.tenant, "likes"))
        assert noted == {review.review_id for review in ended}

    async def is_sound(self) -> None:
        """Every review is where it belongs, and every step is on record and told once."""
        notes = [(note["review_id"], note["version"]) for note in await self.notes()]
        told = [(review_id, version) for review_id, _, version in await self.steps()]
        found: dict[State, set[str]] = {}
        for state in State:
            found[state] = await self.index(f"in:{state.value}")
        assert sum(map(len, found.values())) == len(set().union(*found.values()))
        due, release = await self.index("due"), await self.index("release")
        held = await self.held()
        for state, review_ids in found.items():
            for review_id in review_ids:
                review = await self.find(review_id)
                assert review.state is state
                taken = range(2, review.version + 1)
                # Its decision is the record of an opening; what follows another has one of its own.
                noted = [*taken] if review.follows is None else [1, *taken]
                assert [version for named, version in notes if named == review_id] == noted
                assert [version for named, version in told if named == review_id] == [1, *taken]
                assert (review_id in due) == (state not in ENDED)
                is_broken = review.glass is not None and review.glass.is_broken
                goes = review.delivers or review.follows is not None or is_broken
                assert (review_id in release) == (state is State.APPROVED and goes)
                assert f"{review_id}:review" not in held
                assert state not in ENDED or review_id not in held
        assert due == set().union(*(found[state] for state in State if state not in ENDED))
        await self._alike_are_sound(
            [
                await self.find(review_id)
                for review_ids in found.values()
                for review_id in review_ids
            ]
        )


@asynccontextmanager
async def a_room(
    valkey: Valkey,
    *,
    tenant: str = "",
    bell: Listener | None = None,
    clock: Clock | None = None,
    through: Callable[[Store], Store] = lambda store: store,
    kept_s: float = KEPT_S,
) -> AsyncIterator[Room]:
    async with valkey.store() as store:
        clock = clock or FakeClock()
        reviews = Reviews(
            through(store),
            clock=clock,
            notary=LedgerNotary(WAL_KEY),
            bell=bell or Silence(),
            kept_s=kept_s,
        )
        yield Room(store, reviews, clock, tenant or valkey.tenant())
        await reviews.close()


@dataclass
class Twice:
    """A store whose every first answer is lost on the way, so that scripts run twice."""

    store: Store

    async def execute(self, *command: str | bytes | float) -> object:
        return await self.store.execute(*command)

    async def run(self, call: Call) -> object:
        await self.store.run(call)
        return await self.store.run(call)

    async def run_many(self, calls: Sequence[Call]) -> list[object]:
        await self.store.run_many(calls)
        return await self.store.run_many(calls)


@dataclass
class Meddling:
    """A store on which something happens before each step, for as long as there is something."""

    store: Store
    before: list[Callable[[], Awaitable[object]]] = field(default_factory=list)

    async def execute(self, *command: str | bytes | float) -> object:
        return await self.store.execute(*command)

    async def run(self, call: Call) -> object:
        return (await self.run_many([call]))[0]

    async def run_many(self, calls: Sequence[Call]) -> list[object]:
        if self.before and any(call.script is MOVE for call in calls):
            await self.before.pop(0)()
        return await self.store.run_many(calls)


def two_of(*roles: str) -> Quorum:
    return a_quorum(2, *(roles or ("reviewer",)))
