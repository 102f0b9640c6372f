"""Every route of the console, in the order in which they are tried."""

from __future__ import annotations

from typing import Final

from fastapi import APIRouter, Request, Response

from policies.errors import RefusalError
from serve_app.console import alike, assets, decisions, oidc, onward, places, queue, review, sign_in
from serve_app.console.door import visitor
from serve_app.console.pages import ConsoleRoute

_lost: Final = APIRouter(route_class=ConsoleRoute, include_in_schema=False)


@_lost.get("/console/{path:path}")
async def lost(request: Request, path: str) -> Response:
    """Say so on a page, to who is signed in."""
    await visitor(request)
    raise RefusalError("request.not_found", f"there is no page {path[:80]!r} here", 404)


ROUTERS: Final = (
    *(sign_in.tickets, sign_in.router, oidc.router, assets.router),
    *(
        queue.router,
        onward.router,
        review.router,
        alike.router,
        decisions.router,
        places.router,
        _lost,
    ),
)
