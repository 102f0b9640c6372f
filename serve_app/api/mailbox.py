"""Mailboxes: an agent receives, acknowledges, and redrives its own messages only."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Annotated, Final

import orjson
from fastapi import APIRouter, Path, Query, Request, Response
from starlette.responses import StreamingResponse

from actors.mailbox.mailbox import DeadLetter, Envelope
from policies.errors import GovernanceError
from policies.principal import Principal
from serve_app.api import problems
from serve_app.api.auth import caller, services
from serve_app.api.bodies import read_json
from serve_app.api.fields import Handle
from serve_app.api.openapi import body as openapi_body
from serve_app.api.openapi import problems as openapi_problems
from serve_app.api.schemas import (
    DeadLetterPage,
    ExtendedOut,
    ExtendIn,
    MailboxOut,
    NackIn,
)
from serve_app.api.views import message_view, time_text

router = APIRouter(tags=["mailboxes"])

_BODY_BYTES_MAX: Final = 64 * 1024
_HEARTBEAT_S: Final = 15.0
_STREAM_BATCH: Final = 10
_STREAM_MAX_S: Final = 300.0
LeaseId = Annotated[str, Path(max_length=64, description="as received")]
LeaseSeconds = Annotated[int, Query(ge=1, le=3600, description="how long they are yours")]
_SETTLING: Final = openapi_problems(400, 401, 403, 404, 408, 409, 413, 415, 422, 503)


@router.get(
    "/v1/mailbox",
    operation_id="receive",
    response_model=MailboxOut,
    responses=openapi_problems(401, 403, 404, 422, 503),
)
async def receive(
    request: Request,
    *,
    at_most: Annotated[int, Query(alias="max", ge=1, le=100)] = 10,
    wait_s: Annotated[float, Query(ge=0, le=60, description="long poll")] = 0,
    lease_s: LeaseSeconds = 30,
) -> Response:
    """Lease your next messages: highest priority first, then in order of arrival."""
    principal = await caller(request, "messages:receive")
    envelopes = await services(request).mailboxes.receive(
        principal.tenant, principal.agent, at_most=at_most, lease_s=lease_s, wait_s=wait_s
    )
    return _json({"messages": [_envelope(envelope) for envelope in envelopes]})


@router.get(
    "/v1/mailbox/stream",
    operation_id="streamMailbox",
    response_class=StreamingResponse,
    responses={
        200: {"description": "Server-sent events", "content": {"text/event-stream": {}}},
        **openapi_problems(401, 403, 404, 422, 503),
    },
)
async def stream(request: Request, *, lease_s: LeaseSeconds = 30) -> Response:
    """Receive as server-sent events; each `message` event is a lease to acknowledge."""
    principal = await caller(request, "messages:receive")
    await services(request).mailboxes.agent(principal.tenant, principal.agent)
    return StreamingResponse(
        _events(request, principal, lease_s=lease_s),
        media_type="text/event-stream",
        headers={"Cache-Control": "no-store", "X-Accel-Buffering": "no"},
    )


@router.get(
    "/v1/mailbox/dead-letters",
    operation_id="listDeadLetters",
    response_model=DeadLetterPage,
    responses=openapi_problems(401, 403, 422, 503),
)
async def dead_letters(
    request: Request,
    *,
    limit: Annotated[int, Query(ge=1, le=100)] = 50,
    cursor: Annotated[str | None, Query(max_length=64)] = None,
) -> Response:
    """List your messages that will not be delivered, and why; oldest first."""
    principal = await caller(request, "messages:receive")
    letters = await services(request).mailboxes.dead_letters(
        principal.tenant, principal.agent, after=cursor or "", limit=limit
    )
    following = letters[-1].cursor if letters else None
    return _json({"dead_letters": [_letter(one) for one in letters], "next_cursor": following})


@router.post(
    "/v1/mailbox/dead-letters/{message_id}:redrive",
    operation_id="redrive",
    status_code=204,
    responses=_SETTLING,
)
async def redrive(request: Request, message_id: Annotated[Handle, Path()]) -> Response:
    """Put a dead letter back into your mailbox, as if it had just arrived."""
    principal = await caller(request, "messages:receive")
    await services(request).mailboxes.redrive(principal.tenant, principal.agent, message_id)
    return Response(status_code=204)


@router.post("/v1/mailbox/{lease_id}:ack", operation_id="ack", status_code=204, responses=_SETTLING)
async def ack(request: Request, lease_id: LeaseId) -> Response:
    """Say that the message is done; repeating it is fine."""
    principal = await caller(request, "messages:receive")
    await services(request).mailboxes.ack(principal.tenant, principal.agent, lease_id)
    return Response(status_code=204)


@router.post(
    "/v1/mailbox/{lease_id}:nack",
    operation_id="nack",
    status_code=204,
    responses=_SETTLING,
    openapi_extra=openapi_body(NackIn),
)
async def nack(request: Request, lease_id: LeaseId) -> Response:
    """Say that this attempt failed; the message comes again later, or becomes a dead letter."""
    principal = await caller(request, "messages:receive")
    body = (await read_json(request, NackIn, limit=_BODY_BYTES_MAX)).said
    await services(request).mailboxes.nack(
        principal.tenant,
        principal.agent,
        lease_id,
        reason=body.reason,
        retry_in_s=body.retry_in_s,
    )
    return Response(status_code=204)


@router.post(
    "/v1/mailbox/{lease_id}:extend",
    operation_id="extend",
    response_model=ExtendedOut,
    responses=_SETTLING,
    openapi_extra=openapi_body(ExtendIn),
)
async def extend(request: Request, lease_id: LeaseId) -> Response:
    """Hold the message for longer, from now."""
    principal = await caller(request, "messages:receive")
    body = (await read_json(request, ExtendIn, limit=_BODY_BYTES_MAX)).said
    ends = await services(request).mailboxes.extend(
        principal.tenant, principal.agent, lease_id, lease_s=body.lease_s
    )
    return _json({"lease_id": lease_id, "expires_at": time_text(ends)})


async def _events(request: Request, principal: Principal, *, lease_s: int) -> AsyncIterator[bytes]:
    """Yield messages as they come, a comment each 15 s, and a problem if receiving fails.

    Ends after 300 s; whoever listens connects again, as server-sent events do by themselves.
    """
    here = services(request)
    mailboxes, ends_s = here.mailboxes, here.clock.monotonic_s() + _STREAM_MAX_S
    yield b"retry: 1000\n\n"
    while here.clock.monotonic_s() < ends_s and not await request.is_disconnected():
        try:
            envelopes = await mailboxes.receive(
                principal.tenant,
                principal.agent,
                at_most=_STREAM_BATCH,
                lease_s=lease_s,
                wait_s=_HEARTBEAT_S,
            )
        except GovernanceError as error:
            problem = problems.of_error(error, request_id=problems.request_id(request))
            yield b"event: problem\ndata: " + orjson.dumps(problem) + b"\n\n"
            if not error.retryable:
                return
            await asyncio.sleep(1)
            continue
        if not envelopes:
            yield b": still here\n\n"
        for envelope in envelopes:
            yield _event(envelope)


def _event(envelope: Envelope) -> bytes:
    data = orjson.dumps(_envelope(envelope))
    return b"event: message\nid: %s\ndata: %s\n\n" % (envelope.lease_id.encode(), data)


def _envelope(envelope: Envelope) -> dict[str, object]:
    return {
        "message": message_view(envelope.message),
        "decision_id": envelope.decision_id,
        "lease_id": envelope.lease_id,
        "attempt": envelope.attempt,
        "expires_at": time_text(envelope.expires_at),
    }


def _letter(letter: DeadLetter) -> dict[str, object]:
    return {
        "message": message_view(letter.message),
        "decision_id": letter.decision_id,
        "code": letter.code,
        "reason": letter.reason,
        "attempts": letter.attempts,
        "died_at": time_text(letter.died_at),
    }


def _json(view: object) -> Response:
    return Response(orjson.dumps(view), media_type="application/json")
