"""The crash matrix of panels and broken glass: whoever dies when, it goes once and is looked at."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest
from contract.mailbox_office import refusal
from contract.test_desk_crashes import FORBID, HOLD, CrashError, House, a_house, dying

from policies.afterwards import afterwards_id
from policies.decision import Effect, Judgement, Obligation
from policies.errors import DependencyError
from policies.panel import Choice
from policies.principal import Principal
from policies.review import Consumed, GlassBroken, Opined, Review, State
from policies.standin import Critic

from builders import a_person, a_principal
from fakes import PERMIT

if TYPE_CHECKING:
    from contract.conftest import Valkey

PANEL = Obligation(
    id="test.panel", type="require_panel", properties={"rule": "majority", "quorum": 2}
)
CRITICS = ("carl", "cleo", "cora")


@pytest.fixture
def valkey(own_valkey: Valkey) -> Valkey:
    # The loops go through every tenant of a store, so each test has a server.
    return own_valkey


async def deliberating(house: House, *, delivers: bool = True) -> Review:
    """Hold what the rules allow and a policy wants critics to see; three of them are there."""
    tenant = house.office.tenant
    await house.office.join(*CRITICS)
    for name in CRITICS:
        await house.reviews.authority.seat(tenant, Critic(agent=name, weight=1), by="tina")
    house.judge.answer = lambda _: Judgement(
        verdicts=(PERMIT,), revision="sha256:1", engine="opa-embedded", obligations=(PANEL,)
    )
    recorded = await house.bus.submit(house.asker(), house.message(), delivers=delivers)
    assert recorded.decision.effect is Effect.REVIEW
    review = await house.reviews.find(tenant, recorded.decision.decision_id)
    assert review.state is State.DELIBERATING
    return review


def critic(house: House, name: str) -> Principal:
    return a_principal(tenant=house.office.tenant, agent=name, roles=frozenset({"critic"}))


def admin(house: House, name: str) -> Principal:
    return a_principal(tenant=house.office.tenant, agent=name, roles=frozenset({"tenant_admin"}))


async def opine(
    house: House, review: Review, name: str, *, choice: Choice = Choice.APPROVE
) -> Review:
    return await house.desk.opine(
        critic(house, name), review.review_id, choice=choice, reason="as last week"
    )


async def break_glass(house: House, review: Review, name: str) -> Review:
    return await house.desk.break_glass(
        admin(house, name), review.review_id, reason="the site is down"
    )


async def follower(house: House, review: Review) -> Review:
    return await house.reviews.find(review.tenant, afterwards_id(review))


# The panel


def test_what_the_panel_approves_goes_once_under_its_names(valkey: Valkey) -> None:
    async def scenario() -> None:
        async with a_house(valkey) as house:
            review = await deliberating(house)
            await opine(house, review, "carl")
            done = await opine(house, review, "cleo")
            assert done.state is State.CONSUMED
            assert done.released_by is not None
            recorded = await house.recorder.decision(review.tenant, done.released_by)
            assert recorded is not None
            assert recorded.decision.approvers == ("carl", "cleo")
            assert recorded.decision.reasons[0].code == "review.panel_approved"
            assert await house.arrived() == 1

    asyncio.run(scenario())


def test_the_gateway_dies_between_the_last_opinion_and_the_release(valkey: Valkey) -> None:
    async def scenario() -> None:
        async with a_house(valkey) as house:
            review = await deliberating(house)
            for name in ("carl", "cleo"):
                event = Opined(by=a_person(name, "critic"), choice=Choice.APPROVE, reason="yes")
                moved = await house.reviews.advance(review.tenant, review.review_id, event, by=name)
            assert moved.review.state is State.APPROVED
            assert await house.arrived() == 1
            assert (await house.found(review)).state is State.CONSUMED
            assert await house.arrived() == 0

    asyncio.run(scenario())


def test_the_gateway_dies_after_it_called_the_critics_and_before_it_heard_one(
    valkey: Valkey,
) -> None:
    async def scenario() -> None:
        async with a_house(valkey) as house:
            review = await deliberating(house)
            move = house.reviews._shelf.move
            calls = 0

            async def dies(call: object) -> object:
                nonlocal calls
                calls += 1
                if calls == 2:
                    raise CrashError
                return await move(call)  # type: ignore[arg-type]  # what it was given

            house.reviews._shelf.move = dies  # type: ignore[assignment,method-assign]
            with pytest.raises(CrashError):
                await opine(house, review, "carl")
            house.reviews._shelf.move = move  # type: ignore[method-assign]
            called = await house.found(review)
            assert called.panel is not None
            assert [seat.agent for seat in called.panel.seats or ()] == [*CRITICS]
            assert called.panel.opinions == ()
            await opine(house, review, "carl", choice=Choice.REJECT)
            assert (
                await opine(house, review, "cora", choice=Choice.REJECT)
            ).state is State.REJECTED
            assert await house.arrived() == 0

    asyncio.run(scenario())


def test_a_panel_that_may_not_decide_any_more_lets_nothing_go(valkey: Valkey) -> None:
    async def scenario() -> None:
        async with a_house(valkey) as house:
            review = await deliberating(house)
            await opine(house, review, "carl")
            house.judge.answer = None
            house.judge.verdicts = (PERMIT, HOLD)  # a rule holds it by now, so people decide
            done = await opine(house, review, "cleo")
            assert done.state is State.REJECTED
            assert done.closing is not None
            assert done.closing.code == "review.quorum_raised"
            assert await house.arrived() == 0

    asyncio.run(scenario())


def test_what_needs_no_panel_any_more_goes_with_the_panels_word(valkey: Valkey) -> None:
    async def scenario() -> None:
        async with a_house(valkey) as house:
            review = await deliberating(house)
            await opine(house, review, "carl")
            house.judge.answer = None
            house.judge.verdicts = (PERMIT,)
            assert (await opine(house, review, "cleo")).state is State.CONSUMED
            assert await house.arrived() == 1

    asyncio.run(scenario())


# The glass


def test_broken_glass_goes_once_and_others_look_at_it(valkey: Valkey) -> None:
    async def scenario() -> None:
        async with a_house(valkey) as house:
            review = await house.hold()
            assert (await break_glass(house, review, "tina")).state is State.PENDING
            assert (await break_glass(house, review, "tom")).state is State.CONSUMED
            assert await house.arrived() == 1
            follows = await follower(house, review)
            assert (follows.state, follows.follows) == (State.PENDING, review.review_id)
            mine = house.desk.vote(
                admin(house, "tina"), follows.review_id, choice=Choice.APPROVE, reason="mine"
            )
            assert await refusal(mine) == ("review.barred", 403)
            upheld = await house.desk.vote(
                house.reviewer(), follows.review_id, choice=Choice.APPROVE, reason="rightly"
            )
            went_by = (await house.found(review)).released_by
            assert went_by is not None
            assert (upheld.state, upheld.released_by) == (State.CONSUMED, went_by)
            assert await house.arrived() == 0

    asyncio.run(scenario())


def test_the_gateway_dies_between_the_broken_glass_and_what_follows_it(valkey: Valkey) -> None:
    async def scenario() -> None:
        async with a_house(valkey) as house:
            review = await house.hold()
            for name in ("tina", "tom"):
                event = GlassBroken(by=a_person(name, "tenant_admin"), reason="it burns")
                await house.reviews.advance(review.tenant, review.review_id, event, by=name)
            missing = follower(house, review)
            assert await refusal(missing) == ("review.not_found", 404)
            assert await house.arrived() == 1
            assert (await follower(house, review)).state is State.PENDING
            assert await house.arrived() == 0

    asyncio.run(scenario())


def test_the_gateway_dies_between_what_follows_and_the_release(valkey: Valkey) -> None:
    async def scenario() -> None:
        async with a_house(valkey) as house:
            review = await house.hold()
            await break_glass(house, review, "tina")
            release = house.bus.release

            async def dies(*_: object) -> object:
                raise CrashError

            house.bus.release = dies  # type: ignore[assignment,method-assign]
            with pytest.raises(CrashError):
                await break_glass(house, review, "tom")
            house.bus.release = release  # type: ignore[method-assign]
            opened = await follower(house, review)
            assert (await house.found(review)).state is State.APPROVED
            assert await house.arrived() == 1
            assert (await house.found(review)).state is State.CONSUMED
            assert await follower(house, review) == opened

    asyncio.run(scenario())


def test_nothing_goes_through_the_glass_while_what_follows_cannot_be_opened(
    valkey: Valkey,
) -> None:
    async def scenario() -> None:
        async with a_house(valkey) as house:
            review = await house.hold()
            await break_glass(house, review, "tina")
            follow = house.reviews.follow

            async def away(*_: object) -> Review:
                raise DependencyError("ledger", "it is away")

            house.reviews.follow = away  # type: ignore[method-assign]
            assert (await break_glass(house, review, "tom")).state is State.APPROVED
            assert await house.held() == 1
            house.reviews.follow = follow  # type: ignore[method-assign]
            assert await house.arrived() == 1

    asyncio.run(scenario())


def test_the_gateway_dies_before_it_ends_what_was_upheld(valkey: Valkey) -> None:
    async def scenario() -> None:
        async with a_house(valkey) as house:
            review = await house.hold()
            await break_glass(house, review, "tina")
            await break_glass(house, review, "tom")
            follows = await follower(house, review)
            advance = dying(house.reviews, Consumed)
            with pytest.raises(CrashError):
                await house.desk.vote(
                    house.reviewer(), follows.review_id, choice=Choice.APPROVE, reason="rightly"
                )
            house.reviews.advance = advance  # type: ignore[method-assign]
            assert (await follower(house, review)).state is State.APPROVED
            assert await house.arrived() == 1  # what went through the glass, and nothing more
            assert (await follower(house, review)).state is State.CONSUMED

    asyncio.run(scenario())


def test_a_denial_stands_although_the_glass_is_broken(valkey: Valkey) -> None:
    async def scenario() -> None:
        async with a_house(valkey) as house:
            review = await house.hold()
            house.judge.verdicts = (PERMIT, FORBID)
            await break_glass(house, review, "tina")
            done = await break_glass(house, review, "tom")
            assert done.state is State.REJECTED
            assert done.closing is not None
            assert done.closing.code == "policy.forbidden"
            assert await house.arrived() == 0
            # That somebody tried is looked at all the same.
            assert (await follower(house, review)).state is State.PENDING

    asyncio.run(scenario())


def test_an_agent_that_only_asked_uses_what_went_through_the_glass_and_it_is_looked_at(
    valkey: Valkey,
) -> None:
    async def scenario() -> None:
        async with a_house(valkey) as house:
            review = await house.hold(delivers=False)
            await break_glass(house, review, "tina")
            assert (await break_glass(house, review, "tom")).state is State.APPROVED
            assert (await follower(house, review)).state is State.PENDING
            recorded = await house.desk.consume(
                house.asker(), review.review_id, digest=review.action_digest
            )
            assert recorded.decision.effect is Effect.ALLOW
            assert recorded.decision.reasons[0].code == "review.glass_broken"

    asyncio.run(scenario())


def test_the_gateway_dies_before_it_follows_the_glass_of_what_the_agent_itself_uses(
    valkey: Valkey,
) -> None:
    async def scenario() -> None:
        async with a_house(valkey) as house:
            review = await house.hold(delivers=False)
            for name in ("tina", "tom"):
                event = GlassBroken(by=a_person(name, "tenant_admin"), reason="it burns")
                await house.reviews.advance(review.tenant, review.review_id, event, by=name)
            for _ in range(2):
                assert await house.arrived() == 0
                # Nobody but the agent uses it, and it is looked at whether or not it does.
                assert (await house.found(review)).state is State.APPROVED
                assert await house.held() == 1
                assert (await follower(house, review)).state is State.PENDING
            recorded = await house.desk.consume(
                house.asker(), review.review_id, digest=review.action_digest
            )
            assert recorded.decision.effect is Effect.ALLOW
            assert await house.arrived() == 0
            assert (await house.found(review)).state is State.CONSUMED

    asyncio.run(scenario())
