"""The constitution, for anyone who must live under it."""

from __future__ import annotations

import orjson
from fastapi import APIRouter, Request, Response

from serve_app.api.auth import services
from serve_app.api.openapi import problems
from serve_app.api.schemas import ConstitutionOut

router = APIRouter(tags=["constitution"])


@router.get(
    "/v1/constitution",
    operation_id="getConstitution",
    response_model=ConstitutionOut,
    responses=problems(503),
)
async def get_constitution(request: Request) -> Response:
    """Return the principles in force, which rules enforce them, and their digest."""
    law = services(request).constitution
    view = {
        "constitutional_hash": law.constitutional_hash,
        "digest": law.digest,
        "version": law.version,
        "principles": [
            {
                "id": principle.id,
                "title": principle.title,
                "text": principle.text,
                "enforced_by": list(principle.enforced_by),
            }
            for principle in law.principles
        ],
    }
    return Response(orjson.dumps(view), media_type="application/json")
