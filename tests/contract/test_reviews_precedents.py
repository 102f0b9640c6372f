"""What is like a review, on the real store: found after every way to end, and gone when forgotten.

`Room.is_sound`, which the other tests of this room end with too, looks at every place.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final

import pytest
from contract.mailbox_office import refusal
from contract.reviews_room import Room, Twice, a_room

from actors.reviews import precedents as precedents_module
from actors.reviews.places import places
from actors.reviews.record import pack
from cluster.store import keys
from cluster.store.client import Store
from policies.afterwards import afterwards
from policies.panel import Choice
from policies.precedent import Part, Precedent, argument_shape
from policies.review import (
    OPEN,
    Cancelled,
    Consumed,
    GlassBroken,
    Overruled,
    Review,
    State,
    TimePassed,
)

from builders import a_person, a_reason, a_review_law

if TYPE_CHECKING:
    from contract.conftest import Valkey

SHAPE: Final = argument_shape({"path": "reports/q1.md"})
OTHER_SHAPE: Final = argument_shape({"path": 1})
ROADS: Final = pytest.mark.parametrize(
    "through", [lambda store: store, Twice], ids=["once", "every-answer-lost"]
)
ENDS: Final = [
    "rejected by a vote",
    "consumed",
    "cancelled",
    "cancelled when approved",
    "expired",
    "expired when approved",
    "overruled",
]


def digest(number: int) -> str:
    return f"sha256:{number:064x}"


async def advance(room: Room, review_id: str, event: Any) -> Review:
    return (await room.reviews.advance(room.tenant, review_id, event, by=None)).review


async def end(room: Room, review_id: str, how: str) -> Review:
    """End a pending review in one of the `ENDS`."""
    if how == "rejected by a vote":
        return (await room.vote(review_id, Choice.REJECT)).review
    if how in {"consumed", "overruled"} or "approved" in how:
        await room.vote(review_id)
    if how in {"consumed", "overruled"}:
        await room.let_go(review_id)
        gone = Consumed(released_by="d9")
        denied = Overruled(code="policy.denied", reason="not any more", released_by="d9")
        return await advance(room, review_id, gone if how == "consumed" else denied)
    if how.startswith("expired"):
        room.clock.forward(3600)
        return await advance(room, review_id, TimePassed())
    return await advance(room, review_id, Cancelled(by=a_person("writer"), reason="never mind"))


async def found(room: Room, review: Review, limit: int = 5) -> list[Precedent]:
    return await room.reviews.precedents.of(review, limit)


async def ids(room: Room, review: Review, limit: int = 5) -> list[str]:
    return [one.review.review_id for one in await found(room, review, limit)]


# -- after every way to end -----------------------------------------------------------------------


@ROADS
@pytest.mark.parametrize("how", ENDS)
def test_whatever_ended_is_a_precedent_from_then_on(
    valkey: Valkey, how: str, through: Callable[[Store], Store]
) -> None:
    async def scenario() -> None:
        async with a_room(valkey, through=through) as room:
            await room.open(1, shape=SHAPE)
            asked = room.review(2, shape=SHAPE)
            assert await ids(room, asked) == []
            await room.is_sound()
            ended = await end(room, "r1", how)
            (one,) = await found(room, asked)
            assert one.review == ended
            assert one.likeness.score == 1.0
            assert one.likeness.same == tuple(Part)
            assert ended.closing is not None
            assert one.ended_at == ended.closing.at
            await room.is_sound()

    asyncio.run(scenario())


def test_what_is_open_or_only_approved_is_no_precedent(valkey: Valkey) -> None:
    async def scenario() -> None:
        async with a_room(valkey) as room:
            for number in range(1, 4):
                await room.open(number)
            await room.claim("r2")
            await room.vote("r3")
            assert await ids(room, room.review(9)) == []
            await room.is_sound()

    asyncio.run(scenario())


def test_a_review_is_no_precedent_of_itself(valkey: Valkey) -> None:
    async def scenario() -> None:
        async with a_room(valkey) as room:
            for number in (1, 2):
                await room.open(number)
                await room.vote(f"r{number}", Choice.REJECT)
            assert await ids(room, await room.find("r1")) == ["r2"]

    asyncio.run(scenario())


# -- order and bounds -----------------------------------------------------------------------------


def test_the_most_alike_come_first_and_of_equals_the_newest(valkey: Valkey) -> None:
    async def scenario() -> None:
        async with a_room(valkey) as room:
            changes: list[dict[str, Any]] = [
                {},
                {"agent": "planner", "action_digest": digest(1)},
                {"action_digest": digest(2)},
                {"action_digest": digest(3)},
                {"tool": "a tool: with odd signs", "action_digest": digest(4)},
                {"reasons": (a_reason(rule="x"),), "action_digest": digest(5)},
                {
                    "tool": "else.where",
                    "agent": "planner",
                    "shape": OTHER_SHAPE,
                    "reasons": (a_reason(rule="x"),),
                    "action_digest": digest(6),
                },
            ]
            for number, change in enumerate(changes):
                room.clock.forward(1)
                await room.open(number, **{"shape": SHAPE, **change})
                await room.vote(f"r{number}", Choice.REJECT)
            asked = room.review(99, shape=SHAPE)
            precedents = await found(room, asked, 20)
            ordered = ["r0", "r3", "r2", "r1", "r5", "r4"]
            assert [one.review.review_id for one in precedents] == ordered
            scores = [one.likeness.score for one in precedents]
            assert scores == [1.0, 0.9, 0.9, 0.8, 0.65, 0.55]
            assert await ids(room, asked, 2) == ordered[:2]
            odd = room.review(98, tool="a tool: with odd signs", shape=SHAPE)
            assert (await ids(room, odd))[0] == "r4"

    asyncio.run(scenario())


def test_among_more_than_it_looks_at_the_very_same_action_is_still_found(
    valkey: Valkey, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(precedents_module, "NEWEST", 3)

    async def scenario() -> None:
        async with a_room(valkey) as room:
            for number in range(10):
                room.clock.forward(1)
                await room.open(number, shape=SHAPE, action_digest=digest(number))
                await room.vote(f"r{number}", Choice.REJECT)
            asked = room.review(99, shape=SHAPE, action_digest=digest(1))
            assert await ids(room, asked, 20) == ["r1", "r9", "r8", "r7"]

    asyncio.run(scenario())


# -- damage, other tenants, follow-ups ------------------------------------------------------------


def test_what_is_damaged_or_gone_is_left_out_and_the_next_ones_take_its_place(
    valkey: Valkey,
) -> None:
    async def scenario() -> None:
        async with a_room(valkey) as room:
            for number in range(30):
                room.clock.forward(1)
                await room.open(number)
                await room.vote(f"r{number}", Choice.REJECT)
            for number in range(15, 30):
                name = keys.review(room.tenant, f"r{number}")
                if number % 2:
                    await room.store.execute("SET", name, b"2\nnot a review")
                else:
                    await room.store.execute("DEL", name)
            endless = replace(await room.find("r14"), closing=None)
            name = keys.review(room.tenant, "r14")
            await room.store.execute("SET", name, b"2\n" + pack(endless))
            assert await ids(room, room.review(99), 3) == ["r13", "r12", "r11"]
            assert room.reviews.damaged == 8

    asyncio.run(scenario())


def test_parts_that_this_build_does_not_know_have_no_say(valkey: Valkey) -> None:
    async def scenario() -> None:
        async with a_room(valkey) as room:
            await room.open(1)
            await room.vote("r1", Choice.REJECT)
            likes = keys.reviews(room.tenant, "likes")
            noted = await room.store.execute("HGET", likes, "r1")
            assert isinstance(noted, bytes)
            await room.store.execute("HSET", likes, "r1", noted + b" like:mood:good like nonsense")
            (one,) = await found(room, room.review(2))
            assert one.likeness.score == 1.0

    asyncio.run(scenario())


def test_another_tenants_reviews_are_never_seen(valkey: Valkey) -> None:
    async def scenario() -> None:
        async with a_room(valkey) as other, a_room(valkey) as room:
            await other.open(1)
            await other.vote("r1", Choice.REJECT)
            await other.open(2)
            asked = room.review(2)
            assert await ids(other, other.review(9)) == ["r1"]
            assert await ids(room, asked) == []
            same = await room.reviews.precedents.same(
                room.tenant, asked.action_digest, limit=10, cursor=None
            )
            assert same == ((), False)

    asyncio.run(scenario())


def test_a_review_that_follows_is_no_precedent_and_says_what_it_thought_of_the_glass(
    valkey: Valkey,
) -> None:
    async def scenario() -> None:
        async with a_room(valkey) as room:
            await room.open(1)
            for name in ("tina", "tom"):
                by = a_person(name, "tenant_admin")
                broken = await advance(room, "r1", GlassBroken(by=by, reason="fire"))
            assert broken.state is State.APPROVED
            after = afterwards(broken, a_review_law(), now=room.clock.now())
            await room.reviews.follow(after)
            await room.let_go("r1")
            gone = await advance(room, "r1", Consumed(released_by="d9"))
            # Nothing but the action itself is open or ended about it.
            assert await room.places("same:") == set()
            assert {review_id for _, review_id in await room.places("like:")} == {"r1"}
            (one,) = await found(room, room.review(9))
            assert one.review == gone
            assert one.afterwards == after
            await room.claim(after.review_id)
            assert await room.places("same:") == set()
            rejected = (await room.vote(after.review_id, Choice.REJECT)).review
            (one,) = await found(room, room.review(9))
            assert one.afterwards == rejected
            # Nor is what it follows held against it.
            assert await ids(room, rejected) == []
            assert len(await room.fields(keys.reviews(room.tenant, "likes"))) == 1

    asyncio.run(scenario())


# -- forgetting -----------------------------------------------------------------------------------


@ROADS
@pytest.mark.parametrize("gone", [False, True], ids=["by the loop", "by the store before"])
def test_what_is_forgotten_leaves_nothing_behind(
    valkey: Valkey, through: Callable[[Store], Store], *, gone: bool
) -> None:
    async def scenario() -> None:
        async with a_room(valkey, kept_s=10_000, through=through) as room:
            for number, how in enumerate(ENDS):
                await room.open(
                    number,
                    shape=SHAPE,
                    tool=f"tool.{number}",
                    action_digest=digest(number),
                    reasons=(a_reason(rule=f"rule.{number}"), a_reason(rule="shared")),
                )
                await end(room, f"r{number}", how)
            await room.open(50, shape=SHAPE, expires_at=room.clock.now() + timedelta(days=9))
            assert len(await room.places("like:")) == len(ENDS) * 6
            await room.is_sound()
            room.clock.forward(10_001)
            if gone:
                for number in range(len(ENDS)):
                    await room.store.execute("DEL", keys.review(room.tenant, f"r{number}"))
            await room.reviews.tick(room.tenant, 100)
            assert await room.places("like:") == set()
            assert await room.store.execute("EXISTS", keys.reviews(room.tenant, "likes")) == 0
            assert await ids(room, room.review(99, shape=SHAPE)) == []
            await room.vote("r50", Choice.REJECT)
            room.clock.forward(10_001)
            await room.reviews.tick(room.tenant, 100)
            start = keys.reviews(room.tenant, "")
            names: Any = await room.store.execute("KEYS", f"{start}*")
            assert {name.decode().removeprefix(start) for name in names} == {"events"}

    asyncio.run(scenario())


# -- the same action ------------------------------------------------------------------------------


def test_what_is_open_about_one_action_is_found_oldest_first_page_by_page(valkey: Valkey) -> None:
    async def scenario() -> None:
        async with a_room(valkey) as room:
            for number in range(1, 8):
                room.clock.forward(1)
                await room.open(number, action_digest=digest(number == 4))
            await room.claim("r2")
            await room.vote("r3", Choice.REJECT)
            await room.vote("r5")
            finder = room.reviews.precedents
            seen: list[list[str]] = []
            cursor = None
            while True:
                page = await finder.same(room.tenant, digest(0), limit=2, cursor=cursor)
                seen.append([one.review_id for one in page.found])
                if not page.is_more:
                    break
                cursor = page.found[-1].cursor
                # What is decided meanwhile moves nothing from one page to another.
                await room.vote("r1", Choice.REJECT)
            assert seen == [["r1", "r2"], ["r6", "r7"]]
            page = await finder.same(room.tenant, digest(0), limit=9, cursor=page.found[0].cursor)
            assert [one.review_id for one in page.found] == ["r7"]
            assert await finder.same_count(room.tenant, digest(0)) == 3
            assert await finder.same_count(room.tenant, digest(1)) == 1
            assert await finder.same_count(room.tenant, digest(9)) == 0
            odd = finder.same(room.tenant, digest(0), limit=2, cursor="nonsense")
            assert await refusal(odd) == ("review.bad_cursor", 422)
            await room.is_sound()

    asyncio.run(scenario())


def test_places_are_taken_by_what_is_open_or_ended_only(valkey: Valkey) -> None:
    async def scenario() -> None:
        async with a_room(valkey) as room:
            for state in State:
                review = room.review(1, state=state)
                kinds = {index.partition(":")[0] for index, _ in places(review)}
                assert ("same" in kinds) == (state in OPEN)
                assert ("like" in kinds) == (state not in OPEN | {State.APPROVED})

    asyncio.run(scenario())


# -- many -----------------------------------------------------------------------------------------


@pytest.mark.timeout(300)
def test_among_ten_thousand_a_call_looks_at_a_bounded_part_and_takes_moments(
    valkey: Valkey,
) -> None:
    async def scenario() -> None:
        async with a_room(valkey) as room:
            for start in range(0, 10_000, 100):
                await asyncio.gather(*(_ended(room, start + number) for number in range(100)))
            tool = keys.reviews(room.tenant, f"like:tool:{room.review(0).tool}")
            assert await room.store.execute("ZCARD", tool) == 10_000
            asked = room.review(10_000, shape=SHAPE, action_digest=digest(5))
            candidates = await room.reviews.precedents._ranked(asked)
            assert 128 <= len(candidates) <= 128 * len(places(replace(asked, state=State.EXPIRED)))
            took_s = []
            for _ in range(21):
                begun_s = time.perf_counter()
                assert len(await found(room, asked)) == 5
                took_s.append(time.perf_counter() - begun_s)
            assert sorted(took_s)[10] < 1.0

    asyncio.run(scenario())


async def _ended(room: Room, number: int) -> None:
    rules = tuple(a_reason(rule=f"rule.{each}") for each in range(number % 5))
    await room.open(
        number,
        shape=SHAPE if number % 3 else OTHER_SHAPE,
        agent=f"agent-{number % 7}" if number % 2 else "writer",
        reasons=rules,
        action_digest=digest(number % 1000),
    )
    await room.vote(f"r{number}", Choice.REJECT)
