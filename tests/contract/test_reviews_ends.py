"""How reviews end: what was held is dropped, the agent is told, and what went stays gone."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import pytest
from contract.mailbox_office import Silence, refusal
from contract.reviews_room import Room, Twice, a_room

from actors.mailbox.client import Mailboxes
from actors.mailbox.mailbox import Profile
from cluster.store.client import Store
from policies.panel import Choice
from policies.review import (
    Cancelled,
    Consumed,
    Event,
    Overruled,
    State,
    Step,
    TimePassed,
)

from builders import a_person

if TYPE_CHECKING:
    from contract.conftest import Valkey


def plainly(store: Store) -> Store:
    return store


ROADS = pytest.mark.parametrize("through", [plainly, Twice], ids=["once", "every-answer-lost"])
Through = Callable[[Store], Store]


async def end(room: Room, state: State) -> Any:
    """End the review r1, by the shortest road that leads there."""
    match state:
        case State.REJECTED:
            return await room.vote("r1", Choice.REJECT)
        case State.CANCELLED:
            event: Event = Cancelled(by=a_person("writer"), reason="never mind")
        case _:
            room.clock.forward(3600)
            event = TimePassed()
    return await room.reviews.advance(room.tenant, "r1", event, by=None)


@ROADS
@pytest.mark.parametrize("registered", [True, False])
@pytest.mark.parametrize("state", [State.REJECTED, State.CANCELLED, State.EXPIRED])
def test_an_end_drops_what_is_held_and_tells_the_agent_that_asked(
    valkey: Valkey, state: State, *, registered: bool, through: Through
) -> None:
    async def scenario() -> None:
        async with a_room(valkey, through=through) as room:
            await room.open(1)
            if registered:
                await room.register()
            moved = await end(room, state)
            assert moved.review.state is state
            assert await room.held() == set()
            assert await room.outbox() == ({"notice-r1-2"} if registered else set())
            assert (moved.notice is not None) == registered
            await room.is_sound()

    asyncio.run(scenario())


def test_a_notice_arrives_in_the_mailbox_of_the_agent(valkey: Valkey) -> None:
    async def scenario() -> None:
        async with a_room(valkey) as room:
            mailboxes = Mailboxes(room.store, bell=Silence(), clock=room.clock)
            await mailboxes.register(room.tenant, "writer", Profile())
            await room.open(1)
            moved = await room.vote("r1", Choice.REJECT)
            assert moved.notice is not None
            for _ in range(2):
                await mailboxes.deliver(*moved.notice)
            (envelope,) = await mailboxes.receive(room.tenant, "writer")
            assert envelope.message == moved.notice[0]
            assert envelope.message.content["action"] == "review.rejected"
            assert await room.outbox() == set()
            await mailboxes.close()

    asyncio.run(scenario())


def test_an_approval_tells_the_agent_that_must_use_it(valkey: Valkey) -> None:
    async def scenario() -> None:
        async with a_room(valkey) as room:
            await room.register()
            await room.open(1, delivers=False)
            await room.open(2, delivers=True)
            assert (await room.vote("r1")).notice is not None
            assert (await room.vote("r2")).notice is None
            assert await room.outbox() == {"notice-r1-2"}
            assert await room.held() == {"r1", "r2"}
            await room.is_sound()

    asyncio.run(scenario())


@pytest.mark.parametrize("delivers", [True, False])
@pytest.mark.parametrize("step", [Step.CANCEL, Step.EXPIRE])
def test_what_went_is_neither_expired_nor_cancelled(
    valkey: Valkey, step: Step, *, delivers: bool
) -> None:
    async def scenario() -> None:
        async with a_room(valkey) as room:
            await room.register()
            await room.open(1, delivers=delivers)
            await room.vote("r1")
            outbox = await room.outbox()
            await room.let_go("r1")  # and whoever did crashed before it said so
            event: Event = Cancelled(by=a_person("writer"), reason="never mind")
            if step is Step.EXPIRE:
                room.clock.forward(3600)
                event = TimePassed()
                assert await room.reviews.tick(room.tenant, 10) == 0
                assert await room.reviews._shelf.due(room.tenant, room.clock.now(), 10) == []
                room.clock.forward(60)
                assert await room.reviews.tick(room.tenant, 10) == 0
            late = room.reviews.advance(room.tenant, "r1", event, by="writer")
            assert await refusal(late) == ("review.released", 409)
            (waiting,) = await room.reviews.approved(room.tenant, older_than_s=0, limit=10)
            assert waiting.review_id == "r1"
            gone = Consumed(released_by="d9")
            moved = await room.reviews.advance(room.tenant, "r1", gone, by=None)
            assert moved.review.state is State.CONSUMED
            assert await room.outbox() == outbox
            await room.is_sound()

    asyncio.run(scenario())


def test_what_the_law_overruled_is_rejected_though_its_message_went_from_the_held(
    valkey: Valkey,
) -> None:
    async def scenario() -> None:
        async with a_room(valkey) as room:
            await room.register()
            await room.open(1)
            await room.vote("r1")
            await room.let_go("r1")
            event = Overruled(code="policy.forbidden", reason="not any more", released_by="d9")
            moved = await room.reviews.advance(room.tenant, "r1", event, by=None)
            again = await room.reviews.advance(room.tenant, "r1", event, by=None)
            assert moved.review == again.review
            assert moved.review.state is State.REJECTED
            assert await room.outbox() == {"notice-r1-3"}
            assert (await room.notes())[-1]["reason"] == "not any more"
            await room.is_sound()

    asyncio.run(scenario())
