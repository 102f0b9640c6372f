"""When a panel of critics may decide for people: only what the rules allow, and want looked at.

Laws of this file:
1. What any rule holds, or its impact, or an obligation asks people for, people decide.
2. Several demands for a panel add up to the strictest; one that cannot be understood seats none,
   and counts as the gravest tier.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from policies.decision import Decision
from policies.panel import SEATS_MAX, Panel, PanelRule

REQUIRE_PANEL: Final = "require_panel"
RULE: Final = "settlement.require_panel"  # the only reason that leaves it to a panel
NEEDED: Final = 3
TTL_S: Final = 300.0
TTL_MAX_S: Final = 86_400.0
_ASKS: Final = frozenset({"rule", "quorum", "ttl"})
_STRICTER: Final = tuple(PanelRule)  # in this order
_RULES: Final = {rule.value: rule for rule in PanelRule}


@dataclass(frozen=True, slots=True, kw_only=True)
class PanelDemand:
    """What one `require_panel {rule, quorum, ttl}` asks for."""

    rule: PanelRule
    needed: int
    ttl_s: float


def panel_demands(decision: Decision) -> list[PanelDemand | None]:
    """Return what the obligations ask for; None for one that cannot be understood."""
    return [
        _demand(obligation.properties)
        for obligation in decision.obligations
        if obligation.type == REQUIRE_PANEL
    ]


def panel_of(
    decision: Decision, demands: Sequence[PanelDemand | None], by: datetime
) -> Panel | None:
    """Return the panel that may decide this until `by` at most; None when people do."""
    understood = [demand for demand in demands if demand is not None]
    held_by_others = any(reason.rule != RULE for reason in decision.reasons)
    if not understood or len(understood) < len(demands) or held_by_others:
        return None
    ttl_s = min(demand.ttl_s for demand in understood)
    return Panel(
        rule=max((demand.rule for demand in understood), key=_STRICTER.index),
        needed=max(demand.needed for demand in understood),
        closes_at=min(by, decision.decided_at + timedelta(seconds=ttl_s)),
    )


def _demand(properties: Mapping[str, object]) -> PanelDemand | None:
    rule = properties.get("rule", PanelRule.SUPER_MAJORITY.value)
    needed, ttl_s = properties.get("quorum", NEEDED), properties.get("ttl", TTL_S)
    if not properties.keys() <= _ASKS or not isinstance(rule, str) or rule not in _RULES:
        return None
    if not isinstance(needed, int) or isinstance(needed, bool) or needed < 1:
        return None
    if not isinstance(ttl_s, int | float) or isinstance(ttl_s, bool) or not ttl_s > 0:  # nor NaN
        return None
    # More critics than can be called cannot be had, so people decide.
    return PanelDemand(
        rule=_RULES[rule],
        needed=min(needed, SEATS_MAX + 1),
        ttl_s=float(min(ttl_s, TTL_MAX_S)),
    )
