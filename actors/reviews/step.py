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
    Escalated,
    Event,
    Overruled,
    Review,
    State,
    Step,
    TimePassed,
    Unclaimed,
    Voted,
)

_STEPS: Final[Mapping[type[Event], Step]] = MappingProxyType(
    {
        Claimed: Step.CLAIM,
        Unclaimed: Step.UNCLAIM,
        Voted: Step.VOTE,
        Escalated: Step.ESCALATE,
        Cancelled: Step.CANCEL,
        Consumed: Step.CONSUME,
        Overruled: Step.OVERRULE,
    }
)


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
        return Step.LAPSE if self.after.ladder == self.before.ladder else Step.ESCALATE

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
            "level": after.ladder.level if self.step is Step.ESCALATE else None,
            "action_digest": after.action_digest,
            "released_by": after.released_by,
            "at": timestamp(self.at),
        }
        return {name: fact for name, fact in facts.items() if fact is not None}

    def _said(self) -> tuple[str | None, str | None]:
        choice, reason = None, None
        match self.event:
            case Voted():
                vote = self.after.votes[-1]
                choice, reason = vote.choice.value, vote.reason
            case Escalated() | Cancelled() | Overruled():
                reason = self.event.reason.strip()
            case _:
                pass
        # A policy may say more than an entry of the ledger can hold.
        return choice, reason and reason[:REASON_MAX]
