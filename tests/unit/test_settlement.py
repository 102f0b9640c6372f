"""Many opinions, one effect."""

from __future__ import annotations

import pytest

from policies.decision import Effect, Impact, Lane, Verdict
from policies.settlement import REASONS_MAX, Settlement, SettlementLaw, settle
from policies.triage import triage

from builders import (
    a_judgement,
    a_settlement_law,
    a_silent_judgement,
    a_verdict,
    an_impact,
    an_obligation,
)

ALLOW = a_verdict(Effect.ALLOW, "policy.permitted")
REVIEW = a_verdict(Effect.REVIEW, "policy.unusual", remedy="wait")
DENY = a_verdict(Effect.DENY, "policy.forbidden", remedy="do not")
LAW = a_settlement_law()


def settled(*verdicts: Verdict, score: float = 0.2) -> Settlement:
    return settle(a_judgement(*verdicts), an_impact(score), law=LAW)


@pytest.mark.parametrize(
    ("verdicts", "effect"),
    [
        ((ALLOW,), Effect.ALLOW),
        ((ALLOW, REVIEW), Effect.REVIEW),
        ((DENY, ALLOW, REVIEW), Effect.DENY),
        ((REVIEW, DENY), Effect.DENY),
    ],
)
def test_deny_beats_review_beats_allow(verdicts: tuple[Verdict, ...], effect: Effect) -> None:
    assert settled(*verdicts).effect is effect


def test_silence_is_a_denial_with_a_code_of_its_own() -> None:
    settlement = settle(a_silent_judgement(), an_impact(), law=LAW)
    assert settlement.effect is Effect.DENY
    assert [reason.code for reason in settlement.reasons] == ["policy.silent"]


def test_defect_07_what_is_denied_never_says_allow() -> None:
    settlement = settled(ALLOW, DENY)
    assert settlement.effect is Effect.DENY
    assert [reason.code for reason in settlement.reasons] == ["policy.forbidden"]


def test_a_high_impact_is_held_for_people() -> None:
    settlement = settled(ALLOW, score=0.8)
    assert settlement.effect is Effect.REVIEW
    assert settlement.lane is Lane.HUMAN
    (reason,) = settlement.reasons
    assert reason.code == "impact.review"
    assert "0.8" in reason.message
    assert reason.remedy


def test_defect_26_an_impact_of_exactly_the_threshold_counts() -> None:
    assert settled(ALLOW, score=round(0.3 + 0.4 + 0.1, 4)).effect is Effect.REVIEW
    assert settled(ALLOW, score=0.7999).effect is Effect.ALLOW


def test_impact_never_lowers_a_denial() -> None:
    assert settled(DENY, score=0.0).effect is Effect.DENY
    assert settled(DENY, score=1.0).effect is Effect.DENY


def test_an_impact_that_is_no_number_is_held() -> None:
    assert settled(ALLOW, score=float("nan")).effect is Effect.REVIEW


def test_a_reason_carries_code_rule_message_and_remedy() -> None:
    (reason,) = settled(DENY).reasons
    assert (reason.code, reason.rule) == ("policy.forbidden", "acgs.test.rule")
    assert (reason.message, reason.remedy) == ("the rule spoke", "do not")


def test_the_same_reason_is_given_once() -> None:
    assert len(settled(DENY, DENY).reasons) == 1


def test_more_reasons_than_anybody_reads_are_counted() -> None:
    verdicts = [a_verdict(Effect.DENY, f"policy.{number:03}") for number in range(REASONS_MAX + 7)]
    reasons = settled(*verdicts).reasons
    assert len(reasons) == REASONS_MAX + 1
    assert reasons[-1].message == "7 more reasons were left out"


def test_a_scorer_that_could_not_be_asked_is_told_to_the_caller() -> None:
    settlement = settle(a_judgement(ALLOW), an_impact(degraded=True), law=LAW)
    assert settlement.effect is Effect.ALLOW
    assert settlement.lane is Lane.DELIBERATION
    assert settlement.reasons[-1].code == "impact.degraded"


@pytest.mark.parametrize("verdict", [ALLOW, REVIEW])
def test_obligations_bind_what_may_still_go(verdict: Verdict) -> None:
    judgement = a_judgement(
        verdict, obligations=(an_obligation("2"), an_obligation("1"), an_obligation("2"))
    )
    obligations = settle(judgement, an_impact(), law=LAW).obligations
    assert [obligation.id for obligation in obligations] == ["1", "2"]


def test_nothing_is_owed_after_a_denial() -> None:
    judgement = a_judgement(DENY, ALLOW, obligations=(an_obligation(),))
    assert settle(judgement, an_impact(), law=LAW).obligations == ()


def test_obligations_that_differ_in_their_properties_are_two() -> None:
    obligations = (
        an_obligation(properties={"paths": ["/a"], "more": {"x": frozenset({1})}}),
        an_obligation(properties={"paths": ["/b"]}),
    )
    judgement = a_judgement(ALLOW, obligations=obligations)
    assert len(settle(judgement, an_impact(), law=LAW).obligations) == 2


def test_a_policy_that_requires_a_review_gets_one_whatever_its_verdicts_allow() -> None:
    required = an_obligation("r", "require_review")
    settlement = settle(a_judgement(ALLOW, obligations=(required,)), an_impact(), law=LAW)
    assert (settlement.effect, settlement.lane) == (Effect.REVIEW, Lane.HUMAN)
    assert [reason.code for reason in settlement.reasons] == ["policy.review_required"]
    assert settlement.obligations == (required,)


def test_a_required_review_does_not_soften_a_denial() -> None:
    judgement = a_judgement(DENY, obligations=(an_obligation("r", "require_review"),))
    assert settle(judgement, an_impact(), law=LAW).effect is Effect.DENY


@pytest.mark.parametrize(
    ("effect", "impact", "lane"),
    [
        (Effect.ALLOW, an_impact(0.2), Lane.FAST),
        (Effect.DENY, an_impact(0.2), Lane.FAST),
        (Effect.ALLOW, an_impact(0.5), Lane.DELIBERATION),
        (Effect.ALLOW, an_impact(0.2, model="sha256:m"), Lane.DELIBERATION),
        (Effect.DENY, an_impact(float("nan")), Lane.DELIBERATION),
        (Effect.REVIEW, an_impact(0.2), Lane.HUMAN),
        (Effect.REVIEW, an_impact(0.9, model="sha256:m"), Lane.HUMAN),
    ],
)
def test_the_lane_tells_how_much_thought_it_took(
    effect: Effect, impact: Impact, lane: Lane
) -> None:
    assert triage(effect, impact, deliberate_from=0.5) is lane


def test_the_law_is_read_from_the_constitution() -> None:
    law = SettlementLaw.from_mapping({"review_from": 0.8, "deliberate_from": 0.5})
    assert law == LAW


@pytest.mark.parametrize(
    "section",
    [
        None,
        {},
        {"review_from": 0.8},
        {"review_from": 1.1, "deliberate_from": 0.5},
        {"review_from": 0.5, "deliberate_from": 0.8},
        {"review_from": 0.8, "deliberate_from": 0.5, "review_form": 0.1},
    ],
)
def test_a_law_that_is_not_understood_is_refused(section: object) -> None:
    with pytest.raises(ValueError, match="settlement"):
        SettlementLaw.from_mapping(section)
