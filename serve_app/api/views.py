"""From our values to JSON: one function per shape, nothing left out."""

from __future__ import annotations

from datetime import UTC, datetime

from policies.decision import Decision, Impact, Receipt, Recorded


def time_text(moment: datetime) -> str:
    """RFC 3339 in UTC with milliseconds, such as 2026-11-23T12:00:00.000Z."""
    return moment.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def decision_view(recorded: Recorded) -> dict[str, object]:
    """Return the answer to a message as DecisionOut."""
    return {**_answer(recorded.decision), "receipt": receipt_view(recorded.receipt)}


def recorded_view(decision: Decision, receipt: Receipt) -> dict[str, object]:
    """Return a decision from the ledger as RecordedDecisionOut."""
    return {
        **_answer(decision),
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


def _answer(decision: Decision) -> dict[str, object]:
    return {
        "decision_id": decision.decision_id,
        "message_id": decision.message_id,
        "effect": decision.effect.value,
        "lane": decision.lane.value,
        "reasons": [
            {"code": r.code, "rule": r.rule, "message": r.message, "remedy": r.remedy}
            for r in decision.reasons
        ],
        "obligations": [
            {"id": o.id, "type": o.type, "properties": dict(o.properties)}
            for o in decision.obligations
        ],
        "impact": _impact(decision.impact),
        "constitutional_hash": decision.constitutional_hash,
        "constitution_digest": decision.constitution_digest,
        "policy_revision": decision.policy_revision,
        "engine": decision.engine,
        "decided_at": time_text(decision.decided_at),
        "review": None,
    }


def _impact(impact: Impact) -> dict[str, object]:
    return {
        "score": impact.score,
        "factors": dict(impact.factors),
        "model": impact.model,
        "degraded": impact.degraded,
    }
