"""Letting go what people approved: the law is asked again, and has the last word.

Laws: a denial now outweighs every approval; approvals count only if they satisfy what the law asks
for now; what goes says who let it go.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Final, NamedTuple

from policies.decision import Decision, Effect, Lane, Obligation, Reason
from policies.obligations import FULFILLED_HERE
from policies.panel import Choice, Outcome, Panel, approving
from policies.panel import outcome as panel_outcome
from policies.panel_law import REQUIRE_PANEL
from policies.review import Glass, Review, State
from policies.review_law import REQUIRE_REVIEW, GlassLaw, ReviewLaw, terms_of
from policies.reviewing import outcome

RULE: Final = "reviews.quorum"
_ASKED_FOR: Final = frozenset({REQUIRE_REVIEW, REQUIRE_PANEL})


def released(decision: Decision, review: Review, law: ReviewLaw) -> Decision:
    """Return the decision on an approved action, out of what the law says about it now.

    `decision` is the fresh judgement of it; the answer allows or denies, and is never another
    review: approvals that do not satisfy the law of today are a denial, and the agent asks again.
    """
    named = replace(decision, review_id=review.review_id)
    if decision.effect is Effect.DENY:
        return replace(named, lane=Lane.HUMAN)
    approval = _approval(review, decision, law)
    if approval is None:
        return _denied(named, [_RAISED])
    duties = tuple(duty for duty in decision.obligations if duty.type not in _ASKED_FOR)
    beyond_us = [duty for duty in duties if duty.type not in FULFILLED_HERE]
    if review.delivers and beyond_us:
        return _denied(named, [_unfulfilled(duty) for duty in beyond_us])
    return replace(
        named,
        effect=Effect.ALLOW,
        lane=approval.lane,
        reasons=(approval.reason,),
        obligations=duties,
        approvers=approval.approvers,
    )


class _Approval(NamedTuple):
    approvers: tuple[str, ...]
    lane: Lane
    reason: Reason


def _approval(review: Review, decision: Decision, law: ReviewLaw) -> _Approval | None:
    """Return who let it go, if that is enough under the terms of today; None when it is not."""
    now = terms_of(decision, law)
    if review.glass is not None and review.glass.is_broken:
        if not _still_broken(review.glass, law.glass):
            return None
        approvers = tuple(vote.by for vote in review.glass.broken)
        return _Approval(
            approvers,
            Lane.HUMAN,
            _said("review.glass_broken", "let go without its quorum by", approvers),
        )
    if review.panel is not None and panel_outcome(review.panel) is Outcome.APPROVED:
        approvers = approving(review.panel.opinions)
        if decision.effect is not Effect.ALLOW and not _still(review.panel, now.panel):
            return None
        reason = _said("review.panel_approved", "approved by the panel:", approvers)
        return _Approval(approvers, Lane.DELIBERATION, reason)
    eligible = frozenset((*now.quorum.roles, *now.ladder.adds[: review.ladder.level - 1]))
    if outcome(review.votes, now.quorum, eligible) is not State.APPROVED:
        return None
    approvers = tuple(vote.by for vote in review.votes if vote.choice is Choice.APPROVE)
    return _Approval(approvers, Lane.HUMAN, _said("review.approved", "approved by", approvers))


def _still_broken(glass: Glass, now: GlassLaw) -> bool:
    """Say whether so many people in those roles are enough today."""
    may = sum(not frozenset(vote.roles).isdisjoint(now.roles) for vote in glass.broken)
    return may >= now.needed


def _still(panel: Panel, now: Panel | None) -> bool:
    """Say whether a panel may decide it today, and would have with what this one said."""
    if now is None:
        return False
    today = replace(panel, rule=now.rule, needed=now.needed)
    return panel_outcome(today) is Outcome.APPROVED


def _denied(decision: Decision, reasons: Sequence[Reason]) -> Decision:
    return replace(
        decision, effect=Effect.DENY, lane=Lane.HUMAN, reasons=tuple(reasons), obligations=()
    )


_RAISED: Final = Reason(
    code="review.quorum_raised",
    rule=RULE,
    message="the law asks for more approvals now than this action was given",
    remedy="ask for the action again; it is then reviewed under the law of today",
)


def _said(code: str, words: str, approvers: Sequence[str]) -> Reason:
    return Reason(code=code, rule=RULE, message=f"{words} {', '.join(approvers)}", remedy="")


def _unfulfilled(duty: Obligation) -> Reason:
    return Reason(
        code="obligation.unsupported",
        rule=RULE,
        message=f"the policy demands {duty.type!r} now, which the bus cannot fulfil on delivery",
        remedy="ask for a decision with POST /v1/decisions and fulfil it yourself",
    )
