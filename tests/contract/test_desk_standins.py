"""The desk knows who stands in for whom; what it cannot know lets nobody through."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import TYPE_CHECKING, NoReturn

import pytest
from contract.test_desk_crashes import House, a_house

from cluster.store import keys
from policies.controls import Controls
from policies.errors import DependencyError, RefusalError
from policies.panel import Choice
from policies.principal import Principal
from policies.review import Claimed, Escalated, Event, Review, State, Voted
from policies.standin import Gift, Shift, delegated

from builders import a_principal

if TYPE_CHECKING:
    from contract.conftest import Valkey

HOUR = timedelta(hours=1)


@pytest.fixture
def valkey(own_valkey: Valkey) -> Valkey:
    # The loops go through every tenant of a store, so each test has a server.
    return own_valkey


def an_admin(house: House, name: str = "dana") -> Principal:
    return a_principal(tenant=house.office.tenant, agent=name, roles=frozenset({"tenant_admin"}))


async def give(house: House, giver: Principal, *, lasts: timedelta = HOUR) -> None:
    now = house.office.clock.now()
    gift = Gift(to="dana", roles=None, reason="I am away", until=now + lasts)
    await house.reviews.authority.give(giver.tenant, delegated(giver, gift, now=now))


def vote(house: House, who: Principal, review: Review) -> Awaitable[Review]:
    return house.desk.vote(who, review.review_id, choice=Choice.APPROVE, reason="I looked")


async def code(step: Awaitable[object]) -> str:
    with pytest.raises(RefusalError) as caught:
        await step
    return caught.value.code


def unknown() -> NoReturn:
    raise DependencyError("control board", "it cannot be read")


def test_a_vote_in_the_stead_of_another_lets_it_go_once(valkey: Valkey) -> None:
    async def scenario() -> None:
        async with a_house(valkey) as house:
            review, dana = await house.hold(), an_admin(house)
            assert await code(vote(house, dana, review)) == "review.role_missing"
            await give(house, house.reviewer())
            done = await vote(house, dana, review)
            assert done.state is State.CONSUMED
            assert [each.in_stead_of for each in done.votes] == [("rita",)]
            assert await house.arrived() == 1

    asyncio.run(scenario())


def test_a_claim_and_a_step_up_can_be_made_in_the_stead_of_another_too(valkey: Valkey) -> None:
    async def scenario() -> None:
        async with a_house(valkey) as house:
            review, dana = await house.hold(), an_admin(house)
            assert await code(house.desk.claim(dana, review.review_id)) == "review.role_missing"
            await give(house, house.reviewer())
            claimed = await house.desk.claim(dana, review.review_id)
            assert claimed.claim is not None
            assert claimed.claim.by == "dana"
            risen = await house.desk.escalate(dana, review.review_id, reason="it is late")
            assert risen.ladder.level == 2

    asyncio.run(scenario())


def test_what_is_over_counts_no_more_from_that_moment_on(valkey: Valkey) -> None:
    async def scenario() -> None:
        async with a_house(valkey) as house:
            review, dana = await house.hold(), an_admin(house)
            await give(house, house.reviewer(), lasts=timedelta(seconds=10))
            house.office.clock.forward(10)
            assert await code(vote(house, dana, review)) == "review.role_missing"
            assert (await house.found(review)).votes == ()

    asyncio.run(scenario())


@pytest.mark.parametrize("name", ["rita", "rose"])
def test_nobody_stands_for_who_is_revoked(valkey: Valkey, name: str) -> None:
    async def scenario() -> None:
        async with a_house(valkey) as house:
            review, dana = await house.hold(), an_admin(house)
            tenant = house.office.tenant
            rita = a_principal(
                tenant=tenant, agent="rita", roles=frozenset({"reviewer"}), owner="rose"
            )
            await give(house, rita)
            house.desk._controls = lambda: Controls().with_revoked_agent(tenant, name)
            assert await code(vote(house, dana, review)) == "review.role_missing"
            house.desk._controls = Controls
            assert (await vote(house, dana, review)).state is State.CONSUMED

    asyncio.run(scenario())


def test_while_it_is_not_known_who_was_stopped_nobody_decides(valkey: Valkey) -> None:
    async def scenario() -> None:
        async with a_house(valkey) as house:
            review, rita = await house.hold(), house.reviewer()
            house.desk._controls = unknown
            steps: tuple[Callable[[], Awaitable[object]], ...] = (
                lambda: vote(house, rita, review),
                lambda: house.desk.claim(rita, review.review_id),
                lambda: house.desk.escalate(rita, review.review_id, reason="it is late"),
            )
            for step in steps:
                with pytest.raises(DependencyError, match="control board"):
                    await step()
            assert await house.found(review) == review

    asyncio.run(scenario())


def test_who_is_on_call_holds_that_role_and_no_longer(valkey: Valkey) -> None:
    async def scenario() -> None:
        async with a_house(valkey) as house:
            now, dana = house.office.clock.now(), an_admin(house)
            shift = Shift(shift_id="night", person="dana", starts_at=now, ends_at=now + HOUR)
            await house.reviews.authority.plan(house.office.tenant, shift, by="adam")
            assert (await house.desk.person(dana)).roles == {"tenant_admin", "on_call"}
            assert (await house.desk.person(house.reviewer())).roles == {"reviewer"}
            house.office.clock.forward(3600)
            assert (await house.desk.person(dana)).roles == {"tenant_admin"}

    asyncio.run(scenario())


def test_no_step_is_taken_in_the_stead_of_who_took_it_back_meanwhile(valkey: Valkey) -> None:
    async def scenario() -> None:
        async with a_house(valkey) as house:
            review, tenant = await house.hold(), house.office.tenant
            await give(house, house.reviewer())
            # A gateway knows who it is, and then stands still for a while.
            dana = await house.desk.person(an_admin(house))
            await house.reviews.authority.withdraw(tenant, "rita", "dana", by="rita")
            steps: tuple[Event, ...] = (
                Voted(by=dana, choice=Choice.APPROVE, reason="I looked"),
                Claimed(by=dana, seconds=60),
                Escalated(by=dana, reason="it is late"),
            )
            for step in steps:
                taken = house.reviews.advance(tenant, review.review_id, step, by="dana")
                assert await code(taken) == "review.conflict"
            assert await house.found(review) == review

    asyncio.run(scenario())


def test_no_vote_counts_for_a_shift_that_was_taken_away_meanwhile(valkey: Valkey) -> None:
    async def scenario() -> None:
        async with a_house(valkey) as house:
            review, tenant = await house.hold(), house.office.tenant
            now = house.office.clock.now()
            shift = Shift(shift_id="night", person="rita", starts_at=now, ends_at=now + HOUR)
            await house.reviews.authority.plan(tenant, shift, by="adam")
            for _ in range(2):
                await house.desk.escalate(house.reviewer("rob"), review.review_id, reason="late")
            rita = await house.desk.person(house.reviewer())
            await house.reviews.authority.unplan(tenant, "night", by="adam")
            says = Voted(by=rita, choice=Choice.APPROVE, reason="I looked")
            taken = house.reviews.advance(tenant, review.review_id, says, by="rita")
            assert await code(taken) == "review.conflict"
            done = await vote(house, house.reviewer(), review)
            assert (done.state, done.votes[0].roles) == (State.CONSUMED, ("reviewer",))

    asyncio.run(scenario())


def test_a_vote_of_one_s_own_does_not_hang_on_what_others_gave(valkey: Valkey) -> None:
    async def scenario() -> None:
        async with a_house(valkey) as house:
            review, tenant = await house.hold(), house.office.tenant
            await give(house, house.reviewer())
            dana = await house.desk.person(house.reviewer("dana"))
            assert len(dana.stands_for) == 1
            await house.reviews.authority.withdraw(tenant, "rita", "dana", by="rita")
            says = Voted(by=dana, choice=Choice.APPROVE, reason="I looked")
            moved = await house.reviews.advance(tenant, review.review_id, says, by="dana")
            assert moved.review.state is State.APPROVED

    asyncio.run(scenario())


def test_damage_among_what_was_given_takes_nobody_s_own_vote_away(valkey: Valkey) -> None:
    async def scenario() -> None:
        async with a_house(valkey) as house:
            review = await house.hold()
            name = keys.reviews(house.office.tenant, "delegations")
            await house.office.store.execute("HSET", name, "x:rita", "9999999999999 rita\n{}")
            assert (await vote(house, house.reviewer(), review)).state is State.CONSUMED

    asyncio.run(scenario())
