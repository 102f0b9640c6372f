"""Two small pages: how the ledger stands, and who is registered."""

from __future__ import annotations

from typing import Annotated, Final

from fastapi import APIRouter, Query, Request, Response

from actors.ledger import checkpoint as notes
from serve_app.api.auth import services
from serve_app.console.door import visitor
from serve_app.console.durations import clock_text
from serve_app.console.pages import ConsoleRoute, page

router = APIRouter(route_class=ConsoleRoute, include_in_schema=False)

_PAGE: Final = 100


@router.get("/console/ledger")
async def ledger(request: Request) -> Response:
    """Show the newest checkpoints of the tenant's log and of the root log, and their keys."""
    who = await visitor(request, "ledger:read")
    reader = services(request).reader
    logs = []
    for name, tenant in (("Your tenant's log", who.principal.tenant), ("The root log", None)):
        note = await reader.checkpoint(tenant)
        logs.append(
            {
                "name": name,
                "checkpoint": None if note is None else notes.parse(note),
                "keys": reader.verifier_keys(tenant).splitlines(),
            }
        )
    return page(request, "ledger.html", logs=logs)


@router.get("/console/agents")
async def agents(request: Request, *, after: Annotated[str, Query(max_length=64)] = "") -> Response:
    """List who is registered in the visitor's tenant."""
    who = await visitor(request)
    found = await services(request).mailboxes.agents(who.principal.tenant, after=after, limit=_PAGE)
    rows = [
        {
            "agent": one.agent,
            "type": one.profile.agent_type,
            "roles": ", ".join(one.profile.roles),
            "seen": clock_text(one.last_seen),
        }
        for one in found
    ]
    following = f"/console/agents?after={found[-1].agent}" if len(found) == _PAGE else ""
    return page(request, "agents.html", rows=rows, following=following)
