"""Signing in at an identity provider: there, and back with a code.

Laws: what comes back counts once, and only in the browser that was sent away; the session's token
is the provider's access token, so it is verified anew with every request like any other.
"""

from __future__ import annotations

import json
import re
from secrets import token_urlsafe
from typing import Annotated, Final, NamedTuple
from urllib.parse import unquote

import structlog
from fastapi import APIRouter, Query, Request, Response
from starlette.responses import RedirectResponse

from cluster.identity.oidc import Attempt, Grant, Provider
from policies.errors import DependencyError, GovernanceError, RefusalError
from policies.principal import Principal
from policies.rate import RateLimitedError
from serve_app.api.auth import services
from serve_app.console.pages import SIGN_IN_PATH, ConsoleRoute, page, signed_out
from serve_app.console.sessions import ATTEMPT_S, is_code
from serve_app.console.sign_in import begin_session, is_secure

router = APIRouter(route_class=ConsoleRoute, include_in_schema=False)

BROWSER: Final = "acgs_console_oidc"
_PATH: Final = "/console/oidc"
_QUEUE: Final = "/console/"
_TO_MAX: Final = 1024
_TO: Final = re.compile(r"\A/console/[A-Za-z0-9._~%/?&=:+,-]*\Z")
_OURS: Final = ("/console/oidc/", "/console/sign-", "/console/static/", "/console/stream")
_CODE_MAX: Final = 4096
_DENIED: Final = re.compile(r"\A[a-z_]{1,64}\Z")

log = structlog.get_logger(__name__)


class _Begun(NamedTuple):
    """A sign-in as it was when the browser was sent away, and where it wanted to go."""

    attempt: Attempt
    to: str


@router.get(SIGN_IN_PATH)
async def go(request: Request, *, to: Annotated[str, Query(max_length=_TO_MAX)] = "") -> Response:
    """Send the browser to the provider; it keeps one half of what the answer must fit."""
    provider, here = _provider(request), services(request)
    destination = safe_path(to)
    try:
        _require_room(request)
        # One for all tabs of a browser: a second sign-in must not spoil the first.
        kept = request.cookies.get(BROWSER, "")
        browser = kept if is_code(kept) else token_urlsafe(32)
        nonce, verifier = token_urlsafe(32), token_urlsafe(32)
        secret = json.dumps({"nonce": nonce, "verifier": verifier, "to": destination})
        state = await here.sessions.attempt(secret, browser=browser)
        attempt = Attempt(state=state, nonce=nonce, verifier=verifier)
        answer = RedirectResponse(await provider.address(attempt), 303)
    except GovernanceError as error:
        return _refused(request, error, to=destination)
    answer.set_cookie(
        BROWSER,
        browser,
        max_age=ATTEMPT_S,
        path=_PATH,
        secure=is_secure(request),
        httponly=True,
        samesite="lax",  # strict ones stay away when another site, the provider, sends people here
    )
    return answer


@router.get("/console/oidc/callback")
async def come_back(request: Request) -> Response:
    """Begin a session for who comes back from the provider with a code of this sign-in."""
    provider, to = _provider(request), _QUEUE
    try:
        given = _answer(request)
        begun = await _begun(request, given)
        to = begun.to
        await provider.require_own(given.get("iss"))
        grant = await provider.redeem(_code(given), begun.attempt)
        principal = await _principal(request, grant)
        # A page and no redirect: the way here began at another site, and to a redirect on it the
        # browser would not bring the session along.
        answer = page(request, "arrived.html", to=to, name=principal.agent, tenant=principal.tenant)
        await begin_session(request, grant.access_token, principal, answer=answer)
    except GovernanceError as error:
        return _refused(request, error, to=to)
    answer.headers["Referrer-Policy"] = "no-referrer"  # the address still holds the code
    return answer  # the other cookie ends by itself: another tab may still be on its way


def safe_path(to: str) -> str:
    """Return where to go after signing in: a page of the console, never another site."""
    steps = unquote(to.partition("?")[0]).split("/")
    is_page = _TO.match(to) and not {".", ".."} & set(steps) and "" not in steps[1:-1]
    return to if is_page and not to.startswith(_OURS) else _QUEUE


def _require_room(request: Request) -> None:
    """Refuse (429) when strangers begin more sign-ins than a replica remembers."""
    here = services(request)
    try:
        here.attempts.admit("", "console", now_s=here.clock.monotonic_s())
    except RateLimitedError as error:
        raise RefusalError(
            "oidc.too_many", "too many people sign in at this moment; try again in a second", 429
        ) from error


def _provider(request: Request) -> Provider:
    provider = services(request).provider
    if provider is None:
        raise RefusalError(
            "oidc.not_configured", "no identity provider is set (ACGS_OIDC_ISSUER)", 404
        )
    return provider


def _answer(request: Request) -> dict[str, str]:
    """Return what the provider sent along, each thing once."""
    pairs = request.query_params.multi_items()
    given = dict(pairs)
    if len(given) != len(pairs):
        raise RefusalError("oidc.malformed", "a field stands twice in the answer", 400)
    return given


async def _begun(request: Request, given: dict[str, str]) -> _Begun:
    """Return the sign-in that this answers, used up; it must have begun in this browser."""
    state, browser = given.get("state", ""), request.cookies.get(BROWSER, "")
    secret = await services(request).sessions.resume(state, browser=browser)
    if secret is None:
        raise RefusalError(
            "oidc.state_mismatch",
            "this sign-in did not begin in this browser, is older than ten minutes, or was "
            "used; sign in again",
            403,
        )
    kept = json.loads(secret)
    attempt = Attempt(state=state, nonce=kept["nonce"], verifier=kept["verifier"])
    return _Begun(attempt, kept["to"])


def _code(given: dict[str, str]) -> str:
    if "error" in given:
        why = given["error"] if _DENIED.match(given["error"]) else "an error of its own"
        raise RefusalError("oidc.denied", f"the provider did not sign you in: {why}", 403)
    code = given.get("code", "")
    if not 0 < len(code) <= _CODE_MAX:
        raise RefusalError("oidc.malformed", "the provider sent no code", 400)
    return code


async def _principal(request: Request, grant: Grant) -> Principal:
    """Return whom the access token proves; it must be who signed in."""
    here = services(request)
    try:
        principal = await here.verifier.verify(grant.access_token, now=here.clock.now())
    except RefusalError as error:
        raise RefusalError(
            "oidc.token_refused",
            f"you signed in, but the provider's access token is not one for this bus: "
            f"{error.detail} ({error.code})",
            403,
        ) from error
    if principal.agent != grant.subject:
        raise RefusalError(
            "oidc.subject_mismatch", "the provider's two tokens are about two people", 403
        )
    if not principal.scopes:
        raise RefusalError(
            "oidc.nothing_allowed",
            "you signed in, but your token allows nothing here: it has no role that this bus "
            "knows, or a `scope` with none that your roles carry",
            403,
        )
    return principal


def _refused(request: Request, error: GovernanceError, *, to: str) -> Response:
    """Return the page to sign in on, with what went wrong; nothing is signed in."""
    if isinstance(error, RefusalError | DependencyError):
        services(request).meter.refused(error.code)
    log.warning("oidc.refused", code=error.code, detail=str(error))
    answer = signed_out(request, error, status=error.status, to=to)
    if error.status in (429, 503):
        answer.headers["Retry-After"] = "1"
    return answer
