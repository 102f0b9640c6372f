"""What the pages say about a review: words and numbers out of values, nothing decided here."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from policies import reviewing
from policies.errors import RefusalError
from policies.panel import Choice
from policies.principal import Principal
from policies.review import OPEN, Event, Person, Review, Unclaimed, Vote, Voted
from serve_app.console.durations import clock_text, duration_text, left_text

_DONE: Final = {
    Choice.APPROVE: "approved it",
    Choice.REJECT: "rejected it",
    Choice.ABSTAIN: "abstained",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """A review as the queue shows it."""

    review_id: str
    tool: str
    agent: str
    recipient: str
    tier: str
    impact: str
    age: str
    left: str
    state: str
    claimed_by: str
    approvals: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Bar:
    """A factor of the impact, from 0 to 1, and how wide its bar is in hundredths."""

    name: str
    value: str
    width: int


def row(review: Review, *, now: datetime) -> Row:
    """Return the line of the queue for a review."""
    return Row(
        review_id=review.review_id,
        tool=title(review),
        agent=review.agent,
        recipient=review.recipient or "",
        tier=review.tier,
        impact=f"{review.impact.score:.2f}",
        age=duration_text(now - review.opened_at),
        left="" if review.due_at is None else left_text(review.expires_at, now),
        state=review.state.value,
        claimed_by="" if review.claim is None else review.claim.by,
        approvals=f"{approvals(review)} of {review.quorum.needed}",
    )


def title(review: Review) -> str:
    """Return what would run, in one word."""
    return review.tool or review.action or "(no tool)"


def approvals(review: Review) -> int:
    """Return how many have approved it so far."""
    return sum(vote.choice is Choice.APPROVE for vote in review.votes)


def bars(review: Review) -> list[Bar]:
    """Return the factors of the impact, the gravest first."""
    factors = sorted(review.impact.factors.items(), key=lambda item: (-item[1], item[0]))
    return [
        Bar(name=name, value=f"{value:.2f}", width=_hundredths(value)) for name, value in factors
    ]


def happenings(review: Review) -> list[str]:
    """Return who decided what on it and how it ended, a sentence each, in their order."""
    return list(_happenings(review))


def _happenings(review: Review) -> Iterator[str]:
    for _, sentence in sorted(_said(review), key=lambda said: said[0]):
        yield sentence
    if review.claim is not None and review.state in OPEN:
        yield f"{review.claim.by} claimed it until {clock_text(review.claim.until)}."
    closing = review.closing
    if closing is not None:
        by = "by the law or by time" if closing.by is None else f"by {closing.by}"
        yield f"It ended as {review.state.value} {by} at {clock_text(closing.at)}: {closing.reason}"


def _said(review: Review) -> Iterator[tuple[datetime, str]]:
    """What everybody said about it, and when."""
    for vote in review.votes:
        yield vote.at, f"{_voted(vote)}: “{vote.reason}”"
    for one in review.panel.opinions if review.panel else ():
        done = f"Critic {one.by} {_DONE[one.choice]} at {clock_text(one.at)}"
        yield one.at, f"{done}: “{one.reason}”"
    for vote in review.glass.broken if review.glass else ():
        yield vote.at, f"{vote.by} broke the glass at {clock_text(vote.at)}: “{vote.reason}”"


def hindrance(review: Review, principal: Principal, person: Person, *, now: datetime) -> str | None:
    """Return why this person's vote would be refused right now; None when it would count.

    It asks the law itself: what the page offers is what the desk would take.
    """
    if "reviews:decide" not in principal.scopes:
        return "Your token does not carry reviews:decide, so you can read and not decide."
    return _refused(review, _abstains(person), now)


def stead(review: Review, person: Person, *, now: datetime) -> str:
    """Return in whose stead this person's vote would count now; empty when in their own or none."""
    try:
        after = reviewing.advance(review, _abstains(person), now=now)
    except RefusalError:
        return ""
    return ", ".join(after.votes[-1].in_stead_of)


def may_unclaim(review: Review, person: Person, *, now: datetime) -> bool:
    """Say whether this person has a claim to let go of."""
    return _refused(review, Unclaimed(by=person), now) is None


def _abstains(person: Person) -> Voted:
    return Voted(by=person, choice=Choice.ABSTAIN, reason="-")


def _refused(review: Review, event: Event, now: datetime) -> str | None:
    try:
        reviewing.advance(review, event, now=now)
    except RefusalError as error:
        return error.detail
    return None


def _voted(vote: Vote) -> str:
    absent = f" in the stead of {', '.join(vote.in_stead_of)}" if vote.in_stead_of else ""
    return f"{vote.by} {_DONE[vote.choice]}{absent} at {clock_text(vote.at)}"


def _hundredths(value: float) -> int:
    return round(100 * min(1.0, max(0.0, value)))
