"""What the console says: legible, without what is private, and only what the law would take."""

from __future__ import annotations

from base64 import b64encode
from dataclasses import replace
from datetime import timedelta

import pytest

from policies.panel import Choice
from policies.principal import Principal
from policies.review import Absent, Claim, Closing, Person, Review, State, Vote
from policies.roles import ROLE_SCOPES
from serve_app.console import sheet
from serve_app.console.durations import clock_text, duration_text, left_text
from serve_app.console.shown import legible, shown
from serve_app.masking import leaving, masked

from builders import NOW, a_message, a_principal, a_review, an_impact

RITA = a_principal(
    agent="rita", roles=frozenset({"reviewer"}), scopes=ROLE_SCOPES["reviewer"], token_id="t-2"
)


def a_visitor(principal: Principal) -> Person:
    return Person(name=principal.agent, owner=principal.owner, roles=principal.roles)


def a_vote(by: str = "rita", choice: Choice = Choice.APPROVE) -> Vote:
    return Vote(by=by, answers=by, roles=("reviewer",), choice=choice, reason="seen", at=NOW)


def test_what_is_private_is_masked_until_it_is_revealed() -> None:
    content = {"args": {"to": "anna.svensson@example.com", "text": "hello"}}
    masked, revealed = shown(content, reveal=False), shown(content, reveal=True)
    assert masked.masked == revealed.masked == ("email",)
    assert "anna" not in masked.text
    assert '"text": "hello"' in masked.text
    assert "anna.svensson@example.com" in revealed.text


def test_content_without_anything_private_is_shown_as_it_is() -> None:
    seen = shown({"args": {"path": "reports/q1.md"}}, reveal=False)
    assert (seen.masked, seen.is_cut) == ((), False)
    assert '"path": "reports/q1.md"' in seen.text


def test_long_content_says_how_much_of_it_is_missing() -> None:
    seen = shown({"text": "a b " * 100}, reveal=False, limit=50)
    assert (len(seen.text), seen.is_cut) == (50, True)
    assert seen.size > 400
    assert not shown({"text": "a b " * 100}, reveal=False, limit=None).is_cut


@pytest.mark.parametrize(
    ("written", "read"),
    [
        ("plain text\n", "plain text\n"),
        ("abc\u202etxt.exe", "abc\\u202etxt.exe"),
        ("zero\u200bwidth", "zero\\u200bwidth"),
        ("tag\U000e0041", "tag\\U000e0041"),
        ("bell\x07", "bell\\u0007"),
        ("żółć 漢字 🙂", "żółć 漢字 🙂"),
    ],
)
def test_what_nobody_would_see_is_made_visible(written: str, read: str) -> None:
    assert legible(written) == read


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (-5, "0 s"),
        (45.9, "45 s"),
        (60, "1 min"),
        (3599, "59 min"),
        (3600, "1 h"),
        (11_100, "3 h 5 min"),
        (2 * 86_400 + 4 * 3600, "2 d 4 h"),
    ],
)
def test_a_duration_is_its_two_largest_units(seconds: float, text: str) -> None:
    assert duration_text(timedelta(seconds=seconds)) == text


def test_time_left_is_words_and_ends_as_over() -> None:
    assert left_text(NOW + timedelta(minutes=2), NOW) == "2 min left"
    assert left_text(NOW, NOW) == "over"
    assert clock_text(NOW).endswith("UTC")


def test_a_row_has_age_and_time_left_while_it_is_open() -> None:
    row = sheet.row(a_review(), now=NOW + timedelta(minutes=5))
    assert (row.age, row.left, row.approvals, row.claimed_by) == (
        "5 min",
        "55 min left",
        "0 of 1",
        "",
    )
    ended = sheet.row(a_review(state=State.REJECTED), now=NOW)
    assert (ended.left, ended.state) == ("", "rejected")


