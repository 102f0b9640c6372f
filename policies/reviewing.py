"""What happens to a review: one pure step at a time.

Laws of this file:
1. `TRANSITIONS` is all that can happen, and what has ended never moves again.
2. Nobody decides on what they asked for themselves, their owner, or another agent of their owner
   asked for, nor in the stead of who may not; and nobody counts twice, under however many names.
3. Time and silence approve nothing. What is late is over, whether or not a timer has said so.
4. What a panel does not decide, people do; whoever of them moves first takes it from the panel.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timedelta

from policies.deliberating import break_glass, convene, opine
from policies.errors import RefusalError
from policies.panel import Choice
from policies.review import (
    ENDED,
    LEVEL_MAX,
    OPEN,
    TRANSITIONS,
    VOTES_MAX,
    Cancelled,
    Claim,
    Claimed,
    Closing,
    Consumed,
    Convened,
    Escalated,
    Event,
    GlassBroken,
    Ladder,
    Opined,
    Overruled,
    Person,
    Quorum,
    Review,
    Rule,
    State,
    Step,
    TimePassed,
    Unclaimed,
    Vote,
    Voted,
)
from policies.review_guards import (
    closed,
    moved,
    other_digest,
    require,
    require_digest,
    require_free,
    said,
    stand,
    used,
)


def advance(review: Review, event: Event, *, now: datetime) -> Review:  # noqa: C901, PLR0911  # a case each
    """Return the review after the event, one version on; the same object when nothing came of it.

    Raises RefusalError with a code of its own for everything that may not happen: 403 for who may
    not, 409 for what comes too late, 422 for what is not said.
    """
    match event:
        case TimePassed():
            return _time(review, now)
        case Convened():
            return convene(review, event, now)
        case Opined():
            return opine(review, event, now)
        case GlassBroken():
            return break_glass(review, event, now)
        case Claimed():
            return _claim(review, event, now)
        case Unclaimed():
            return _unclaim(review, event, now)
        case Voted():
            return _vote(review, event, now)
        case Escalated():
            return _escalate(review, event, now)
        case Cancelled():
            return _cancel(review, event, now)
        case Consumed():
            return _consume(review, event, now)
        case Overruled():
            return _overrule(review, event, now)


def consumable(review: Review, *, by: Person, digest: str, now: datetime) -> None:
    """Return if this agent may use the approval now; raises RefusalError if not."""
    if by.name != review.agent or review.follows is not None:
        raise RefusalError("review.not_requester", "only the agent that asked may use it", 403)
    if review.state is State.CONSUMED:
        raise used()
    if digest != review.action_digest:
        raise other_digest()
    require(review, Step.CONSUME, now)


def heard_at(review: Review) -> datetime:
    """Return when the last of all words about it was said; when it was opened if none was."""
    broken = review.glass.broken if review.glass else ()
    times = [vote.at for vote in (*review.votes, *broken)]
    opinions = review.panel.opinions if review.panel else ()
    return max([review.opened_at, *times, *(opinion.at for opinion in opinions)])


def _time(review: Review, now: datetime) -> Review:
    if review.state in ENDED:
        return review
    if now >= review.expires_at:
        decided = review.state is State.APPROVED
        closing = Closing(
            code="review.expired",
            reason="it was not used in time" if decided else "nobody decided in time",
            by=None,
            at=review.expires_at,
        )
        return moved(review, Step.EXPIRE, State.EXPIRED, claim=None, closing=closing)
    ladder = _risen(review.ladder, now)
    if review.panel is not None and review.state is State.DELIBERATING:
        is_over = now >= review.panel.closes_at
        return moved(review, Step.HAND_OVER, State.PENDING, ladder=ladder) if is_over else review
    if review.state in OPEN and ladder != review.ladder:
        return moved(review, Step.ESCALATE, State.PENDING, claim=None, ladder=ladder)
    if review.claim is not None and now >= review.claim.until:
        return moved(review, Step.LAPSE, State.PENDING, claim=None)
    return review


def _claim(review: Review, event: Claimed, now: datetime) -> Review:
    require(review, Step.CLAIM, now)
    stand(review, event.by)
    require_free(review, event.by, now)
    claim = Claim(by=event.by.name, until=now + timedelta(seconds=event.seconds))
    return moved(review, Step.CLAIM, State.CLAIMED, claim=claim)


def _unclaim(review: Review, event: Unclaimed, now: datetime) -> Review:
    if review.claim is None or review.claim.by != event.by.name:
        raise RefusalError("review.not_claimed", "you have not claimed this review", 409)
    require(review, Step.UNCLAIM, now)
    return moved(review, Step.UNCLAIM, State.PENDING, claim=None)


def _vote(review: Review, event: Voted, now: datetime) -> Review:
    reason = said(event.reason)
    require(review, Step.VOTE, now)
    require_digest(review, event.digest)
    roles, absent = stand(review, event.by)
    require_free(review, event.by, now)
    if len(review.votes) >= VOTES_MAX:
        raise RefusalError("review.too_many_votes", f"{VOTES_MAX} people have voted", 409)
    vote = Vote(
        by=event.by.name,
        answers=event.by.answers,
        roles=roles,
        choice=event.choice,
        reason=reason,
        at=now,
        in_stead_of=() if absent is None else tuple(sorted(absent.names)),
    )
    votes = (*review.votes, vote)
    state = outcome(votes, review.quorum, review.eligible)
    closing = None
    if state is State.REJECTED:
        closing = Closing(code="review.rejected", reason=reason, by=vote.by, at=now)
    return moved(review, Step.VOTE, state, claim=None, votes=votes, closing=closing)


def _escalate(review: Review, event: Escalated, now: datetime) -> Review:
    said(event.reason)
    require(review, Step.ESCALATE, now)
    stand(review, event.by, again=True)
    require_free(review, event.by, now)
    if review.ladder.level >= LEVEL_MAX:
        raise RefusalError("review.top_level", "it is at the highest level already", 409)
    return moved(review, Step.ESCALATE, State.PENDING, claim=None, ladder=_up(review.ladder, now))


def _cancel(review: Review, event: Cancelled, now: datetime) -> Review:
    if event.by.name != review.agent or review.follows is not None:
        raise RefusalError("review.not_requester", "only the agent that asked may cancel", 403)
    reason = said(event.reason)
    require(review, Step.CANCEL, now)
    closing = Closing(code="review.cancelled", reason=reason, by=event.by.name, at=now)
    return moved(review, Step.CANCEL, State.CANCELLED, claim=None, closing=closing)


def _consume(review: Review, event: Consumed, now: datetime) -> Review:
    if review.state is State.CONSUMED and review.released_by == event.released_by:
        return review
    # Its release is on record: what is left to say about it is true however late it is.
    if Step.CONSUME not in TRANSITIONS[review.state]:
        raise closed(review)
    closing = Closing(code="review.consumed", reason="it went", by=None, at=now)
    return moved(
        review, Step.CONSUME, State.CONSUMED, closing=closing, released_by=event.released_by
    )


def _overrule(review: Review, event: Overruled, now: datetime) -> Review:
    if review.state is State.REJECTED and review.released_by == event.released_by:
        return review
    if Step.OVERRULE not in TRANSITIONS[review.state]:
        raise closed(review)
    closing = Closing(code=event.code, reason=event.reason, by=None, at=now)
    return moved(
        review, Step.OVERRULE, State.REJECTED, closing=closing, released_by=event.released_by
    )


def outcome(votes: Sequence[Vote], quorum: Quorum, eligible: frozenset[str]) -> State:
    """Return approved, rejected, or pending, as these votes stand."""
    rejections = sum(vote.choice is Choice.REJECT for vote in votes)
    if rejections >= (1 if quorum.rule is Rule.VETO else quorum.needed):
        return State.REJECTED
    said = [frozenset(vote.roles) & eligible for vote in votes if vote.choice is Choice.APPROVE]
    approvals = [held for held in said if held]
    if len(approvals) < quorum.needed:
        return State.PENDING
    if quorum.each and not _each_held(quorum.roles, approvals):
        return State.PENDING
    return State.APPROVED


def _each_held(roles: Sequence[str], voters: Sequence[frozenset[str]]) -> bool:
    """Say whether every role can be given to a voter of its own."""
    if not roles:
        return True
    first, *rest = roles
    return any(
        _each_held(rest, [*voters[:place], *voters[place + 1 :]])
        for place, held in enumerate(voters)
        if first in held
    )


def _risen(ladder: Ladder, now: datetime) -> Ladder:
    """Return the ladder as high as time has taken it; a late timer loses nobody a step."""
    while ladder.next_at is not None and now >= ladder.next_at:
        ladder = _up(ladder, ladder.next_at)
    return ladder


def _up(ladder: Ladder, at: datetime) -> Ladder:
    level = min(ladder.level + 1, LEVEL_MAX)
    next_at = at + timedelta(seconds=ladder.step_s) if level < LEVEL_MAX else None
    return replace(ladder, level=level, next_at=next_at)
