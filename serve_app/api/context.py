"""What surrounds every request: its id, its log context, its count and its duration."""

from __future__ import annotations

import re
import time
from typing import Final

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from structlog.contextvars import bind_contextvars, clear_contextvars

from cluster.clock import SystemClock, new_id

_REQUEST_ID: Final = re.compile(r"\A[\x21-\x7e]{1,128}\Z")
_UNROUTED: Final = "(none)"


class RequestContext:
    """Pure ASGI middleware: cheap enough for every request."""

    def __init__(self, app: ASGIApp, *, echo: bool) -> None:
        self._app = app
        self._echo = echo

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on, with its id bound, and count how it was answered."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        request_id = _request_id(scope)
        scope["acgs.request_id"] = request_id
        clear_contextvars()
        bind_contextvars(request_id=request_id)
        started_s = time.perf_counter()
        status = 500

        async def send_on(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                if self._echo:
                    MutableHeaders(scope=message)["X-Request-ID"] = request_id
            await send(message)

        try:
            await self._app(scope, receive, send_on)
        finally:
            _count(scope, status, time.perf_counter() - started_s)


def _request_id(scope: Scope) -> str:
    given = Headers(scope=scope).get("x-request-id", "")
    return given if _REQUEST_ID.match(given) else new_id(SystemClock().now())


def _count(scope: Scope, status: int, elapsed_s: float) -> None:
    # Imported here because Serve pickles this module's classes by value (docs/adr/0012).
    from cluster import metrics  # noqa: PLC0415  # see above

    route = getattr(scope.get("route"), "path", _UNROUTED)
    metrics.count_request(scope["method"], route, status, elapsed_s)
