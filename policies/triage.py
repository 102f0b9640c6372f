"""Which lane a decision took, told from the decision itself."""

from __future__ import annotations

from policies.decision import Effect, Impact, Lane


def triage(effect: Effect, impact: Impact, *, deliberate_from: float) -> Lane:
    """Return `human` when held for people, `deliberation` when more was weighed, else `fast`.

    More was weighed when the scorer was asked, whether it answered or not, or when the structure
    alone is grave. A score that is no number is grave.
    """
    if effect is Effect.REVIEW:
        return Lane.HUMAN
    asked = impact.model is not None or impact.degraded
    if asked or not impact.score < deliberate_from:  # so that NaN deliberates
        return Lane.DELIBERATION
    return Lane.FAST
