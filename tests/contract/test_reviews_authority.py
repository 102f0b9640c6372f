"""Who may decide, as the real store has it: each change on record, and nothing outlives its end."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from dataclasses import replace
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, Final

import orjson
import pytest
from contract.reviews_room import HOUR, WAL_KEY, Room, Twice, a_room
from structlog.testing import capture_logs

from actors.ledger import wal
from actors.ledger.entry import Kind
from actors.reviews.authority import Authority
from actors.reviews.standing import pack
from cluster.errors import StoreUnavailableError
from cluster.store import keys
from cluster.store.client import Call, Store
from policies.errors import DependencyError, RefusalError
from policies.panel import SEATS_MAX, Seat
from policies.standin import EACH_MAX, GIVEN_MAX, Critic, Delegation, Shift, Standing

if TYPE_CHECKING:
    from contract.conftest import Valkey

NAMES: Final = ("delegations", "shifts", "critics")


def a_delegation(
    room: Room, giver: str = "rita", to: str = "dana", *, until: datetime | None = None
) -> Delegation:
    now = room.clock.now()
    return Delegation(
        giver=giver,
        giver_owner="rose",
        to=to,
        roles=frozenset({"reviewer", "tenant_admin"}),
        reason="I am äway",
        made_at=now,
        until=until or now + HOUR,
    )


def a_shift(room: Room, shift_id: str = "night", *, hours: tuple[float, float] = (0, 1)) -> Shift:
    begins, ends = (room.clock.now() + each * HOUR for each in hours)
    return Shift(shift_id=shift_id, person="dana", starts_at=begins, ends_at=ends)


def authority(room: Room) -> Authority:
    return room.reviews.authority


async def notes(room: Room) -> list[Mapping[str, Any]]:
    """The records of changes in the ledger's stream; every one of them is sound."""
    reply: Any = await room.store.execute("XRANGE", keys.wal(room.tenant), "-", "+")
    records = [wal.checked(each, tenant=room.tenant, wal_key=WAL_KEY) for each in reply]
    assert all(record.about.kind == Kind.AUTHORITY for record in records)
    return [orjson.loads(record.body)["authority"] for record in records]


async def refusal(step: Awaitable[object]) -> tuple[str, int]:
    with pytest.raises(RefusalError) as caught:
        await step
    return caught.value.code, caught.value.status


async def raw(room: Room, part: str, **fields: bytes) -> None:
    for field, value in fields.items():
        await room.store.execute("HSET", keys.reviews(room.tenant, part), field, value)


async def count(room: Room, part: str) -> object:
    return await room.store.execute("HLEN", keys.reviews(room.tenant, part))


def test_what_was_given_planned_and_seated_comes_back_equal_and_is_on_record(
    valkey: Valkey,
) -> None:
    async def scenario() -> None:
        async with a_room(valkey) as room:
            given, shift, critic = a_delegation(room), a_shift(room), Critic(agent="carl", weight=7)
            await room.register("carl")
            await authority(room).give(room.tenant, given)
            await authority(room).plan(room.tenant, shift, by="adam")
            await authority(room).seat(room.tenant, critic, by="adam")
            standing = Standing(delegations=(given,), shifts=(shift,))
            assert await authority(room).standing(room.tenant) == standing
            assert await authority(room).standing(room.tenant, "dana") == standing
            assert await authority(room).standing(room.tenant, "rita") == Standing()
            assert await room.reviews.critics(room.tenant) == (Seat(agent="carl", weight=7),)
            recorded = await notes(room)
            assert [(note["change"], note["by"]) for note in recorded] == [
                ("give", "rita"),
                ("plan", "adam"),
                ("seat", "adam"),
            ]
            assert recorded[0]["tenant"] == room.tenant
            assert recorded[0]["delegation"] == {
                "giver": "rita",
                "giver_owner": "rose",
                "to": "dana",
                "roles": ["reviewer", "tenant_admin"],
                "reason": "I am äway",
                "made_at": "2026-11-23T12:00:00.000000Z",
                "until": "2026-11-23T13:00:00.000000Z",
            }
            assert recorded[1]["shift"]["person"] == "dana"
            assert recorded[2]["critic"] == {"agent": "carl", "weight": 7}
            tenants: Any = await room.store.execute("SMEMBERS", keys.TENANTS)
            assert room.tenant.encode() in tenants  # else nobody would take the record in

    asyncio.run(scenario())


