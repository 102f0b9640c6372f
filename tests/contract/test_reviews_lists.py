"""Finding reviews: pages, filters, cursors, what waits to be let go, and what happened."""

from __future__ import annotations

import asyncio
from base64 import urlsafe_b64encode
from typing import TYPE_CHECKING

import pytest
from contract.mailbox_office import refusal, until
from contract.reviews_room import Room, a_room

from actors.reviews import store as reviews_store
from cluster.clock import SystemClock
from cluster.store import keys
from cluster.store.connect import open_bell
from policies.panel import Choice
from policies.review import (
    ENDED,
    OPEN,
    Claimed,
    Consumed,
    State,
    TimePassed,
    Unclaimed,
)

from builders import a_person

if TYPE_CHECKING:
    from contract.conftest import Valkey


async def listed(
    room: Room,
    *states: State,
    assignee: str | None = None,
    limit: int = 200,
) -> list[str]:
    """The whole list, page by page."""
    found: list[str] = []
    cursor = None
    while True:
        page = await room.reviews.listed(
            room.tenant,
            states=frozenset(states) or None,
            assignee=assignee,
            limit=limit,
            cursor=cursor,
        )
        assert len(page.reviews) <= limit
        found += [review.review_id for review in page.reviews]
        if page.next_cursor is None:
            return found
        cursor = page.next_cursor


async def a_full_room(room: Room) -> None:
    """Nine reviews, one a second: r1 to r3 pending, then one of each other state."""
    for number in range(1, 10):
        room.clock.forward(1)
        await room.open(number)
    await room.claim("r4", a_person("rita"), seconds=1000)
    await room.vote("r5")
    for number in (8, 6, 7):  # ended in another order than they began
        room.clock.forward(1)
        await room.vote(f"r{number}", Choice.REJECT)
    await room.vote("r9")
    room.clock.forward(1)
    await room.reviews.advance(room.tenant, "r9", Consumed(released_by="d9"), by=None)


@pytest.mark.parametrize("limit", [1, 2, 3, 9, 100])
def test_a_list_begins_with_what_waits_longest_and_ends_with_what_ended_first(
    valkey: Valkey, limit: int
) -> None:
    async def scenario() -> None:
        async with a_room(valkey) as room:
            await a_full_room(room)
            everything = ["r1", "r2", "r3", "r4", "r5", "r9", "r7", "r6", "r8"]
            assert await listed(room, limit=limit) == everything
            assert await listed(room, *OPEN, limit=limit) == ["r1", "r2", "r3", "r4"]
            assert await listed(room, *ENDED, limit=limit) == ["r9", "r7", "r6", "r8"]
            assert await listed(room, State.REJECTED, limit=limit) == ["r7", "r6", "r8"]
            mixed = await listed(room, State.APPROVED, State.CONSUMED, limit=limit)
            assert mixed == ["r5", "r9"]
            assert await listed(room, State.EXPIRED, limit=limit) == []

    asyncio.run(scenario())


def test_pages_are_whole_when_everything_began_in_the_same_moment(valkey: Valkey) -> None:
    async def scenario() -> None:
        async with a_room(valkey) as room:
            for number in range(25):
                await room.open(number)
            for number in range(0, 25, 3):
                await room.claim(f"r{number}")
            found = await listed(room, limit=4)
            assert sorted(found) == sorted(f"r{number}" for number in range(25))
            assert found == sorted(found)

    asyncio.run(scenario())


def test_a_person_finds_what_they_look_at(valkey: Valkey) -> None:
    async def scenario() -> None:
        async with a_room(valkey) as room:
            for number in range(4):
                room.clock.forward(1)
                await room.open(number)
            rita, rob = a_person("rita"), a_person("rob")
            for review_id, person in (("r0", rita), ("r2", rita), ("r3", rob)):
                await room.claim(review_id, person)
            assert await listed(room, assignee="rita", limit=1) == ["r0", "r2"]
            assert await listed(room, assignee="rob") == ["r3"]
            assert await listed(room, State.PENDING, assignee="rita") == []
            assert await listed(room, assignee="nobody, or: something else\n") == []
            await room.reviews.advance(room.tenant, "r0", Unclaimed(by=rita), by="rita")
            await room.claim("r0", rob)
            room.clock.forward(61)
            await room.reviews.advance(room.tenant, "r2", TimePassed(), by=None)
            assert await listed(room, assignee="rita") == []
            assert await listed(room, assignee="rob") == ["r0", "r3"]
            await room.vote("r0", by=rob)
            await room.vote("r3", Choice.REJECT, rob)
            assert await listed(room, assignee="rob") == []

    asyncio.run(scenario())


def test_a_page_is_cut_where_it_would_be_too_large(
    valkey: Valkey, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reviews_store, "REPLY_BYTES_MAX", 3000)

    async def scenario() -> None:
        async with a_room(valkey) as room:
            for number in range(10):
                await room.open(number, resource="x" * 1000)
            page = await room.reviews.listed(room.tenant)
            assert 0 < len(page.reviews) < 10
            assert page.next_cursor is not None
            assert len(await listed(room)) == 10

    asyncio.run(scenario())


def test_what_was_forgotten_between_two_pages_hides_nothing(valkey: Valkey) -> None:
    async def scenario() -> None:
        async with a_room(valkey) as room:
            for number in range(9):
                await room.open(number)
            for number in (0, 1, 2, 5, 8):
                await room.store.execute("DEL", keys.review(room.tenant, f"r{number}"))
            assert await listed(room, limit=2) == ["r3", "r4", "r6", "r7"]

    asyncio.run(scenario())


