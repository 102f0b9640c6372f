"""What happens to a review: one pure step at a time.

Laws of this file:
1. `TRANSITIONS` is all that can happen, and what has ended never moves again.
2. Nobody decides on what they asked for themselves, their owner, or another agent of their owner
   asked for; and nobody counts twice, under however many names.
3. Time and silence approve nothing. What is late is over, whether or not a timer has said so.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timedelta

from policies.errors import RefusalError
from policies.review import (
    ENDED,
    LEVEL_MAX,
    OPEN,
    REASON_MAX,
    TRANSITIONS,
    VOTES_MAX,
    Cancelled,
    Choice,
    Claim,
    Claimed,
    Closing,
    Consumed,
    Escalated,
    Event,
    Ladder,
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


def advance(review: Review, event: Event, *, now: datetime) -> Review:  # noqa: PLR0911  # a case each
    """Return the review after the event, one version on; the same object when nothing came of it.

    Raises RefusalError with a code of its own for everything that may not happen: 403 for who may
    not, 409 for what comes too late, 422 for what is not said.
    """
    match event:
        case TimePassed():
            return _time(review, now)
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
    if by.name != review.agent:
        raise RefusalError("review.not_requester", "only the agent that asked may use it", 403)
    if review.state is State.CONSUMED:
        raise _used()
    if digest != review.action_digest:
        raise _other_digest()
    _require(review, Step.CONSUME, now)


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
        return _moved(review, Step.EXPIRE, State.EXPIRED, claim=None, closing=closing)
    ladder = _risen(review.ladder, now)
    if review.state in OPEN and ladder != review.ladder:
        return _moved(review, Step.ESCALATE, State.PENDING, claim=None, ladder=ladder)
    if review.claim is not None and now >= review.claim.until:
        return _moved(review, Step.LAPSE, State.PENDING, claim=None)
    return review


def _claim(review: Review, event: Claimed, now: datetime) -> Review:
    _require(review, Step.CLAIM, now)
    _role(review, event.by)
    _require_unheard(review, event.by)
    _require_free(review, event.by, now)
    claim = Claim(by=event.by.name, until=now + timedelta(seconds=event.seconds))
    return _moved(review, Step.CLAIM, State.CLAIMED, claim=claim)


def _unclaim(review: Review, event: Unclaimed, now: datetime) -> Review:
    if review.claim is None or review.claim.by != event.by.name:
        raise RefusalError("review.not_claimed", "you have not claimed this review", 409)
    _require(review, Step.UNCLAIM, now)
    return _moved(review, Step.UNCLAIM, State.PENDING, claim=None)


def _vote(review: Review, event: Voted, now: datetime) -> Review:
    reason = _said(event.reason)
    _require(review, Step.VOTE, now)
    if event.digest is not None and event.digest != review.action_digest:
        raise _other_digest()
    roles = _role(review, event.by)
    _require_unheard(review, event.by)
    _require_free(review, event.by, now)
    if len(review.votes) >= VOTES_MAX:
        raise RefusalError("review.too_many_votes", f"{VOTES_MAX} people have voted", 409)
    vote = Vote(
        by=event.by.name,
        answers=event.by.answers,
        roles=roles,
        choice=event.choice,
        reason=reason,
        at=now,
    )
    votes = (*review.votes, vote)
    state = outcome(votes, review.quorum, review.eligible)
    closing = None
    if state is State.REJECTED:
        closing = Closing(code="review.rejected", reason=reason, by=vote.by, at=now)
    return _moved(review, Step.VOTE, state, claim=None, votes=votes, closing=closing)


def _escalate(review: Review, event: Escalated, now: datetime) -> Review:
    _said(event.reason)
    _require(review, Step.ESCALATE, now)
    _role(review, event.by)
    _require_free(review, event.by, now)
    if review.ladder.level >= LEVEL_MAX:
        raise RefusalError("review.top_level", "it is at the highest level already", 409)
    return _moved(review, Step.ESCALATE, State.PENDING, claim=None, ladder=_up(review.ladder, now))


def _cancel(review: Review, event: Cancelled, now: datetime) -> Review:
    if event.by.name != review.agent:
        raise RefusalError("review.not_requester", "only the agent that asked may cancel", 403)
    reason = _said(event.reason)
    _require(review, Step.CANCEL, now)
    closing = Closing(code="review.cancelled", reason=reason, by=event.by.name, at=now)
    return _moved(review, Step.CANCEL, State.CANCELLED, claim=None, closing=closing)


def _consume(review: Review, event: Consumed, now: datetime) -> Review:
    if review.state is State.CONSUMED and review.released_by == event.released_by:
        return review
    # Its release is on record: what is left to say about it is true however late it is.
    if Step.CONSUME not in TRANSITIONS[review.state]:
        raise _closed(review)
    closing = Closing(code="review.consumed", reason="it went", by=None, at=now)
    return _moved(
        review, Step.CONSUME, State.CONSUMED, closing=closing, released_by=event.released_by
    )


def _overrule(review: Review, event: Overruled, now: datetime) -> Review:
    if review.state is State.REJECTED and review.released_by == event.released_by:
        return review
    if Step.OVERRULE not in TRANSITIONS[review.state]:
        raise _closed(review)
    closing = Closing(code=event.code, reason=event.reason, by=None, at=now)
    return _moved(
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


def _role(review: Review, person: Person) -> tuple[str, ...]:
    """Return the roles in which this person may decide; raises RefusalError 403 when in none."""
    if {review.agent, review.owner} & {person.name, person.answers}:
        raise RefusalError(
            "review.self_approval", "nobody decides on what they or their agents asked for", 403
        )
    roles = tuple(sorted(person.roles & review.eligible))
    if not roles:
        wanted = ", ".join(sorted(review.eligible))
        raise RefusalError("review.role_missing", f"this review is for the roles {wanted}", 403)
    return roles


def _require(review: Review, step: Step, now: datetime) -> None:
    if now >= review.expires_at and review.state not in ENDED:
        raise RefusalError("review.expired", "its time is over; the agent may ask again", 409)
    if step not in TRANSITIONS[review.state]:
        raise _closed(review)


def _require_unheard(review: Review, person: Person) -> None:
    names = {person.name, person.answers}
    if any(names & {vote.by, vote.answers} for vote in review.votes):
        raise RefusalError("review.already_voted", "you have voted; a person counts once", 409)


def _require_free(review: Review, person: Person, now: datetime) -> None:
    claim = review.claim
    if claim is not None and claim.by != person.name and now < claim.until:
        raise RefusalError(
            "review.claimed", f"{claim.by} looks at it until {claim.until.isoformat()}", 409
        )


def _closed(review: Review) -> RefusalError:
    if review.state in OPEN:
        return RefusalError("review.not_approved", "people have not decided yet; ask again", 409)
    if review.state is State.CONSUMED:
        return _used()
    how = review.closing.reason if review.closing else "it waits for its use"
    return RefusalError("review.closed", f"this review is {review.state.value}: {how}", 409)


def _used() -> RefusalError:
    return RefusalError(
        "review.consumed", "it was approved and it went; an approval counts once", 409
    )


def _other_digest() -> RefusalError:
    return RefusalError(
        "review.digest_mismatch", "this is not the action that the review is about", 409
    )


def _said(reason: str) -> str:
    reason = reason.strip()
    # What nobody can see is no reason: `isprintable` leaves out zero-width and control characters.
    seen = any(letter.isprintable() and not letter.isspace() for letter in reason)
    if not seen or len(reason) > REASON_MAX:
        raise RefusalError(
            "review.reason_required", f"say why, in 1 to {REASON_MAX} characters", 422
        )
    return reason


def _risen(ladder: Ladder, now: datetime) -> Ladder:
    """Return the ladder as high as time has taken it; a late timer loses nobody a step."""
    while ladder.next_at is not None and now >= ladder.next_at:
        ladder = _up(ladder, ladder.next_at)
    return ladder


def _up(ladder: Ladder, at: datetime) -> Ladder:
    level = min(ladder.level + 1, LEVEL_MAX)
    next_at = at + timedelta(seconds=ladder.step_s) if level < LEVEL_MAX else None
    return replace(ladder, level=level, next_at=next_at)


def _moved(review: Review, step: Step, state: State, **changes: object) -> Review:
    assert state in TRANSITIONS[review.state][step], (review.state, step, state)
    return replace(review, state=state, version=review.version + 1, **changes)  # type: ignore[arg-type]  # fields of Review
