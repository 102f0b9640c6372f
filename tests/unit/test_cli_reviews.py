"""What a person reads about a review: enough to decide, in plain words, and nothing obeyed."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import Any

import pytest

from policies.review import Choice, Consumed, Review, Voted
from policies.reviewing import advance
from serve_app.api.review_views import review_view
from serve_app.cli.output import Format
from serve_app.cli.reviews import _event, _line, _show, _tell, left
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
    _tell(shown(gone), Format.TABLE)
    assert capsys.readouterr().out.splitlines() == [
        f"consumed  {ID}, 1 of 1 approved",
        "  decision     decision-2",
    ]
    _tell(shown(voted(a_review(review_id=ID), Choice.REJECT, "not this")), Format.TABLE)
    assert capsys.readouterr().out.splitlines() == [
        f"rejected  {ID}, 0 of 1 approved",
        "  review.rejected: not this",
    ]


@pytest.mark.parametrize("form", [Format.JSON, Format.JSONL])
def test_a_program_gets_the_whole_review(capsys: pytest.CaptureFixture[str], form: Format) -> None:
    _tell(shown(a_review()), form)
    assert json.loads(capsys.readouterr().out) == shown(a_review())


def test_the_list_says_what_waits_how_far_it_is_and_how_long_it_may_wait(
    capsys: pytest.CaptureFixture[str],
) -> None:
    _line(shown(a_review(review_id=ID)), now=NOW + timedelta(seconds=1))
    out = capsys.readouterr().out
    assert out.startswith("12:00:00 pending    writer")
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
