"""Reviews on the real store: opened once, moved by compare-and-set, on record at every step."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TYPE_CHECKING

import pytest
from contract.mailbox_office import refusal
from contract.reviews_room import Meddling, Twice, a_room, two_of

from actors.ledger.notary import LedgerNotary
from actors.reviews.client import Reviews
from actors.reviews.step import Taken
from cluster.store import keys
from cluster.store.client import Store
from policies.errors import DependencyError
from policies.panel import Choice
from policies.review import (
    Claimed,
    Consumed,
    Escalated,
    Event,
    Overruled,
    State,
    TimePassed,
    Unclaimed,
    Voted,
)
from policies.reviewing import advance

from builders import a_person

if TYPE_CHECKING:
    from contract.conftest import Valkey


def plainly(store: Store) -> Store:
    return store


ROADS = pytest.mark.parametrize("through", [plainly, Twice], ids=["once", "every-answer-lost"])
Through = Callable[[Store], Store]


# -- opening --------------------------------------------------------------------------------------


def test_only_what_lies_beside_a_held_message_is_opened(valkey: Valkey) -> None:
    async def scenario() -> None:
        async with a_room(valkey) as room:
            call = room.reviews.opening(room.review(1))
            assert not room.reviews.opened(await room.store.run(call))
            assert await refusal(room.find("r1")) == ("review.not_found", 404)
            assert not room.reviews.opened(RuntimeError())
            assert await room.steps() == []

    asyncio.run(scenario())


@ROADS
def test_an_opened_review_is_the_one_that_was_recorded(valkey: Valkey, through: Through) -> None:
    async def scenario() -> None:
        async with a_room(valkey, through=through) as room:
            review = await room.open(1)
            assert await room.find("r1") == review
            assert await room.reviews.held(room.tenant, "r1") == room.message(review)
            assert await room.held() == {"r1"}
            assert await room.reviews.open_count(room.tenant) == 1
            assert await room.steps() == [("r1", "open", 1)]
            assert await room.notes() == []  # the decision to hold it is on record
            await room.is_sound()

    asyncio.run(scenario())


def test_opening_again_undoes_nothing(valkey: Valkey) -> None:
    async def scenario() -> None:
        async with a_room(valkey) as room:
            review = await room.open(1)
            await room.claim("r1")
            for _ in range(2):
                assert room.reviews.opened(await room.store.run(room.reviews.opening(review)))
            await room.hold(1)  # as if the record were repeated, which it never is
            assert room.reviews.opened(await room.store.run(room.reviews.opening(review)))
            assert (await room.find("r1")).state is State.CLAIMED
            await room.is_sound()

    asyncio.run(scenario())


def test_what_was_recorded_and_not_opened_is_adopted_once(valkey: Valkey) -> None:
    async def scenario() -> None:
        async with a_room(valkey) as room:
            held = [await room.hold(number) for number in range(700)]
            room.clock.forward(1.9)
            assert await room.reviews.adopt(room.tenant) == 0
            room.clock.forward(0.1)
            adopted = await asyncio.gather(*(room.reviews.adopt(room.tenant) for _ in range(2)))
            assert sum(adopted) == 700
            assert await room.reviews.adopt(room.tenant) == 0
            assert await room.find("r699") == held[699]
            assert await room.reviews.open_count(room.tenant) == 700
            assert len(await room.held()) == 700

    asyncio.run(scenario())


def test_a_damaged_review_is_counted_once_and_keeps_nobody_waiting(valkey: Valkey) -> None:
    async def scenario() -> None:
        async with a_room(valkey) as room:
            await room.store.execute("HSET", keys.held(room.tenant), "r0:review", b"{")
            await room.hold(1)
            room.clock.forward(2)
            assert [await room.reviews.adopt(room.tenant) for _ in range(2)] == [1, 0]
            await room.store.execute("SET", keys.review(room.tenant, "r1"), b"1\n{}")
            await room.open(2)
            room.clock.forward(3600)
            assert await room.reviews.tick(room.tenant, 1) == 0  # the damaged one is put off
            assert await room.reviews.tick(room.tenant, 1) == 1
            page = await room.reviews.listed(room.tenant)
            assert [review.review_id for review in page.reviews] == ["r2"]
            assert room.reviews.damaged == 2

    asyncio.run(scenario())


# -- steps ----------------------------------------------------------------------------------------


@ROADS
def test_every_step_is_on_record_once_and_told_once(valkey: Valkey, through: Through) -> None:
    async def scenario() -> None:
        async with a_room(valkey, through=through) as room:
            review = await room.open(1, quorum=two_of())
            rita, rob = a_person("rita"), a_person("rob")
            events: list[tuple[Event, str | None]] = [
                (Claimed(by=rita, seconds=60), "rita"),
                (Unclaimed(by=rita), "rita"),
                (Escalated(by=rita, reason=" look "), "rita"),
                (Voted(by=rita, choice=Choice.APPROVE, reason="fine"), "rita"),
                (Voted(by=rob, choice=Choice.APPROVE, reason="so be it"), "rob"),
                (Consumed(released_by="d9"), None),
            ]
            for event, by in events:
                await room.reviews.advance(room.tenant, "r1", event, by=by)
            notes = await room.notes()
            same = {
                "tenant": room.tenant,
                "review_id": "r1",
                "decision_id": "r1",
                "action_digest": review.action_digest,
                "at": "2026-11-23T12:00:00.000000Z",
            }
            assert notes == [
                {**same, "version": 2, "step": "claim", "state": "claimed", "by": "rita"},
                {**same, "version": 3, "step": "unclaim", "state": "pending", "by": "rita"},
                {
                    **same,
                    "version": 4,
                    "step": "escalate",
                    "state": "pending",
                    "by": "rita",
                    "reason": "look",
                    "level": 2,
                },
                {
                    **same,
                    "version": 5,
                    "step": "vote",
                    "state": "pending",
                    "by": "rita",
                    "choice": "approve",
                    "reason": "fine",
                },
                {
                    **same,
                    "version": 6,
                    "step": "vote",
                    "state": "approved",
                    "by": "rob",
                    "choice": "approve",
                    "reason": "so be it",
                },
                {
                    **same,
                    "version": 7,
                    "step": "consume",
                    "state": "consumed",
                    "released_by": "d9",
                },
            ]
            await room.is_sound()

    asyncio.run(scenario())


@ROADS
def test_two_who_vote_at_the_same_time_both_count(valkey: Valkey, through: Through) -> None:
    async def scenario() -> None:
        tenant = valkey.tenant()
        async with (
            a_room(valkey, tenant=tenant, through=through) as room,
            a_room(valkey, tenant=tenant, through=through) as other,
        ):
            for number in range(20):
                await room.open(number, quorum=two_of())
            await asyncio.gather(
                *(room.vote(f"r{number}", by=a_person("rita")) for number in range(20)),
                *(other.vote(f"r{number}", by=a_person("rob")) for number in range(20)),
            )
            for number in range(20):
                review = await room.find(f"r{number}")
                assert review.state is State.APPROVED
                assert {vote.by for vote in review.votes} == {"rita", "rob"}
            await room.is_sound()

    asyncio.run(scenario())


def test_who_loses_the_race_is_told_why(valkey: Valkey) -> None:
    async def scenario() -> None:
        tenant = valkey.tenant()
        async with a_room(valkey, tenant=tenant) as room, a_room(valkey, tenant=tenant) as other:
            await room.open(1)
            outcomes = await asyncio.gather(
                room.vote("r1", Choice.REJECT, a_person("rita")),
                other.vote("r1", Choice.APPROVE, a_person("rob")),
                return_exceptions=True,
            )
            (error,) = [each for each in outcomes if isinstance(each, Exception)]
            assert getattr(error, "code", "") == "review.closed"
            review = await room.find("r1")
            assert len(review.votes) == 1
            await room.is_sound()

    asyncio.run(scenario())


def test_a_step_that_others_outrun_again_and_again_is_a_conflict(valkey: Valkey) -> None:
    async def scenario() -> None:
        async with valkey.store() as meddled_store:
            meddling = Meddling(meddled_store)
            tenant = valkey.tenant()
            async with (
                a_room(valkey, tenant=tenant) as other,
                a_room(valkey, tenant=tenant, through=lambda _: meddling) as room,
            ):
                await room.open(1, quorum=two_of())
                rob = a_person("rob")

                async def meddle() -> None:
                    await other.claim("r1", rob)
                    event = Unclaimed(by=rob)
                    await other.reviews.advance(tenant, "r1", event, by="rob")

                meddling.before = [meddle] * 8
                assert await refusal(room.vote("r1")) == ("review.conflict", 409)
                assert (await room.find("r1")).votes == ()
                meddling.before = [meddle] * 7
                assert len((await room.vote("r1")).review.votes) == 1
                await room.is_sound()

    asyncio.run(scenario())


def test_who_decides_on_an_older_look_is_told_to_look_again(valkey: Valkey) -> None:
    async def scenario() -> None:
        async with valkey.store() as meddled_store:
            meddling = Meddling(meddled_store)
            tenant = valkey.tenant()
            async with (
                a_room(valkey, tenant=tenant) as other,
                a_room(valkey, tenant=tenant, through=lambda _: meddling) as room,
            ):
                await room.open(1)
                reject = Voted(by=a_person(), choice=Choice.REJECT, reason="no")

                async def vote(*versions: int) -> State:
                    seen = frozenset(versions)
                    moved = await room.reviews.advance(
                        tenant, "r1", reject, by="rita", versions=seen
                    )
                    return moved.review.state

                await room.claim("r1")
                assert await refusal(vote(1)) == ("review.version_mismatch", 412)
                meddling.before = [lambda: other.claim("r1", seconds=90)]
                assert await refusal(vote(2)) == ("review.version_mismatch", 412)
                assert (await room.find("r1")).version == 3
                assert await vote(2, 3) is State.REJECTED
                await room.is_sound()

    asyncio.run(scenario())


def test_a_call_that_is_made_again_behind_the_steps_of_others_is_done(valkey: Valkey) -> None:
    async def scenario() -> None:
        async with a_room(valkey) as room:
            review = await room.open(1, quorum=two_of())
            now = room.clock.now()
            event = Voted(by=a_person("rita"), choice=Choice.APPROVE, reason="fine")
            after = advance(review, event, now=now)
            taken = Taken(before=review, after=after, event=event, by="rita", at=now)
            note = LedgerNotary(bytes(32)).review_note(room.tenant, taken.facts())
            call = room.reviews._shelf.move_call(taken, note, None)
            assert await room.store.run(call) == [1, 0]
            for number in range(7):
                await room.claim("r1", a_person("rob"), seconds=number + 1)
                assert await room.store.run(call) == [1, 0]
            assert (await room.find("r1")).version == 9
            await room.is_sound()

    asyncio.run(scenario())


def test_no_step_is_taken_while_the_log_is_halted(valkey: Valkey) -> None:
    async def scenario() -> None:
        async with a_room(valkey) as room:
            review = await room.open(1)
            await room.store.execute("SET", keys.halted(room.tenant), "a fork")
            with pytest.raises(DependencyError, match=r"ledger .* a fork"):
                await room.vote("r1")
            assert await room.find("r1") == review
            assert await room.notes() == []
            await room.store.execute("DEL", keys.halted(room.tenant))
            assert (await room.vote("r1")).review.state is State.APPROVED
            await room.is_sound()

    asyncio.run(scenario())


def test_a_step_that_changes_nothing_leaves_no_trace(valkey: Valkey) -> None:
    async def scenario() -> None:
        async with a_room(valkey) as room:
            review = await room.open(1)
            moved = await room.reviews.advance(room.tenant, "r1", TimePassed(), by=None)
            assert moved == (review, None)
            assert await room.notes() == []

    asyncio.run(scenario())


def test_what_the_ledger_cannot_hold_is_no_step(valkey: Valkey) -> None:
    async def scenario() -> None:
        async with a_room(valkey) as room:
            review = await room.open(1)
            event = Voted(by=a_person(), choice=Choice.REJECT, reason="half \ud800")
            call = room.reviews.advance(room.tenant, "r1", event, by="rita")
            assert await refusal(call) == ("content.invalid_unicode", 400)
            assert await room.find("r1") == review

    asyncio.run(scenario())


def test_a_long_reason_of_the_law_fits_into_an_entry(valkey: Valkey) -> None:
    async def scenario() -> None:
        async with a_room(valkey) as room:
            await room.open(1)
            await room.vote("r1")
            event = Overruled(code="policy.forbidden", reason="€" * 100_000, released_by="d9")
            moved = await room.reviews.advance(room.tenant, "r1", event, by=None)
            assert moved.review.closing is not None
            assert moved.review.closing.reason == "€" * 100_000
            assert (await room.notes())[-1]["reason"] == "€" * 2000

    asyncio.run(scenario())


def test_tenants_know_nothing_of_one_another(valkey: Valkey) -> None:
    async def scenario() -> None:
        async with a_room(valkey) as ours, a_room(valkey) as theirs:
            await ours.open(1)
            await theirs.open(2)
            assert await refusal(theirs.find("r1")) == ("review.not_found", 404)
            assert await refusal(theirs.vote("r1")) == ("review.not_found", 404)
            assert await theirs.reviews.held(theirs.tenant, "r1") is None
            page = await theirs.reviews.listed(theirs.tenant)
            assert [review.review_id for review in page.reviews] == ["r2"]
            assert [event[0] for event in await theirs.steps()] == ["r2"]
            assert {ours.tenant, theirs.tenant} <= set(await ours.reviews.tenants())

    asyncio.run(scenario())


def test_a_store_that_is_away_is_a_dependency_that_is_away(own_valkey: Valkey) -> None:
    async def scenario() -> None:
        async with a_room(own_valkey) as room:
            await room.open(1)
            await asyncio.to_thread(own_valkey.server.kill)
            reviews: Reviews = room.reviews
            for call in (room.find("r1"), reviews.listed(room.tenant), room.vote("r1")):
                with pytest.raises(DependencyError):
                    await call

    asyncio.run(scenario())