def test_what_is_taken_back_counts_no_more_and_is_on_record(valkey: Valkey) -> None:
    async def scenario() -> None:
        async with a_room(valkey) as room:
            here, tenant = authority(room), room.tenant
            await room.register("carl")
            await here.give(tenant, a_delegation(room))
            await here.plan(tenant, a_shift(room), by="adam")
            await here.seat(tenant, Critic(agent="carl", weight=1), by="adam")
            await here.withdraw(tenant, "rita", "dana", by="adam")
            await here.unplan(tenant, "night", by="adam")
            await here.unseat(tenant, "carl", by="adam")
            assert await here.standing(tenant) == Standing()
            assert await here.bench(tenant) == ()
            assert [note["change"] for note in await notes(room)][3:] == [
                "withdraw",
                "unplan",
                "unseat",
            ]
            assert (await notes(room))[3]["delegation"] == {"giver": "rita", "to": "dana"}
            again = (
                (here.withdraw(tenant, "rita", "dana", by="rita"), "standin.unknown"),
                (here.unplan(tenant, "night", by="adam"), "standin.unknown"),
                (here.unseat(tenant, "carl", by="adam"), "critic.unknown"),
            )
            for step, code in again:
                assert await refusal(step) == (code, 404)
            assert len(await notes(room)) == 6

    asyncio.run(scenario())


def test_who_gives_again_replaces_what_they_gave(valkey: Valkey) -> None:
    async def scenario() -> None:
        async with a_room(valkey) as room:
            longer = a_delegation(room, until=room.clock.now() + 2 * HOUR)
            other = a_delegation(room, to="carl")
            for delegation in (a_delegation(room), longer, other):
                await authority(room).give(room.tenant, delegation)
            standing = await authority(room).standing(room.tenant)
            assert standing.delegations == (other, longer)
            assert len(await notes(room)) == 3

    asyncio.run(scenario())


def test_what_is_over_is_gone_at_once_and_swept_with_the_next_change(valkey: Valkey) -> None:
    async def scenario() -> None:
        async with a_room(valkey) as room:
            here, tenant = authority(room), room.tenant
            await here.give(tenant, a_delegation(room))
            await here.plan(tenant, a_shift(room), by="adam")
            later = a_shift(room, "later", hours=(1, 2))
            await here.plan(tenant, later, by="adam")
            room.clock.forward(3600)
            assert await here.standing(tenant) == Standing(shifts=(later,))
            assert (await count(room, "delegations"), await count(room, "shifts")) == (1, 2)
            assert await refusal(here.withdraw(tenant, "rita", "dana", by="rita")) == (
                "standin.unknown",
                404,
            )
            await here.plan(tenant, a_shift(room, "third"), by="adam")
            assert (await count(room, "delegations"), await count(room, "shifts")) == (0, 2)

    asyncio.run(scenario())


def test_there_are_bounds_and_what_is_over_counts_for_none(valkey: Valkey) -> None:
    async def scenario() -> None:
        async with a_room(valkey) as room:
            here, tenant = authority(room), room.tenant
            for number in range(EACH_MAX):
                delegation = a_delegation(room, f"giver-{number}")
                await raw(room, "delegations", **{f"giver-{number}:dana": pack(delegation)})
            more = a_delegation(room)
            assert await refusal(here.give(tenant, more)) == ("standin.full", 409)
            await here.give(tenant, a_delegation(room, "giver-7"))  # it takes no room
            assert len((await here.standing(tenant, "dana")).delegations) == EACH_MAX
            room.clock.forward(3600)
            await here.give(tenant, a_delegation(room))
            assert await count(room, "delegations") == 1

    asyncio.run(scenario())


def test_nobody_takes_all_the_room_there_is(valkey: Valkey) -> None:
    async def scenario() -> None:
        async with a_room(valkey) as room:
            here, tenant = authority(room), room.tenant
            first = a_delegation(room)
            for number in range(GIVEN_MAX):
                await here.give(tenant, replace(first, to=f"friend-{number}"))
            more = here.give(tenant, replace(first, to="one-more"))
            assert await refusal(more) == ("standin.full", 409)
            await here.give(tenant, replace(first, to="friend-3"))  # it takes no room
            await here.give(tenant, a_delegation(room, "somebody-else"))
            await here.withdraw(tenant, first.giver, "friend-3", by=first.giver)
            await here.give(tenant, replace(first, to="one-more"))

    asyncio.run(scenario())


