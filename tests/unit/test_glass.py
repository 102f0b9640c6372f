"""Breaking the glass: two people let it go without its quorum, and others look at it afterwards."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from policies.afterwards import afterwards, afterwards_id
from policies.decision import Effect, Lane, Obligation
from policies.errors import RefusalError
from policies.panel import Choice
from policies.release import released
from policies.review import (
    Absent,
    Cancelled,
    Claimed,
    Consumed,
    Event,
    GlassBroken,
    Person,
    Review,
    State,
    Voted,
)
from policies.review_notice import notice_of
from policies.reviewing import advance, consumable

from builders import NOW, a_decision, a_person, a_quorum, a_review, a_review_law

SOON = NOW + timedelta(seconds=60)
TINA, TOM, TESS = (a_person(name, "tenant_admin") for name in ("tina", "tom", "tess"))
RITA = a_person("rita")
LAW = a_review_law()
GRAVE = a_review(quorum=a_quorum(3), tier="grave")


def breaks(person: Person, reason: str = "the site is down", digest: str | None = None) -> Event:
    return GlassBroken(by=person, reason=reason, digest=digest)


def after(review: Review, *events: Event) -> Review:
    for event in events:
        review = advance(review, event, now=SOON)
    return review


def refused(review: Review, event: Event) -> tuple[str, int]:
    with pytest.raises(RefusalError) as caught:
        advance(review, event, now=SOON)
    return caught.value.code, caught.value.status


BROKEN = after(GRAVE, breaks(TINA), breaks(TOM, "I saw it too"))


def test_it_takes_two_and_both_are_named() -> None:
    one = after(GRAVE, breaks(TINA))
    assert one.state is State.PENDING
    assert BROKEN.state is State.APPROVED
    assert BROKEN.glass is not None
    assert [(vote.by, vote.reason) for vote in BROKEN.glass.broken] == [
        ("tina", "the site is down"),
        ("tom", "I saw it too"),
    ]
    assert BROKEN.votes == ()


@pytest.mark.parametrize(
    ("event", "expected"),
    [
        (breaks(RITA), ("review.glass_refused", 403)),
        (breaks(a_person("olga", "tenant_admin")), ("review.self_approval", 403)),
        (breaks(a_person("bot", "tenant_admin", owner="olga")), ("review.self_approval", 403)),
        (breaks(TOM, " "), ("review.reason_required", 422)),
        (breaks(TOM, digest="sha256:other"), ("review.digest_mismatch", 409)),
        (breaks(TINA), ("review.already_voted", 409)),
        (breaks(a_person("bot", "tenant_admin", owner="tina")), ("review.already_voted", 409)),
    ],
)
def test_the_second_is_somebody_else_who_may(event: Event, expected: tuple[str, int]) -> None:
    assert refused(after(GRAVE, breaks(TINA)), event) == expected


def test_nobody_breaks_it_in_the_stead_of_another() -> None:
    absent = Absent(name="tess", owner=None, roles=frozenset({"tenant_admin"}))
    stand_in = replace(RITA, stands_for=(absent,))
    assert refused(GRAVE, breaks(stand_in)) == ("review.glass_refused", 403)


def test_a_claim_does_not_stop_an_emergency() -> None:
    claimed = after(GRAVE, Claimed(by=RITA, seconds=600))
    broken = after(claimed, breaks(TINA), breaks(TOM))
    assert (broken.state, broken.claim) == (State.APPROVED, None)


def test_where_nobody_may_break_it_it_stays_whole() -> None:
    assert refused(replace(GRAVE, glass=None), breaks(TINA)) == ("review.glass_refused", 403)


def test_what_went_through_says_so_and_satisfies_no_quorum() -> None:
    decision = released(a_decision(effect=Effect.REVIEW), BROKEN, LAW)
    assert (decision.effect, decision.lane) == (Effect.ALLOW, Lane.HUMAN)
    assert decision.approvers == ("tina", "tom")
    assert [reason.code for reason in decision.reasons] == ["review.glass_broken"]


def test_a_law_that_wants_more_people_for_it_by_now_wins() -> None:
    today = a_decision(effect=Effect.REVIEW)
    for glass in (replace(LAW.glass, needed=3), replace(LAW.glass, roles=("reviewer",))):
        decision = released(today, BROKEN, replace(LAW, glass=glass))
        assert decision.effect is Effect.DENY
        assert [reason.code for reason in decision.reasons] == ["review.quorum_raised"]


def test_broken_glass_lifts_no_denial() -> None:
    decision = released(a_decision(effect=Effect.DENY), BROKEN, LAW)
    assert decision.effect is Effect.DENY


def test_broken_glass_fulfils_no_obligation() -> None:
    duty = Obligation(id="x", type="watermark", properties={})
    today = a_decision(effect=Effect.REVIEW, obligations=(duty,))
    assert released(today, BROKEN, LAW).effect is Effect.DENY


# Afterwards

LATER = SOON + timedelta(seconds=5)
FOLLOWS = afterwards(BROKEN, LAW, now=LATER)


def test_others_look_at_it_afterwards_with_the_quorum_that_was_left_out() -> None:
    assert FOLLOWS.review_id == afterwards_id(BROKEN) != BROKEN.review_id
    assert (FOLLOWS.follows, FOLLOWS.decision_id) == (BROKEN.review_id, BROKEN.decision_id)
    assert (FOLLOWS.state, FOLLOWS.quorum, FOLLOWS.delivers) == (
        State.PENDING,
        BROKEN.quorum,
        False,
    )
    assert FOLLOWS.expires_at == LATER + timedelta(seconds=LAW.glass.afterwards_s)
    assert FOLLOWS.due_at is not None
    assert FOLLOWS.due_at > LATER
    first = FOLLOWS.reasons[0]
    assert first.code == "review.glass_broken"
    assert "tina, tom" in first.message
    assert "the site is down; I saw it too" in first.message


def test_the_same_glass_is_followed_by_one_review() -> None:
    assert afterwards(BROKEN, LAW, now=LATER + timedelta(days=1)).review_id == FOLLOWS.review_id
    assert afterwards_id(replace(BROKEN, review_id="decision-2")) != FOLLOWS.review_id
    assert afterwards_id(replace(BROKEN, tenant="globex")) != FOLLOWS.review_id


def test_whole_glass_is_followed_by_nothing() -> None:
    for whole in (GRAVE, after(GRAVE, breaks(TINA)), replace(GRAVE, glass=None)):
        with pytest.raises(ValueError, match="nobody broke"):
            afterwards(whole, LAW, now=LATER)


@pytest.mark.parametrize(
    "person",
    [TINA, TOM, a_person("bot", "reviewer", owner="tina"), a_person("tina", "reviewer")],
)
def test_who_broke_it_does_not_judge_it(person: Person) -> None:
    vote = Voted(by=person, choice=Choice.APPROVE, reason="I was right")
    with pytest.raises(RefusalError) as caught:
        advance(FOLLOWS, vote, now=LATER)
    assert (caught.value.code, caught.value.status) == ("review.barred", 403)


def test_nor_does_who_stands_in_for_them() -> None:
    absent = Absent(name="tina", owner=None, roles=frozenset({"reviewer"}))
    stand_in = Person(name="paul", stands_for=(absent,))
    vote = Voted(by=stand_in, choice=Choice.APPROVE, reason="she was right")
    with pytest.raises(RefusalError) as caught:
        advance(FOLLOWS, vote, now=LATER)
    assert caught.value.code == "review.barred"


def test_it_ends_as_upheld_or_as_rejected_and_nothing_leaves() -> None:
    yes = [Voted(by=a_person(f"p{n}"), choice=Choice.APPROVE, reason="right") for n in range(3)]
    upheld = FOLLOWS
    for vote in yes:
        upheld = advance(upheld, vote, now=LATER)
    assert upheld.state is State.APPROVED
    ended = advance(upheld, Consumed(released_by=upheld.decision_id), now=LATER)
    assert ended.state is State.CONSUMED
    no = Voted(by=RITA, choice=Choice.REJECT, reason="it was no emergency")
    assert advance(FOLLOWS, no, now=LATER).state is State.REJECTED


def test_the_agent_neither_uses_nor_cancels_nor_hears_of_it() -> None:
    writer = a_person("writer", "agent")
    for act in (
        lambda: consumable(FOLLOWS, by=writer, digest=FOLLOWS.action_digest, now=LATER),
        lambda: advance(FOLLOWS, Cancelled(by=writer, reason="no need"), now=LATER),
    ):
        with pytest.raises(RefusalError) as caught:
            act()
        assert caught.value.code == "review.not_requester"
    no = Voted(by=RITA, choice=Choice.REJECT, reason="it was no emergency")
    assert notice_of(advance(FOLLOWS, no, now=LATER), now=LATER) is None
