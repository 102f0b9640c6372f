"""The crash matrix of reviews: whoever dies when, nothing held is lost, and nothing goes twice.

Each test stops the road after one step, as a `kill -9` would, and lets the repair loops go on.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest
from contract.mailbox_office import Office, an_office, refusal
from contract.test_ledger_road import SECRETS, a_recorder

from actors.ledger.client import LedgerRecorder
from actors.ledger.notary import LedgerNotary
from actors.reviews.client import Moved, Reviews
from cluster.clock import new_id
from cluster.law import load_constitution
from cluster.store import keys
from policies.admission import Limits
from policies.decision import Effect, Recorded, Verdict
from policies.errors import DependencyError
from policies.impact import ImpactTable
from policies.message import Message
from policies.panel import Choice
from policies.principal import Principal
from policies.rate import RateTable
from policies.review import Consumed, Event, Overruled, Person, Review, State, Voted
from policies.review_law import ReviewLaw
from policies.settlement import SettlementLaw
from serve_app.bus import Bus, Gate, Law
from serve_app.desk import Desk
from serve_app.effects import Effects
from serve_app.releases import Releases

from builders import a_principal
from fakes import PERMIT, FakeJudge, FakeMeter, no_controls

if TYPE_CHECKING:
    from contract.conftest import Valkey

HOLD = replace(PERMIT, rule="test.hold", effect=Effect.REVIEW, code="policy.held")
FORBID = replace(PERMIT, rule="test.forbid", effect=Effect.DENY, code="policy.forbidden")


class CrashError(Exception):
    """The process died here."""


@pytest.fixture
def valkey(own_valkey: Valkey) -> Valkey:
    # The loops go through every tenant of a store, so each test has a server.
    return own_valkey


@dataclass
class House:
    """A bus with its desk on the real store; only the policy is a fake."""

    office: Office
    recorder: LedgerRecorder
    reviews: Reviews
    bus: Bus
    desk: Desk
    releases: Releases
    judge: FakeJudge

    def asker(self) -> Principal:
        return a_principal(tenant=self.office.tenant, agent="writer")

    def reviewer(self, name: str = "rita") -> Principal:
        return a_principal(tenant=self.office.tenant, agent=name, roles=frozenset({"reviewer"}))

    def message(self) -> Message:
        return self.office.message(1, id=new_id(self.office.clock.now()), sender="writer")

    async def hold(self, *, delivers: bool = True) -> Review:
        self.judge.verdicts = (PERMIT, HOLD)
        recorded = await self.bus.submit(self.asker(), self.message(), delivers=delivers)
        assert recorded.decision.effect is Effect.REVIEW
        return await self.reviews.find(self.office.tenant, recorded.decision.decision_id)

    async def approve(self, review: Review) -> Review:
        """Approve at the room itself, as a gateway that dies right after does."""
        rita = Person(name="rita", roles=frozenset({"reviewer"}))
        vote = Voted(by=rita, choice=Choice.APPROVE, reason="it is what we want")
        moved = await self.reviews.advance(review.tenant, review.review_id, vote, by="rita")
        assert moved.review.state is State.APPROVED
        return moved.review

    async def found(self, review: Review) -> Review:
        return await self.reviews.find(review.tenant, review.review_id)

    async def held(self) -> int:
        count = await self.office.store.execute("HLEN", keys.held(self.office.tenant))
        assert isinstance(count, int)
        return count

    async def arrived(self) -> int:
        """How many messages the recipient has got by now, once every loop has run."""
        self.office.clock.forward(3)
        await self.releases.once()
        await self.office.redelivery().once()
        return len(await self.office.read())


@asynccontextmanager
async def a_house(valkey: Valkey, *verdicts: Verdict) -> AsyncIterator[House]:
    async with an_office(valkey, "mailer", "writer") as office:
        constitution = load_constitution()
        law = ReviewLaw.from_mapping(constitution.reviews)
        reviews = Reviews(
            office.store,
            clock=office.clock,
            notary=LedgerNotary(SECRETS.wal_key),
            bell=office.mailboxes._bell,
        )
        recorder = a_recorder(
            office.store, clock=office.clock, onward=Effects(office.mailboxes, reviews, law)
        )
        judge = FakeJudge(verdicts=verdicts or (PERMIT,))
        bus = Bus(
            law=Law(
                constitution=constitution,
                limits=Limits(),
                impact=ImpactTable.from_mapping(constitution.impact),
                settlement=SettlementLaw.from_mapping(constitution.settlement),
                reviews=law,
            ),
            judge=judge,
            recorder=recorder,
            courier=office.mailboxes,
            meter=FakeMeter(),
            clock=office.clock,
            gate=Gate(controls=no_controls, rates=RateTable(rate_s=1000.0, burst=1000)),
        )
        desk = Desk(
            reviews,
            releaser=bus,
            register=recorder,
            courier=office.mailboxes,
            clock=office.clock,
            law=law,
            controls=no_controls,
        )
        yield House(office, recorder, reviews, bus, desk, Releases(desk, reviews), judge)
        await recorder.close()
        await reviews.close()


def dying(reviews: Reviews, *events: type[Event]) -> Any:
    """Make the room die before it takes one of these steps; return how it was."""
    advance = reviews.advance

    async def dies(tenant: str, review_id: str, event: Event, **how: Any) -> Moved:
        if isinstance(event, events):
            raise CrashError
        return await advance(tenant, review_id, event, **how)

    reviews.advance = dies  # type: ignore[method-assign]
    return advance


def test_nobody_dies_and_it_goes_once(valkey: Valkey) -> None:
    async def scenario() -> None:
        async with a_house(valkey) as house:
            review = await house.hold()
            assert review.state is State.PENDING
            done = await house.desk.vote(
                house.reviewer(), review.review_id, choice=Choice.APPROVE, reason="yes"
            )
            assert done.state is State.CONSUMED
            assert done.released_by is not None
            assert await house.arrived() == 1
            assert await house.held() == 0

    asyncio.run(scenario())


def test_the_gateway_dies_between_the_record_and_the_review(valkey: Valkey) -> None:
    async def scenario() -> None:
        async with a_house(valkey) as house:
            house.recorder._group.run_all = _only_the_first(house.recorder)  # type: ignore[method-assign]
            recorded = await house.bus.submit(house.asker(), await _held_message(house))
            review_id = recorded.decision.decision_id
            missing = house.reviews.find(house.office.tenant, review_id)
            assert await refusal(missing) == ("review.not_found", 404)
            house.office.clock.forward(3)
            assert await house.reviews.adopt(house.office.tenant) == 1
            review = await house.reviews.find(house.office.tenant, review_id)
            assert review.state is State.PENDING
            await house.desk.vote(house.reviewer(), review_id, choice=Choice.APPROVE, reason="yes")
            assert await house.arrived() == 1

    asyncio.run(scenario())


def test_the_gateway_dies_between_the_last_vote_and_the_release(valkey: Valkey) -> None:
    async def scenario() -> None:
        async with a_house(valkey) as house:
            review = await house.approve(await house.hold())
            assert await house.arrived() == 1
            assert (await house.found(review)).state is State.CONSUMED
            assert await house.arrived() == 0

    asyncio.run(scenario())


def test_the_gateway_dies_between_the_release_and_its_last_word(valkey: Valkey) -> None:
    async def scenario() -> None:
        async with a_house(valkey) as house:
            review = await house.hold()
            advance = dying(house.reviews, Consumed)
            with pytest.raises(CrashError):
                await house.desk.vote(
                    house.reviewer(), review.review_id, choice=Choice.APPROVE, reason="yes"
                )
            house.reviews.advance = advance  # type: ignore[method-assign]
            assert (await house.found(review)).state is State.APPROVED
            assert await house.arrived() == 1
            assert (await house.found(review)).state is State.CONSUMED
            assert await house.arrived() == 0

    asyncio.run(scenario())


def test_the_gateway_dies_after_the_law_overruled(valkey: Valkey) -> None:
    async def scenario() -> None:
        async with a_house(valkey) as house:
            review = await house.hold()
            house.judge.verdicts = (PERMIT, FORBID)
            advance = dying(house.reviews, Overruled)
            with pytest.raises(CrashError):
                await house.desk.vote(
                    house.reviewer(), review.review_id, choice=Choice.APPROVE, reason="yes"
                )
            house.reviews.advance = advance  # type: ignore[method-assign]
            house.judge.verdicts = (PERMIT,)  # the rule is gone again: what is on record stands
            assert await house.arrived() == 0
            found = await house.found(review)
            assert found.state is State.REJECTED
            assert found.closing is not None
            assert found.closing.code == "policy.forbidden"
            assert await house.held() == 0

    asyncio.run(scenario())


def test_the_agent_dies_after_its_approval_was_used_and_asks_again(valkey: Valkey) -> None:
    async def scenario() -> None:
        async with a_house(valkey) as house:
            review = await house.approve(await house.hold(delivers=False))
            advance = dying(house.reviews, Consumed)
            with pytest.raises(CrashError):
                await house.desk.consume(
                    house.asker(), review.review_id, digest=review.action_digest
                )
            house.reviews.advance = advance  # type: ignore[method-assign]
            recorded = await house.desk.consume(
                house.asker(), review.review_id, digest=review.action_digest
            )
            assert recorded.decision.effect is Effect.ALLOW
            assert recorded.decision.approvers == ("rita",)
            again = house.desk.consume(house.asker(), review.review_id, digest=review.action_digest)
            assert await refusal(again) == ("review.consumed", 409)
            assert await house.arrived() == 0  # nothing was to be delivered

    asyncio.run(scenario())


def test_time_does_not_take_back_what_has_gone(valkey: Valkey) -> None:
    """The release is on record, its last word is missing, and then the review's time is over."""

    async def scenario() -> None:
        async with a_house(valkey) as house:
            review = await house.approve(await house.hold(delivers=False))
            advance = dying(house.reviews, Consumed)
            with pytest.raises(CrashError):
                await house.desk.consume(
                    house.asker(), review.review_id, digest=review.action_digest
                )
            house.reviews.advance = advance  # type: ignore[method-assign]
            house.office.clock.forward(timedelta(days=1).total_seconds())
            await house.reviews.tick(house.office.tenant, 100)
            assert (await house.found(review)).state is State.APPROVED
            house.office.clock.forward(3)
            await house.releases.once()
            assert (await house.found(review)).state is State.CONSUMED

    asyncio.run(scenario())


