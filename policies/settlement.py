"""How many opinions become one effect.

Laws: deny beats review beats allow, in whatever order they were said; silence denies; impact can
raise scrutiny and never lowers it; an obligation lives only as long as the effect it binds.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Self

from policies.clause import Clause
from policies.decision import Effect, Impact, Judgement, Lane, Obligation, Reason, Verdict
from policies.panel_law import REQUIRE_PANEL
from policies.panel_law import RULE as PANEL_RULE
from policies.review_law import REQUIRE_REVIEW
from policies.triage import triage

REASONS_MAX: Final = 64  # a receipt is for reading; the rest is counted in one more reason

_SEVERITY: Final = {Effect.ALLOW: 0, Effect.REVIEW: 1, Effect.DENY: 2}

SILENCE: Final = Verdict(
    rule="settlement.silence",
    effect=Effect.DENY,
    code="policy.silent",
    message="no rule of the active policy spoke about this message, and silence is a denial",
    remedy="ask a policy author for a rule that covers this action, then send it again",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class SettlementLaw:
    """From which impact a message is held for people, and from which it counts as deliberated."""

    review_from: float
    deliberate_from: float

    @classmethod
    def from_mapping(cls, section: object) -> Self:
        """Read the constitution's `settlement:`. Raises ValueError for a law that is none."""
        clause = Clause(section, "settlement")
        law = cls(
            review_from=clause.number("review_from", 0, 1),
            deliberate_from=clause.number("deliberate_from", 0, 1),
        )
        clause.close()
        if law.deliberate_from > law.review_from:
            raise ValueError("settlement.deliberate_from must not be above settlement.review_from")
        return law


@dataclass(frozen=True, slots=True, kw_only=True)
class Settlement:
    """The one effect, how much thought it took, why, and what it binds the caller to."""

    effect: Effect
    lane: Lane
    reasons: tuple[Reason, ...]
    obligations: tuple[Obligation, ...]


def settle(judgement: Judgement, impact: Impact, *, law: SettlementLaw) -> Settlement:
    """Return the strictest verdict, raised to review when the impact is high or the policy asks.

    The reasons are those that hold the effect up, sorted, each once, and that the scorer could
    not be asked, if so. A score that is no number counts as the highest.
    """
    verdicts: Sequence[Verdict] = judgement.verdicts or (SILENCE,)
    if not impact.score < law.review_from:  # so that NaN is held
        verdicts = (*verdicts, _high(impact, law))
    if any(obligation.type == REQUIRE_REVIEW for obligation in judgement.obligations):
        verdicts = (*verdicts, _REQUIRED)
    if any(obligation.type == REQUIRE_PANEL for obligation in judgement.obligations):
        verdicts = (*verdicts, _PANEL)
    effect = max((verdict.effect for verdict in verdicts), key=_SEVERITY.__getitem__)
    reasons = [_reason(verdict) for verdict in verdicts if verdict.effect is effect]
    return Settlement(
        effect=effect,
        lane=triage(effect, impact, deliberate_from=law.deliberate_from),
        reasons=_bounded(reasons) + ((_DEGRADED,) if impact.degraded else ()),
        obligations=_binding(judgement.obligations, effect),
    )


_DEGRADED: Final = Reason(
    code="impact.degraded",
    rule="settlement.impact",
    message="the scorer could not be asked, so the impact was weighed by structure alone",
    remedy="nothing for the caller to do; operators: see the scorer's circuit in /v1/health",
)


_REQUIRED: Final = Verdict(
    rule="settlement.require_review",
    effect=Effect.REVIEW,
    code="policy.review_required",
    message="the policy demands that people approve this",
    remedy="wait for the review",
)


_PANEL: Final = Verdict(
    rule=PANEL_RULE,
    effect=Effect.REVIEW,
    code="policy.panel_required",
    message="the policy demands that critics look at this first",
    remedy="wait for the panel, or for the people who decide when it does not",
)


def _high(impact: Impact, law: SettlementLaw) -> Verdict:
    return Verdict(
        rule="settlement.impact",
        effect=Effect.REVIEW,
        code="impact.review",
        message=f"the impact {impact.score:g} is at or above {law.review_from:g}, "
        "from which a person decides",
        remedy="wait for the review, or ask for something with less impact",
    )


def _reason(verdict: Verdict) -> Reason:
    return Reason(
        code=verdict.code, rule=verdict.rule, message=verdict.message, remedy=verdict.remedy
    )


def _bounded(reasons: Iterable[Reason]) -> tuple[Reason, ...]:
    ordered = sorted(set(reasons), key=lambda why: (why.code, why.rule, why.message, why.remedy))
    dropped = len(ordered) - REASONS_MAX
    if dropped <= 0:
        return tuple(ordered)
    more = Reason(
        code="settlement.more_reasons",
        rule="settlement.reasons_max",
        message=f"{dropped} more reasons were left out",
        remedy="see to the reasons listed; the others will then be shown",
    )
    return (*ordered[:REASONS_MAX], more)


def _binding(obligations: Iterable[Obligation], effect: Effect) -> tuple[Obligation, ...]:
    # Nothing happens after a denial, so nothing is owed; a review may still release the message.
    if effect is Effect.DENY:
        return ()
    once = {_identity(obligation): obligation for obligation in obligations}
    return tuple(once[key] for key in sorted(once))


def _identity(obligation: Obligation) -> tuple[str, str, str]:
    properties = json.dumps(obligation.properties, sort_keys=True, default=_plain)
    return obligation.type, obligation.id, properties


def _plain(value: object) -> object:
    return dict(value) if isinstance(value, Mapping) else repr(value)
