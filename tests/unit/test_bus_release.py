"""Letting go what people approved: the law of the moment has the last word."""

from __future__ import annotations

import asyncio
from datetime import timedelta

import pytest
from unit.test_bus import FORBID, HOLD, Road

from cluster.law import load_constitution
from policies.decision import Effect, Judgement, Lane, Obligation, Recorded, Verdict
from policies.errors import DependencyError, RefusalError
from policies.message import Message
from policies.panel import Choice
from policies.review import Person, Review, State, Voted
from policies.review_law import ReviewLaw, review_of
from policies.reviewing import advance

from fakes import PERMIT

LAW = ReviewLaw.from_mapping(load_constitution().reviews)
RITA = Person(name="rita", roles=frozenset({"reviewer"}))


class Held:
    """A message that is held, and approved by one reviewer."""

    def __init__(self, road: Road, *, delivers: bool = True) -> None:
        self.road = road
        self.message: Message = road.message()
        road.judge.verdicts = (PERMIT, HOLD)
        held = road.submit(self.message, delivers=delivers).decision
        assert held.effect is Effect.REVIEW
        vote = Voted(by=RITA, choice=Choice.APPROVE, reason="it is what we want")
        self.review: Review = advance(review_of(held, LAW), vote, now=road.clock.now())
        assert self.review.state is State.APPROVED
        road.diary.lines.clear()

    def release(self) -> Recorded:
        return asyncio.run(self.road.bus.release(self.review, self.message))


def test_what_people_approved_goes_on_record_and_then_goes() -> None:
    held = Held(Road())
    decision = held.release().decision
    assert held.road.diary.lines == ["judged", "recorded allow", "delivered"]
    assert (decision.effect, decision.lane) == (Effect.ALLOW, Lane.HUMAN)
    assert decision.review_id == held.review.decision_id != decision.decision_id
    assert decision.approvers == ("rita",)
    assert [reason.code for reason in decision.reasons] == ["review.approved"]
    assert (decision.message_id, decision.agent) == (held.message.id, held.message.sender)


def test_it_goes_once_however_often_it_is_let_go() -> None:
    held = Held(Road())
    first, second = held.release(), held.release()
    assert second.replayed
    assert second.decision == first.decision
    assert held.road.diary.lines.count("delivered") == 1


def test_a_rule_that_denies_meanwhile_wins_over_every_approval() -> None:
    held = Held(Road())
    held.road.judge.verdicts = (PERMIT, FORBID)
    decision = held.release().decision
    assert decision.effect is Effect.DENY
    assert [reason.code for reason in decision.reasons] == ["policy.forbidden"]
    assert decision.review_id == held.review.review_id
    assert decision.approvers == ()
    assert held.road.courier.delivered == {}


def test_silence_at_the_moment_of_use_is_a_denial() -> None:
    held = Held(Road())
    held.road.judge.answer = lambda _: Judgement(
        verdicts=(), revision="sha256:" + "0" * 64, engine="opa-embedded"
    )
    assert held.release().decision.effect is Effect.DENY
    assert held.road.courier.delivered == {}


def asking_for(**properties: object) -> Judgement:
    duty = Obligation(id="more", type="require_review", properties=properties)
    verdicts: tuple[Verdict, ...] = (PERMIT, HOLD)
    return Judgement(
        verdicts=verdicts,
        obligations=(duty,),
        revision="sha256:" + "1" * 64,
        engine="opa-embedded",
    )


def test_a_law_that_asks_for_more_approvals_meanwhile_is_not_satisfied_with_fewer() -> None:
    held = Held(Road())
    held.road.judge.answer = lambda _: asking_for(quorum=2)
    decision = held.release().decision
    assert decision.effect is Effect.DENY
    assert [reason.code for reason in decision.reasons] == ["review.quorum_raised"]
    assert held.road.courier.delivered == {}


def test_a_law_that_asks_for_other_roles_meanwhile_is_not_satisfied_with_these() -> None:
    held = Held(Road())
    held.road.judge.answer = lambda _: asking_for(roles=["tenant_admin"])
    assert [reason.code for reason in held.release().decision.reasons] == ["review.quorum_raised"]


def test_a_law_that_asks_for_less_meanwhile_lets_it_go() -> None:
    held = Held(Road())
    held.road.judge.verdicts = (PERMIT,)
    assert held.release().decision.effect is Effect.ALLOW


def test_a_duty_that_nobody_can_fulfil_on_delivery_keeps_it_here() -> None:
    held = Held(Road())
    duty = Obligation(id="n", type="notification")
    held.road.judge.answer = lambda _: Judgement(
        verdicts=(PERMIT,), obligations=(duty,), revision="r", engine="opa-embedded"
    )
    decision = held.release().decision
    assert [reason.code for reason in decision.reasons] == ["obligation.unsupported"]
    assert held.road.courier.delivered == {}


def test_a_decision_alone_is_released_with_its_duties_and_delivers_nothing() -> None:
    held = Held(Road(), delivers=False)
    duty = Obligation(id="n", type="notification")
    held.road.judge.answer = lambda _: Judgement(
        verdicts=(PERMIT,), obligations=(duty,), revision="r", engine="opa-embedded"
    )
    decision = held.release().decision
    assert decision.effect is Effect.ALLOW
    assert decision.obligations == (duty,)
    assert held.road.courier.delivered == {}


def test_an_agent_that_was_stopped_meanwhile_gets_nothing_and_nothing_is_lost() -> None:
    held = Held(Road())
    stopped = held.road.controls.with_revoked_agent(held.review.tenant, held.review.agent)
    held.road.controls, before = stopped, held.road.controls
    with pytest.raises(RefusalError):
        held.release()
    assert held.road.diary.lines == []
    held.road.controls = before
    assert held.release().decision.effect is Effect.ALLOW


def test_what_expired_while_it_was_held_does_not_go() -> None:
    held = Held(Road())
    held.road.clock.forward(timedelta(days=1).total_seconds())
    with pytest.raises(RefusalError) as error:
        held.release()
    assert error.value.code == "message.expired"
    assert held.road.diary.lines == []


def test_what_cannot_be_recorded_does_not_go() -> None:
    held = Held(Road())
    held.road.recorder.down = True
    with pytest.raises(DependencyError):
        held.release()
    assert held.road.courier.delivered == {}
