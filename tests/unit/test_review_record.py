"""A review survives its journey through bytes, and nothing else passes for one."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from actors.reviews.record import DamagedReviewError, moment, pack, timestamp, unpack
from policies.decision import Impact, Reason
from policies.panel import Choice, Opinion, Panel, PanelRule, Seat
from policies.review import (
    Claim,
    Closing,
    Glass,
    Ladder,
    Quorum,
    Review,
    Rule,
    State,
    Vote,
)

from builders import a_review, an_impact

TEXTS = st.text(st.characters(codec="utf-8"), max_size=40)
NAMES = st.tuples(TEXTS, TEXTS) | st.tuples() | st.tuples(TEXTS)
ZONES = st.sampled_from([UTC, timezone(timedelta(hours=5, minutes=30))])
TIMES = st.datetimes(datetime(1971, 1, 1), datetime(2200, 1, 1), timezones=ZONES)  # noqa: DTZ001
NUMBERS = st.floats(allow_nan=False, allow_infinity=False)
VOTES = st.builds(
    Vote,
    by=TEXTS,
    answers=TEXTS,
    roles=NAMES,
    choice=st.sampled_from(Choice),
    reason=TEXTS,
    at=TIMES,
    in_stead_of=NAMES,
)
PANELS = st.builds(
    Panel,
    rule=st.sampled_from(PanelRule),
    needed=st.integers(1, 32),
    closes_at=TIMES,
    seats=st.none()
    | st.lists(st.builds(Seat, agent=TEXTS, weight=st.integers(1, 100)), max_size=2).map(tuple),
    opinions=st.lists(
        st.builds(
            Opinion,
            by=TEXTS,
            answers=TEXTS,
            weight=st.integers(1, 100),
            choice=st.sampled_from(Choice),
            reason=TEXTS,
            at=TIMES,
        ),
        max_size=2,
    ).map(tuple),
)
GLASSES = st.builds(
    Glass,
    needed=st.integers(2, 5),
    roles=NAMES,
    broken=st.lists(VOTES, max_size=2).map(tuple),
)
REVIEWS = st.builds(
    Review,
    review_id=TEXTS,
    tenant=TEXTS,
    decision_id=TEXTS,
    message_id=TEXTS,
    agent=TEXTS,
    owner=st.none() | TEXTS,
    agent_roles=NAMES,
    recipient=st.none() | TEXTS,
    action=TEXTS,
    tool=TEXTS,
    resource=TEXTS,
    action_digest=TEXTS,
    policy_revision=TEXTS,
    constitution_digest=TEXTS,
    impact=st.builds(
        Impact,
        score=NUMBERS,
        factors=st.dictionaries(TEXTS, NUMBERS, max_size=3),
        model=st.none() | TEXTS,
        degraded=st.booleans(),
    ),
    reasons=st.lists(
        st.builds(Reason, code=TEXTS, rule=TEXTS, message=TEXTS, remedy=TEXTS), max_size=2
    ).map(tuple),
    tier=TEXTS,
    quorum=st.builds(
        Quorum,
        needed=st.integers(1, 32),
        roles=NAMES,
        each=st.booleans(),
        rule=st.sampled_from(Rule),
    ),
    ladder=st.builds(
        Ladder,
        level=st.integers(1, 3),
        step_s=NUMBERS,
        next_at=st.none() | TIMES,
        adds=NAMES,
    ),
    delivers=st.booleans(),
    opened_at=TIMES,
    expires_at=TIMES,
    state=st.sampled_from(State),
    claim=st.none() | st.builds(Claim, by=TEXTS, until=TIMES),
    votes=st.lists(VOTES, max_size=2).map(tuple),
    closing=st.none()
    | st.builds(Closing, code=TEXTS, reason=TEXTS, by=st.none() | TEXTS, at=TIMES),
    released_by=st.none() | TEXTS,
    version=st.integers(1, 1000),
    panel=st.none() | PANELS,
    glass=st.none() | GLASSES,
    follows=st.none() | TEXTS,
    barred=st.frozensets(TEXTS, max_size=2),
    shape=TEXTS,
)


@given(REVIEWS)
def test_every_review_comes_back_equal(review: Review) -> None:
    again = unpack(pack(review))
    assert again == review
    assert pack(again) == pack(review)


@given(st.binary(max_size=200))
def test_other_bytes_are_damaged(noise: bytes) -> None:
    with pytest.raises(DamagedReviewError, match="the review is damaged"):
        unpack(noise)


def test_a_flipped_bit_is_another_review_or_none() -> None:
    review = a_review()
    packed = pack(review)
    for place in range(8 * len(packed)):
        flipped = bytearray(packed)
        flipped[place // 8] ^= 1 << place % 8
        with suppress(DamagedReviewError):
            assert unpack(bytes(flipped)) != review, bytes(flipped)


@pytest.mark.parametrize(
    "changes",
    [
        {"state": "forgotten"},
        {"opened_at": "2026-11-23T12:00:00+00:00"},
        {"opened_at": 5},
        {"version": "1"},
        {"version": None},
        {"version": True},
        {"votes": [{}]},
        {"claim": {"by": "rita"}},
        {"unheard_of": 1},
        {"impact": None},
        {"reasons": None},
        {"panel": {"rule": "whoever"}},
        {"glass": {}},
        {"claim": {}},
        {"closing": {}},
        {"ladder": {"level": 1, "step_s": 1, "next_at": "", "adds": []}},
    ],
)
def test_a_field_that_is_none_of_ours_is_damage(changes: dict[str, Any]) -> None:
    outer = orjson.loads(pack(a_review()))
    outer["review"].update(changes)
    with pytest.raises(DamagedReviewError):
        unpack(orjson.dumps(outer))


@pytest.mark.parametrize("field", ["tenant", "votes", "expires_at", "version", "quorum"])
def test_a_field_that_is_missing_is_damage(field: str) -> None:
    outer = orjson.loads(pack(a_review()))
    del outer["review"][field]
    with pytest.raises(DamagedReviewError):
        unpack(orjson.dumps(outer))


def test_another_version_is_not_guessed_at() -> None:
    outer = orjson.loads(pack(a_review()))
    outer["v"] = 3
    with pytest.raises(DamagedReviewError, match="version 3"):
        unpack(orjson.dumps(outer))


def test_a_review_of_the_first_version_waits_on_after_an_upgrade() -> None:
    vote = Vote(
        by="rita",
        answers="rita",
        roles=("reviewer",),
        choice=Choice.APPROVE,
        reason="yes",
        at=a_review().opened_at,
    )
    review = a_review(glass=None, votes=(vote,))
    outer = orjson.loads(pack(review))
    for late in ("panel", "glass", "follows", "barred", "shape"):
        del outer["review"][late]
    for vote in outer["review"]["votes"]:
        del vote["in_stead_of"]
    assert unpack(orjson.dumps({**outer, "v": 1})) == review
    with pytest.raises(DamagedReviewError):
        unpack(orjson.dumps(outer))


def test_what_json_cannot_hold_is_not_packed() -> None:
    for number in (float("nan"), float("inf")):
        with pytest.raises(ValueError, match="not a number"):
            pack(a_review(impact=an_impact(number)))
    with pytest.raises(ValueError, match="surrogates"):
        pack(a_review(tool="\ud800"))


def test_times_are_written_to_the_microsecond_in_utc() -> None:
    assert timestamp(datetime(2026, 11, 23, 12, tzinfo=UTC)) == "2026-11-23T12:00:00.000000Z"
    elsewhere = datetime(2026, 11, 23, 17, 30, 0, 7, timezone(timedelta(hours=5, minutes=30)))
    assert timestamp(elsewhere) == "2026-11-23T12:00:00.000007Z"
    assert moment(timestamp(elsewhere)) == elsewhere
    with pytest.raises(ValueError, match="not a time as we write it"):
        moment("2026-11-23T12:00:00")


def test_the_same_review_has_the_same_bytes_wherever_its_times_were_read() -> None:
    review = a_review()
    elsewhere = review.opened_at.astimezone(timezone(timedelta(hours=-3)))
    assert pack(replace(review, opened_at=elsewhere)) == pack(review)
