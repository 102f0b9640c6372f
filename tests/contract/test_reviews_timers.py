"""Time does what nobody did: claims lapse, others look, reviews expire and are forgotten."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from contract.mailbox_office import refusal, until
from contract.reviews_room import WAL_KEY, Room, Twice, a_room
from contract.test_ledger_road import SECRETS, a_sequencer, entries_of, settle

from actors.ledger.entry import Kind, open_entry
from actors.ledger.notary import LedgerNotary
from actors.reviews import timers
from actors.reviews.actor import ReviewsActor
from actors.reviews.timers import Timers
from cluster.clock import SystemClock
from cluster.heartbeat import last_beat
from cluster.keyring import load_keyring
from cluster.store import keys
from cluster.store.client import Store
from policies.panel import Choice
from policies.review import State

from builders import a_person
from fakes import FakeClock

if TYPE_CHECKING:
    from contract.conftest import Valkey


Through = Callable[[Store], Store]


async def ticked(room: Room, seconds: float) -> int:
    room.clock.forward(seconds)
    return await room.reviews.tick(room.tenant, 100)


@pytest.mark.parametrize("through", [lambda store: store, Twice], ids=["once", "twice"])
def test_a_claim_lapses_others_look_and_in_the_end_it_expires(
    valkey: Valkey, through: Through
) -> None:
    async def scenario() -> None:
        async with a_room(valkey, through=through) as room:
            await room.open(1)
            await room.claim("r1", seconds=60)
            assert await ticked(room, 59.9) == 0
            assert await ticked(room, 0.1) == 1
            assert (await room.find("r1")).state is State.PENDING
            assert await ticked(room, 539) == 0
            assert await ticked(room, 1) == 1
            assert (await room.find("r1")).ladder.level == 2
            assert await ticked(room, 600) == 1
            assert (await room.find("r1")).ladder.level == 3
            assert await ticked(room, 2400) == 1
            review = await room.find("r1")
            assert review.state is State.EXPIRED
            assert review.closing is not None
            assert review.closing.at == review.expires_at
            assert await ticked(room, 10) == 0
            steps = [note["step"] for note in await room.notes()]
            assert steps == ["claim", "lapse", "escalate", "escalate", "expire"]
            assert all("by" not in note for note in (await room.notes())[1:])
            await room.is_sound()

    asyncio.run(scenario())


def test_an_approval_that_nobody_uses_expires(valkey: Valkey) -> None:
    async def scenario() -> None:
        async with a_room(valkey) as room:
            await room.register()
            await room.open(1)
            await room.vote("r1")
            assert await ticked(room, 1800) == 0
            assert await ticked(room, 1800) == 1
            assert (await room.find("r1")).state is State.EXPIRED
            assert await room.held() == set()
            assert await room.outbox() == {"notice-r1-3"}
            await room.is_sound()

    asyncio.run(scenario())


def test_timers_of_several_processes_move_each_review_once(valkey: Valkey) -> None:
    async def scenario() -> None:
        tenant = valkey.tenant()
        clock = FakeClock()
        async with (
            a_room(valkey, tenant=tenant, clock=clock) as room,
            a_room(valkey, tenant=tenant, clock=clock) as other,
        ):
            for number in range(50):
                await room.open(number)
            clock.forward(3600)
            moved = await asyncio.gather(
                *(each.reviews.tick(tenant, 100) for each in (room, other, room))
            )
            assert sum(moved) >= 50
            assert len(await room.index("in:expired")) == 50
            await room.is_sound()

    asyncio.run(scenario())


def test_a_pass_moves_a_bounded_number_the_soonest_first(valkey: Valkey) -> None:
    async def scenario() -> None:
        async with a_room(valkey) as room:
            for number in range(5):
                await room.open(number)
                room.clock.forward(1)
            room.clock.forward(3600)
            assert await room.reviews.tick(room.tenant, 2) == 2
            assert await room.index("in:expired") == {"r0", "r1"}
            assert await room.reviews.tick(room.tenant, 100) == 3

    asyncio.run(scenario())


def test_what_ended_is_kept_for_a_while_and_then_forgotten(valkey: Valkey) -> None:
    async def scenario() -> None:
        async with a_room(valkey, kept_s=1000) as room:
            for number in range(100):
                await room.open(number)
                await room.vote(f"r{number}", Choice.REJECT)
            await room.open(100)
            room.clock.forward(1000)
            await room.reviews.tick(room.tenant, 100)
            assert len(await room.index("in:rejected")) == 100
            left = await room.store.execute("PTTL", keys.review(room.tenant, "r1"))
            assert isinstance(left, int)
            assert 0 < left <= 1_000_000
            room.clock.forward(0.001)
            await room.reviews.tick(room.tenant, 100)
            assert 0 < len(await room.index("in:rejected")) < 100  # a bounded part in one call
            await room.reviews.tick(room.tenant, 100)
            assert await room.index("in:rejected") == set()
            assert await refusal(room.find("r1")) == ("review.not_found", 404)
            assert (await room.reviews.listed(room.tenant)).reviews == (await room.find("r100"),)

    asyncio.run(scenario())


# -- the loop -------------------------------------------------------------------------------------


def test_the_loop_opens_and_ticks_whatever_is_wrong_with_other_tenants(valkey: Valkey) -> None:
    async def scenario() -> None:
        async with a_room(valkey) as halted, a_room(valkey) as room:
            for each in (halted, room):
                await each.open(1)
                await each.hold(2, expires_at=each.clock.now() + timedelta(days=1))
                each.clock.forward(3600)
            await room.store.execute("SET", keys.halted(halted.tenant), "a fork")
            loop = Timers(room.reviews)
            for _ in range(2):
                await loop._serve(halted.tenant)
                await loop._serve(room.tenant)
            assert (await room.find("r1")).state is State.EXPIRED
            assert (await room.find("r2")).state is State.PENDING
            assert (await halted.find("r1")).state is State.PENDING
            assert (await halted.find("r2")).state is State.PENDING  # opening is no step
            assert loop.status()["halted"] == 1
            assert loop.status()["postponed"] == 2
            assert loop.status()["adopted"] == 2
            await room.store.execute("DEL", keys.halted(halted.tenant))
            await loop._serve(halted.tenant)
            assert (await halted.find("r1")).state is State.EXPIRED
            assert loop.status()["halted"] == 0
            await room.is_sound()
            await halted.is_sound()

    asyncio.run(scenario())


def test_the_loop_outlives_a_kill_of_the_store(
    own_valkey: Valkey, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(timers, "PAUSE_S", 0.02)

    async def scenario() -> None:
        tenant = own_valkey.tenant()
        long_ago = SystemClock().now() - timedelta(days=1)
        async with a_room(own_valkey, tenant=tenant, clock=SystemClock()) as room:
            loop = Timers(room.reviews)
            running = asyncio.create_task(loop.run())
            await room.hold(1, opened_at=long_ago, expires_at=long_ago)
            await until(lambda: loop.status()["moved"] == 1)
            await asyncio.to_thread(own_valkey.server.kill)
            await until(lambda: loop.status()["failed_passes"] >= 2)
            await asyncio.to_thread(own_valkey.server.start)
            async with a_room(own_valkey, tenant=tenant, clock=SystemClock()) as other:
                await other.hold(2, opened_at=long_ago, expires_at=long_ago)
                await until(lambda: loop.status()["moved"] == 2)
                assert await other.index("in:expired") == {"r1", "r2"}
                await other.is_sound()
            loop.stop()
            await running

    asyncio.run(asyncio.wait_for(scenario(), 30))


def test_the_actor_keeps_time_until_it_is_stopped_and_shows_that_it_lives(
    own_valkey: Valkey,
) -> None:
    async def scenario() -> None:
        long_ago = SystemClock().now() - timedelta(days=1)
        async with a_room(own_valkey, clock=SystemClock()) as room:
            actor = ReviewsActor(own_valkey.settings, LedgerNotary.of)
            await actor.ready()
            await room.hold(1, opened_at=long_ago, expires_at=long_ago)

            async def has_expired() -> bool:
                return await room.index("in:expired") == {"r1"}

            await until(has_expired)
            assert (await last_beat(room.store, "reviews"))["damaged"] == 0
            status = await actor.status()
            assert (status["adopted"], status["moved"]) >= (1, 1)
            key = load_keyring(own_valkey.settings).wal_key
            assert actor._reviews._notary == LedgerNotary(key)
            await actor.stop()
            await room.hold(2, opened_at=long_ago, expires_at=long_ago)
            await asyncio.sleep(2 * timers.PAUSE_S)
            assert "r2:review" in await room.held()

    asyncio.run(scenario())


# -- the ledger -----------------------------------------------------------------------------------


def test_every_step_becomes_an_entry_of_the_signed_tree(own_valkey: Valkey, tmp_path: Path) -> None:
    assert SECRETS.wal_key == WAL_KEY

    async def scenario() -> None:
        async with a_room(own_valkey, clock=SystemClock()) as room:
            await room.open(1)
            await room.claim("r1", a_person("rita"))
            await room.vote("r1", Choice.REJECT)
            notes = await room.notes()
            folder = tmp_path / "ledger"
            async with a_sequencer(room.store, folder) as sequencer:
                await settle(sequencer)
            entries = [open_entry(data) for data in entries_of(folder, room.tenant)]
            assert [entry.kind for entry in entries] == [Kind.REVIEW] * 2
            assert [entry.body["review"] for entry in entries] == notes
            async with a_sequencer(room.store, folder) as sequencer:  # it verifies what it reads
                await room.store.execute("DEL", keys.halted(room.tenant))
                await settle(sequencer)
            assert len(entries_of(folder, room.tenant)) == 2

    asyncio.run(scenario())
