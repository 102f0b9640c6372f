"""From a review to JSON: one function per shape, nothing left out."""

from __future__ import annotations

from actors.reviews.client import ReviewEvent
from policies.message import Message
from policies.review import Claim, Closing, Review, Vote
from serve_app.api.views import impact_view, message_view, reason_views, time_text


def etag(review: Review) -> str:
    """Return the strong entity tag of the review as it stands."""
    return f'"{review.version}"'


def review_view(review: Review) -> dict[str, object]:
    """Return the review as ReviewDetailOut."""
    next_at = review.ladder.next_at
    return {
        "review_id": review.review_id,
        "state": review.state.value,
        "version": review.version,
        "decision_id": review.decision_id,
        "message_id": review.message_id,
        "tenant_id": review.tenant,
        "agent": review.agent,
        "to_agent": review.recipient,
        "action": review.action,
        "tool": review.tool,
        "resource": review.resource,
        "action_digest": review.action_digest,
        "impact": impact_view(review.impact),
        "reasons": reason_views(review.reasons),
        "tier": review.tier,
        "quorum": {
            "needed": review.quorum.needed,
            "roles": list(review.quorum.roles),
            "each": review.quorum.each,
            "rule": review.quorum.rule.value,
        },
        "eligible": sorted(review.eligible),
        "votes": [_vote(vote) for vote in review.votes],
        "claimed": _claim(review.claim),
        "escalation": {
            "level": review.ladder.level,
            "next_at": None if next_at is None else time_text(next_at),
        },
        "delivers": review.delivers,
        "policy_revision": review.policy_revision,
        "constitution_digest": review.constitution_digest,
        "opened_at": time_text(review.opened_at),
        "expires_at": time_text(review.expires_at),
        "closing": _closing(review.closing),
        "released_by": review.released_by,
    }


def held_view(review: Review, message: Message) -> dict[str, object]:
    """Return what leaves if it is approved, as HeldOut."""
    return {
        "review_id": review.review_id,
        "action_digest": review.action_digest,
        "message": message_view(message),
    }


def event_view(event: ReviewEvent, review: Review | None) -> dict[str, object]:
    """Return one step, with the review as it stands by now, as ReviewEventOut."""
    return {
        "review_id": event.review_id,
        "step": str(event.step),
        "state": str(event.state),
        "version": event.version,
        "at": time_text(event.at),
        "review": None if review is None else review_view(review),
    }


def _vote(vote: Vote) -> dict[str, object]:
    return {
        "by": vote.by,
        "role": vote.roles[0],  # a vote in no role of the quorum is refused, so there is one
        "roles": list(vote.roles),
        "vote": vote.choice.value,
        "reason": vote.reason,
        "at": time_text(vote.at),
    }


def _claim(claim: Claim | None) -> dict[str, object] | None:
    return None if claim is None else {"by": claim.by, "until": time_text(claim.until)}


def _closing(closing: Closing | None) -> dict[str, object] | None:
    if closing is None:
        return None
    return {
        "code": closing.code,
        "reason": closing.reason,
        "by": closing.by,
        "at": time_text(closing.at),
    }
