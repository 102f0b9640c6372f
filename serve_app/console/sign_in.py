"""Signing in with a one-time code, and out. The token itself never reaches the browser."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Final

import structlog
from fastapi import APIRouter, Request, Response
from starlette.responses import JSONResponse, RedirectResponse

from cluster.settings import Environment
from policies.errors import RefusalError
from policies.principal import Principal
from serve_app.api.auth import identify, require_free, services
from serve_app.console.door import posted, read_form, require_same_origin, visitor
from serve_app.console.durations import clock_text
from serve_app.console.pages import COOKIE, COOKIE_PATH, ConsoleRoute, page, signed_out
from serve_app.console.sessions import SESSIONS_MAX, TICKET_S

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
    principal = await here.verifier.verify(token, now=here.clock.now())
    answer = RedirectResponse(_QUEUE, 303)
    await begin_session(request, token, principal, answer=answer)
    return answer


async def begin_session(
    request: Request, token: str, principal: Principal, *, answer: Response
) -> None:
    """Begin a session of who proved who they are, and hand its handle to the browser.

    Raises RefusalError (403) for whom an operator stopped.
    """
    here = services(request)
    require_free(request, principal)
    now = here.clock.now()
    seconds = max(1, int(principal.expires_at_s - now.timestamp()))
    handle, ended = await here.sessions.begin(token, principal, seconds=seconds, now=now)
    answer.set_cookie(
        COOKIE,
        handle,
        max_age=seconds,
        path=COOKIE_PATH,
        secure=is_secure(request),
        httponly=True,
        samesite="strict",
    )
    log.info("console.signed_in", tenant=principal.tenant, agent=principal.agent, ended=ended)


def is_secure(request: Request) -> bool:
    """Say whether a cookie may travel by https only."""
    is_laptop = services(request).settings.env is Environment.DEV
    return request.url.scheme == "https" or not is_laptop


@router.post("/console/sign-out")
async def sign_out(request: Request) -> Response:
    """End the session, in this browser and in the store."""
    who, _ = await posted(request, None)
    await services(request).sessions.end(who.handle)
    return _left()


@router.get("/console/sessions")
async def sessions(request: Request) -> Response:
    """Show where the visitor is signed in."""
    who = await visitor(request)
    alive = await services(request).sessions.alive(who.principal, who.handle)
    rows = [(clock_text(one.at), one.is_this) for one in alive]
    return page(
        request,
        "sessions.html",
        rows=rows,
        most=SESSIONS_MAX,
        ends=clock_text(datetime.fromtimestamp(who.principal.expires_at_s, UTC)),
    )


@router.post("/console/sign-out-everywhere")
async def sign_out_everywhere(request: Request) -> Response:
    """End every session of the visitor, in whichever browser."""
    who, _ = await posted(request, None)
    ended = await services(request).sessions.end_all(who.principal)
    log.info(
        "console.signed_out_everywhere",
        tenant=who.principal.tenant,
        agent=who.principal.agent,
        ended=ended,
    )
    return _left()


def _left() -> Response:
    answer = RedirectResponse("/console/sign-in", 303)
    answer.delete_cookie(COOKIE, path=COOKIE_PATH, httponly=True, samesite="strict")
    return answer
