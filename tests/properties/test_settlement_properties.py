"""Settling is total, blind to order, and never loosens."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from policies.decision import Effect, Impact, Lane, Obligation, Verdict
from policies.settlement import SettlementLaw, settle

from builders import a_judgement, a_settlement_law, a_verdict, an_impact

SEVERITY = {Effect.ALLOW: 0, Effect.REVIEW: 1, Effect.DENY: 2}

verdicts = st.builds(
    a_verdict,
    st.sampled_from(Effect),
    st.sampled_from(("policy.a", "policy.b", "policy.c")),
    rule=st.sampled_from(("r1", "r2")),
    message=st.sampled_from(("m1", "m2")),
)
some = st.lists(verdicts, min_size=1, max_size=8)
scores = st.floats(allow_nan=True, allow_infinity=True) | st.floats(0, 1)
impacts = st.builds(
    an_impact, scores, model=st.none() | st.just("sha256:m"), degraded=st.booleans()
)
obligations = st.lists(
    st.builds(
        Obligation,
        id=st.sampled_from(("1", "2")),
        type=st.sampled_from(("redact", "notify", "require_review")),
        properties=st.dictionaries(st.text(max_size=3), st.integers(), max_size=2),
    ),
    max_size=5,
)
laws = st.tuples(st.floats(0, 1), st.floats(0, 1)).map(
    lambda pair: a_settlement_law(review_from=max(pair), deliberate_from=min(pair))
)

patient = settings(deadline=None)  # the machine may be busy with other things


@patient
@given(st.lists(verdicts, max_size=8), impacts, laws)
def test_it_always_answers_and_says_why(
    said: list[Verdict], impact: Impact, law: SettlementLaw
) -> None:
    settlement = settle(a_judgement(*said), impact, law=law)
    assert settlement.effect in Effect
    assert settlement.lane in Lane
    assert settlement.reasons
    assert all(reason.code and reason.rule and reason.message for reason in settlement.reasons)


@patient
@given(said=some, impact=impacts, law=laws)
def test_the_order_of_verdicts_changes_nothing(
    *, said: list[Verdict], impact: Impact, law: SettlementLaw
) -> None:
    turned = sorted(said, key=lambda verdict: (verdict.message, verdict.code, verdict.rule))
    assert settle(a_judgement(*said), impact, law=law) == settle(
        a_judgement(*turned), impact, law=law
    )


@patient
@given(said=some, owed=obligations, impact=impacts, law=laws)
def test_the_order_of_obligations_changes_nothing(
    *, said: list[Verdict], owed: list[Obligation], impact: Impact, law: SettlementLaw
) -> None:
    one = settle(a_judgement(*said, obligations=tuple(owed)), impact, law=law)
    other = settle(a_judgement(*said, obligations=tuple(owed[::-1])), impact, law=law)
    assert one == other
    assert bool(one.obligations) is (bool(owed) and one.effect is not Effect.DENY)


@patient
@given(said=some, more=verdicts, impact=impacts, law=laws)
def test_one_more_verdict_never_loosens(
    *, said: list[Verdict], more: Verdict, impact: Impact, law: SettlementLaw
) -> None:
    before = settle(a_judgement(*said), impact, law=law).effect
    after = settle(a_judgement(*said, more), impact, law=law).effect
    assert SEVERITY[after] >= SEVERITY[before]
    assert SEVERITY[after] >= SEVERITY[more.effect]


@patient
@given(said=some, one=st.floats(0, 1), other=st.floats(0, 1), law=laws)
def test_more_impact_never_loosens(
    *, said: list[Verdict], one: float, other: float, law: SettlementLaw
) -> None:
    low = settle(a_judgement(*said), an_impact(min(one, other)), law=law).effect
    high = settle(a_judgement(*said), an_impact(max(one, other)), law=law).effect
    assert SEVERITY[high] >= SEVERITY[low]


@patient
@given(some, impacts, laws)
def test_settling_what_was_settled_changes_nothing(
    said: list[Verdict], impact: Impact, law: SettlementLaw
) -> None:
    once = settle(a_judgement(*said), impact, law=law)
    again = [
        a_verdict(
            once.effect, reason.code, rule=reason.rule, message=reason.message, remedy=reason.remedy
        )
        for reason in once.reasons
        if reason.code != "impact.degraded"
    ]
    assert settle(a_judgement(*again), impact, law=law) == once


@patient
@given(said=some, owed=obligations, impact=impacts, law=laws)
def test_an_obligation_never_loosens(
    *, said: list[Verdict], owed: list[Obligation], impact: Impact, law: SettlementLaw
) -> None:
    before = settle(a_judgement(*said), impact, law=law).effect
    after = settle(a_judgement(*said, obligations=tuple(owed)), impact, law=law).effect
    assert SEVERITY[after] >= SEVERITY[before]
