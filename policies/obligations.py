"""Duties that come with a permission: what the bus fulfils itself, and what it cannot.

Law: a permission whose obligation cannot be fulfilled is a denial (AuthZEN obligations profile).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Final

from policies.decision import Effect, Finding, Obligation, Reason
from policies.findings import OVERFLOW
from policies.message import Message
from policies.redaction import redact
from policies.settlement import Settlement

REDACT: Final = "redact"
FULFILLED_HERE: Final = frozenset({REDACT})


def uphold(settlement: Settlement) -> Settlement:
    """Return the settlement, turned into a denial where the bus cannot do what it demands.

    For messages that the bus itself would deliver. A caller who only asked for a decision
    fulfils the obligations, or must treat the answer as a denial.
    """
    beyond_us = [o for o in settlement.obligations if o.type not in FULFILLED_HERE]
    if settlement.effect is not Effect.ALLOW or not beyond_us:
        return settlement
    reasons = tuple(_unfulfilled(obligation) for obligation in beyond_us)
    return replace(settlement, effect=Effect.DENY, reasons=reasons, obligations=())


def fulfil(
    message: Message, obligations: Sequence[Obligation], findings: Sequence[Finding]
) -> Message:
    """Return the message as it may leave: redacted where an obligation demands it.

    A `redact` obligation names its strings in `properties.paths`, as the findings do. One that
    names none, or a string in which nothing was found, means every finding: rather too much is
    taken out than too little.
    """
    demanded = [obligation for obligation in obligations if obligation.type == REDACT]
    if not demanded:
        return message
    paths = _paths(demanded)
    known = {finding.path for finding in findings}
    if paths is None or not paths <= known:
        return replace(message, content=redact(message.content, findings))
    meant = [one for one in findings if one.path in paths or one.detector == OVERFLOW]
    return replace(message, content=redact(message.content, meant))


def _paths(obligations: Sequence[Obligation]) -> set[str] | None:
    """Return the paths that the obligations name together; None when one means everything."""
    paths: set[str] = set()
    for obligation in obligations:
        named = obligation.properties.get("paths")
        if not isinstance(named, list | tuple) or not named:
            return None
        paths.update(str(path) for path in named)
    return paths


def _unfulfilled(obligation: Obligation) -> Reason:
    return Reason(
        code="obligation.unsupported",
        rule="obligations.uphold",
        message=f"the policy demands {obligation.type!r}, which the bus cannot fulfil on delivery",
        remedy="ask for a decision with POST /v1/decisions and fulfil it yourself, "
        "or ask a policy author for an obligation that the bus knows: redact",
    )