def test_an_approval_that_nobody_used_expires_and_leaves_nothing(valkey: Valkey) -> None:
    async def scenario() -> None:
        async with a_house(valkey) as house:
            review = await house.approve(await house.hold(delivers=False))
            house.office.clock.forward(timedelta(days=1).total_seconds())
            await house.reviews.tick(house.office.tenant, 100)
            assert (await house.found(review)).state is State.EXPIRED
            assert await house.held() == 0
            used = house.desk.consume(house.asker(), review.review_id, digest=review.action_digest)
            assert (await refusal(used))[1] == 409

    asyncio.run(scenario())


def test_two_gateways_release_the_same_review_at_the_same_time(valkey: Valkey) -> None:
    async def scenario() -> None:
        async with a_house(valkey) as house:
            review = await house.approve(await house.hold())
            ends = await asyncio.gather(*(house.desk.release(review) for _ in range(8)))
            assert {end.state for end in ends} == {State.CONSUMED}
            assert len({end.released_by for end in ends}) == 1
            assert await house.arrived() == 1

    asyncio.run(scenario())


def test_a_cancellation_and_an_approval_at_the_same_time_have_one_outcome(valkey: Valkey) -> None:
    async def scenario() -> None:
        async with a_house(valkey) as house:
            for _ in range(10):
                review = await house.hold()
                ends = await asyncio.gather(
                    house.desk.vote(
                        house.reviewer(), review.review_id, choice=Choice.APPROVE, reason="yes"
                    ),
                    house.desk.cancel(house.asker(), review.review_id, reason="never mind"),
                    return_exceptions=True,
                )
                found = await house.found(review)
                went = await house.arrived()
                assert (found.state, went) in {(State.CONSUMED, 1), (State.CANCELLED, 0)}, ends

    asyncio.run(scenario())


