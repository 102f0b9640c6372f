"""What is wrong with one tenant, event or letter is not felt by any other."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest
from contract.herald_hall import Hall, a_hall, a_herald, a_plan
from contract.mailbox_office import refusal
from redis.exceptions import ResponseError

from actors.herald.feed import NEWER_KEPT
from actors.herald.herald import TIDY_S
from actors.herald.sender import AT_ONCE, TENANTS
from actors.herald.store import HeraldStore
from actors.reviews.reading import review_in
from cluster.channels.channel import GiveUpError
from cluster.errors import StoreUnavailableError
from cluster.store import keys
from cluster.store.client import Call, Store
from policies.notification import Kind, Notification
from policies.panel import Choice

if TYPE_CHECKING:
    from contract.conftest import Valkey


@dataclass
class Broken:
    """A store of which one shard, that of `tenant`, says nothing: neither alone nor with others."""

    store: Store
    tenant: str

    async def execute(self, *command: str | bytes | float) -> object:
        if any(f"{{{self.tenant}}}" in str(word) for word in command):
            raise StoreUnavailableError("it says nothing")
        return await self.store.execute(*command)

    async def run(self, call: Call) -> object:
        return (await self.run_many([call]))[0]

    async def run_many(self, calls: Sequence[Call]) -> list[object]:
        if any(f"{{{self.tenant}}}" in key for call in calls for key in call.keys):
            raise StoreUnavailableError("it says nothing")
        return await self.store.run_many(calls)


async def queue(hall: Hall, tenant: str, reviews: int) -> None:
    """Open reviews of this tenant, and queue that they were."""
    mine, hall.room.tenant = hall.room.tenant, tenant
    for number in range(reviews):
        await hall.room.open(number)
    await hall.herald._serve(tenant)
    hall.room.tenant = mine


def test_a_tenant_whose_queue_is_broken_keeps_no_other_waiting(valkey: Valkey) -> None:
    async def scenario() -> None:
        async with a_hall(valkey) as hall:
            good, bad = hall.room.tenant, f"{hall.room.tenant}-bad"
            await queue(hall, good, 1)
            await hall.room.store.execute("SET", keys.herald(bad, "queue:hook"), "x")
            hall.herald._tenants = [bad, good]
            with pytest.raises(ResponseError):  # it is counted as a pass that failed
                await hall.herald.send(hall.senders["hook"])
            assert hall.ears["hook"].heard() == [("r0", "open", 1)]
            assert await hall.waiting("hook") == 0

    asyncio.run(scenario())


def test_a_shard_that_says_nothing_keeps_no_tenant_of_another_waiting(valkey: Valkey) -> None:
    async def scenario() -> None:
        async with a_hall(valkey) as hall:
            good, bad = hall.room.tenant, "0-is-before-all-others"
            await hall.room.open(1)
            broken = HeraldStore(Broken(hall.room.store, bad))
            herald = a_herald(hall.room, {"hook": hall.senders["hook"]._plan}, shelf=broken)
            store = hall.room.store
            await store.execute("SADD", keys.TENANTS, bad)
            try:
                with pytest.raises(StoreUnavailableError):
                    await herald.herald.feed()
                assert {bad, good} <= set(herald.herald._tenants)
                herald.herald._tenants = [bad, good]
                with pytest.raises(StoreUnavailableError):
                    await herald.herald.send(herald.senders["hook"])
            finally:
                await store.execute("SREM", keys.TENANTS, bad)
            assert herald.ears["hook"].heard() == [("r1", "open", 1)]
            assert herald.herald.status()["passes"] == 1

    asyncio.run(scenario())


def test_a_tenant_with_much_to_tell_does_not_go_first(valkey: Valkey) -> None:
    async def scenario() -> None:
        async with a_hall(valkey) as hall:
            busy, quiet = hall.room.tenant, f"{hall.room.tenant}-quiet"
            await queue(hall, busy, 3 * AT_ONCE)
            await queue(hall, quiet, 1)
            others = [f"{busy}-{number}" for number in range(TENANTS)]  # in the first group
            hall.herald._tenants = [busy, *others, quiet]
            await hall.herald.send(hall.senders["hook"])
            told = [one.tenant for one in hall.ears["hook"].told]
            assert told == [busy] * AT_ONCE + [quiet] + [busy] * 2 * AT_ONCE

    asyncio.run(scenario())


# -- tenants that come and go ---------------------------------------------------------------------


def test_a_tenant_that_is_added_hears_what_happens_from_then_on(valkey: Valkey) -> None:
    async def scenario() -> None:
        others = a_plan("post", Kind.MAIL, tenants=frozenset({"others"}))
        async with a_hall(valkey, others) as hall:
            for number in range(3):
                await hall.room.open(number)
                await hall.turn()
            tenants = frozenset({"others", hall.room.tenant})
            more = a_herald(hall.room, {"post": a_plan("post", Kind.MAIL, tenants=tenants)})
            await more.turn()
            assert more.ears["post"].heard() == []
            await hall.room.vote("r1", Choice.REJECT)
            await hall.room.open(4)
            await more.turn()
            assert more.ears["post"].heard() == [("r1", "vote", 2), ("r4", "open", 1)]

    asyncio.run(scenario())


def test_a_tenant_that_nobody_hears_has_no_gap(valkey: Valkey) -> None:
    async def scenario() -> None:
        others = a_plan("post", Kind.MAIL, tenants=frozenset({"others"}))
        async with a_hall(valkey, others) as hall:
            await hall.room.open(1)
            await hall.turn()
            await hall.room.open(2)
            await hall.room.open(3)
            events = keys.reviews(hall.room.tenant, "events")
            await hall.room.store.execute("XTRIM", events, "MAXLEN", 1)
            await hall.turn()
            more = a_herald(hall.room, {"post": a_plan("post", Kind.MAIL)})
            await more.turn()
            assert more.ears["post"].heard() == []
            assert (hall.feed.counts.gaps, more.feed.counts.gaps) == (0, 0)

    asyncio.run(scenario())


def without(hall: Hall, way: str) -> Hall:
    """A herald that was started anew, whose file says less."""
    less = {
        "channel": {"new": a_plan("new")},
        "tenant": {"hook": a_plan(tenants=frozenset({"others"}))},
        "all": {},
    }
    return a_herald(hall.room, less[way])


@pytest.mark.parametrize("way", ["channel", "tenant", "all"])
def test_a_dead_letter_of_a_channel_that_hears_of_it_no_more_stays_one(
    valkey: Valkey, way: str
) -> None:
    async def scenario() -> None:
        async with a_hall(valkey) as hall:
            await queue(hall, hall.room.tenant, 1)
            later = without(hall, way)
            await later.herald._serve(hall.room.tenant)
            assert await later.dead() == [("r0_1_hook", "channel.removed")]
            redriven = later.operator().redrive(hall.room.tenant, "r0_1_hook")
            assert await refusal(redriven) == ("notification.no_channel", 409)
            unknown = later.operator().redrive(hall.room.tenant, "r9_1_hook")
            assert await refusal(unknown) == ("notification.not_found", 404)
            assert await later.dead() == [("r0_1_hook", "channel.removed")]
            # A gateway that has the old file still takes it for sound.
            await hall.operator().redrive(hall.room.tenant, "r0_1_hook")
            assert await later.dead() == []
            hall.room.clock.forward(TIDY_S)
            await later.herald._serve(hall.room.tenant)
            assert await later.dead() == [("r0_1_hook", "channel.removed")]

    asyncio.run(scenario())


# -- what cannot be read --------------------------------------------------------------------------


async def event(hall: Hall, **changes: str) -> None:
    """Something that happened, as it stands in the stream, but for these changes."""
    at = hall.room.clock.now().isoformat()
    facts = {"r": "r0", "s": "claim", "t": "pending", "v": "2", "a": at, **changes}
    flat = [word for pair in facts.items() for word in pair]
    await hall.room.store.execute("XADD", keys.reviews(hall.room.tenant, "events"), "*", *flat)


@pytest.mark.parametrize(
    "changes", [{"v": "two"}, {"a": "yesterday"}, {"a": "2026-11-23T12:00:00"}]
)
def test_an_event_that_is_damaged_keeps_no_other_waiting(
    valkey: Valkey, changes: dict[str, str]
) -> None:
    async def scenario() -> None:
        async with a_hall(valkey) as hall:
            await hall.room.open(0)
            await event(hall, **changes)
            await hall.room.open(1)
            await hall.turn()
            await hall.turn()
            assert hall.ears["hook"].heard() == [("r0", "open", 1), ("r1", "open", 1)]
            assert hall.feed.counts.unreadable == 1

    asyncio.run(scenario())


async def newer_state(hall: Hall) -> None:
    await hall.room.open(1)
    await event(hall, r="r1", t="pondered")


async def newer_record(hall: Hall) -> None:
    await hall.room.open(1)
    key = keys.review(hall.room.tenant, "r1")
    stored = await hall.room.store.execute("GET", key)
    assert isinstance(stored, bytes)
    newer = stored.replace(b'"v":2', b'"v":3', 1)
    assert newer != stored
    await hall.room.store.execute("SET", key, newer)


@pytest.mark.parametrize("write", [newer_state, newer_record])
def test_what_a_newer_build_wrote_is_left_to_one_for_a_while(
    valkey: Valkey, write: Callable[[Hall], Awaitable[None]]
) -> None:
    async def scenario() -> None:
        async with a_hall(valkey) as hall:
            ear = hall.ears["hook"]
            await hall.room.open(0)
            await write(hall)
            await hall.room.open(2)
            before = [("r0", "open", 1)] + [("r1", "open", 1)] * (write is newer_state)
            for _ in range(2):
                await hall.turn()
                assert ear.heard() == before
                hall.room.clock.forward(NEWER_KEPT.total_seconds() / 2 - 1)
            assert hall.feed.counts.unreadable == 0
            hall.room.clock.forward(2)
            await hall.turn()
            await hall.turn()
            assert ear.heard() == [*before, ("r2", "open", 1)]
            assert hall.feed.counts.unreadable == 1

    asyncio.run(scenario())


def test_a_newer_herald_reads_what_an_older_one_left_to_it(valkey: Valkey) -> None:
    async def scenario() -> None:
        async with a_hall(valkey) as hall:
            await newer_record(hall)
            await hall.turn()
            assert hall.ears["hook"].heard() == []
            hall.room.clock.forward(NEWER_KEPT.total_seconds())
            older = a_herald(hall.room, {"hook": a_plan()})  # which was away until now
            await older.turn()
            assert older.ears["hook"].heard() == []
            newer = a_herald(hall.room, {"hook": a_plan()})
            newer.feed._read = lambda stored: review_in(stored.replace(b'"v":3', b'"v":2', 1))
            await newer.turn()
            assert newer.ears["hook"].heard() == [("r1", "open", 1)]

    asyncio.run(scenario())


# -- dead letters ---------------------------------------------------------------------------------


def refusing(_: Notification) -> str | None:
    raise GiveUpError("hook", "no")


def test_the_dead_letters_of_one_channel_push_out_none_of_another(valkey: Valkey) -> None:
    async def scenario() -> None:
        async with a_hall(valkey, a_plan("bad"), a_plan("rare"), letters_max=3) as hall:
            for ear in hall.ears.values():
                ear.answering = refusing
            await hall.room.open(0)
            await hall.turn()
            hall.ears["rare"].answering = lambda _: None
            for number in range(1, 6):
                hall.room.clock.forward(1)
                await hall.room.open(number)
                await hall.turn()
            left = [name for name, _ in await hall.dead()]
            assert left == ["r0_1_rare", "r3_1_bad", "r4_1_bad", "r5_1_bad"]

    asyncio.run(scenario())


def test_what_dies_twice_is_one_dead_letter(valkey: Valkey) -> None:
    async def scenario() -> None:
        async with a_hall(valkey) as hall:
            hall.ears["hook"].answering = refusing
            await hall.room.open(1)
            await hall.turn()
            hall.room.clock.forward(1)
            await hall.room.open(2)
            await hall.room.open(3)
            # After a gap, what waits is told again from the list.
            events = keys.reviews(hall.room.tenant, "events")
            await hall.room.store.execute("XTRIM", events, "MAXLEN", 1)
            await hall.turn()
            assert hall.feed.counts.gaps == 1
            names = sorted(name for name, _ in await hall.dead())
            assert names == ["r1_1_hook", "r2_1_hook", "r3_1_hook"]

    asyncio.run(scenario())
