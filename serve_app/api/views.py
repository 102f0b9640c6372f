"""From our values to JSON: one function per shape, nothing left out."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime

from policies.decision import Decision, Effect, Impact, Reason, Receipt, Recorded
from policies.message import Message
from policies.review_law import ReviewLaw, terms_of


def time_text(moment: datetime) -> str:
    """RFC 3339 in UTC with milliseconds, such as 2026-11-23T12:00:00.000Z."""
    return moment.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def decision_view(recorded: Recorded, law: ReviewLaw) -> dict[str, object]:
    """Return the answer to a message as DecisionOut; `law` says how long a review may take."""
    return {**_answer(recorded.decision, law), "receipt": receipt_view(recorded.receipt)}


def recorded_view(decision: Decision, receipt: Receipt, *, law: ReviewLaw) -> dict[str, object]:
    """Return a decision from the ledger as RecordedDecisionOut."""
    return {
        **_answer(decision, law),
        "receipt": receipt_view(receipt),
        "agent": decision.agent,
        "to_agent": decision.recipient,
        "message_type": decision.message_type,
        "priority": decision.priority,
        "action": decision.action,
        "tool": decision.tool,
        "content_digest": decision.content_digest,
        "args_digest": decision.args_digest,
    }


def receipt_view(receipt: Receipt) -> dict[str, object]:
    """Return the receipt as ReceiptOut; the index only once it is known."""
    view: dict[str, object] = {
        "origin": receipt.origin,
        "leaf_hash": receipt.leaf_hash,
        "entry_id": receipt.entry_id,
    }
    if receipt.leaf_index is not None:
        view["leaf_index"] = receipt.leaf_index
    return view


def message_view(message: Message) -> dict[str, object]:
    """Return a message as its recipient, or who decides on it, sees it."""
    return {
        "message_id": message.id,
        "conversation_id": message.conversation_id,
        "session_id": message.session_id,
        "from_agent": message.sender,
        "tenant_id": message.tenant,
        "to_agent": message.recipient,
        "message_type": message.type.value,
        "priority": message.priority.word,
        "constitutional_hash": message.constitutional_hash,
        "content": dict(message.content),
        "metadata": dict(message.metadata),
        "sent_at": time_text(message.sent_at),
        "expires_at": time_text(message.expires_at),
    }


def reason_views(reasons: Sequence[Reason]) -> list[dict[str, object]]:
    """Return reasons as a list of ReasonOut."""
    return [
        {"code": r.code, "rule": r.rule, "message": r.message, "remedy": r.remedy} for r in reasons
    ]


def impact_view(impact: Impact) -> dict[str, object]:
    """Return an impact as ImpactOut."""
    return {
        "score": impact.score,
        "factors": dict(impact.factors),
        "model": impact.model,
        "degraded": impact.degraded,
    }


def review_url(review_id: str) -> str:
    """Return where the review is found on this bus."""
    return f"/v1/reviews/{review_id}"


def _answer(decision: Decision, law: ReviewLaw) -> dict[str, object]:
    return {
        "decision_id": decision.decision_id,
        "message_id": decision.message_id,
        "effect": decision.effect.value,
        "lane": decision.lane.value,
        "reasons": reason_views(decision.reasons),
        "obligations": [
            {"id": o.id, "type": o.type, "properties": dict(o.properties)}
            for o in decision.obligations
        ],
        "impact": impact_view(decision.impact),
        "constitutional_hash": decision.constitutional_hash,
        "constitution_digest": decision.constitution_digest,
        "policy_revision": decision.policy_revision,
        "engine": decision.engine,
        "decided_at": time_text(decision.decided_at),
        "review": _review(decision, law),
        "review_id": decision.review_id,
        "approvers": list(decision.approvers),
    }


def _review(decision: Decision, law: ReviewLaw) -> dict[str, object] | None:
    """Return where a held decision waits; None when it does not."""
    if decision.effect is not Effect.REVIEW:
        return None
    return {
        "review_id": decision.decision_id,  # a review has the id of the decision that opened it
        "url": review_url(decision.decision_id),
        "expires_at": time_text(terms_of(decision, law).expires_at),
    }
