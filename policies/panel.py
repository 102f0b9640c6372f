"""A panel of critics: agents that may decide for people what no rule keeps for people.

Laws of this file:
1. An abstention counts for neither side, and silence for nothing: what the panel does not decide,
   people do.
2. What counts as decided cannot be undone by those who have not spoken yet.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from enum import StrEnum
from typing import Final

WEIGHT_MAX: Final = 100
SEATS_MAX: Final = 32


class PanelRule(StrEnum):
    """How much of the weight that takes a side one side must have: over half, two thirds, all."""

    MAJORITY = "majority"
    SUPER_MAJORITY = "super_majority"
    UNANIMOUS = "unanimous"


class Choice(StrEnum):
    """What a vote says. An abstention is a vote that counts for neither side."""

    APPROVE = "approve"
    REJECT = "reject"
    ABSTAIN = "abstain"


class Outcome(StrEnum):
    """What a panel has come to; `split` means that neither side can win any more."""

    OPEN = "open"
    APPROVED = "approved"
    REJECTED = "rejected"
    SPLIT = "split"


@dataclass(frozen=True, slots=True, kw_only=True)
class Seat:
    """A critic that was called, and how much its word weighs, from 1 to `WEIGHT_MAX`."""

    agent: str
    weight: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Opinion:
    """One critic's word; `answers` is who answers for the critic."""

    by: str
    answers: str
    weight: int
    choice: Choice
    reason: str
    at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Panel:
    """Who was called, what they said, and until when they may.

    At least `needed` critics must take a side. `seats` is None until the panel is called together.
    """

    rule: PanelRule
    needed: int
    closes_at: datetime
    seats: tuple[Seat, ...] | None = None
    opinions: tuple[Opinion, ...] = ()

    def seat(self, agent: str) -> Seat | None:
        """Return the seat of this critic, None when it has none."""
        return next((seat for seat in self.seats or () if seat.agent == agent), None)

    def heard(self, opinion: Opinion) -> Panel:
        """Return the panel with one more opinion."""
        return replace(self, opinions=(*self.opinions, opinion))


def outcome(panel: Panel) -> Outcome:
    """Return what the opinions come to, of all the weight that was called."""
    seats = panel.seats or ()
    said = {opinion.by: opinion.choice for opinion in panel.opinions}
    by_choice = {
        choice: sum(seat.weight for seat in seats if said.get(seat.agent) is choice)
        for choice in Choice
    }
    contested = sum(seat.weight for seat in seats) - by_choice[Choice.ABSTAIN]
    silent = [seat for seat in seats if seat.agent not in said]
    sides = sum(choice is not Choice.ABSTAIN for choice in said.values())
    yes, no = by_choice[Choice.APPROVE], by_choice[Choice.REJECT]
    if sides >= panel.needed:
        if _has(panel.rule, yes, contested):
            return Outcome.APPROVED
        if _has(panel.rule, no, contested):
            return Outcome.REJECTED
    left = sum(seat.weight for seat in silent)
    can_win = any(_has(panel.rule, side + left, contested) for side in (yes, no))
    return Outcome.OPEN if can_win and sides + len(silent) >= panel.needed else Outcome.SPLIT


def approving(opinions: Sequence[Opinion]) -> tuple[str, ...]:
    """Return who approved."""
    return tuple(opinion.by for opinion in opinions if opinion.choice is Choice.APPROVE)


def _has(rule: PanelRule, weight: int, contested: int) -> bool:
    """Say whether this weight is enough of what takes a side or may still take one."""
    match rule:
        case PanelRule.MAJORITY:
            return 2 * weight > contested
        case PanelRule.SUPER_MAJORITY:
            return weight > 0 and 3 * weight >= 2 * contested
        case PanelRule.UNANIMOUS:
            return weight > 0 and weight == contested
