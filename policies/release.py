"""Letting go what people approved: the law is asked again, and has the last word.

Laws: a denial now outweighs every approval; approvals count only if they satisfy what the law asks
for now; what goes says who let it go.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Final

from policies.decision import Decision, Effect, Lane, Obligation, Reason
from policies.obligations import FULFILLED_HERE
from policies.review import Choice, Review, State
from policies.review_law import REQUIRE_REVIEW, ReviewLaw, terms_of
from policies.reviewing import outcome

RULE: Final = "reviews.quorum"


def released(decision: Decision, review: Review, law: ReviewLaw) -> Decision:
    """Return the decision on an approved action, out of what the law says about it now.

    `decision` is the fresh judgement of it; the answer allows or denies, and is never another
    review: approvals that do not satisfy the law of today are a denial, and the agent asks again.
    """
    named = replace(decision, review_id=review.review_id)
    if decision.effect is Effect.DENY:
        return replace(named, lane=Lane.HUMAN)
    now = terms_of(decision, law)
    eligible = frozenset((*now.quorum.roles, *now.ladder.adds[: review.ladder.level - 1]))
    if outcome(review.votes, now.quorum, eligible) is not State.APPROVED:
        return _denied(named, [_RAISED])
    duties = tuple(duty for duty in decision.obligations if duty.type != REQUIRE_REVIEW)
    beyond_us = [duty for duty in duties if duty.type not in FULFILLED_HERE]
    if review.delivers and beyond_us:
        return _denied(named, [_unfulfilled(duty) for duty in beyond_us])
    approvers = tuple(vote.by for vote in review.votes if vote.choice is Choice.APPROVE)
    return replace(
        named,
        effect=Effect.ALLOW,
        lane=Lane.HUMAN,
        reasons=(_approved(approvers),),
        obligations=duties,
        approvers=approvers,
    )


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


def _approved(approvers: Sequence[str]) -> Reason:
    return Reason(
        code="review.approved",
        rule=RULE,
        message=f"approved by {', '.join(approvers)}",
        remedy="",
    )


def _unfulfilled(duty: Obligation) -> Reason:
    return Reason(
        code="obligation.unsupported",
        rule=RULE,
        message=f"the policy demands {duty.type!r} now, which the bus cannot fulfil on delivery",
        remedy="ask for a decision with POST /v1/decisions and fulfil it yourself",
    )
