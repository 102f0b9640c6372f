"""No step is lost or taken twice: kills of the store, lost answers, and processes that end."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import count
from typing import TYPE_CHECKING, Any, Final

import pytest
from contract.mailbox_office import until
from contract.reviews_room import Room, a_room, two_of

from cluster.errors import StoreUnavailableError
from cluster.store.client import Call, Store
from policies.errors import DependencyError, RefusalError
from policies.panel import Choice
from policies.review import (
    Cancelled,
    Consumed,
    Escalated,
    Event,
    Review,
    State,
    Unclaimed,
)

from builders import a_person, a_quorum

if TYPE_CHECKING:
    from contract.conftest import Valkey

Act = Callable[[Room], Coroutine[Any, Any, object]]


def taking(event: Event, by: str | None = None) -> Act:
    return lambda room: room.reviews.advance(room.tenant, "r1", event, by=by)


async def adopted(room: Room) -> None:
    room.clock.forward(2)
    await room.reviews.adopt(room.tenant)


async def consumed(room: Room) -> None:
    with suppress(AssertionError):  # it went in an earlier attempt
        await room.let_go("r1")
    await taking(Consumed(released_by="d9"))(room)


async def expired(room: Room) -> None:
    room.clock.forward(3600)
    await room.reviews.tick(room.tenant, 10)


# Every transition there is, on roads of as few steps as it takes.
HEAD: Final[tuple[Act, ...]] = (
    lambda room: room.hold(1, quorum=two_of()),
    adopted,
    lambda room: room.claim("r1"),
)
ROADS: Final[dict[str, tuple[tuple[Act, ...], State]]] = {
    "consumed": (
        (
            taking(Unclaimed(by=a_person())),
            lambda room: room.vote("r1"),
            taking(Escalated(by=a_person("rob"), reason="look")),
            lambda room: room.vote("r1", Choice.APPROVE, a_person("rob")),
            consumed,
        ),
        State.CONSUMED,
    ),
    "rejected": ((lambda room: room.vote("r1", Choice.REJECT),), State.REJECTED),
    "expired": ((expired,), State.EXPIRED),
    "cancelled": (
        (taking(Cancelled(by=a_person("writer"), reason="never mind")),),
        State.CANCELLED,
    ),
}


@dataclass
class Failing:
    """A store of which one script fails: before it is run, or after, so that its answer is lost."""

    store: Store
    fails_at: int
    runs_first: bool
    calls: int = 0

    async def execute(self, *command: str | bytes | float) -> object:
        return await self.store.execute(*command)

    async def run(self, call: Call) -> object:
        return (await self.run_many([call]))[0]

    async def run_many(self, calls: Sequence[Call]) -> list[object]:
        self.calls += 1
        if self.calls != self.fails_at:
            return await self.store.run_many(calls)
        if self.runs_first:
            await self.store.run_many(calls)
        raise StoreUnavailableError("a test said so")


async def insist(act: Act, room: Room) -> None:
    """Act, and once more when it is not known whether it worked; then it may have been done."""
    try:
        await act(room)
    except DependencyError:
        with suppress(RefusalError):
            await act(room)


async def check(room: Room, road: str) -> Review:
    await room.is_sound()
    review = await room.find("r1")
    assert review.state is ROADS[road][1]
    assert await room.held() == set()
    notices = 0 if review.state is State.CONSUMED else 1
    assert len(await room.outbox()) == notices
    return review


def how(review: Review) -> tuple[str, str | None]:
    assert review.closing is not None
    return review.closing.code, review.closing.by


@pytest.mark.parametrize("road", ROADS)
def test_a_store_killed_between_any_two_calls_loses_nothing(own_valkey: Valkey, road: str) -> None:
    tenant = own_valkey.tenant()
    acts = (*HEAD, *ROADS[road][0])
    passed_s = 0.0
    for act in acts:

        async def one(act: Act = act) -> None:
            nonlocal passed_s
            async with a_room(own_valkey, tenant=tenant) as room:
                room.clock.forward(passed_s)
                await room.register()
                await act(room)
                passed_s = room.clock.monotonic_s()
                if act is not HEAD[0]:
                    await room.is_sound()

        asyncio.run(one())
        own_valkey.server.kill()
        own_valkey.server.start()

    async def end() -> None:
        async with a_room(own_valkey, tenant=tenant) as room:
            await check(room, road)

    asyncio.run(end())


@pytest.mark.parametrize("runs_first", [False, True], ids=["call-lost", "answer-lost"])
@pytest.mark.parametrize("road", ROADS)
def test_whichever_call_fails_its_repetition_ends_the_same(
    valkey: Valkey, road: str, *, runs_first: bool
) -> None:
    async def one(fails_at: int) -> tuple[int, Review]:
        async with valkey.store() as store:
            failing = Failing(store, fails_at, runs_first)
            async with a_room(valkey, through=lambda _: failing) as room:
                await room.register()
                for act in (*HEAD, *ROADS[road][0]):
                    await insist(act, room)
                return failing.calls, await check(room, road)

    async def scenario() -> None:
        calls, whole = await one(0)
        for fails_at in range(1, calls + 1):
            _, review = await one(fails_at)
            # Who asks again for what is known to nobody may claim or escalate once more.
            assert 0 <= review.version - whole.version <= 1
            assert [vote.by for vote in review.votes] == [vote.by for vote in whole.votes]
            assert how(review) == how(whole)

    asyncio.run(scenario())


@dataclass
class Traffic:
    """People who vote, each once on each review, and what they were told, until a kill."""

    tenant: str
    serial: Iterator[int] = field(default_factory=count)
    told: set[tuple[str, str]] = field(default_factory=set)
    unsure: set[tuple[str, str]] = field(default_factory=set)

    async def vote(self, room: Room) -> None:
        for number in self.serial:
            review_id, person = f"r{number % 40}", f"p{number // 40}"
            by = a_person(person)
            while True:
                try:
                    await room.vote(review_id, by=by)
                except RefusalError as error:
                    if error.code != "review.conflict":
                        raise
                    continue  # nothing happened
                except DependencyError:
                    self.unsure.add((review_id, person))
                    return
                self.told.add((review_id, person))
                break

    async def flow(self, room: Room, enough: int, kill: Callable[[], None]) -> None:
        enough += len(self.told)
        tasks = [asyncio.create_task(self.vote(room)) for _ in range(64)]
        await until(lambda: len(self.told) >= enough)
        await asyncio.to_thread(kill)
        await asyncio.gather(*tasks)


def test_what_was_answered_is_there_after_a_kill_of_the_store(own_valkey: Valkey) -> None:
    async def scenario() -> None:
        traffic = Traffic(own_valkey.tenant())
        async with a_room(own_valkey, tenant=traffic.tenant) as room:
            for number in range(40):
                await room.open(number, quorum=a_quorum(32))
        for _ in range(2):
            async with a_room(own_valkey, tenant=traffic.tenant) as room:
                await traffic.flow(room, 200, own_valkey.server.kill)
            await asyncio.to_thread(own_valkey.server.start)
        async with a_room(own_valkey, tenant=traffic.tenant) as room:
            votes = [
                (f"r{number}", vote.by)
                for number in range(40)
                for vote in (await room.find(f"r{number}")).votes
            ]
            assert len(votes) == len(set(votes))
            assert traffic.told <= set(votes)
            assert set(votes) <= traffic.told | traffic.unsure
            notes = [(note["review_id"], note["by"]) for note in await room.notes()]
            assert sorted(notes) == sorted(votes)

    asyncio.run(scenario())
