"""Messages and decisions: the front door of the road."""

from __future__ import annotations

import asyncio
import json
from dataclasses import replace
from typing import Annotated, Final

import orjson
from fastapi import APIRouter, Header, Path, Query, Request, Response
from pydantic import AwareDatetime, JsonValue, ValidationError

from policies.decision import Effect, Recorded
from policies.errors import DependencyError, GovernanceError, RefusalError
from policies.principal import Principal
from policies.roles import require_scope
from serve_app.api import problems
from serve_app.api.auth import caller, require_free, services, verified
from serve_app.api.bodies import BATCH_BYTES_MAX, MESSAGE_BYTES_MAX, Body, read_json
from serve_app.api.fields import Handle, Id, TimeText
from serve_app.api.intake import to_message
from serve_app.api.openapi import body as openapi_body
from serve_app.api.openapi import problems as openapi_problems
from serve_app.api.schemas import (
    BatchIn,
    BatchOut,
    DecisionOut,
    DecisionPage,
    MessageIn,
    RecordedDecisionOut,
)
from serve_app.api.services import Services
from serve_app.api.views import decision_view, recorded_view

router = APIRouter(tags=["messages and decisions"])

_WAIT_MAX_S: Final = 30.0
_BATCH_CONCURRENCY: Final = 64
_REFUSALS: Final = openapi_problems(400, 401, 403, 404, 408, 409, 413, 415, 422, 429, 503)
Prefer = Annotated[
    str | None,
    Header(description="`wait=2` waits up to 2 s until the entry is in the signed tree"),
]


@router.post(
    "/v1/messages",
    operation_id="sendMessage",
    response_model=DecisionOut,
    responses=_REFUSALS,
    openapi_extra=openapi_body(MessageIn),
)
async def send_message(
    request: Request,
    prefer: Prefer = None,  # noqa: ARG001  # for OpenAPI; read from the request, which is quicker
) -> Response:
    """Govern one message, and deliver it if it is allowed."""
    principal = await _sender(request, "messages:send")
    return await _govern(request, principal, delivers=True)


@router.post(
    "/v1/decisions",
    operation_id="makeDecision",
    response_model=DecisionOut,
    responses=_REFUSALS,
    openapi_extra=openapi_body(MessageIn),
)
async def make_decision(
    request: Request,
    prefer: Prefer = None,  # noqa: ARG001  # likewise
) -> Response:
    """Govern one message without delivering it: the caller acts, or does not."""
    principal = await _sender(request, "decisions:make")
    return await _govern(request, principal, delivers=False)


@router.post(
    "/v1/messages:batch",
    operation_id="sendMessages",
    response_model=BatchOut,
    responses=openapi_problems(400, 401, 403, 408, 413, 415, 422, 503),
    openapi_extra=openapi_body(BatchIn),
)
async def send_messages(request: Request, prefer: Prefer = None) -> Response:
    """Govern up to 1000 messages; each is judged on its own, and a bad one fails alone."""
    principal = await _sender(request, "messages:send")
    items = (await read_json(request, BatchIn, limit=BATCH_BYTES_MAX)).said.messages
    slots = asyncio.Semaphore(_BATCH_CONCURRENCY)
    answers: dict[int, Recorded | dict[str, object]] = {}

    async def in_order(places: list[int]) -> None:
        async with slots:
            for place in places:
                answers[place] = await _one_of_batch(request, principal, item=items[place])

    await asyncio.gather(*(in_order(places) for places in _conversations(items)))
    here, wait_s = services(request), _wait_s(prefer)
    views = [_view(here, answers[place], wait_s=wait_s) for place in range(len(items))]
    return _json({"results": await asyncio.gather(*views)})


@router.get(
    "/v1/decisions",
    operation_id="listDecisions",
    response_model=DecisionPage,
    responses=openapi_problems(401, 403, 422, 503),
)
async def list_decisions(
    request: Request,
    *,
    since: Annotated[Annotated[AwareDatetime, TimeText] | None, Query()] = None,
    effect: Annotated[Effect | None, Query()] = None,
    agent: Annotated[Id | None, Query()] = None,
    limit: Annotated[int, Query(ge=1, le=500)] = 50,
    cursor: Annotated[str | None, Query(max_length=64)] = None,
) -> Response:
    """List this tenant's decisions that are in the signed tree, newest first."""
    principal = await caller(request, "decisions:read")
    page = await services(request).reader.decisions(
        principal.tenant,
        since=since,
        effect=effect,
        agent=agent,
        limit=limit,
        cursor=cursor,
    )
    law = services(request).law.reviews
    views = [recorded_view(decision, receipt, law=law) for decision, receipt in page.decisions]
    return _json({"decisions": views, "next_cursor": page.next_cursor})


