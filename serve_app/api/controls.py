"""Kill switches and revocations: what an operator stops, stops everywhere within a second."""

from __future__ import annotations

from typing import Final

import orjson
import structlog
from fastapi import APIRouter, Request, Response

from policies.controls import KillScope
from policies.principal import Principal
from policies.roles import require_scope
from serve_app.api.auth import services, verified
from serve_app.api.bodies import read_json
from serve_app.api.openapi import body as openapi_body
from serve_app.api.openapi import problems
from serve_app.api.schemas import KillIn, KillOut, ReleasedOut, RevokeIn, ScopeIn
from serve_app.api.views import time_text

router = APIRouter(tags=["operations"])
log = structlog.get_logger(__name__)

_BODY_BYTES_MAX: Final = 64 * 1024
_PROBLEMS: Final = problems(400, 401, 403, 408, 409, 413, 415, 422, 503)


@router.post(
    "/v1/controls/kill",
    operation_id="kill",
    response_model=KillOut,
    responses=_PROBLEMS,
    openapi_extra=openapi_body(KillIn),
)
async def kill(request: Request) -> Response:
    """Stop all that matches the scope; an empty scope stops everything."""
    principal = await _operator(request)
    body = (await read_json(request, KillIn, limit=_BODY_BYTES_MAX)).said
    stopped = await services(request).controls.kill(
        _scope(body.scope), reason=body.reason, by=principal.agent
    )
    view = {
        "scope": body.scope.model_dump(exclude_none=True),
        "reason": stopped.reason,
        "by": stopped.by,
        "at": time_text(stopped.at),
    }
    return _json(view)


@router.post(
    "/v1/controls/kill:release",
    operation_id="release",
    response_model=ReleasedOut,
    responses=_PROBLEMS,
    openapi_extra=openapi_body(KillIn),
)
async def release(request: Request) -> Response:
    """Release exactly this scope; narrower and wider kills stand."""
    principal = await _operator(request)
    body = (await read_json(request, KillIn, limit=_BODY_BYTES_MAX)).said
    was_stopped = await services(request).controls.release(_scope(body.scope))
    log.warning("control.release_reason", by=principal.agent, reason=body.reason)
    return _json({"released": was_stopped})


@router.post(
    "/v1/controls/revoke",
    operation_id="revoke",
    status_code=204,
    responses=_PROBLEMS,
    openapi_extra=openapi_body(RevokeIn),
)
async def revoke(request: Request) -> Response:
    """Revoke a token by its `jti`, or every token of an agent."""
    await _operator(request)
    body = (await read_json(request, RevokeIn, limit=_BODY_BYTES_MAX)).said
    board = services(request).controls
    if body.jti is not None and body.until is not None:
        await board.revoke_token(body.jti, body.until.timestamp())
    elif body.tenant is not None and body.agent is not None:
        await board.revoke_agent(body.tenant, body.agent)
    return Response(status_code=204)


async def _operator(request: Request) -> Principal:
    principal = await verified(request)
    require_scope(principal, "ops:control")
    return principal


def _scope(scope: ScopeIn) -> KillScope:
    return KillScope(tenant=scope.tenant, agent=scope.agent, tool=scope.tool)


def _json(view: object) -> Response:
    return Response(orjson.dumps(view), media_type="application/json")
