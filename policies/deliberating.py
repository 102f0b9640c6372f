"""The steps of a panel of critics, and the broken glass.

Laws of this file: only critics who were called are heard, each once, and none on what its own house
asked for; what goes through broken glass is no less anybody's word, and says whose.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime
from typing import Final

from policies.errors import RefusalError
from policies.panel import SEATS_MAX, Choice, Opinion, Outcome, outcome
from policies.review import OPEN, Closing, Convened, GlassBroken, Opined, Review, State, Step, Vote
from policies.review_guards import heard, moved, require, require_digest, require_stranger, said

CRITIC: Final = "critic"
_PANEL_STATES: Final = {
    Outcome.OPEN: State.DELIBERATING,
    Outcome.APPROVED: State.APPROVED,
    Outcome.REJECTED: State.REJECTED,
    Outcome.SPLIT: State.PENDING,
}


def convene(review: Review, event: Convened, now: datetime) -> Review:
    """Call the critics of the tenant that may decide; too few of them leave it to people."""
    require(review, Step.CONVENE, now)
    panel = review.panel
    if panel is None or panel.seats is not None:
        return review
    house = {review.agent, review.owner}
    called = tuple(seat for seat in event.critics if seat.agent not in house)[:SEATS_MAX]
    panel = replace(panel, seats=called)
    is_full = len(called) >= panel.needed
    state = State.DELIBERATING if is_full else State.PENDING
    return moved(review, Step.CONVENE, state, panel=panel)


def opine(review: Review, event: Opined, now: datetime) -> Review:
    """Hear a critic; with its word the panel may have decided, or leave it to people."""
    reason = said(event.reason)
    if review.panel is not None and review.state in OPEN - {State.DELIBERATING}:
        raise _over()
    require(review, Step.OPINE, now)
    require_digest(review, event.digest)
    panel, critic = review.panel, event.by
    require_stranger(review, critic.names)
    seat = panel.seat(critic.name) if panel is not None else None
    if panel is None or seat is None or CRITIC not in critic.roles:
        raise RefusalError(
            "review.not_called", "you are no critic who was called for this review", 403
        )
    if now >= panel.closes_at:
        raise _over()
    if any(critic.names & {one.by, one.answers} for one in panel.opinions):
        raise heard()
    opinion = Opinion(
        by=critic.name,
        answers=critic.answers,
        weight=seat.weight,
        choice=event.choice,
        reason=reason,
        at=now,
    )
    panel = panel.heard(opinion)
    state = _PANEL_STATES[outcome(panel)]
    closing = None
    if state is State.REJECTED:
        closing = Closing(code="review.rejected", reason=reason, by=critic.name, at=now)
    return moved(review, Step.OPINE, state, panel=panel, closing=closing)


def break_glass(review: Review, event: GlassBroken, now: datetime) -> Review:
    """Let it go at once, when enough people who may say so."""
    reason = said(event.reason)
    require(review, Step.BREAK_GLASS, now)
    require_digest(review, event.digest)
    glass, person = review.glass, event.by
    require_stranger(review, person.names)
    roles = tuple(sorted(person.roles & frozenset(glass.roles))) if glass else ()
    if glass is None or not roles:
        raise RefusalError("review.glass_refused", "none of your roles may break the glass", 403)
    if any(person.names & vote.names for vote in glass.broken):
        raise heard()
    vote = Vote(
        by=person.name,
        answers=person.answers,
        roles=roles,
        choice=Choice.APPROVE,
        reason=reason,
        at=now,
    )
    glass = replace(glass, broken=(*glass.broken, vote))
    state = State.APPROVED if glass.is_broken else State.PENDING
    return moved(review, Step.BREAK_GLASS, state, claim=None, glass=glass)


def _over() -> RefusalError:
    return RefusalError("review.panel_closed", "the panel is over; people decide now", 409)
