"""What surrounds every request: its id, its log context, its place, its count and its duration.

Laws: no more than `ongoing_requests_max` requests are worked on at a time, and no more than
`waiting_requests_max` wait for messages; one more is told to come back in a second, before its
body is read. Probes and metrics always get in: a full house is not a dead one.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Final

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from structlog.contextvars import bind_contextvars, clear_contextvars

from cluster.clock import SystemClock, new_id
from serve_app.api import problems
from serve_app.api.services import Services

_REQUEST_ID_MAX: Final = 1024
_UNROUTED: Final = "(none)"
_SATURATED: Final = "gateway.saturated"
_ALWAYS_IN: Final = ("/health/", "/v1/health", "/metrics")
_WAITING: Final = frozenset(
    {"/v1/mailbox", "/v1/mailbox/stream", "/v1/reviews/stream", "/console/stream"}
)


@dataclass(slots=True)
class _Room:
    """How many requests of one kind are under way in this replica."""

    ongoing: int = 0


class RequestContext:
    """Pure ASGI middleware: cheap enough for every request. Belongs to one event loop.

    The bounds are those of the services that the application holds.
    """

    def __init__(self, app: ASGIApp, *, echo: bool) -> None:
        self._app = app
        self._echo = echo
        self._working = _Room()
        self._waiting = _Room()

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
            await self._enter(scope, receive, send_on)
        finally:
            _count(scope, status, time.perf_counter() - started_s)

    async def _enter(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on if there is room for it, and answer 503 if there is none."""
        path: str = scope["path"]
        if path.startswith(_ALWAYS_IN):
            await self._app(scope, receive, send)
            return
        services: Services = scope["app"].state.services
        waits = path in _WAITING
        room = self._waiting if waits else self._working
        settings = services.settings
        most = settings.waiting_requests_max if waits else settings.ongoing_requests_max
        if room.ongoing >= most:
            services.meter.refused(_SATURATED)
            await problems.response(_saturated(scope, most, waits=waits))(scope, receive, send)
            return
        room.ongoing += 1
        try:
            await self._app(scope, receive, send)
        finally:
            room.ongoing -= 1


def _request_id(scope: Scope) -> str:
    given = Headers(scope=scope).get("x-request-id", "")
    # Whatever the caller calls it: it is echoed as it came, and our answers and logs must agree.
    return given if 0 < len(given) <= _REQUEST_ID_MAX else new_id(SystemClock().now())


def _saturated(scope: Scope, most: int, *, waits: bool) -> dict[str, object]:
    doing = "wait for messages" if waits else "are under way"
    detail = f"{most} requests {doing} in this replica, as many as it takes; send it again later"
    return problems.document(503, _SATURATED, detail, request_id=scope["acgs.request_id"])


def _count(scope: Scope, status: int, elapsed_s: float) -> None:
    # Imported here because Serve pickles this module's classes by value (docs/adr/0012).
    from cluster import metrics  # noqa: PLC0415  # see above

    route = getattr(scope.get("route"), "path", _UNROUTED)
    metrics.count_request(scope["method"], route, status, elapsed_s)
