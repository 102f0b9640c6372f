"""The decisions of a tenant, and each with its proof, which the browser itself checks."""

from __future__ import annotations

from typing import Annotated, Final
from urllib.parse import urlencode

from fastapi import APIRouter, Path, Query, Request, Response
from starlette.responses import JSONResponse

from actors.ledger.entry import timestamp
from policies.decision import Decision, Effect, Receipt
from policies.errors import RefusalError
from policies.review import Review
from serve_app.api.auth import services
from serve_app.api.fields import Handle
from serve_app.api.ledger import find_proof, proof_view
from serve_app.console.door import Visitor, visitor
from serve_app.console.durations import clock_text
from serve_app.console.pages import ConsoleRoute, page
from serve_app.console.search import Wanted, search, words_of

router = APIRouter(route_class=ConsoleRoute, include_in_schema=False)

_READS: Final = "decisions:read"
_EFFECTS: Final = {effect.value: effect for effect in Effect}
_TEXT = Annotated[str, Query(max_length=128)]
DecisionId = Annotated[Handle, Path()]


@router.get("/console/decisions")
async def browse(
    request: Request,
    *,
    words: _TEXT = "",
    effect: _TEXT = "",
    agent: _TEXT = "",
    cursor: _TEXT = "",
) -> Response:
    """List the decisions that are in the signed tree and have all of the words, newest first."""
    who = await visitor(request, _READS)
    wanted = Wanted(words=words_of(words), effect=_EFFECTS.get(effect), agent=agent.strip() or None)
    found = await search(
        services(request).reader, who.principal.tenant, wanted, cursor=cursor or None
    )
    filters = {"words": words, "effect": effect, "agent": agent}
    kept = {name: value for name, value in filters.items() if value}
    following = urlencode({**kept, "cursor": found.next_cursor or ""})
    return page(
        request,
        "decisions.html",
        rows=[_row(decision, receipt) for decision, receipt in found.decisions],
        effects=list(_EFFECTS),
        filters=filters,
        following=f"/console/decisions?{following}" if found.next_cursor else "",
        looked=found.looked if wanted.words else 0,
        oldest=clock_text(found.oldest.decided_at) if found.oldest else "",
    )


@router.get("/console/decisions/{decision_id}")
async def read(request: Request, decision_id: DecisionId) -> Response:
    """Show one decision of the visitor's tenant."""
    who = await visitor(request, _READS)
    recorded = await services(request).recorder.decision(who.principal.tenant, decision_id)
    if recorded is None:
        raise RefusalError("decision.not_found", "no such decision in this tenant", 404)
    decision = recorded.decision
    return page(
        request,
        "decision.html",
        decision=decision,
        receipt=recorded.receipt,
        decided=clock_text(decision.decided_at),
        facts=_facts(decision),
        review=await _review(request, who, decision),
    )


@router.get("/console/decisions/{decision_id}/proof")
async def proof(request: Request, decision_id: DecisionId) -> Response:
    """Return the proof, and the keys that the bus publishes, for the browser to check."""
    who = await visitor(request, _READS)
    found = await find_proof(request, who.principal, decision_id)
    reader = services(request).reader
    return JSONResponse(
        {
            "proof": proof_view(found),
            "keys": reader.verifier_keys(who.principal.tenant).splitlines(),
            "root_keys": reader.verifier_keys(None).splitlines(),
        }
    )


async def _review(request: Request, who: Visitor, decision: Decision) -> Review | None:
    """Return the review that this decision opened, or that let it go; None without one."""
    review_id = decision.review_id
    if review_id is None and decision.effect is Effect.REVIEW:
        review_id = decision.decision_id
    if review_id is None or not who.may("reviews:read"):
        return None
    try:
        return await services(request).desk.find(who.principal, review_id)
    except RefusalError:
        return None  # reviews are forgotten after a month; decisions are not


def _row(decision: Decision, receipt: Receipt) -> dict[str, object]:
    return {
        "decision_id": decision.decision_id,
        "what": decision.tool or decision.action or "(no tool)",
        "effect": decision.effect.value,
        "lane": decision.lane.value,
        "agent": decision.agent,
        "recipient": decision.recipient or "",
        "impact": f"{decision.impact.score:.2f}",
        "at": clock_text(decision.decided_at),
        "leaf": receipt.leaf_index,
    }


def _facts(decision: Decision) -> list[tuple[str, str, str]]:
    """Return name in the ledger, name for people, and value, as the signed entry must have it."""
    return [
        ("effect", "Effect", decision.effect.value),
        ("lane", "Lane", decision.lane.value),
        ("agent", "Agent", decision.agent),
        ("recipient", "To", decision.recipient or ""),
        ("message_type", "Message type", decision.message_type),
        ("action", "Action", decision.action),
        ("tool", "Tool", decision.tool),
        ("resource", "Resource", decision.resource),
        ("decided_at", "Decided at", timestamp(decision.decided_at)),
        ("message_id", "Message", decision.message_id),
        ("content_digest", "Digest of the content", decision.content_digest),
        ("args_digest", "Digest of the arguments", decision.args_digest),
        ("policy_revision", "Policy revision", decision.policy_revision),
        ("constitution_digest", "Constitution", decision.constitution_digest),
        ("engine", "Engine", decision.engine),
        ("review_id", "Review", decision.review_id or ""),
        ("approvers", "Approved by", ", ".join(decision.approvers)),
    ]