def test_a_held_message_that_is_damaged_keeps_no_other_from_going(valkey: Valkey) -> None:
    async def scenario() -> None:
        async with a_house(valkey) as house:
            damaged = await house.approve(await house.hold())
            held = keys.held(house.office.tenant)
            await house.office.store.execute("HSET", held, damaged.review_id, b"{")
            sound = await house.approve(await house.hold())
            assert await house.arrived() == 1
            assert (await house.found(sound)).state is State.CONSUMED
            assert (await house.found(damaged)).state is State.APPROVED

    asyncio.run(scenario())


def test_a_store_that_is_away_when_the_last_vote_falls_loses_nothing(valkey: Valkey) -> None:
    async def scenario() -> None:
        async with a_house(valkey) as house:
            review = await house.hold()
            release = house.bus.release

            async def away(*_: object) -> Recorded:
                raise DependencyError("store", "it is away")

            house.bus.release = away  # type: ignore[method-assign]
            voted = await house.desk.vote(
                house.reviewer(), review.review_id, choice=Choice.APPROVE, reason="yes"
            )
            assert voted.state is State.APPROVED
            house.bus.release = release  # type: ignore[method-assign]
            assert await house.arrived() == 1
            assert (await house.found(review)).state is State.CONSUMED

    asyncio.run(scenario())


async def _held_message(house: House) -> Message:
    house.judge.verdicts = (PERMIT, HOLD)
    return house.message()


def _only_the_first(recorder: LedgerRecorder) -> Any:
    """The flight is cut after the record: what follows it never leaves."""
    run_all = recorder._group.run_all

    async def cut(calls: Any) -> list[object]:
        replies = await run_all(calls[:1])
        return [*replies, *(CrashError() for _ in calls[1:])]

    return cut
