"""From one review to the next that waits for its reader: the way through the queue."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Final

from fastapi import APIRouter, Path, Request, Response
from starlette.responses import RedirectResponse

from policies.review import OPEN, Review
from serve_app.api.auth import services
from serve_app.api.fields import Handle
from serve_app.console import sheet
from serve_app.console.door import Visitor, visitor
from serve_app.console.pages import ConsoleRoute

router = APIRouter(route_class=ConsoleRoute, include_in_schema=False)

_READS: Final = "reviews:read"
_SLICE: Final = 50
_LOOKS_MAX: Final = 1000


@router.get("/console/reviews/{review_id}/next")
async def onward(request: Request, review_id: Annotated[Handle, Path()]) -> Response:
    """Lead to the next open review that the visitor can decide on, in the order of the queue."""
    who = await visitor(request, _READS)
    here = await services(request).desk.find(who.principal, review_id)
    found = await _next(request, who, here)
    target = "/console/?done" if found is None else f"/console/reviews/{found.review_id}"
    return RedirectResponse(target, 303)


async def _next(request: Request, who: Visitor, here: Review) -> Review | None:
    """Return the first behind this one, else the first of all; it looks at so many and no more."""
    desk, now = services(request).desk, services(request).clock.now()
    person = await desk.person(who.principal)
    first: Review | None = None
    place: str | None = None
    for _ in range(_LOOKS_MAX // _SLICE):
        part = await desk.listed(who.principal, states=OPEN, limit=_SLICE, cursor=place)
        for review in part.reviews:
            is_other = review.review_id != here.review_id
            if is_other and sheet.hindrance(review, who.principal, person, now=now) is None:
                if _order(review) > _order(here):
                    return review
                first = first or review
        place = part.next_cursor
        if place is None:
            break
    return first


def _order(review: Review) -> tuple[datetime, str]:
    return review.opened_at, review.review_id
