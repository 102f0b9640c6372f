"""Agents: who can be written to in this tenant."""

from __future__ import annotations

from typing import Annotated

import orjson
from fastapi import APIRouter, Path, Query, Request, Response

from actors.mailbox.mailbox import Profile, Registration
from policies.errors import RefusalError
from policies.principal import Principal
from serve_app.api.auth import caller, identify, services
from serve_app.api.bodies import read_json
from serve_app.api.fields import Id
from serve_app.api.openapi import body as openapi_body
from serve_app.api.openapi import problems
from serve_app.api.schemas import AgentIn, AgentOut, AgentPage, HeartbeatOut
from serve_app.api.views import time_text

router = APIRouter(tags=["agents"])

_PROFILE_BYTES_MAX = 64 * 1024
AgentId = Annotated[Id, Path(description="the agent's id within your tenant")]


@router.put(
    "/v1/agents/{agent_id}",
    operation_id="registerAgent",
    response_model=AgentOut,
    responses={
        201: {"model": AgentOut, "description": "Registered"},
        **problems(400, 401, 403, 408, 409, 413, 415, 422, 503),
    },
    openapi_extra=openapi_body(AgentIn),
)
async def register(request: Request, agent_id: AgentId) -> Response:
    """Register an agent or change its registration. An agent may register itself."""
    principal = await _manager_or_self(request, agent_id)
    body = (await read_json(request, AgentIn, limit=_PROFILE_BYTES_MAX)).said
    profile = Profile(
        agent_type=body.agent_type,
        capabilities=tuple(body.capabilities),
        roles=tuple(body.roles),
        metadata=body.metadata,
    )
    registration, created = await services(request).mailboxes.register(
        principal.tenant, agent_id, profile
    )
    return _json(_view(registration), 201 if created else 200)


@router.get(
    "/v1/agents",
    operation_id="listAgents",
    response_model=AgentPage,
    responses=problems(401, 403, 422, 503),
)
async def list_agents(
    request: Request,
    *,
    limit: Annotated[int, Query(ge=1, le=1000)] = 100,
    cursor: Annotated[Id | None, Query(description="`next_cursor` of the page before")] = None,
) -> Response:
    """List the agents of your tenant by id."""
    principal = await identify(request)
    found = await services(request).mailboxes.agents(
        principal.tenant, after=cursor or "", limit=limit
    )
    following = found[-1].agent if len(found) == limit else None
    return _json({"agents": [_view(one) for one in found], "next_cursor": following})


@router.get(
    "/v1/agents/{agent_id}",
    operation_id="getAgent",
    response_model=AgentOut,
    responses=problems(401, 403, 404, 422, 503),
)
async def get_agent(request: Request, agent_id: AgentId) -> Response:
    """Return one agent of your tenant."""
    principal = await identify(request)
    return _json(_view(await services(request).mailboxes.agent(principal.tenant, agent_id)))


@router.delete(
    "/v1/agents/{agent_id}",
    operation_id="unregisterAgent",
    status_code=204,
    responses=problems(401, 403, 404, 422, 503),
)
async def unregister(request: Request, agent_id: AgentId) -> Response:
    """Unregister an agent; what waits for it becomes dead letters."""
    principal = await caller(request, "agents:manage")
    if not await services(request).mailboxes.unregister(principal.tenant, agent_id):
        raise RefusalError("agent.unknown", f"no agent {agent_id!r} is registered here", 404)
    return Response(status_code=204)


@router.post(
    "/v1/agents/{agent_id}:heartbeat",
    operation_id="heartbeat",
    response_model=HeartbeatOut,
    responses=problems(401, 403, 404, 422, 503),
)
async def heartbeat(request: Request, agent_id: AgentId) -> Response:
    """Say that the agent lives."""
    principal = await _manager_or_self(request, agent_id)
    seen = await services(request).mailboxes.heartbeat(principal.tenant, agent_id)
    return _json({"agent_id": agent_id, "last_seen": time_text(seen)})


async def _manager_or_self(request: Request, agent_id: str) -> Principal:
    principal = await identify(request)
    if principal.agent == agent_id and "messages:receive" in principal.scopes:
        return principal
    return await caller(request, "agents:manage")


def _view(registration: Registration) -> dict[str, object]:
    profile = registration.profile
    return {
        "agent_id": registration.agent,
        "tenant_id": registration.tenant,
        "agent_type": profile.agent_type,
        "capabilities": list(profile.capabilities),
        "roles": list(profile.roles),
        "metadata": dict(profile.metadata),
        "registered_at": time_text(registration.registered_at),
        "last_seen": time_text(registration.last_seen),
    }


def _json(view: object, status: int = 200) -> Response:
    return Response(orjson.dumps(view), status, media_type="application/json")
