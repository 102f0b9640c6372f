"""The review that follows broken glass: others look at what a few let go without its quorum."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta
from typing import Final
from uuid import UUID, uuid5

from policies.decision import Reason
from policies.review import Review, State
from policies.review_law import ReviewLaw

RULE: Final = "reviews.break_glass"
_NAMES: Final = UUID("0e0f1c4a-54b8-5a51-9f0c-5d4b7f9a2c61")  # of these ids, and of nothing else


def afterwards_id(review: Review) -> str:
    """Return the id of the review that follows this one, always the same."""
    return str(uuid5(_NAMES, f"{review.tenant}/{review.review_id}"))


def afterwards(review: Review, law: ReviewLaw, *, now: datetime) -> Review:
    """Return the review that follows a broken glass, for the quorum that was left out.

    Nothing leaves with it. Its approval says that the glass was rightly broken, its rejection that
    it was not, and either stands in the ledger. Raises ValueError when no glass is broken.
    """
    if review.glass is None or not review.glass.is_broken:
        raise ValueError(f"nobody broke the glass of {review.review_id!r}")
    broken = review.glass.broken
    names = ", ".join(vote.by for vote in broken)
    said = "; ".join(vote.reason for vote in broken)
    held_by = Reason(
        code="review.glass_broken",
        rule=RULE,
        message=f"{names} let it go without its quorum: {said}",
        remedy="say whether that was right; nothing leaves with your answer",
    )
    return replace(
        review,
        review_id=afterwards_id(review),
        follows=review.review_id,
        barred=frozenset().union(*(vote.names for vote in broken)),
        reasons=(held_by, *review.reasons),
        delivers=False,
        opened_at=now,
        expires_at=now + timedelta(seconds=law.glass.afterwards_s),
        state=State.PENDING,
        ladder=replace(
            review.ladder, level=1, next_at=now + timedelta(seconds=review.ladder.step_s)
        ),
        claim=None,
        votes=(),
        closing=None,
        released_by=None,
        version=1,
        panel=None,
        glass=None,
    )
