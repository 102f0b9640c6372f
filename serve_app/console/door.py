"""Who looks: the cookie of a request becomes the same verified Principal as any bearer token.

Laws: a session is verified anew with every request, against the keys, the clock and the control
board; what changes something carries a token that only the session's own pages know, and comes
from them.
"""

from __future__ import annotations

import hmac
from dataclasses import dataclass
from hashlib import sha256
from typing import Final
from urllib.parse import parse_qsl, urlsplit

from fastapi import Request

from policies.errors import RefusalError
from policies.principal import Principal
from policies.roles import require_scope
from serve_app.api.auth import require_free, services
from serve_app.api.bodies import read_body
from serve_app.console.pages import COOKIE

_FORM: Final = "application/x-www-form-urlencoded"
_FORM_BYTES_MAX: Final = 64 * 1024
_FIELDS_MAX: Final = 32


@dataclass(frozen=True, slots=True, kw_only=True)
class Visitor:
    """Somebody who is signed in, and the session's handle."""

    principal: Principal
    handle: str

    @property
    def csrf(self) -> str:
        """What the forms of this session carry; it does not tell the handle."""
        return hmac.new(self.handle.encode(), b"acgs console form", sha256).hexdigest()

    def may(self, scope: str) -> bool:
        """Say whether the token carries the scope."""
        return scope in self.principal.scopes


async def visitor(request: Request, scope: str | None = None) -> Visitor:
    """Return who is signed in and holds the scope.

    Raises RefusalError with 401 for who is not, or not any more, and 403; DependencyError when
    identity cannot be checked.
    """
    here = services(request)
    handle = request.cookies.get(COOKIE, "")
    token = await here.sessions.token(handle) if handle else None
    if token is None:
        raise RefusalError("auth.missing", "your session has ended; sign in again", 401)
    principal = await here.verifier.verify(token, now=here.clock.now())
    found = Visitor(principal=principal, handle=handle)
    require_free(request, principal)
    request.state.visitor = found  # the frame of every page names who looks, its errors too
    if scope is not None:
        require_scope(principal, scope)
    return found


async def posted(request: Request, scope: str | None) -> tuple[Visitor, dict[str, str]]:
    """Return who posts a form, and its fields; refused 403 when it is not a form of ours."""
    require_same_origin(request)
    found = await visitor(request)
    fields = await read_form(request)
    if not hmac.compare_digest(fields.get("csrf", "").encode(), found.csrf.encode()):
        raise RefusalError(
            "console.form_refused",
            "this form is not from your session; open the page again and repeat it",
            403,
        )
    try:
        if scope is not None:
            require_scope(found.principal, scope)
    except RefusalError as error:
        await services(request).refusals.record(found.principal, error)
        raise
    return found, fields


def require_same_origin(request: Request) -> None:
    """Refuse with 403 what a browser says comes from another site's page."""
    origin = request.headers.get("origin")
    site = request.headers.get("sec-fetch-site", "same-origin")
    is_ours = origin is None or urlsplit(origin).netloc == request.headers.get("host")
    if not is_ours or site != "same-origin":
        raise RefusalError("console.form_refused", "this form comes from another site", 403)


async def read_form(request: Request) -> dict[str, str]:
    """Return the fields of a form; a field that stands twice is refused."""
    raw = await read_body(request, limit=_FORM_BYTES_MAX, kind=_FORM)
    try:
        pairs = parse_qsl(
            raw.decode("ascii"),
            keep_blank_values=True,
            max_num_fields=_FIELDS_MAX,
            errors="strict",
        )
    except ValueError:
        raise RefusalError("request.malformed_form", "this is no form of ours") from None
    fields = dict(pairs)
    if len(fields) != len(pairs):
        raise RefusalError("request.malformed_form", "a field stands twice in the form")
    return fields
