"""What a step of a review requires: each refusal has a code of its own."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime

from policies.errors import RefusalError
from policies.review import (
    ENDED,
    OPEN,
    REASON_MAX,
    TRANSITIONS,
    Absent,
    Person,
    Review,
    State,
    Step,
)


def stand(
    review: Review, person: Person, *, again: bool = False
) -> tuple[tuple[str, ...], Absent | None]:
    """Return the roles in which this person may decide, and in whose stead, if not for itself.

    Raises RefusalError 403 when in none, 409 when it was heard, unless it may be `again`.
    """
    require_stranger(review, person.names)
    if not again:
        require_unheard(review, person.names)
    if roles := tuple(sorted(person.roles & review.eligible)):
        return roles, None
    refusal = None
    for absent in person.stands_for:
        if not (roles := tuple(sorted(absent.roles & review.eligible))):
            continue
        try:
            require_stranger(review, absent.names)
            if not again:
                require_unheard(review, absent.names)
        except RefusalError as error:
            refusal = error
            continue
        return roles, absent
    wanted = ", ".join(sorted(review.eligible))
    raise refusal or RefusalError(
        "review.role_missing", f"this review is for the roles {wanted}", 403
    )


def require_stranger(review: Review, names: frozenset[str]) -> None:
    """Raise RefusalError 403 for who asked for it, and for who is barred."""
    if names & {review.agent, review.owner}:
        raise RefusalError(
            "review.self_approval", "nobody decides on what they or their agents asked for", 403
        )
    if names & review.barred:
        raise RefusalError(
            "review.barred", "others than those who broke the glass look at it afterwards", 403
        )


def require(review: Review, step: Step, now: datetime) -> None:
    """Return if the step may be taken from here now; raises RefusalError 409 if not."""
    if now >= review.expires_at and review.state not in ENDED:
        raise RefusalError("review.expired", "its time is over; the agent may ask again", 409)
    if step not in TRANSITIONS[review.state]:
        raise closed(review)


def require_unheard(review: Review, names: frozenset[str]) -> None:
    """Raise RefusalError 409 for who has voted, under whatever name."""
    if any(names & vote.names for vote in review.votes):
        raise heard()


def require_digest(review: Review, digest: str | None) -> None:
    """Raise RefusalError 409 when somebody was shown another action."""
    if digest is not None and digest != review.action_digest:
        raise other_digest()


def require_free(review: Review, person: Person, now: datetime) -> None:
    """Raise RefusalError 409 while somebody else looks at it."""
    claim = review.claim
    if claim is not None and claim.by != person.name and now < claim.until:
        raise RefusalError(
            "review.claimed", f"{claim.by} looks at it until {claim.until.isoformat()}", 409
        )


def closed(review: Review) -> RefusalError:
    """Say that this is not the time for it."""
    if review.state in OPEN:
        return RefusalError("review.not_approved", "people have not decided yet; ask again", 409)
    if review.state is State.CONSUMED:
        return used()
    how = review.closing.reason if review.closing else "it waits for its use"
    return RefusalError("review.closed", f"this review is {review.state.value}: {how}", 409)


def heard() -> RefusalError:
    """Say that a person counts once."""
    return RefusalError("review.already_voted", "you have voted; a person counts once", 409)


def used() -> RefusalError:
    """Say that an approval counts once."""
    return RefusalError(
        "review.consumed", "it was approved and it went; an approval counts once", 409
    )


def other_digest() -> RefusalError:
    """Say that this is another action."""
    return RefusalError(
        "review.digest_mismatch", "this is not the action that the review is about", 409
    )


def said(reason: str) -> str:
    """Return the reason as it is kept; raises RefusalError 422 when there is none."""
    reason = reason.strip()
    # What nobody can see is no reason: `isprintable` leaves out zero-width and control characters.
    seen = any(letter.isprintable() and not letter.isspace() for letter in reason)
    if not seen or len(reason) > REASON_MAX:
        raise RefusalError(
            "review.reason_required", f"say why, in 1 to {REASON_MAX} characters", 422
        )
    return reason


def moved(review: Review, step: Step, state: State, **changes: object) -> Review:
    """Return the review one version on; only as `TRANSITIONS` has it."""
    assert state in TRANSITIONS[review.state][step], (review.state, step, state)
    return replace(review, state=state, version=review.version + 1, **changes)  # type: ignore[arg-type]  # fields of Review