def test_bars_are_sorted_and_stay_inside_the_chart() -> None:
    impact = replace(an_impact(), factors={"context": 0.2, "permission": 1.0, "drift": 0.2})
    bars = sheet.bars(a_review(impact=impact))
    assert [(bar.name, bar.value, bar.width) for bar in bars] == [
        ("permission", "1.00", 100),
        ("context", "0.20", 20),
        ("drift", "0.20", 20),
    ]


def test_who_decided_what_is_told_in_order() -> None:
    closing = Closing(code="review.rejected", reason="no", by="sam", at=NOW)
    review = a_review(
        state=State.REJECTED, votes=(a_vote(), a_vote("sam", Choice.REJECT)), closing=closing
    )
    first, second, last = sheet.happenings(review)
    assert first.startswith("rita approved it at ")
    assert second.startswith("sam rejected it at ")
    assert last.startswith("It ended as rejected by sam at ")


@pytest.mark.parametrize(
    ("review", "principal", "why"),
    [
        (a_review(), RITA, None),
        (a_review(), replace(RITA, scopes=frozenset({"reviews:read"})), "reviews:decide"),
        (a_review(), replace(RITA, agent="olga"), "asked for"),
        (a_review(agent="rita"), RITA, ""),
        (a_review(votes=(a_vote(),)), RITA, "voted"),
        (
            a_review(state=State.CLAIMED, claim=Claim(by="sam", until=NOW + timedelta(minutes=9))),
            RITA,
            "sam",
        ),
        (a_review(state=State.EXPIRED), RITA, ""),
    ],
)
def test_a_vote_is_offered_only_where_the_law_would_take_it(
    review: Review, principal: Principal, why: str | None
) -> None:
    soon = NOW + timedelta(seconds=1)
    found = sheet.hindrance(review, principal, a_visitor(principal), now=soon)
    assert (found is None) == (why is None), found
    assert found is None or why is None or why in found


def test_only_who_claimed_it_may_let_go() -> None:
    claimed = a_review(
        state=State.CLAIMED, claim=Claim(by="rita", until=NOW + timedelta(minutes=9))
    )
    rita, sam = a_visitor(RITA), a_visitor(replace(RITA, agent="sam"))
    assert sheet.may_unclaim(claimed, rita, now=NOW)
    assert not sheet.may_unclaim(claimed, sam, now=NOW)
    assert not sheet.may_unclaim(a_review(), rita, now=NOW)


def test_a_vote_in_the_stead_of_another_is_offered_and_told_as_such() -> None:
    review, soon = a_review(), NOW + timedelta(seconds=1)
    absent = Absent(name="rita", owner="rose", roles=frozenset({"reviewer"}))
    dana = Person(name="dana", roles=frozenset({"tenant_admin"}), stands_for=(absent,))
    principal = replace(RITA, agent="dana", roles=frozenset({"tenant_admin"}))
    assert sheet.hindrance(review, principal, dana, now=soon) is None
    assert sheet.stead(review, dana, now=soon) == "rita, rose"
    assert sheet.stead(review, a_visitor(RITA), now=soon) == ""
    assert sheet.stead(a_review(state=State.EXPIRED), dana, now=soon) == ""
    vote = replace(a_vote("dana"), in_stead_of=("rita",))
    [told] = sheet.happenings(a_review(votes=(vote,)))
    assert told.startswith("dana approved it in the stead of rita at ")


def test_what_is_masked_is_the_same_for_the_page_and_for_the_record_of_a_reveal() -> None:
    blob = b64encode(bytes(range(256)) * 680).decode()
    for content, metadata in (
        ({"text": blob}, {"text": blob}),
        ({"text": "write to ann@example.com"}, {"note": "key AKIAIOSFODNN7EXAMPLE"}),
        ({"text": "nothing"}, {}),
    ):
        message = a_message(content=content, metadata=metadata)
        assert masked(message).kinds == shown(leaving(message), reveal=False).masked