@pytest.mark.parametrize(
    "cursor",
    ["", "?", "é", "bm9uZQ", "x" * 200, urlsafe_b64encode(b"live 12:r1").decode()],
)
def test_a_cursor_of_nobody_is_refused(valkey: Valkey, cursor: str) -> None:
    async def scenario() -> None:
        async with a_room(valkey) as room:
            call = room.reviews.listed(room.tenant, cursor=cursor)
            assert await refusal(call) == ("review.bad_cursor", 422)
            call = room.reviews.events(room.tenant, after=cursor)  # type: ignore[assignment]
            assert await refusal(call) == ("review.bad_cursor", 422)

    asyncio.run(scenario())


def test_limits_are_bounded(valkey: Valkey) -> None:
    async def scenario() -> None:
        async with a_room(valkey) as room:
            for limit in (0, 201):
                call = room.reviews.listed(room.tenant, limit=limit)
                assert await refusal(call) == ("review.out_of_range", 422)
            events = room.reviews.events(room.tenant, after="0-0", wait_s=61)
            assert await refusal(events) == ("review.out_of_range", 422)

    asyncio.run(scenario())


def test_only_what_waits_for_people_counts_as_open(valkey: Valkey) -> None:
    async def scenario() -> None:
        async with a_room(valkey) as room:
            assert await room.reviews.open_count(room.tenant) == 0
            await a_full_room(room)
            assert await room.reviews.open_count(room.tenant) == 4

    asyncio.run(scenario())


def test_approvals_that_nobody_let_go_are_found_after_a_while(valkey: Valkey) -> None:
    async def scenario() -> None:
        async with a_room(valkey) as room:
            for number in range(4):
                await room.open(number, delivers=number != 3)
            for review_id in ("r2", "r1", "r0", "r3"):
                room.clock.forward(1)
                await room.vote(review_id)
            room.clock.forward(1)

            async def waiting(older_than_s: float, limit: int = 10) -> list[str]:
                found = await room.reviews.approved(
                    room.tenant, older_than_s=older_than_s, limit=limit
                )
                return [review.review_id for review in found]

            assert await waiting(2) == ["r2", "r1", "r0"]
            assert await waiting(2.5) == ["r2", "r1"]
            # Those that cannot go hide no others: each call goes on where the last one ended.
            shown = [await waiting(2, limit=2) for _ in range(4)]
            assert shown == [["r2", "r1"], ["r0"]] * 2
            await room.reviews.advance(room.tenant, "r2", Consumed(released_by="d2"), by=None)
            assert await waiting(0) == ["r1", "r0"]

    asyncio.run(scenario())


# -- events ---------------------------------------------------------------------------------------


def test_events_follow_a_cursor(valkey: Valkey) -> None:
    async def scenario() -> None:
        async with a_room(valkey) as room:
            assert await room.reviews.newest_event(room.tenant) == "0-0"
            await room.open(1)
            begin = await room.reviews.newest_event(room.tenant)
            await room.claim("r1")
            await room.vote("r1")
            assert await room.reviews.events(room.tenant, after="$") == []
            first, second = await room.reviews.events(room.tenant, after=begin)
            assert (first.step, first.state, first.version) == ("claim", State.CLAIMED, 2)
            assert (second.step, second.state, second.version) == ("vote", State.APPROVED, 3)
            assert first.at == room.clock.now()
            assert await room.reviews.events(room.tenant, after=begin, limit=1) == [first]
            assert await room.reviews.events(room.tenant, after=first.id) == [second]
            assert second.id == await room.reviews.newest_event(room.tenant)

    asyncio.run(scenario())


def test_who_waits_for_an_event_is_woken_by_it(valkey: Valkey) -> None:
    async def scenario() -> None:
        bell = open_bell(valkey.settings)
        tenant = valkey.tenant()
        async with (
            a_room(valkey, tenant=tenant, bell=bell, clock=SystemClock()) as room,
            a_room(valkey, tenant=tenant, clock=SystemClock()) as other,
        ):
            await room.open(1)
            started_s = asyncio.get_running_loop().time()
            waiting = asyncio.create_task(room.reviews.events(tenant, after="$", wait_s=30))
            await until(lambda: bell._waiting > 0)
            await other.claim("r1")
            assert [event.step for event in await waiting] == ["claim"]
            assert asyncio.get_running_loop().time() - started_s < 4  # not by looking again
            assert await room.reviews.events(tenant, after="$", wait_s=0.05) == []
        await bell.close()

    asyncio.run(scenario())


def test_events_are_kept_up_to_a_bound(valkey: Valkey, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reviews_store, "EVENTS_MAX", 100)

    async def scenario() -> None:
        async with a_room(valkey) as room:
            await room.open(1)
            for number in range(300):
                event = Claimed(by=a_person(), seconds=number + 1)
                await room.reviews.advance(room.tenant, "r1", event, by="rita")
            assert 100 <= len(await room.steps()) <= 200  # whole nodes of the stream are cut off

    asyncio.run(scenario())


def test_a_list_of_thousands_is_read_a_page_at_a_time(valkey: Valkey) -> None:
    async def scenario() -> None:
        async with a_room(valkey) as room:
            reviews = [await room.hold(number) for number in range(2000)]
            await room.store.run_many([room.reviews.opening(review) for review in reviews])
            found = await listed(room)
            assert sorted(found) == sorted(review.review_id for review in reviews)

    asyncio.run(scenario())
