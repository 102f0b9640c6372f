"""Signing in with a one-time code, and out. The token itself never reaches the browser."""

from __future__ import annotations

from typing import Final

import structlog
from fastapi import APIRouter, Request, Response
from starlette.responses import JSONResponse, RedirectResponse

from cluster.settings import Environment
from policies.errors import RefusalError
from serve_app.api.auth import identify, require_free, services
from serve_app.console.door import posted, read_form, require_same_origin
from serve_app.console.pages import COOKIE, COOKIE_PATH, ConsoleRoute, signed_out
from serve_app.console.sessions import TICKET_S

router = APIRouter(route_class=ConsoleRoute, include_in_schema=False)
tickets = APIRouter(include_in_schema=False)

_QUEUE: Final = "/console/"

log = structlog.get_logger(__name__)


@tickets.post("/console/tickets")
async def ticket(request: Request) -> Response:
    """Return a code that signs the bearer in once, within a minute; `acgs console` asks for it."""
    await identify(request)
    token = request.headers["authorization"].partition(" ")[2].strip()
    code = await services(request).sessions.ticket(token)
    headers = {"Cache-Control": "no-store"}
    return JSONResponse({"code": code, "expires_in_s": TICKET_S}, headers=headers)


@router.get("/console/sign-in")
async def sign_in_page(request: Request) -> Response:
    """Ask for a code; a link from `acgs console` brings it behind the #, which stays here."""
    return signed_out(request, None, status=200)


@router.post("/console/sign-in")
async def sign_in(request: Request) -> Response:
    """Begin a session for who has a code that was not used yet."""
    require_same_origin(request)
    here = services(request)
    fields = await read_form(request)
    token = await here.sessions.redeem(fields.get("code", "").strip())
    if token is None:
        used = "this code was used, is older than a minute, or is none; run `acgs console` again"
        return signed_out(request, RefusalError("console.code_refused", used, 403), status=403)
    now = here.clock.now()
    principal = await here.verifier.verify(token, now=now)
    require_free(request, principal)
    seconds = max(1, int(principal.expires_at_s - now.timestamp()))
    handle = await here.sessions.begin(token, seconds)
    answer = RedirectResponse(_QUEUE, 303)
    answer.set_cookie(
        COOKIE,
        handle,
        max_age=seconds,
        path=COOKIE_PATH,
        secure=request.url.scheme == "https" or here.settings.env is not Environment.DEV,
        httponly=True,
        samesite="strict",
    )
    log.info("console.signed_in", tenant=principal.tenant, agent=principal.agent)
    return answer


@router.post("/console/sign-out")
async def sign_out(request: Request) -> Response:
    """End the session, here and everywhere."""
    visitor, _ = await posted(request, None)
    await services(request).sessions.end(visitor.handle)
    answer = RedirectResponse("/console/sign-in", 303)
    answer.delete_cookie(COOKIE, path=COOKIE_PATH, httponly=True, samesite="strict")
    return answer