@router.get(
    "/v1/decisions/{decision_id}",
    operation_id="getDecision",
    response_model=RecordedDecisionOut,
    responses=openapi_problems(401, 403, 404, 422, 503),
)
async def get_decision(request: Request, decision_id: Annotated[Handle, Path()]) -> Response:
    """Return one decision of this tenant."""
    principal = await caller(request, "decisions:read")
    here = services(request)
    found = await here.recorder.decision(principal.tenant, decision_id)
    if found is None:
        raise RefusalError("decision.not_found", "no such decision in this tenant", 404)
    return _json(recorded_view(found.decision, found.receipt, law=here.law.reviews))


def _conversations(items: list[JsonValue]) -> list[list[int]]:
    """Group the places of a batch so that each conversation keeps its order."""
    groups: dict[object, list[int]] = {}
    for place, item in enumerate(items):
        named = item.get("conversation_id") if isinstance(item, dict) else None
        groups.setdefault(named if isinstance(named, str) else place, []).append(place)
    return list(groups.values())


async def _govern(request: Request, principal: Principal, *, delivers: bool) -> Response:
    here = services(request)
    asked = await read_json(request, MessageIn, limit=MESSAGE_BYTES_MAX)
    recorded = await _submit(here, principal, asked=asked, delivers=delivers)
    prefer = request.headers.get("prefer")
    recorded = await _settled(here, recorded, wait_s=_wait_s(prefer))
    headers = {"Idempotency-Replayed": "true"} if recorded.replayed else None
    return _json(decision_view(recorded, here.law.reviews), headers)


async def _sender(request: Request, scope: str) -> Principal:
    """Return the caller; if it proved who it is and is refused, that goes into the ledger."""
    principal = await verified(request)
    try:
        require_free(request, principal)
        require_scope(principal, scope)
    except RefusalError as error:
        await services(request).refusals.record(principal, error)
        raise
    return principal


async def _submit(
    here: Services, principal: Principal, *, asked: Body[MessageIn], delivers: bool
) -> Recorded:
    try:
        message = to_message(
            asked.said,
            principal,
            size=len(asked.raw),
            now=here.clock.now(),
            limits=here.law.limits,
        )
        return await here.bus.submit(principal, message, delivers=delivers)
    except RefusalError as error:
        await here.refusals.record(
            principal, error, request_digest=asked.digest, message_id=asked.said.message_id
        )
        raise


async def _one_of_batch(
    request: Request, principal: Principal, *, item: JsonValue
) -> Recorded | dict[str, object]:
    here = services(request)
    request_id = problems.request_id(request)
    try:
        asked = Body(MessageIn.model_validate(item), _bounded(item))
        return await _submit(here, principal, asked=asked, delivers=True)
    except ValidationError as error:
        return problems.of_fields(error, request_id=request_id)
    except (RefusalError, DependencyError) as error:
        return _counted(here, error, request_id=request_id)


def _bounded(item: JsonValue) -> bytes:
    try:
        raw = orjson.dumps(item)
    except TypeError:  # an integer beyond 64 bits; what is wrong with it is said where it is read
        raw = json.dumps(item).encode()
    if len(raw) > MESSAGE_BYTES_MAX:
        raise RefusalError("message.too_large", "this message is over 1 MiB", 413)
    return raw


async def _view(
    here: Services, answer: Recorded | dict[str, object], *, wait_s: float | None
) -> dict[str, object]:
    if isinstance(answer, dict):
        return answer
    return decision_view(await _settled(here, answer, wait_s=wait_s), here.law.reviews)


def _counted(here: Services, error: GovernanceError, *, request_id: str) -> dict[str, object]:
    here.meter.refused(error.code)
    return problems.of_error(error, request_id=request_id)


async def _settled(here: Services, recorded: Recorded, *, wait_s: float | None) -> Recorded:
    """Wait for the leaf's index when the caller prefers to; without it when time runs out."""
    if wait_s is None:
        return recorded
    index = await here.reader.wait_for_leaf(
        recorded.decision.tenant, recorded.decision.decision_id, timeout_s=wait_s
    )
    return replace(recorded, receipt=replace(recorded.receipt, leaf_index=index))


def _wait_s(prefer: str | None) -> float | None:
    """Read RFC 7240 `wait`; preferences that we do not know are ignored, as it says."""
    for preference in (prefer or "").split(","):
        name, _, value = preference.strip().partition("=")
        if name.strip().lower() == "wait" and value.strip().isdecimal():
            return min(float(value), _WAIT_MAX_S)
    return None


def _json(view: object, headers: dict[str, str] | None = None) -> Response:
    return Response(orjson.dumps(view), 200, headers, media_type="application/json")
