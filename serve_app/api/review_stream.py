"""What happens to a tenant's reviews, told as it happens: server-sent events.

Its route must come before those that take a review's id, since `stream` could be one.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import aclosing
from typing import Annotated, Final

import orjson
from fastapi import APIRouter, Header, Request, Response
from starlette.responses import StreamingResponse

from actors.reviews.events import ReviewEvent
from policies.errors import GovernanceError
from policies.principal import Principal
from serve_app.api import problems
from serve_app.api.auth import caller, require_free, services
from serve_app.api.openapi import problems as openapi_problems
from serve_app.api.review_schemas import ReviewEventOut
from serve_app.api.review_views import event_view
from serve_app.desk import Desk

router = APIRouter(tags=["reviews"])

_STREAM_MAX_S: Final = 300.0
LastEventId = Annotated[
    str | None,
    Header(
        alias="Last-Event-ID",
        pattern=r"^[0-9]{1,18}-[0-9]{1,18}$",
        description="goes on behind this event; else from now on",
    ),
]


@router.get(
    "/v1/reviews/stream",
    operation_id="streamReviews",
    response_class=StreamingResponse,
    responses={
        200: {
            "description": f"Server-sent events; the data of `review` is {ReviewEventOut.__name__}",
            "content": {"text/event-stream": {}},
        },
        **openapi_problems(401, 403, 422, 503),
    },
)
async def stream(request: Request, last_event_id: LastEventId = None) -> Response:
    """Follow what happens to the reviews of your tenant, one `review` event a step."""
    principal = await caller(request, "reviews:read")
    after = last_event_id or await services(request).desk.position(principal)
    return StreamingResponse(
        _events(request, principal, after=after),
        media_type="text/event-stream",
        headers={"Cache-Control": "no-store", "X-Accel-Buffering": "no"},
    )


async def _events(request: Request, principal: Principal, *, after: str) -> AsyncIterator[bytes]:
    """Yield each step as it is taken, a comment at least each 15 s, a problem if reading fails.

    Ends after 300 s, and when the caller is revoked or stopped; whoever listens connects again
    with the id of the last event.
    """
    here = services(request)
    ends_s = here.clock.monotonic_s() + _STREAM_MAX_S
    # An id without data is no event, and tells the listener where it stands before there is one.
    yield b"retry: 1000\nid: %s\n\n" % after.encode()
    try:
        async with aclosing(here.desk.events(principal, after=after)) as batches:
            async for batch in batches:
                require_free(request, principal)
                if here.clock.monotonic_s() >= ends_s or await request.is_disconnected():
                    return
                if not batch:
                    yield b": still here\n\n"
                for event in batch:
                    yield await _event(here.desk, principal, event=event)
    except GovernanceError as error:
        problem = problems.of_error(error, request_id=problems.request_id(request))
        yield b"event: problem\ndata: " + orjson.dumps(problem) + b"\n\n"


async def _event(desk: Desk, principal: Principal, *, event: ReviewEvent) -> bytes:
    try:
        review = await desk.find(principal, event.review_id)
    except GovernanceError as error:
        if error.retryable:
            raise
        review = None  # forgotten, or damaged: the step was taken all the same
    data = orjson.dumps(event_view(event, review))
    return b"event: review\nid: %s\ndata: %s\n\n" % (event.id.encode(), data)
