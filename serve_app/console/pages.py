"""Pages: templates that escape everything, under headers that let nothing foreign in.

Every route of the console answers through `ConsoleRoute`, so no page and no error goes without.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from functools import lru_cache
from typing import Any, Final
from urllib.parse import urlencode, urlsplit

from fastapi import Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.routing import APIRoute
from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from policies.errors import DependencyError, GovernanceError, RefusalError
from serve_app.api import problems
from serve_app.api.auth import services
from serve_app.console.assets import asset_url
from serve_app.console.shown import legible

HTML: Final = "text/html; charset=utf-8"
COOKIE: Final = "acgs_console"
COOKIE_PATH: Final = "/console"
SIGN_IN_PATH: Final = "/console/oidc/sign-in"

SECURITY: Final = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; "
        "img-src 'self' data:; form-action 'self'; frame-ancestors 'none'; base-uri 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    # Not `no-referrer`: with it browsers send `Origin: null` with our own forms.
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cache-Control": "no-store",
}

Handler = Callable[[Request], Coroutine[Any, Any, Response]]


class ConsoleRoute(APIRoute):
    """A route whose errors are pages, and whose every answer carries the security headers."""

    def get_route_handler(self) -> Handler:
        """Return the handler that FastAPI made, guarded."""
        inner = super().get_route_handler()

        async def guarded(request: Request) -> Response:
            try:
                answer = await inner(request)
            except GovernanceError as error:
                if isinstance(error, RefusalError | DependencyError):
                    services(request).meter.refused(error.code)
                answer = refusal(request, error)
            except RequestValidationError:
                wrong = RefusalError("request.invalid", "this address is not one of ours", 422)
                answer = refusal(request, wrong)
            for name, value in SECURITY.items():
                answer.headers.setdefault(name, value)
            return answer

        return guarded


def page(
    request: Request,
    template: str,
    *,
    status: int = 200,
    headers: dict[str, str] | None = None,
    **values: object,
) -> Response:
    """Return the template as a page; what agents wrote in it is escaped and legible."""
    visitor = getattr(request.state, "visitor", None)
    html = (
        _environment()
        .get_template(template)
        .render(
            visitor=visitor,
            path=request.url.path,
            request_id=problems.request_id(request),
            **values,
        )
    )
    return Response(html, status, headers, media_type=HTML)


def refusal(request: Request, error: GovernanceError) -> Response:
    """Return the page of an error; who is not signed in (any more) is asked to sign in."""
    if error.status == 401:
        return signed_out(request, error)
    headers = {"Retry-After": "1"} if error.status == 503 else None
    return page(
        request,
        "refusal.html",
        status=error.status,
        headers=headers,
        code=error.code,
        detail=str(error),
    )


def signed_out(
    request: Request, error: GovernanceError | None, *, status: int = 401, to: str | None = None
) -> Response:
    """Return the page on which people sign in; a session that no longer counts is forgotten.

    `to` is where they go from there, else it is where they wanted to go.
    """
    had_one = COOKIE in request.cookies
    is_asked = error is not None and error.code == "auth.missing"
    is_news = had_one or not is_asked  # who just arrives need not read an error first
    request.state.visitor = None
    wanted = to or (_wanted(request) if request.method == "GET" else "")
    answer = page(
        request,
        "sign_in.html",
        status=status,
        error=error if is_news else None,
        provider=_provider(request, wanted),
        wanted=wanted,
    )
    if had_one and status == 401:
        answer.delete_cookie(COOKIE, path=COOKIE_PATH, httponly=True, samesite="strict")
    return answer


def _wanted(request: Request) -> str:
    """Return the page that was asked for; empty where people sign in."""
    if request.url.path.startswith(("/console/sign-in", "/console/oidc/")):
        return ""
    return f"{request.url.path}?{request.url.query}" if request.url.query else request.url.path


def _provider(request: Request, wanted: str) -> tuple[str, str] | None:
    """Return what the provider is called, and where signing in with it begins."""
    settings = services(request).settings
    if settings.oidc_issuer is None:
        return None
    # At the public address: only there does the browser keep what belongs to the sign-in.
    begin = f"{settings.public_url}{SIGN_IN_PATH}"
    query = f"?{urlencode({'to': wanted})}" if wanted else ""
    return urlsplit(settings.oidc_issuer).netloc, begin + query


@lru_cache(maxsize=1)
def _environment() -> Environment:
    environment = Environment(
        loader=PackageLoader("serve_app.console"),
        autoescape=True,
        undefined=StrictUndefined,
        finalize=_legible,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.globals["asset"] = asset_url
    return environment


def _legible(value: object) -> object:
    return legible(value) if isinstance(value, str) and not isinstance(value, Markup) else value