def test_only_registered_agents_are_seated_and_called(valkey: Valkey) -> None:
    async def scenario() -> None:
        async with a_room(valkey) as room:
            here, tenant = authority(room), room.tenant
            carl, cleo = Critic(agent="carl", weight=1), Critic(agent="cleo", weight=2)
            assert await refusal(here.seat(tenant, carl, by="adam")) == ("agent.unknown", 404)
            assert await notes(room) == []
            for critic in (carl, cleo):
                await room.register(critic.agent)
                await here.seat(tenant, critic, by="adam")
            assert [seat.agent for seat in await room.reviews.critics(tenant)] == ["cleo", "carl"]
            await room.store.execute("HDEL", keys.agents(tenant), "cleo")
            assert [seat.agent for seat in await room.reviews.critics(tenant)] == ["carl"]
            assert [tuple(one) for one in await here.bench(tenant)] == [(carl, True), (cleo, False)]
            for number in range(SEATS_MAX + 1):
                agent = f"critic-{number}"
                await room.register(agent)
                await raw(room, "critics", **{agent: pack(Critic(agent=agent, weight=3))})
            called = await room.reviews.critics(tenant)
            assert len(called) == SEATS_MAX
            assert {seat.weight for seat in called} == {3}

    asyncio.run(scenario())


def test_tenants_see_nothing_of_one_another(valkey: Valkey) -> None:
    async def scenario() -> None:
        async with a_room(valkey) as room, a_room(valkey) as other:
            await authority(room).give(room.tenant, a_delegation(room))
            assert await authority(room).standing(other.tenant) == Standing()
            assert await notes(other) == []

    asyncio.run(scenario())


def test_a_call_whose_answer_is_lost_is_made_once(valkey: Valkey) -> None:
    async def scenario() -> None:
        async with a_room(valkey, through=Twice) as room:
            here, tenant = authority(room), room.tenant
            await here.give(tenant, a_delegation(room))
            await here.withdraw(tenant, "rita", "dana", by="rita")
            assert [note["change"] for note in await notes(room)] == ["give", "withdraw"]
            assert await refusal(here.withdraw(tenant, "rita", "dana", by="rita")) == (
                "standin.unknown",
                404,
            )

    asyncio.run(scenario())


def test_a_change_whose_answer_never_comes_was_made_whole_or_not_at_all(valkey: Valkey) -> None:
    class Deaf:
        def __init__(self, store: Store) -> None:
            self.store = store

        async def execute(self, *command: str | bytes | float) -> object:
            return await self.store.execute(*command)

        async def run(self, call: Call) -> object:
            await self.store.run(call)
            raise StoreUnavailableError("a test said so")

        async def run_many(self, calls: Any) -> list[object]:
            return await self.store.run_many(calls)

    async def scenario() -> None:
        async with a_room(valkey) as room:
            notary = room.reviews._notary
            deaf = Authority(Deaf(room.store), clock=room.clock, notary=notary)
            for _ in range(2):
                with suppress(DependencyError):
                    await deaf.give(room.tenant, a_delegation(room))
            standing = await authority(room).standing(room.tenant)
            assert standing.delegations == (a_delegation(room),)
            assert [note["change"] for note in await notes(room)] == ["give", "give"]
            with pytest.raises(DependencyError):
                await deaf.standing(room.tenant, "dana")

    asyncio.run(scenario())


def test_a_store_killed_after_any_change_has_kept_it(own_valkey: Valkey) -> None:
    tenant = own_valkey.tenant()
    steps: tuple[Callable[[Room], Awaitable[None]], ...] = (
        lambda room: authority(room).give(tenant, a_delegation(room)),
        lambda room: authority(room).plan(tenant, a_shift(room), by="adam"),
        lambda room: authority(room).seat(tenant, Critic(agent="carl", weight=1), by="adam"),
        lambda room: authority(room).withdraw(tenant, "rita", "dana", by="rita"),
        lambda room: authority(room).unseat(tenant, "carl", by="adam"),
    )
    seen: list[tuple[int, int, int]] = []
    for done, step in enumerate(steps, 1):

        async def change(step: Callable[[Room], Awaitable[None]] = step) -> None:
            async with a_room(own_valkey, tenant=tenant) as room:
                await room.register("carl")
                await step(room)

        async def look(done: int = done) -> None:
            async with a_room(own_valkey, tenant=tenant) as room:
                standing = await authority(room).standing(tenant)
                seats = await room.reviews.critics(tenant)
                seen.append((len(standing.delegations), len(standing.shifts), len(seats)))
                assert len(await notes(room)) == done

        asyncio.run(change())
        own_valkey.server.kill()
        own_valkey.server.start()
        asyncio.run(look())
    assert seen == [(1, 0, 0), (1, 1, 0), (1, 1, 1), (0, 1, 1), (0, 1, 0)]


