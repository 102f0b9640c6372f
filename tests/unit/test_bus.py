"""The road: its order, and what happens when something beside it is down."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest

from cluster.law import load_constitution
from policies.admission import Limits
from policies.controls import Controls
from policies.decision import Effect, Judgement, Obligation, Recorded, Verdict
from policies.errors import DependencyError, RefusalError
from policies.impact import ImpactTable
from policies.message import Message, MessageType, Priority
from policies.rate import RateTable
from policies.review_law import ReviewLaw
from policies.settlement import SettlementLaw
from serve_app.bus import Bus, Gate, Law
from serve_app.ports import Question, Scorer

from builders import a_message, a_principal
from fakes import (
    PERMIT,
    Diary,
    FakeClock,
    FakeCourier,
    FakeJudge,
    FakeMeter,
    FakeRecorder,
    FakeScorer,
    no_controls,
)

FORBID = replace(PERMIT, rule="test.forbid", effect=Effect.DENY, code="policy.forbidden")
HOLD = replace(PERMIT, rule="test.hold", effect=Effect.REVIEW, code="policy.held")


class Road:
    """A bus over fakes, with everything beside it at hand."""

    def __init__(self, *verdicts: Verdict, scorer: Scorer | None = None) -> None:
        self.diary = Diary()
        self.judge = FakeJudge(self.diary, verdicts or (PERMIT,))
        self.recorder = FakeRecorder(self.diary)
        self.courier = FakeCourier(self.diary)
        self.meter = FakeMeter()
        self.clock = FakeClock()
        self.controls = no_controls()
        constitution = load_constitution()
        self.bus = Bus(
            law=Law(
                constitution=constitution,
                limits=Limits(),
                impact=ImpactTable.from_mapping(constitution.impact),
                settlement=SettlementLaw.from_mapping(constitution.settlement),
                reviews=ReviewLaw.from_mapping(constitution.reviews),
            ),
            judge=self.judge,
            recorder=self.recorder,
            courier=self.courier,
            meter=self.meter,
            clock=self.clock,
            gate=Gate(controls=lambda: self.controls, rates=RateTable(rate_s=1000.0, burst=1000)),
            scorer=scorer,
        )

    def message(self, **changes: object) -> Message:
        now = self.clock.now()
        return a_message(sent_at=now, expires_at=now.replace(hour=13), **changes)

    def submit(self, message: Message | None = None, *, delivers: bool = True) -> Recorded:
        return asyncio.run(
            self.bus.submit(a_principal(), message or self.message(), delivers=delivers)
        )


def test_an_allowed_message_is_recorded_before_it_is_delivered() -> None:
    road = Road()
    road.submit()
    assert road.diary.lines == ["judged", "recorded allow", "delivered"]


def test_defect_03_a_held_message_is_not_acted_upon_before_people_decide() -> None:
    road = Road(PERMIT, HOLD)
    assert road.submit().decision.effect is Effect.REVIEW
    assert road.diary.lines == ["judged", "recorded review"]


def test_defect_02_a_high_impact_message_is_held_and_never_a_crash() -> None:
    road = Road()
    recorded = road.submit(road.message(priority=Priority.CRITICAL))
    assert recorded.decision.effect is Effect.REVIEW
    assert recorded.decision.impact.score >= 0.8
    assert road.courier.delivered == {}


def test_a_denied_message_is_recorded_and_not_delivered() -> None:
    road = Road(PERMIT, FORBID)
    assert road.submit().decision.effect is Effect.DENY
    assert road.diary.lines == ["judged", "recorded deny"]


def test_silence_is_a_denial() -> None:
    road = Road()
    road.judge.answer = lambda _: Judgement(
        verdicts=(), revision="sha256:" + "0" * 64, engine="opa-embedded"
    )
    decision = road.submit().decision
    assert decision.effect is Effect.DENY
    assert [reason.code for reason in decision.reasons] == ["policy.silent"]


def test_a_decision_that_cannot_be_recorded_is_not_acted_upon() -> None:
    road = Road()
    road.recorder.down = True
    with pytest.raises(DependencyError):
        road.submit()
    assert road.courier.delivered == {}


def test_a_decision_alone_delivers_nothing() -> None:
    road = Road()
    assert road.submit(delivers=False).decision.effect is Effect.ALLOW
    assert road.courier.delivered == {}


def test_a_delivery_that_fails_after_the_record_is_left_to_the_outbox() -> None:
    road = Road()
    road.courier.down = True
    assert road.submit().decision.effect is Effect.ALLOW


def test_what_left_with_its_record_is_not_delivered_again() -> None:
    road = Road()
    road.recorder.carries_out = True
    assert road.submit().carried_out
    assert road.diary.lines == ["judged", "recorded allow"]


def test_a_repeated_message_answers_with_its_first_decision_and_is_delivered_once() -> None:
    road = Road()
    message = road.message()
    first, second = road.submit(message), road.submit(message)
    assert second.replayed
    assert second.decision.decision_id == first.decision.decision_id
    assert road.diary.lines.count("delivered") == 1


def test_a_known_id_with_other_content_is_refused() -> None:
    road = Road()
    road.submit(road.message())
    with pytest.raises(RefusalError) as refusal:
        road.submit(road.message(content_digest="sha256:" + "9" * 64))
    assert (refusal.value.code, refusal.value.status) == ("message.id_reused", 409)


def test_an_unknown_recipient_is_refused_before_anything_is_judged() -> None:
    road = Road()
    with pytest.raises(RefusalError) as refusal:
        road.submit(road.message(recipient="stranger"))
    assert (refusal.value.code, refusal.value.status) == ("agent.unknown", 404)
    assert road.diary.lines == []


def test_a_message_needs_a_recipient_and_a_decision_does_not() -> None:
    road = Road()
    with pytest.raises(RefusalError, match="to_agent"):
        road.submit(road.message(recipient=None))
    road.submit(road.message(recipient=None), delivers=False)


def test_a_revoked_token_is_refused() -> None:
    road = Road()
    principal = a_principal()
    road.controls = Controls(revoked_agents=frozenset({(principal.tenant, principal.agent)}))
    with pytest.raises(RefusalError) as refusal:
        road.submit()
    assert refusal.value.code == "auth.revoked"
    assert road.diary.lines == []


def test_controls_that_cannot_be_believed_stop_everything() -> None:
    road = Road()

    def stale() -> Controls:
        raise DependencyError("controls", "not read for 6 s")

    road.bus._gate = Gate(controls=stale, rates=RateTable(rate_s=1.0, burst=1))
    with pytest.raises(DependencyError):
        road.submit()
    assert road.diary.lines == []


def test_the_scorer_can_raise_scrutiny() -> None:
    road = Road(scorer=FakeScorer(value=0.95))
    decision = road.submit().decision
    assert decision.effect is Effect.REVIEW
    assert decision.impact.model is not None


def test_a_scorer_that_is_down_shows_in_the_decision() -> None:
    road = Road(scorer=FakeScorer(down=True))
    decision = road.submit().decision
    assert decision.impact.degraded
    assert "impact.degraded" in [reason.code for reason in decision.reasons]


def test_a_judicial_question_carries_who_produced_the_output() -> None:
    road = Road()
    output = road.submit().decision
    content = {"action": "validate", "output_id": output.message_id}
    road.submit(road.message(id="m-2", type=MessageType.CONSTITUTIONAL_VALIDATION, content=content))
    question: Question = road.judge.questions[-1]
    assert question.target == {"known": True, "agent": output.agent, "roles": list(output.roles)}


def test_an_output_that_nobody_produced_is_unknown() -> None:
    road = Road()
    content = {"action": "validate", "output_id": "never-sent"}
    road.submit(road.message(type=MessageType.CONSTITUTIONAL_VALIDATION, content=content))
    assert road.judge.questions[-1].target == {"known": False, "agent": "", "roles": []}


def test_a_message_is_redacted_before_it_leaves_when_the_policy_demands_it() -> None:
    road = Road()
    road.judge.answer = lambda _: Judgement(
        verdicts=(PERMIT,),
        obligations=(Obligation(id="redact-pii", type="redact"),),
        revision="sha256:" + "0" * 64,
        engine="opa-embedded",
    )
    recorded = road.submit(road.message(content={"action": "say", "text": "mail bob@example.org"}))
    delivered = road.courier.delivered[recorded.decision.decision_id]
    assert "bob@example.org" not in str(delivered.content)


def test_an_obligation_that_the_bus_cannot_fulfil_is_a_denial() -> None:
    road = Road()
    road.judge.answer = lambda _: Judgement(
        verdicts=(PERMIT,),
        obligations=(Obligation(id="o1", type="step-up"),),
        revision="sha256:" + "0" * 64,
        engine="opa-embedded",
    )
    decision = road.submit().decision
    assert decision.effect is Effect.DENY
    assert [reason.code for reason in decision.reasons] == ["obligation.unsupported"]
    assert road.submit(road.message(id="m-2"), delivers=False).decision.effect is Effect.ALLOW


def test_every_decision_is_metered() -> None:
    road = Road(FORBID)
    road.submit()
    assert road.meter.effects == [Effect.DENY]
