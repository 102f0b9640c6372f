"""How a precedent reads: as JSON, on the console's page, and in a terminal."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from policies.panel import Choice
from policies.precedent import Likeness, Part, Precedent
from policies.review import Closing, Glass, State, Vote
from serve_app.api.alike_schemas import PrecedentOut
from serve_app.api.precedents import precedent_view
from serve_app.cli.alike import show_precedents
from serve_app.console.alike import Before, before

from builders import NOW, a_review

WHOLE = Likeness(score=1.0, same=tuple(Part), partly=())
HALF = Likeness(score=0.4567, same=(Part.TOOL, Part.SHAPE), partly=(Part.RULES,))
LATER = NOW + timedelta(hours=2)


def a_vote(by: str, choice: Choice) -> Vote:
    return Vote(by=by, answers=by, roles=("reviewer",), choice=choice, reason="seen", at=NOW)


def a_precedent(
    likeness: Likeness = WHOLE, *, reason: str = "still needed", by: str | None = "sam"
) -> Precedent:
    review = replace(
        a_review(review_id="r1"),
        state=State.REJECTED,
        votes=(a_vote("rita", Choice.APPROVE), a_vote("sam", Choice.REJECT)),
        closing=Closing(code="review.rejected", reason=reason, by=by, at=NOW),
    )
    return Precedent(review=review, likeness=likeness, ended_at=NOW)


def broken(afterwards: State | None) -> Precedent:
    """It went through broken glass; what others said of it then."""
    one = a_precedent()
    tina = a_vote("tina", Choice.APPROVE)
    glass = Glass(needed=1, roles=("tenant_admin",), broken=(tina,))
    after = None if afterwards is None else a_review(review_id="r2", state=afterwards)
    review = replace(one.review, state=State.CONSUMED, votes=(), glass=glass)
    return replace(one, review=review, afterwards=after)


def undecided() -> Precedent:
    one = a_precedent(by=None, reason="nobody decided in time")
    return replace(one, review=replace(one.review, votes=(), state=State.EXPIRED))


def as_json(precedent: Precedent) -> dict[str, Any]:
    view: dict[str, Any] = json.loads(json.dumps(precedent_view(precedent)))
    PrecedentOut.model_validate(view)
    return view


def on_the_page(precedent: Precedent) -> Before:
    return before(precedent, now=LATER)


def test_a_program_is_told_who_decided_what_and_what_is_alike() -> None:
    view = as_json(a_precedent(HALF))
    assert (view["approved_by"], view["rejected_by"]) == (["rita"], ["sam"])
    assert (view["same"], view["partly"], view["score"]) == (["tool", "shape"], ["rules"], 0.4567)
    assert view["closing"]["reason"] == "still needed"
    assert view["afterwards"] is None
    after = as_json(broken(State.CONSUMED))
    assert after["afterwards"] == {"review_id": "r2", "state": "consumed"}
    assert after["approved_by"] == ["tina"]


def test_the_page_says_in_words_what_is_alike_and_who_decided() -> None:
    row = on_the_page(a_precedent(HALF))
    assert (row.alike, row.age) == ("46%", "2 h")
    assert row.common == "the same tool, kind of arguments; in part the same rules"
    assert row.decided == "approved by rita; rejected by sam"
    assert on_the_page(a_precedent()).common == "the very same action"
    partly = Likeness(score=0.1, same=(), partly=(Part.RULES,))
    assert on_the_page(a_precedent(partly)).common == "in part the same rules"


def test_the_page_says_who_ended_what_nobody_voted_on() -> None:
    assert on_the_page(undecided()).decided == "nobody decided"
    one = undecided()
    closing = Closing(code="review.cancelled", reason="never mind", by="writer", at=NOW)
    cancelled = replace(one.review, state=State.CANCELLED, closing=closing)
    assert on_the_page(replace(one, review=cancelled)).decided == "cancelled by writer"


@pytest.mark.parametrize(
    ("afterwards", "said"),
    [
        (None, "let go without its quorum"),
        (State.PENDING, "let go without its quorum; others still look at it"),
        (State.CONSUMED, "let go without its quorum; others found that right"),
        (State.REJECTED, "let go without its quorum; others found that wrong"),
        (State.EXPIRED, "let go without its quorum; nobody else looked at it in time"),
    ],
)
def test_the_page_says_what_others_thought_of_broken_glass(
    afterwards: State | None, said: str
) -> None:
    assert on_the_page(broken(afterwards)).glass == said
    assert on_the_page(a_precedent()).glass == ""


def test_a_long_reason_is_cut_on_the_page() -> None:
    assert on_the_page(a_precedent(reason="x" * 2000)).reason == "x" * 300 + "…"


def test_a_terminal_shows_each_with_what_is_alike_and_how_it_ended(
    capsys: pytest.CaptureFixture[str],
) -> None:
    show_precedents([])
    assert capsys.readouterr().out == ""
    found = [a_precedent(HALF, reason="\x1b[2J no"), broken(State.REJECTED), undecided()]
    show_precedents([as_json(one) for one in found])
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "  how it went before:"
    assert lines[1] == (
        "    rejected  r1, 46% alike: the same tool, kind of arguments; in part the same rules"
    )
    assert lines[2].startswith("      approved by rita; rejected by sam: ")
    assert "\x1b" not in lines[2]
    assert lines[5] == "      its glass was broken; afterwards: rejected"
    assert lines[7] == "      nobody decided: nobody decided in time"