def test_nothing_changes_while_the_log_is_halted(valkey: Valkey) -> None:
    async def scenario() -> None:
        async with a_room(valkey) as room:
            here, tenant = authority(room), room.tenant
            await here.give(tenant, a_delegation(room))
            await room.store.execute("SET", keys.halted(tenant), "a fork")
            for step in (
                here.give(tenant, a_delegation(room, to="carl")),
                here.withdraw(tenant, "rita", "dana", by="rita"),
                here.plan(tenant, a_shift(room), by="adam"),
            ):
                with pytest.raises(DependencyError, match=r"ledger .* a fork"):
                    await step
            assert len((await here.standing(tenant)).delegations) == 1
            assert len(await notes(room)) == 1
            await room.store.execute("DEL", keys.halted(tenant))
            await here.withdraw(tenant, "rita", "dana", by="rita")

    asyncio.run(scenario())


def test_what_is_damaged_grants_nothing_and_is_named_once(valkey: Valkey) -> None:
    async def scenario() -> None:
        async with a_room(valkey) as room:
            here, tenant = authority(room), room.tenant
            sound = pack(a_delegation(room))
            head, _, body = sound.partition(b"\n")
            facts = orjson.loads(body)
            damaged = {
                "rita:carl": sound,  # what somebody gave to another
                "adam:dana": sound,
                "a:dana": b"",
                "b:dana": b"9999999999999 dana\n{}",
                "c:dana": head + b"\n" + orjson.dumps({**facts, "giver": "c", "v": 2}),
                "d:dana": head + b"\n" + orjson.dumps({**facts, "giver": "d", "more": 1}),
                "e:dana": head + b"\n" + orjson.dumps({**facts, "giver": "e", "roles": ["agent"]}),
                "f:dana": head + b"\n" + orjson.dumps({**facts, "giver": "f", "roles": [["x"]]}),
                "g:dana": head + b"\n" + orjson.dumps({**facts, "giver": "g", "reason": 7}),
                "h:dana": b"1 dana\n" + orjson.dumps({**facts, "giver": "h"}),
                "i:dana": head + b"\n" + orjson.dumps({**facts, "giver": 7}),
                "j:dana": head + b"\nnot json",
                "l:dana": b"9999999999999 dana\n" + orjson.dumps({**facts, "giver": "lara"}),
                "lara:dana": b"9999999999999 dana\n" + orjson.dumps({**facts, "giver": "lara"}),
                "k:dana": head + b"\n" + orjson.dumps({**facts, "giver": "k", "until": "soon"}),
            }
            await raw(room, "delegations", **damaged)
            await raw(room, "shifts", night=b"9999999999999 dana\n{}")
            await raw(room, "critics", carl=b'- carl\n{"v":1,"agent":"carl","weight":"9"}')
            await room.register("carl")
            with capture_logs() as logs:
                for _ in range(2):
                    assert await here.standing(tenant, "dana") == Standing()
                    assert await room.reviews.critics(tenant) == ()
            named = [each["field"] for each in logs if each["event"] == "authority.damaged"]
            # One says that it was over long ago: that it is damaged as well makes no difference.
            assert len(named) == len(set(named)) == len(damaged) - 1 + 2
            assert here.damaged == room.reviews.damaged == len(named)
            await here.give(tenant, a_delegation(room))
            assert len((await here.standing(tenant, "dana")).delegations) == 1

    asyncio.run(scenario())


def test_nothing_is_swept_before_it_is_over(valkey: Valkey) -> None:
    async def scenario() -> None:
        async with a_room(valkey) as room:
            here, tenant = authority(room), room.tenant
            ends = room.clock.now() + HOUR + timedelta(microseconds=1)
            await here.give(tenant, a_delegation(room, until=ends))
            room.clock.forward(3600)
            assert len((await here.standing(tenant, "dana")).delegations) == 1
            await here.give(tenant, a_delegation(room, to="carl"))
            assert len((await here.standing(tenant)).delegations) == 2

    asyncio.run(scenario())
