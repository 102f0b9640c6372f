"""What a panel of critics comes to, who is heard on it, and when it may decide at all."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import timedelta
from itertools import product

import pytest

from policies.decision import Decision, Effect, Lane, Obligation
from policies.errors import RefusalError
from policies.panel import (
    SEATS_MAX,
    Choice,
    Opinion,
    Outcome,
    Panel,
    PanelRule,
    Seat,
    approving,
    outcome,
)
from policies.release import released
from policies.review import Claimed, Convened, Escalated, Opined, Review, State, TimePassed, Voted
from policies.review_law import review_of, terms_of
from policies.reviewing import advance

from builders import NOW, a_decision, a_person, a_reason, a_review, a_review_law

SOON = NOW + timedelta(seconds=60)
CLOSES = NOW + timedelta(seconds=300)
RITA = a_person("rita")
SAYS: Mapping[str, Choice | None] = {
    "y": Choice.APPROVE,
    "n": Choice.REJECT,
    "a": Choice.ABSTAIN,
    "-": None,
}


def a_panel(
    votes: str, rule: PanelRule = PanelRule.MAJORITY, needed: int = 1, *weights: int
) -> Panel:
    """A panel on which critic `c0` says the first letter, and so on; `-` is silence."""
    seats = tuple(
        Seat(agent=f"c{n}", weight=weights[n] if weights else 1) for n in range(len(votes))
    )
    opinions = tuple(
        Opinion(
            by=seat.agent,
            answers=seat.agent,
            weight=seat.weight,
            choice=choice,
            reason="why",
            at=SOON,
        )
        for seat, letter in zip(seats, votes, strict=True)
        if (choice := SAYS[letter]) is not None
    )
    return Panel(rule=rule, needed=needed, closes_at=CLOSES, seats=seats, opinions=opinions)


MAJORITY, SUPER, ALL = PanelRule


@pytest.mark.parametrize(
    ("votes", "rule_needed", "expected"),
    [
        ("yy-", (MAJORITY, 2), Outcome.APPROVED),
        ("nn-", (MAJORITY, 2), Outcome.REJECTED),
        ("yn", (MAJORITY, 2), Outcome.SPLIT),  # a tie
        ("yn-", (MAJORITY, 2), Outcome.OPEN),
        ("yna", (MAJORITY, 2), Outcome.SPLIT),
        ("yya", (MAJORITY, 2), Outcome.APPROVED),
        ("y--", (MAJORITY, 1), Outcome.OPEN),  # one of three is no majority
        ("yaa", (MAJORITY, 1), Outcome.APPROVED),
        ("yaa", (MAJORITY, 2), Outcome.SPLIT),  # too few took a side
        ("aaa", (MAJORITY, 1), Outcome.SPLIT),
        ("aa-", (MAJORITY, 1), Outcome.OPEN),
        ("---", (MAJORITY, 1), Outcome.OPEN),
        ("", (MAJORITY, 1), Outcome.SPLIT),
        ("yyn", (SUPER, 3), Outcome.APPROVED),  # exactly two thirds
        ("yynn-", (SUPER, 3), Outcome.SPLIT),  # nobody gets two thirds of five any more
        ("yyn--", (SUPER, 3), Outcome.OPEN),
        ("yyy--", (SUPER, 3), Outcome.OPEN),  # 3 of 5 is less
        ("yyyy-", (SUPER, 3), Outcome.APPROVED),
        ("ynn", (SUPER, 3), Outcome.REJECTED),
        ("yyy", (ALL, 3), Outcome.APPROVED),
        ("yyn", (ALL, 3), Outcome.SPLIT),
        ("yn-", (ALL, 2), Outcome.SPLIT),  # as soon as they differ
        ("yya", (ALL, 2), Outcome.APPROVED),
        ("nnn", (ALL, 3), Outcome.REJECTED),
        ("nn-", (ALL, 2), Outcome.OPEN),
    ],
)
def test_what_the_opinions_come_to(
    votes: str, rule_needed: tuple[PanelRule, int], expected: Outcome
) -> None:
    assert outcome(a_panel(votes, *rule_needed)) is expected


def test_weights_are_counted_and_not_heads() -> None:
    assert outcome(a_panel("ynn", MAJORITY, 2, 5, 1, 1)) is Outcome.APPROVED
    assert outcome(a_panel("yn", MAJORITY, 2, 3, 3)) is Outcome.SPLIT
    # But one critic alone, however heavy, is not enough where several must take a side.
    assert outcome(a_panel("y--", MAJORITY, 2, 100, 1, 1)) is Outcome.OPEN
    assert outcome(a_panel("yaa", MAJORITY, 2, 100, 1, 1)) is Outcome.SPLIT


@pytest.mark.parametrize("rule", list(PanelRule))
@pytest.mark.parametrize("needed", [1, 2, 4])
def test_what_is_decided_cannot_be_undone_by_the_silent_and_what_is_split_cannot_be_won(
    rule: PanelRule, needed: int
) -> None:
    weights = (1, 2, 2, 3)
    seen = set()
    for letters in product("yna-", repeat=4):
        now = outcome(a_panel("".join(letters), rule, needed, *weights))
        seen.add(now)
        ends = {
            outcome(a_panel("".join(full), rule, needed, *weights))
            for full in product(*("yna" if letter == "-" else letter for letter in letters))
        }
        if now is Outcome.OPEN:
            assert ends & {Outcome.APPROVED, Outcome.REJECTED}
        else:
            assert ends == {now}
        assert Outcome.OPEN not in ends
    assert seen == set(Outcome)


def test_who_approved_is_named_in_order() -> None:
    assert approving(a_panel("ynay").opinions) == ("c0", "c3")


# Who is heard

CRITICS = tuple(Seat(agent=name, weight=1) for name in ("carl", "cleo", "cora"))
HELD = a_review(
    state=State.DELIBERATING,
    panel=Panel(rule=MAJORITY, needed=2, closes_at=CLOSES),
)
CALLED = advance(HELD, Convened(critics=CRITICS), now=SOON)


def critic(name: str, *, owner: str | None = None) -> Opined:
    person = a_person(name, "critic", owner=owner)
    return Opined(by=person, choice=Choice.APPROVE, reason="it is as last week")


def refused(review: Review, event: Opined, now_s: float = 60) -> tuple[str, int]:
    with pytest.raises(RefusalError) as caught:
        advance(review, event, now=NOW + timedelta(seconds=now_s))
    return caught.value.code, caught.value.status


def test_the_house_of_the_requester_is_not_called() -> None:
    house = (Seat(agent="writer", weight=9), Seat(agent="olga", weight=9), *CRITICS)
    called = advance(HELD, Convened(critics=house), now=SOON)
    assert called.panel is not None
    assert called.panel.seats == CRITICS


def test_no_more_are_called_than_there_are_seats() -> None:
    crowd = tuple(Seat(agent=f"critic-{n:03}", weight=1) for n in range(SEATS_MAX + 5))
    called = advance(HELD, Convened(critics=crowd), now=SOON)
    assert called.panel is not None
    assert called.panel.seats == crowd[:SEATS_MAX]


def test_too_few_critics_leave_it_to_people_at_once() -> None:
    alone = advance(HELD, Convened(critics=CRITICS[:1]), now=SOON)
    assert alone.state is State.PENDING
    assert (
        advance(alone, Voted(by=RITA, choice=Choice.APPROVE, reason="fine"), now=SOON).state
        is State.APPROVED
    )


def test_nobody_is_called_twice() -> None:
    assert advance(CALLED, Convened(critics=CRITICS[:1]), now=SOON) is CALLED


@pytest.mark.parametrize(
    ("event", "expected"),
    [
        (critic("olga"), ("review.self_approval", 403)),
        (critic("carl", owner="olga"), ("review.self_approval", 403)),
        (critic("mallory"), ("review.not_called", 403)),
        (replace(critic("carl"), by=a_person("carl", "agent")), ("review.not_called", 403)),
        (replace(critic("carl"), reason=" "), ("review.reason_required", 422)),
        (replace(critic("carl"), digest="sha256:other"), ("review.digest_mismatch", 409)),
    ],
)
def test_only_who_was_called_is_heard_and_only_on_what_it_was_shown(
    event: Opined, expected: tuple[str, int]
) -> None:
    assert refused(CALLED, event) == expected


def test_a_critic_speaks_once_and_in_time() -> None:
    heard = advance(CALLED, critic("carl"), now=SOON)
    assert refused(heard, critic("carl")) == ("review.already_voted", 409)
    # Nor by the word of another agent of the same owner: a house speaks once.
    owned = advance(CALLED, critic("carl", owner="boss"), now=SOON)
    assert refused(owned, critic("cleo", owner="boss")) == ("review.already_voted", 409)
    assert refused(owned, critic("cora", owner="carl")) == ("review.already_voted", 409)
    assert refused(heard, critic("cleo"), 300) == ("review.panel_closed", 409)
    assert refused(HELD, critic("carl")) == ("review.not_called", 403)


def test_what_the_panel_says_stays_on_the_review_when_people_take_over() -> None:
    heard = advance(CALLED, critic("carl"), now=SOON)
    late = advance(heard, TimePassed(), now=CLOSES)
    assert (late.state, late.panel) == (State.PENDING, heard.panel)
    assert refused(late, critic("cleo")) == ("review.panel_closed", 409)


@pytest.mark.parametrize(
    ("event", "state"),
    [
        (Claimed(by=RITA, seconds=60), State.CLAIMED),
        (Escalated(by=RITA, reason="for people"), State.PENDING),
        (Voted(by=RITA, choice=Choice.ABSTAIN, reason="not mine"), State.PENDING),
        (Voted(by=RITA, choice=Choice.REJECT, reason="no"), State.REJECTED),
        (Voted(by=RITA, choice=Choice.APPROVE, reason="yes"), State.APPROVED),
    ],
)
def test_people_may_take_it_from_the_panel_at_any_time(
    event: Claimed | Escalated | Voted, state: State
) -> None:
    taken = advance(CALLED, event, now=SOON)
    assert taken.state is state
    if state in (State.PENDING, State.CLAIMED):
        assert refused(taken, critic("carl")) == ("review.panel_closed", 409)


# When a panel may decide

LAW = a_review_law()
ASKED = a_reason("policy.panel_required", rule="settlement.require_panel")


def asks(**properties: object) -> Obligation:
    return Obligation(id="acgs.test.panel", type="require_panel", properties=properties)


def held(*obligations: Obligation, **changes: object) -> Decision:
    decision = a_decision(effect=Effect.REVIEW, reasons=(ASKED,), obligations=obligations)
    return replace(decision, **changes)  # type: ignore[arg-type]  # fields of Decision


def test_a_policy_asks_for_a_panel_and_the_strictest_demands_add_up() -> None:
    panel = terms_of(
        held(asks(rule="unanimous", quorum=2, ttl=120), asks(quorum=5, ttl=60)), LAW
    ).panel
    assert panel is not None
    assert (panel.rule, panel.needed) == (PanelRule.UNANIMOUS, 5)
    assert (panel.closes_at - held().decided_at).total_seconds() == 60
    assert review_of(held(asks()), LAW).state is State.DELIBERATING


@pytest.mark.parametrize(
    "decision",
    [
        held(),
        held(asks(), Obligation(id="x", type="require_review", properties={})),
        held(asks(), reasons=(ASKED, a_reason("policy.held"))),  # a rule holds it too
        held(asks(), impact=replace(held().impact, score=0.95)),  # too grave for critics
        held(asks(), asks(rule="whoever")),
    ],
    ids=["not asked", "people asked", "held by a rule", "grave", "unclear"],
)
def test_everything_else_is_for_people(decision: Decision) -> None:
    assert terms_of(decision, LAW).panel is None
    assert review_of(decision, LAW).state is State.PENDING


@pytest.mark.parametrize(
    "properties",
    [{"rule": "whoever"}, {"rule": 3}, {"quorum": 0}, {"quorum": True}, {"quorum": "3"},
     {"ttl": 0}, {"ttl": float("nan")}, {"ttl": "5m"}, {"seats": 3}],
    ids=str,
)  # fmt: skip
def test_what_cannot_be_understood_counts_as_the_gravest_tier(
    properties: Mapping[str, object],
) -> None:
    terms = terms_of(held(asks(**properties)), LAW)
    assert (terms.panel, terms.tier) == (None, "grave")


def test_more_critics_than_there_are_seats_cannot_be_had_so_people_decide() -> None:
    review = review_of(held(asks(quorum=1000)), LAW)
    crowd = tuple(Seat(agent=f"critic-{n:03}", weight=1) for n in range(200))
    assert advance(review, Convened(critics=crowd), now=review.opened_at).state is State.PENDING


# Letting go

APPROVED = advance(advance(CALLED, critic("carl"), now=SOON), critic("cleo"), now=SOON)


def test_what_a_panel_approved_goes_under_the_names_of_the_critics() -> None:
    assert APPROVED.state is State.APPROVED
    decision = released(held(asks(rule="majority", quorum=2)), APPROVED, LAW)
    assert (decision.effect, decision.lane) == (Effect.ALLOW, Lane.DELIBERATION)
    assert decision.approvers == ("carl", "cleo")
    assert [reason.code for reason in decision.reasons] == ["review.panel_approved"]
    assert decision.obligations == ()


@pytest.mark.parametrize(
    "today",
    [
        held(asks(), reasons=(a_reason("policy.held"),)),
        held(asks(rule="majority", quorum=3)),
        held(asks(rule="unanimous", quorum=2)),
        held(Obligation(id="x", type="require_review", properties={})),
    ],
    ids=["a rule holds it now", "more critics", "all of them", "people"],
)
def test_a_law_that_asks_for_more_by_now_wins_over_the_panel(today: Decision) -> None:
    decision = released(today, APPROVED, LAW)
    assert decision.effect is Effect.DENY
    assert [reason.code for reason in decision.reasons] == ["review.quorum_raised"]
