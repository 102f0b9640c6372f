"""One decision on everything that is open about exactly one action, vote by vote.

Laws: nothing but the very digest that was named is voted on; each vote is taken or refused like any
other, and one that is refused fails alone.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Final, Protocol

from actors.reviews.precedents import Same
from cluster.clock import Clock
from policies.errors import DependencyError, GovernanceError, RefusalError
from policies.panel import Choice
from policies.principal import Principal
from policies.review import Review
from policies.review_guards import said

VOTES_MAX: Final = 200
TIME_MAX_S: Final = 20.0  # well below what those who wait for the answer put up with


class Polls(Protocol):
    """Where votes are cast; the desk is one."""

    async def same(
        self, principal: Principal, digest: str, *, limit: int, cursor: str | None = None
    ) -> Same:
        """Return what is open about this action, oldest first."""
        ...

    async def vote(
        self,
        principal: Principal,
        review_id: str,
        *,
        choice: Choice,
        reason: str,
        digest: str | None = None,
    ) -> Review:
        """Take one vote; raises RefusalError or DependencyError."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Ballot:
    """What is voted on, how, and why; `cursor` is where an earlier round ended."""

    digest: str
    choice: Choice
    reason: str
    cursor: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What became of one vote: the review after it, or why it was not taken."""

    review_id: str
    review: Review | None = None
    error: GovernanceError | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Round:
    """The outcomes, the oldest review first; `next_cursor` goes on when there is more."""

    outcomes: tuple[Outcome, ...]
    next_cursor: str | None
    is_more: bool


async def vote_all(
    polls: Polls,
    principal: Principal,
    ballot: Ballot,
    *,
    clock: Clock,
    require_free: Callable[[], None],
    on_refused: Callable[[GovernanceError], Awaitable[None]],
) -> Round:
    """Vote on what is open about the action, the oldest first, `VOTES_MAX` at most.

    A round ends early after `TIME_MAX_S`, when the store or the ledger cannot be had, and when
    `require_free` says that an operator stops who votes: what was voted by then stands, and the
    next round begins with what is left. `on_refused` hears every refusal in it. Raises RefusalError
    422 for a reason or a cursor that is none, and what stops even the first vote.
    """
    said(ballot.reason)
    ends_s = clock.monotonic_s() + TIME_MAX_S
    same = await polls.same(principal, ballot.digest, limit=VOTES_MAX, cursor=ballot.cursor)
    outcomes: list[Outcome] = []
    place, is_stopped = ballot.cursor, False
    for review_id, behind in same.found:
        try:
            require_free()
            outcome = await _vote(polls, principal, ballot, review_id=review_id)
        except (DependencyError, RefusalError) as error:
            if not outcomes:
                raise
            outcome, is_stopped = Outcome(review_id=review_id, error=error), True
        if outcome.error is not None:
            await on_refused(outcome.error)
        outcomes.append(outcome)
        if is_stopped:
            break
        place = behind
        if clock.monotonic_s() >= ends_s:
            break
    is_more = is_stopped or same.is_more or len(outcomes) < len(same.found)
    return Round(outcomes=tuple(outcomes), next_cursor=place if is_more else None, is_more=is_more)


async def _vote(polls: Polls, principal: Principal, ballot: Ballot, *, review_id: str) -> Outcome:
    """Take one vote; raises only what stops the others too."""
    try:
        review = await polls.vote(
            principal,
            review_id,
            choice=ballot.choice,
            reason=ballot.reason,
            digest=ballot.digest,
        )
    except DependencyError:
        raise
    except GovernanceError as error:
        return Outcome(review_id=review_id, error=error)
    return Outcome(review_id=review_id, review=review)
