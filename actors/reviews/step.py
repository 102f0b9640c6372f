"""One step of a review: what it is called, and what the ledger keeps of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from types import MappingProxyType
from typing import Final

from actors.reviews.record import timestamp
from policies.review import (
    REASON_MAX,
    Cancelled,
    Claimed,
    Consumed,
    Convened,
    Escalated,
    Event,
    GlassBroken,
    Opined,
    Overruled,
    Review,
    State,
    Step,
    TimePassed,
    Unclaimed,
    Voted,
)
from policies.roles import ON_CALL

_STEPS: Final[Mapping[type[Event], Step]] = MappingProxyType(
    {
        Convened: Step.CONVENE,
        Opined: Step.OPINE,
        GlassBroken: Step.BREAK_GLASS,
        Claimed: Step.CLAIM,
        Unclaimed: Step.UNCLAIM,
        Voted: Step.VOTE,
        Escalated: Step.ESCALATE,
        Cancelled: Step.CANCEL,
        Consumed: Step.CONSUME,
        Overruled: Step.OVERRULE,
    }
)


def opening_facts(review: Review) -> Mapping[str, object]:
    """Return what the ledger keeps of the opening of a review that follows another.

    Every other review is opened by its decision, which is in the ledger itself.
    """
    facts: dict[str, object | None] = {
        "tenant": review.tenant,
        "review_id": review.review_id,
        "decision_id": review.decision_id,
        "step": "open",
        "state": review.state.value,
        "version": review.version,
        "reason": review.reasons[0].message[:REASON_MAX],
        "action_digest": review.action_digest,
        "follows": review.follows,
        "barred": sorted(review.barred),
        "at": timestamp(review.opened_at),
    }
    return {name: fact for name, fact in facts.items() if fact is not None}


@dataclass(frozen=True, slots=True, kw_only=True)
class Taken:
    """What happened to a review: `before` became `after`, `by` somebody, or by time or the law."""

    before: Review
    after: Review
    event: Event
    by: str | None
    at: datetime

    @property
    def step(self) -> Step:
        """Which of the steps in `TRANSITIONS` it was."""
        if not isinstance(self.event, TimePassed):
            return _STEPS[type(self.event)]
        if self.after.state is State.EXPIRED:
            return Step.EXPIRE
        if self.before.state is State.DELIBERATING:
            return Step.HAND_OVER
        return Step.LAPSE if self.after.ladder == self.before.ladder else Step.ESCALATE

    @property
    def as_of(self) -> str:
        """By which state of stand-ins and shifts it was taken; empty where none matters."""
        match self.event:
            case Voted():
                vote = self.after.votes[-1]
                return self.event.by.as_of if vote.in_stead_of or ON_CALL in vote.roles else ""
            case Claimed() | Escalated():
                return self.event.by.as_of
            case _:
                return ""

    def facts(self) -> Mapping[str, object]:
        """Return what the ledger keeps of it; what does not apply is left out."""
        after = self.after
        choice, reason = self._said()
        facts: dict[str, object | None] = {
            "tenant": after.tenant,
            "review_id": after.review_id,
            "decision_id": after.decision_id,
            "step": self.step.value,
            "state": after.state.value,
            "version": after.version,
            "by": self.by,
            "choice": choice,
            "reason": reason,
            "critics": self._called(),
            "in_stead_of": self._absent(),
            "follows": after.follows,
            "level": after.ladder.level if self.step is Step.ESCALATE else None,
            "action_digest": after.action_digest,
            "released_by": after.released_by,
            "at": timestamp(self.at),
        }
        return {name: fact for name, fact in facts.items() if fact is not None}

    def _called(self) -> Mapping[str, int] | None:
        """Return the critics that were called, and what the word of each weighs."""
        if self.step is not Step.CONVENE or self.after.panel is None:
            return None
        return {seat.agent: seat.weight for seat in self.after.panel.seats or ()}

    def _absent(self) -> list[str] | None:
        if not isinstance(self.event, Voted):
            return None
        return list(self.after.votes[-1].in_stead_of) or None

    def _said(self) -> tuple[str | None, str | None]:
        choice, reason = None, None
        match self.event:
            case Voted():
                vote = self.after.votes[-1]
                choice, reason = vote.choice.value, vote.reason
            case Opined():
                choice, reason = self.event.choice.value, self.event.reason.strip()
            case Escalated() | GlassBroken() | Cancelled() | Overruled():
                reason = self.event.reason.strip()
            case _:
                pass
        # A policy may say more than an entry of the ledger can hold.
        return choice, reason and reason[:REASON_MAX]
