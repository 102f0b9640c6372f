"""The ASGI application: its routes, its errors, and its life."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from importlib.metadata import version
from typing import Final

from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from pydantic import ValidationError
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware

from policies.errors import GovernanceError
from serve_app.api import (
    agents,
    authority,
    bulk,
    callbacks,
    constitution,
    controls,
    deliberation,
    health,
    ledger,
    mailbox,
    messages,
    notifications,
    openapi,
    precedents,
    problems,
    review_stream,
    reviews,
)
from serve_app.api.alike_schemas import BulkIn
from serve_app.api.authority_schemas import CriticIn, DelegationIn, ShiftIn
from serve_app.api.context import RequestContext
from serve_app.api.quick import prefer_quick
from serve_app.api.review_schemas import ConsumeIn, OpinionIn, ReviewEventOut, SaidIn, VoteIn
from serve_app.api.schemas import (
    AgentIn,
    BatchIn,
    ExtendIn,
    KillIn,
    MessageIn,
    NackIn,
    RevokeIn,
)
from serve_app.api.services import Services
from serve_app.console import routes as console

# ReviewEventOut is read by nobody: it stands in a stream, where FastAPI does not see it.
_REVIEWS: Final = (SaidIn, VoteIn, OpinionIn, ConsumeIn, ReviewEventOut)
_AUTHORITY: Final = (DelegationIn, ShiftIn, CriticIn)
_AGENTS: Final = (MessageIn, BatchIn, AgentIn, NackIn, ExtendIn)
_BODIES: Final = (*_AGENTS, KillIn, RevokeIn, *_REVIEWS, BulkIn, *_AUTHORITY)
_ROOMS: Final = (
    *(messages, review_stream, reviews, deliberation, authority, precedents),
    *(bulk, agents, mailbox),
    *(ledger, constitution, controls, notifications, callbacks, health),
)

OpenServices = Callable[[], AbstractAsyncContextManager[Services]]

_DESCRIPTION: Final = (
    "Every message or tool call that an agent wants to make is authenticated, judged under a "
    "versioned constitution, weighed, allowed, held or denied, and recorded in a tamper-evident "
    "ledger before the caller sees the answer. A governed denial is not an error: it is a 200 "
    "with `effect: deny`. Errors are RFC 9457 problem details with a stable `code`."
)


def create_api(open_services: OpenServices, *, echo_request_id: bool = False) -> FastAPI:
    """Return the API over the services that `open_services` opens for as long as it lives.

    Ray Serve echoes `X-Request-ID` itself; pass `echo_request_id` where nothing else does.
    """

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        async with open_services() as services:
            app.state.services = services
            app.state.alive = True
            yield
            app.state.alive = False

    app = FastAPI(
        title="ACGS-2",
        summary="A governance bus for AI agents",
        description=_DESCRIPTION,
        version=version("acgs-agent-bus"),
        lifespan=lifespan,
        redoc_url=None,
        redirect_slashes=False,  # a path is right or it is not found
        middleware=[Middleware(RequestContext, echo=echo_request_id)],
    )
    for room in _ROOMS:
        app.include_router(room.router)
    for router in console.ROUTERS:
        app.include_router(router)
    prefer_quick(app, "/v1/messages", messages.send_message)
    prefer_quick(app, "/v1/decisions", messages.make_decision)
    _answer_errors(app)
    openapi.install(app, _BODIES)
    return app


def _answer_errors(app: FastAPI) -> None:
    app.add_exception_handler(GovernanceError, problems.on_governance_error)
    app.add_exception_handler(ValidationError, problems.on_invalid_body)
    app.add_exception_handler(RequestValidationError, problems.on_invalid_request)
    app.add_exception_handler(HTTPException, problems.on_http_exception)
    app.add_exception_handler(Exception, problems.on_defect)
