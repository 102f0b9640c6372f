"""What the page of a review says about its critics and its glass."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Final

from policies import reviewing
from policies.errors import RefusalError
from policies.panel import Outcome, PanelRule, outcome
from policies.principal import Principal
from policies.review import GlassBroken, Person, Review, State
from serve_app.console.durations import left_text

_SHARES: Final = {
    PanelRule.MAJORITY: "over half of the weight",
    PanelRule.SUPER_MAJORITY: "two thirds of the weight",
    PanelRule.UNANIMOUS: "all of the weight",
}
_OUTCOMES: Final = {
    Outcome.OPEN: "They came to no decision in time.",
    Outcome.APPROVED: "They approved it.",
    Outcome.REJECTED: "They rejected it.",
    Outcome.SPLIT: "They could not decide it, so people do.",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Critics:
    """Where a panel stands, what it takes, and who was called, each with a weight."""

    stands: str
    takes: str
    called: tuple[str, ...]


def critics(review: Review, *, now: datetime) -> Critics | None:
    """Return the panel in words; None when people decide from the start."""
    panel = review.panel
    if panel is None:
        return None
    if panel.seats is None:
        stands = "They are being called."
    elif review.state is State.DELIBERATING:
        stands = f"They may decide it before people do: {left_text(panel.closes_at, now)}."
    elif len(panel.seats) < panel.needed:
        stands = "There were too few of them, so people decide."
    elif outcome(panel) is Outcome.OPEN and now < panel.closes_at:
        stands = "People took it over."
    else:
        stands = _OUTCOMES[outcome(panel)]
    return Critics(
        stands=stands,
        takes=f"{panel.needed} of them with a side, and {_SHARES[panel.rule]} on one",
        called=tuple(f"{seat.agent} (weight {seat.weight})" for seat in panel.seats or ()),
    )


def may_break_glass(review: Review, principal: Principal, person: Person, *, now: datetime) -> bool:
    """Say whether this person may let it go without its quorum; it asks the law itself."""
    if "reviews:decide" not in principal.scopes:
        return False
    try:
        reviewing.advance(review, GlassBroken(by=person, reason="-"), now=now)
    except RefusalError:
        return False
    return True
