"""What the page of a review says about critics and glass, in words that are true at each moment."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from policies.panel import Choice, Panel, PanelRule, Seat
from policies.review import Claimed, Convened, GlassBroken, Opined, Review, State, TimePassed
from policies.reviewing import advance
from serve_app.console import panel as pages
from serve_app.console import sheet

from builders import NOW, a_person, a_principal, a_review

CLOSES = NOW + timedelta(seconds=300)
SEATS = (Seat(agent="carl", weight=2), Seat(agent="cleo", weight=1))
UNCALLED = a_review(
    state=State.DELIBERATING,
    panel=Panel(rule=PanelRule.SUPER_MAJORITY, needed=2, closes_at=CLOSES),
)
CALLED = advance(UNCALLED, Convened(critics=SEATS), now=NOW)
CARL = Opined(by=a_person("carl", "critic"), choice=Choice.APPROVE, reason="it is true")


def stands(review: Review, *, seconds: float = 0) -> str:
    critics = pages.critics(review, now=NOW + timedelta(seconds=seconds))
    assert critics is not None
    return critics.stands


def test_where_a_panel_stands_is_said_in_words() -> None:
    assert stands(UNCALLED) == "They are being called."
    assert stands(CALLED) == "They may decide it before people do: 5 min left."
    alone = advance(UNCALLED, Convened(critics=SEATS[:1]), now=NOW)
    assert stands(alone) == "There were too few of them, so people decide."
    heard = advance(CALLED, CARL, now=NOW)
    late = advance(heard, TimePassed(), now=CLOSES)
    assert stands(late, seconds=300) == "They came to no decision in time."
    claimed = advance(heard, Claimed(by=a_person(), seconds=60), now=NOW)
    assert stands(claimed) == "People took it over."
    other = replace(CARL, by=a_person("cleo", "critic"))
    split = advance(heard, replace(other, choice=Choice.ABSTAIN), now=NOW)
    assert stands(split) == "They could not decide it, so people do."
    assert stands(advance(heard, other, now=NOW)) == "They approved it."


def test_who_was_called_and_what_it_takes_stands_there() -> None:
    critics = pages.critics(CALLED, now=NOW)
    assert critics is not None
    assert critics.takes == "2 of them with a side, and two thirds of the weight on one"
    assert critics.called == ("carl (weight 2)", "cleo (weight 1)")
    assert pages.critics(a_review(), now=NOW) is None


def test_what_critics_said_and_who_broke_the_glass_is_told_in_order() -> None:
    review = advance(CALLED, CARL, now=NOW + timedelta(seconds=60))
    tina = GlassBroken(by=a_person("tina", "tenant_admin"), reason="it burns")
    review = advance(review, tina, now=NOW + timedelta(seconds=120))
    first, second = sheet.happenings(review)
    assert first.startswith("Critic carl approved it at ")
    assert first.endswith("“it is true”")
    assert second.startswith("tina broke the glass at ")


@pytest.mark.parametrize(
    ("name", "role", "may"),
    [("tina", "tenant_admin", True), ("rita", "reviewer", False), ("olga", "tenant_admin", False)],
)
def test_the_glass_is_offered_only_to_who_may_break_it(name: str, role: str, *, may: bool) -> None:
    principal = a_principal(agent=name, roles=frozenset({role}), scopes={"reviews:decide"})
    person = a_person(name, role)
    assert pages.may_break_glass(a_review(), principal, person, now=NOW) is may
    reader = a_principal(agent=name, roles=frozenset({role}), scopes={"reviews:read"})
    assert not pages.may_break_glass(a_review(), reader, person, now=NOW)
