"""Pages: templates that escape everything, under headers that let nothing foreign in.

Every route of the console answers through `ConsoleRoute`, so no page and no error goes without.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from functools import lru_cache
from typing import Any, Final

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


def signed_out(request: Request, error: GovernanceError | None, *, status: int = 401) -> Response:
    """Return the page on which people sign in; a session that no longer counts is forgotten."""
    had_one = COOKIE in request.cookies
    is_news = had_one or request.method == "POST"  # who just arrives need not read an error first
    request.state.visitor = None
    answer = page(
        request,
        "sign_in.html",
        status=status,
        detail=str(error) if error is not None and is_news else "",
    )
    if had_one:
        answer.delete_cookie(COOKIE, path=COOKIE_PATH, httponly=True, samesite="strict")
    return answer


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
