"""The queue: what waits for people, as it comes and goes, without anybody reloading."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import aclosing
from typing import Annotated, Final
from urllib.parse import urlencode

from fastapi import APIRouter, Header, Query, Request, Response
from starlette.responses import RedirectResponse, StreamingResponse

from policies.errors import GovernanceError
from policies.review import OPEN, Review, State
from policies.standin import on_call
from serve_app.api.auth import services
from serve_app.console import sheet
from serve_app.console.door import Visitor, visitor
from serve_app.console.pages import ConsoleRoute, page
from serve_app.console.search import review_holds, words_of

router = APIRouter(route_class=ConsoleRoute, include_in_schema=False)

_READS: Final = "reviews:read"
_PAGE: Final = 40  # what a page shows at least, when there is so much
_SLICE: Final = 20
LOOKS_MAX: Final = 1000  # a rare word is looked for among so many, then the page says so
_STREAM_MAX_S: Final = 300.0
_EVENT_ID: Final = r"^([0-9]{1,18}-[0-9]{1,18})?$"
_OPEN: Final = "open"
_ALL: Final = "all"
_TEXT = Annotated[str, Query(max_length=256)]
_BY_WORD: Final = {state.value: frozenset({state}) for state in State}
_STATES: Final = (_OPEN, *_BY_WORD, _ALL)


@router.get("/console")
async def front() -> Response:
    """Lead to the queue."""
    return RedirectResponse("/console/", 308)


@router.get("/console/")
async def queue(
    request: Request,
    *,
    state: _TEXT = _OPEN,
    tier: _TEXT = "",
    words: _TEXT = "",
    cursor: _TEXT = "",
) -> Response:
    """List what waits; for htmx only the table, which is what changes."""
    who = await visitor(request, _READS)
    filters = {"state": state, "tier": tier, "words": words}
    reviews, following, looked = await _found(request, who, filters=filters, cursor=cursor)
    now = services(request).clock.now()
    is_part = request.headers.get("hx-request") == "true"
    wanted = {name: value for name, value in filters.items() if value}
    return page(
        request,
        "queue_table.html" if is_part else "queue.html",
        rows=[sheet.row(review, now=now) for review in reviews],
        filters=filters,
        states=_STATES,
        tiers=[one.name for one in services(request).law.reviews.tiers],
        here=f"/console/?{urlencode({**wanted, **({'cursor': cursor} if cursor else {})})}",
        following=f"/console/?{urlencode({**wanted, 'cursor': following})}" if following else "",
        is_done="done" in request.query_params,
        looked=looked if following and looked >= LOOKS_MAX else 0,
        on_call=() if is_part else await _on_call(request, who),
    )


async def _on_call(request: Request, who: Visitor) -> tuple[str, ...]:
    here = services(request)
    standing = await here.authority.standing(who.principal.tenant)
    return on_call(standing.shifts, here.clock.now())


async def _found(
    request: Request, who: Visitor, *, filters: dict[str, str], cursor: str
) -> tuple[list[Review], str | None, int]:
    """Return what fits the filters, where to go on, and how many were looked at."""
    words, tier = words_of(filters["words"]), filters["tier"]
    found: list[Review] = []
    place: str | None = cursor or None
    looked = 0
    for _ in range(LOOKS_MAX // _SLICE):
        part = await services(request).desk.listed(
            who.principal, states=_states(filters["state"]), limit=_SLICE, cursor=place
        )
        looked += len(part.reviews)
        found += [
            one for one in part.reviews if tier in ("", one.tier) and review_holds(one, words)
        ]
        place = part.next_cursor
        if place is None or len(found) >= _PAGE:
            break
    return found, place, looked


def _states(word: str) -> frozenset[State] | None:
    if word == _ALL:
        return None
    return _BY_WORD.get(word, OPEN)


@router.get("/console/stream")
async def stream(
    request: Request,
    last_event_id: Annotated[str, Header(alias="Last-Event-ID", pattern=_EVENT_ID)] = "",
    after: Annotated[str, Query(pattern=_EVENT_ID)] = "",
) -> Response:
    """Follow what happens to the tenant's reviews: one `review` event a step, with its id.

    It goes on behind the last event that the browser has seen, else behind `after`, else from now.
    """
    who = await visitor(request, _READS)
    begin = last_event_id or after or await services(request).desk.position(who.principal)
    return StreamingResponse(
        _events(request, who, after=begin),
        media_type="text/event-stream",
        headers={"X-Accel-Buffering": "no"},
    )


async def _events(request: Request, who: Visitor, *, after: str) -> AsyncIterator[bytes]:
    """Yield each step; ends after 300 s, with the session, and when who listens is stopped."""
    here = services(request)
    ends_s = here.clock.monotonic_s() + _STREAM_MAX_S
    yield b"retry: 1000\nid: %s\n\n" % after.encode()
    try:
        async with aclosing(here.desk.events(who.principal, after=after)) as batches:
            async for batch in batches:
                await visitor(request, _READS)  # it ends with the session, the token, the person
                if here.clock.monotonic_s() >= ends_s or await request.is_disconnected():
                    return
                if not batch:
                    yield b": still here\n\n"
                for event in batch:
                    data = f"{event.review_id} {event.state} {event.version}".encode()
                    yield b"event: review\nid: %s\ndata: %s\n\n" % (event.id.encode(), data)
    except GovernanceError:
        return  # the browser connects again, and is told then what is wrong
