"""Critics on the real store: they are called, heard and counted, and people get what they leave."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest
from contract.mailbox_office import refusal
from contract.reviews_room import Room, Twice, a_room

from cluster.store import keys
from cluster.store.client import Store
from policies.afterwards import afterwards
from policies.errors import DependencyError
from policies.panel import Choice, Panel, PanelRule
from policies.review import GlassBroken, Opined, Review, State
from policies.standin import Critic

from builders import a_person, a_review_law

if TYPE_CHECKING:
    from contract.conftest import Valkey

Through = Callable[[Store], Store]
WEIGHTS = {"carl": 2, "cleo": 1, "cora": 1}
EACH_WAY = pytest.mark.parametrize("through", [lambda store: store, Twice], ids=["once", "twice"])


async def seated(room: Room, **weights: int) -> None:
    for agent, weight in weights.items():
        await room.register(agent)
        await room.reviews.authority.seat(
            room.tenant, Critic(agent=agent, weight=weight), by="tina"
        )


async def deliberating(room: Room, number: int = 1, *, needed: int = 2) -> Review:
    closes_at = room.clock.now() + timedelta(seconds=300)
    panel = Panel(rule=PanelRule.MAJORITY, needed=needed, closes_at=closes_at)
    return await room.open(number, state=State.DELIBERATING, panel=panel)


async def opine(room: Room, critic: str, choice: Choice = Choice.APPROVE) -> Review:
    event = Opined(by=a_person(critic, "critic"), choice=choice, reason="as last week")
    return (await room.reviews.advance(room.tenant, "r1", event, by=critic)).review


async def steps_of(room: Room) -> list[tuple[str, str]]:
    return [(note["step"], note["state"]) for note in await room.notes()]


@EACH_WAY
def test_the_timers_call_the_critics_and_the_panel_decides(
    valkey: Valkey, through: Through
) -> None:
    async def scenario() -> None:
        async with a_room(valkey, through=through) as room:
            await seated(room, **WEIGHTS)
            await deliberating(room)
            assert await room.reviews.tick(room.tenant, 100) == 1
            assert await room.reviews.tick(room.tenant, 100) == 0
            called = await room.find("r1")
            assert called.panel is not None
            assert {seat.agent: seat.weight for seat in called.panel.seats or ()} == WEIGHTS
            assert (await opine(room, "cleo")).state is State.DELIBERATING
            assert (await opine(room, "carl")).state is State.APPROVED
            assert await steps_of(room) == [
                ("convene", "deliberating"),
                ("opine", "deliberating"),
                ("opine", "approved"),
            ]
            first, second, third = await room.notes()
            assert first["critics"] == WEIGHTS
            assert (second["by"], second["choice"], second["reason"]) == (
                "cleo",
                "approve",
                "as last week",
            )
            assert third["by"] == "carl"
            await room.is_sound()

    asyncio.run(scenario())


def test_a_critic_who_is_faster_than_the_timers_calls_the_others(valkey: Valkey) -> None:
    async def scenario() -> None:
        async with a_room(valkey) as room:
            await seated(room, **WEIGHTS)
            await deliberating(room)
            review = await opine(room, "carl", Choice.REJECT)
            assert review.state is State.DELIBERATING
            assert review.version == 3
            assert (await opine(room, "cleo", Choice.REJECT)).state is State.REJECTED
            assert await room.held() == set()
            await room.is_sound()

    asyncio.run(scenario())


def test_a_tie_goes_to_people(valkey: Valkey) -> None:
    async def scenario() -> None:
        async with a_room(valkey) as room:
            await seated(room, carl=1, cleo=1)
            await deliberating(room)
            await opine(room, "carl")
            assert (await opine(room, "cleo", Choice.REJECT)).state is State.PENDING
            late = opine(room, "cleo")
            assert await refusal(late) == ("review.panel_closed", 409)
            assert (await room.vote("r1")).review.state is State.APPROVED
            await room.is_sound()

    asyncio.run(scenario())


@EACH_WAY
def test_silence_goes_to_people(valkey: Valkey, through: Through) -> None:
    async def scenario() -> None:
        async with a_room(valkey, through=through) as room:
            await seated(room, **WEIGHTS)
            await deliberating(room)
            await opine(room, "cleo")
            room.clock.forward(299.9)
            assert await room.reviews.tick(room.tenant, 100) == 0
            room.clock.forward(0.1)
            assert await room.reviews.tick(room.tenant, 100) == 1
            assert (await room.find("r1")).state is State.PENDING
            assert (await steps_of(room))[-1] == ("hand_over", "pending")
            await room.is_sound()

    asyncio.run(scenario())


def test_without_enough_critics_people_have_it_at_once(valkey: Valkey) -> None:
    async def scenario() -> None:
        async with a_room(valkey) as room:
            await seated(room, carl=1)
            await deliberating(room)
            assert await room.reviews.tick(room.tenant, 100) == 1
            assert (await room.find("r1")).state is State.PENDING
            assert await steps_of(room) == [("convene", "pending")]
            await room.is_sound()

    asyncio.run(scenario())


def test_what_is_over_before_its_critics_are_called_ends_and_keeps_nobody_waiting(
    valkey: Valkey,
) -> None:
    async def scenario() -> None:
        async with a_room(valkey) as room:
            closes_at = room.clock.now() + timedelta(seconds=300)
            panel = Panel(rule=PanelRule.MAJORITY, needed=2, closes_at=closes_at)
            soon = room.clock.now() + timedelta(seconds=1)
            for number in range(2, 12):
                await room.open(number, state=State.DELIBERATING, panel=panel, expires_at=soon)
            await room.open(1, expires_at=soon + timedelta(seconds=1))
            room.clock.forward(3600)
            while await room.reviews.tick(room.tenant, 4):
                pass
            for number in range(1, 12):
                assert (await room.find(f"r{number}")).state is State.EXPIRED
            assert await room.held() == set()
            await room.is_sound()

    asyncio.run(scenario())


def test_a_step_that_is_refused_does_not_stand_before_the_others(valkey: Valkey) -> None:
    async def scenario() -> None:
        async with a_room(valkey) as room:
            # Approved, and let go already: only its release may end it, however late it is.
            await room.open(1, expires_at=room.clock.now() + timedelta(seconds=1))
            await room.vote("r1")
            await room.let_go("r1")
            await room.open(2, expires_at=room.clock.now() + timedelta(seconds=2))
            room.clock.forward(10)
            for _ in range(3):
                await room.reviews.tick(room.tenant, 1)
            assert (await room.find("r1")).state is State.APPROVED
            assert (await room.find("r2")).state is State.EXPIRED

    asyncio.run(scenario())


def test_a_critic_who_saw_the_version_before_the_call_is_heard(valkey: Valkey) -> None:
    async def scenario() -> None:
        async with a_room(valkey) as room:
            await seated(room, **WEIGHTS)
            await deliberating(room)
            event = Opined(by=a_person("carl", "critic"), choice=Choice.APPROVE, reason="yes")
            advance = room.reviews.advance
            other = advance(room.tenant, "r1", event, by="carl", versions=frozenset({7}))
            assert await refusal(other) == ("review.version_mismatch", 412)
            moved = await advance(room.tenant, "r1", event, by="carl", versions=frozenset({1}))
            assert moved.review.version == 3

    asyncio.run(scenario())


def test_who_is_no_critic_of_the_tenant_is_not_heard(valkey: Valkey) -> None:
    async def scenario() -> None:
        async with a_room(valkey) as room:
            await seated(room, **WEIGHTS)
            await deliberating(room)
            assert await refusal(opine(room, "mallory")) == ("review.not_called", 403)
            # Who left the bench after it was called stays called; who joined later was not.
            await seated(room, late=100)
            assert await refusal(opine(room, "late")) == ("review.not_called", 403)

    asyncio.run(scenario())


@EACH_WAY
def test_what_follows_a_broken_glass_is_opened_once_and_on_record(
    valkey: Valkey, through: Through
) -> None:
    async def scenario() -> None:
        async with a_room(valkey, through=through) as room:
            await room.open(1)
            for name in ("tina", "tom"):
                broken = GlassBroken(by=a_person(name, "tenant_admin"), reason="it burns")
                moved = await room.reviews.advance(room.tenant, "r1", broken, by=name)
            assert moved.review.state is State.APPROVED
            law = a_review_law()
            for _ in range(2):
                room.clock.forward(1)
                follows = afterwards(moved.review, law, now=room.clock.now())
                opened = await room.reviews.follow(follows)
                assert (opened.follows, opened.state, opened.version) == ("r1", State.PENDING, 1)
            notes = await room.notes()
            assert [note["step"] for note in notes] == ["break_glass", "break_glass", "open"]
            assert [note["by"] for note in notes[:2]] == ["tina", "tom"]
            assert (notes[2]["review_id"], notes[2]["follows"]) == (opened.review_id, "r1")
            assert "it burns" in notes[2]["reason"]
            await room.is_sound()

    asyncio.run(scenario())


def test_a_halted_log_opens_nothing_that_follows(valkey: Valkey) -> None:
    async def scenario() -> None:
        async with a_room(valkey) as room:
            await room.open(1)
            for name in ("tina", "tom"):
                broken = GlassBroken(by=a_person(name, "tenant_admin"), reason="it burns")
                moved = await room.reviews.advance(room.tenant, "r1", broken, by=name)
            await room.store.execute("SET", keys.halted(room.tenant), "a fork")
            follows = afterwards(moved.review, a_review_law(), now=room.clock.now())
            with pytest.raises(DependencyError, match="a fork"):
                await room.reviews.follow(follows)
            missing = room.find(follows.review_id)
            assert await refusal(missing) == ("review.not_found", 404)

    asyncio.run(scenario())
