"""What a person reads about a review: enough to decide, in plain words, and nothing obeyed."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from policies.panel import Choice, Panel, PanelRule, Seat
from policies.review import Consumed, Convened, GlassBroken, Opined, Review, State, Voted
from policies.reviewing import advance
from serve_app.api.review_views import review_view
from serve_app.cli.output import Format
from serve_app.cli.reviews import _event, _line, _show, left, tell
from serve_app.cli.stream import Told

from builders import NOW, a_person, a_quorum, a_review

ID = "01a208aa-425a-7eb4-a81f-b7174136d94b"


def shown(review: Review) -> dict[str, Any]:
    view: dict[str, Any] = json.loads(json.dumps(review_view(review)))
    return view


def voted(review: Review, choice: Choice = Choice.APPROVE, reason: str = "it is fine") -> Review:
    return advance(review, Voted(by=a_person(), choice=choice, reason=reason), now=NOW)


def test_a_review_shows_what_a_person_must_know(capsys: pytest.CaptureFixture[str]) -> None:
    review = voted(a_review(review_id=ID, quorum=a_quorum(2)))
    _show(shown(review), {"content": {"tool": "email.send", "args": {"to": "inga"}}})
    out = capsys.readouterr().out
    assert out.startswith(f"pending  {ID}, 1 of 2 approved\n")
    for part in (
        *("writer of acme", "mailer", "email.send", "policy.held", "2 of reviewer"),
        *("approve by rita (reviewer)", "it is fine", review.action_digest, '"to": "inga"'),
    ):
        assert part in out, part


def test_what_agents_and_people_wrote_is_shown_and_not_obeyed(
    capsys: pytest.CaptureFixture[str],
) -> None:
    review = voted(a_review(tool="\x1b[2J"), reason="\u202eenif si ti")
    _show(shown(review), {"content": {"text": "\x1b]0;hello\x07 \u202e"}})
    out = capsys.readouterr().out
    assert "\x1b" not in out
    assert "\u202e" not in out


def test_what_became_of_it_is_one_line_and_what_it_leads_to(
    capsys: pytest.CaptureFixture[str],
) -> None:
    gone = advance(voted(a_review(review_id=ID)), Consumed(released_by="decision-2"), now=NOW)
    tell(shown(gone), Format.TABLE)
    assert capsys.readouterr().out.splitlines() == [
        f"consumed  {ID}, 1 of 1 approved",
        "  decision     decision-2",
    ]
    tell(shown(voted(a_review(review_id=ID), Choice.REJECT, "not this")), Format.TABLE)
    assert capsys.readouterr().out.splitlines() == [
        f"rejected  {ID}, 0 of 1 approved",
        "  review.rejected: not this",
    ]


@pytest.mark.parametrize("form", [Format.JSON, Format.JSONL])
def test_a_program_gets_the_whole_review(capsys: pytest.CaptureFixture[str], form: Format) -> None:
    tell(shown(a_review()), form)
    assert json.loads(capsys.readouterr().out) == shown(a_review())


def test_the_list_says_what_waits_how_far_it_is_and_how_long_it_may_wait(
    capsys: pytest.CaptureFixture[str],
) -> None:
    _line(shown(a_review(review_id=ID)), now=NOW + timedelta(seconds=1))
    out = capsys.readouterr().out
    assert out.startswith("12:00:00 pending       writer")
    for part in ("email.send", "0 of 1 approved, 59m left", ID):
        assert part in out
    _line(shown(voted(a_review(), Choice.REJECT)), now=NOW)
    assert "left" not in capsys.readouterr().out


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(-5, "0s"), (0.9, "0s"), (59.9, "59s"), (60, "1m"), (7199, "1h"), (86_400 * 2.5, "2d")],
)
def test_a_time_to_go_is_told_in_its_largest_unit(seconds: float, text: str) -> None:
    assert left(seconds) == text


def test_an_event_is_a_line_also_when_its_review_is_not_kept_any_more(
    capsys: pytest.CaptureFixture[str],
) -> None:
    event = {
        "review_id": ID,
        "step": "vote",
        "state": "approved",
        "version": 2,
        "at": "2026-11-23T12:00:00.000Z",
        "review": shown(a_review()),
    }
    _event(Told("1-0", "review", json.dumps(event)), Format.TABLE)
    out = capsys.readouterr().out
    assert out.startswith("12:00:00 approved")
    for part in ("writer", "email.send", "vote", ID):
        assert part in out
    _event(Told("2-0", "review", json.dumps({**event, "review": None})), Format.TABLE)
    assert ID in capsys.readouterr().out
    _event(Told("2-0", "review", json.dumps(event)), Format.JSONL)
    assert json.loads(capsys.readouterr().out) == {"id": "2-0", **event}


def test_a_review_shows_what_critics_said_and_whose_glass_is_broken(
    capsys: pytest.CaptureFixture[str],
) -> None:
    closes_at = NOW + timedelta(minutes=5)
    panel = Panel(rule=PanelRule.MAJORITY, needed=2, closes_at=closes_at)
    review = a_review(state=State.DELIBERATING, panel=panel)
    _show(shown(review), None)
    out = capsys.readouterr().out
    assert "majority of at least 2; the critics are being called" in out
    seats = (Seat(agent="carl", weight=2), Seat(agent="cleo", weight=1))
    review = advance(review, Convened(critics=seats), now=NOW)
    said = Opined(by=a_person("cleo", "critic"), choice=Choice.REJECT, reason="it is false")
    review = advance(review, said, now=NOW)
    broken = GlassBroken(by=a_person("tina", "tenant_admin"), reason="it burns")
    _show(shown(replace(advance(review, broken, now=NOW), follows="decision-0")), None)
    out = capsys.readouterr().out
    for part in (
        *("called: carl (2), cleo (1)", "reject by critic cleo", "it is false"),
        *("glass broken by tina", "it burns", "decision-0, whose glass was broken"),
    ):
        assert part in out, part


def test_who_approved_is_said_though_it_was_no_quorum_of_people(
    capsys: pytest.CaptureFixture[str],
) -> None:
    panel = Panel(rule=PanelRule.MAJORITY, needed=2, closes_at=NOW + timedelta(minutes=5))
    review = a_review(review_id=ID, state=State.DELIBERATING, panel=panel)
    seats = (Seat(agent="carl", weight=1), Seat(agent="cleo", weight=1))
    review = advance(review, Convened(critics=seats), now=NOW)
    for name in ("carl", "cleo"):
        said = Opined(by=a_person(name, "critic"), choice=Choice.APPROVE, reason="yes")
        review = advance(review, said, now=NOW)
    tell(shown(review), Format.TABLE)
    assert capsys.readouterr().out == f"approved  {ID}, 2 critics approved\n"
    review = a_review(review_id=ID)
    for name in ("tina", "tom"):
        broken = GlassBroken(by=a_person(name, "tenant_admin"), reason="it burns")
        review = advance(review, broken, now=NOW)
    tell(shown(review), Format.TABLE)
    assert capsys.readouterr().out == f"approved  {ID}, 2 through broken glass approved\n"
