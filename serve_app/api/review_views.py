"""From a review to JSON: one function per shape, nothing left out."""

from __future__ import annotations

from actors.reviews.events import ReviewEvent
from policies.message import Message
from policies.panel import Outcome, Panel, outcome
from policies.review import Claim, Closing, Glass, Review, Vote
from serve_app.api.views import impact_view, message_view, reason_views, time_text
from serve_app.masking import Masked


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
        "panel": _panel(review.panel),
        "glass": _glass(review.glass),
        "follows": review.follows,
        "barred": sorted(review.barred),
        "shape": review.shape,
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
        "closing": closing_view(review.closing),
        "released_by": review.released_by,
    }


def _panel(panel: Panel | None) -> dict[str, object] | None:
    if panel is None:
        return None
    seats = [{"agent": seat.agent, "weight": seat.weight} for seat in panel.seats or ()]
    return {
        "rule": panel.rule.value,
        "needed": panel.needed,
        "closes_at": time_text(panel.closes_at),
        "seats": None if panel.seats is None else seats,
        "opinions": [
            {
                "by": opinion.by,
                "weight": opinion.weight,
                "opinion": opinion.choice.value,
                "reason": opinion.reason,
                "at": time_text(opinion.at),
            }
            for opinion in panel.opinions
        ],
        "outcome": outcome(panel).value if panel.seats is not None else Outcome.OPEN.value,
    }


def _glass(glass: Glass | None) -> dict[str, object] | None:
    if glass is None:
        return None
    return {
        "needed": glass.needed,
        "roles": list(glass.roles),
        "broken": [_vote(vote) for vote in glass.broken],
    }


def held_view(
    review: Review, message: Message, shown: Masked, *, revealed: bool
) -> dict[str, object]:
    """Return what leaves if it is approved, as HeldOut, of which so much is shown."""
    content, metadata = dict(shown.content), dict(shown.metadata)
    return {
        "review_id": review.review_id,
        "action_digest": review.action_digest,
        "message": {**message_view(message), "content": content, "metadata": metadata},
        "masked": list(shown.kinds),
        "revealed": revealed,
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
        "in_stead_of": list(vote.in_stead_of),
    }


def _claim(claim: Claim | None) -> dict[str, object] | None:
    return None if claim is None else {"by": claim.by, "until": time_text(claim.until)}


def closing_view(closing: Closing | None) -> dict[str, object] | None:
    """Return how a review ended, as ClosingOut."""
    if closing is None:
        return None
    return {
        "code": closing.code,
        "reason": closing.reason,
        "by": closing.by,
        "at": time_text(closing.at),
    }
