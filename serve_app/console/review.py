"""One review: what would run, why it is held, who decides, and the forms to decide with."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Annotated, Final

from fastapi import APIRouter, Path, Request, Response
from starlette.responses import RedirectResponse

from actors.reviews.client import Versions
from policies.errors import GovernanceError, RefusalError
from policies.panel import Choice
from policies.review import OPEN, Review, State
from policies.roles import require_scope
from serve_app.api.auth import services
from serve_app.api.fields import Handle
from serve_app.api.review_steps import record_reveal
from serve_app.console import alike, panel, sheet
from serve_app.console.door import Visitor, posted, visitor
from serve_app.console.durations import clock_text, left_text
from serve_app.console.pages import ConsoleRoute, page
from serve_app.console.shown import Shown, shown
from serve_app.desk import Desk
from serve_app.masking import leaving, masked

router = APIRouter(route_class=ConsoleRoute, include_in_schema=False)

_READS: Final = "reviews:read"
_DECIDES: Final = "reviews:decide"
_DIGITS_MAX: Final = 9
_CHOICES: Final = {choice.value: choice for choice in Choice}
_OUTCOMES: Final = {
    State.CONSUMED: "Approved and gone: the message is on its way to its recipient.",
    State.APPROVED: "Approved: the agent that asked can use it now.",
    State.REJECTED: "Rejected: nothing left.",
    State.PENDING: "Your vote is recorded; more people must approve.",
}
_BROKEN: Final = {
    State.CONSUMED: "The glass is broken and it is gone. Others look at it afterwards.",
    State.APPROVED: "The glass is broken: the agent that asked can use it now.",
    State.REJECTED: "The glass is broken, and the law said no all the same.",
}
ReviewId = Annotated[Handle, Path()]


@router.get("/console/reviews/{review_id}")
async def read(request: Request, review_id: ReviewId) -> Response:
    """Show one review of the visitor's tenant, private parts masked."""
    who = await visitor(request, _READS)
    desk = services(request).desk
    # First where the events stand, then the review: who follows them from there misses none.
    after = await desk.position(who.principal)
    return await _page(request, who, await desk.find(who.principal, review_id), after=after)


@router.get("/console/reviews/{review_id}/whole")
async def whole(request: Request, review_id: ReviewId) -> Response:
    """Return all of what would leave, masked, as text, where the page shows only its beginning."""
    who = await visitor(request, _READS)
    require_scope(who.principal, _DECIDES)
    message = await services(request).desk.message(who.principal, review_id)
    if message is None:
        raise RefusalError("review.not_held", "nothing is held for this review any more", 404)
    content = await asyncio.to_thread(shown, leaving(message), reveal=False, limit=None)
    return Response(content.text, media_type="text/plain; charset=utf-8")


@router.post("/console/reviews/{review_id}/reveal")
async def reveal(request: Request, review_id: ReviewId) -> Response:
    """Show what was masked, to who decides; that they look is on record first."""
    who, _ = await posted(request, _DECIDES)
    desk = services(request).desk
    review = await desk.find(who.principal, review_id)
    message = await desk.message(who.principal, review_id)
    if message is not None:
        kinds = (await asyncio.to_thread(masked, message)).kinds
        await record_reveal(request, who.principal, review, kinds=kinds)
    return await _page(request, who, review, reveals=message is not None)


@router.post("/console/reviews/{review_id}/vote")
async def vote(request: Request, review_id: ReviewId) -> Response:
    """Vote on exactly what the form showed: its version and its digest are part of it."""
    who, fields = await posted(request, _DECIDES)

    async def cast(desk: Desk, seen: Versions) -> Review:
        choice = _CHOICES.get(fields.get("choice", ""))
        if choice is None:
            raise RefusalError("request.invalid", "choose: approve, reject or abstain", 422)
        return await desk.vote(
            who.principal,
            review_id,
            choice=choice,
            reason=fields.get("reason", "").replace("\r\n", "\n").strip(),
            digest=fields.get("digest") or None,
            versions=seen,
        )

    return await _step(request, (who, review_id, fields), cast, outcome="voted")


@router.post("/console/reviews/{review_id}/claim")
async def claim(request: Request, review_id: ReviewId) -> Response:
    """Say that the visitor looks at it, so that nobody else need."""
    who, fields = await posted(request, _DECIDES)
    return await _step(
        request,
        (who, review_id, fields),
        lambda desk, seen: desk.claim(who.principal, review_id, versions=seen),
        outcome="claimed",
    )


@router.post("/console/reviews/{review_id}/unclaim")
async def unclaim(request: Request, review_id: ReviewId) -> Response:
    """Let go of the visitor's claim."""
    who, fields = await posted(request, _DECIDES)
    return await _step(
        request,
        (who, review_id, fields),
        lambda desk, seen: desk.unclaim(who.principal, review_id, versions=seen),
        outcome="unclaimed",
    )


@router.post("/console/reviews/{review_id}/escalate")
async def escalate(request: Request, review_id: ReviewId) -> Response:
    """Let others decide too, now."""
    who, fields = await posted(request, _DECIDES)
    reason = fields.get("reason", "").strip()
    return await _step(
        request,
        (who, review_id, fields),
        lambda desk, seen: desk.escalate(who.principal, review_id, reason=reason, versions=seen),
        outcome="escalated",
    )


@router.post("/console/reviews/{review_id}/break-glass")
async def break_glass(request: Request, review_id: ReviewId) -> Response:
    """Let it go without its quorum, when enough people say so; others look at it afterwards."""
    who, fields = await posted(request, _DECIDES)
    return await _step(
        request,
        (who, review_id, fields),
        lambda desk, seen: desk.break_glass(
            who.principal,
            review_id,
            reason=fields.get("reason", "").replace("\r\n", "\n").strip(),
            digest=fields.get("digest") or None,
            versions=seen,
        ),
        outcome="broken",
    )


async def _step(
    request: Request,
    asked: tuple[Visitor, str, dict[str, str]],
    take: Callable[[Desk, Versions], Awaitable[Review]],
    *,
    outcome: str,
) -> Response:
    """Take a step if the review is still what the form showed; else show it as it is now."""
    who, review_id, fields = asked
    here = services(request)
    try:
        await take(here.desk, _seen(fields))
    except RefusalError as error:
        await here.refusals.record(who.principal, error)
        if error.code == "review.not_found":
            raise
        here.meter.refused(error.code)
        review = await here.desk.find(who.principal, review_id)
        return await _page(request, who, review, error=error, fields=fields)
    return RedirectResponse(f"/console/reviews/{review_id}?{outcome}", 303)


def _seen(fields: dict[str, str]) -> Versions:
    """Return the version that the form showed: a step is taken from no other."""
    version = fields.get("version", "")
    if not (version.isascii() and version.isdecimal() and len(version) <= _DIGITS_MAX):
        raise RefusalError("request.invalid", "this form does not say what it showed", 422)
    return frozenset({int(version)})


async def _page(
    request: Request,
    who: Visitor,
    review: Review,
    *,
    reveals: bool = False,
    error: GovernanceError | None = None,
    fields: dict[str, str] | None = None,
    after: str = "",
) -> Response:
    now = services(request).clock.now()
    person = await services(request).desk.person(who.principal)
    return page(
        request,
        "review.html",
        status=200 if error is None else error.status,
        review=review,
        after=after,
        row=sheet.row(review, now=now),
        is_open=review.state in OPEN,
        content=await _content(request, who, review, reveals=reveals),
        reveals=reveals,
        bars=sheet.bars(review),
        principle_of=services(request).law.constitution.principle_of,
        happenings=sheet.happenings(review),
        hindrance=sheet.hindrance(review, who.principal, person, now=now),
        stead=sheet.stead(review, person, now=now),
        may_unclaim=sheet.may_unclaim(review, person, now=now),
        times={
            "opened": clock_text(review.opened_at),
            "expires": clock_text(review.expires_at),
            "widens": clock_text(review.ladder.next_at) if review.ladder.next_at else "",
            "claimed": left_text(review.claim.until, now) if review.claim else "",
        },
        critics=panel.critics(review, now=now),
        may_break_glass=panel.may_break_glass(review, who.principal, person, now=now),
        precedents=await alike.precedents(request, who, review),
        kept_days=alike.KEPT_DAYS,
        others=await alike.others(request, who, review),
        outcome=_outcome(request, review),
        is_done="voted" in request.query_params,
        error=error,
        reason=(fields or {}).get("reason", ""),
        choice=(fields or {}).get("choice", ""),
    )


async def _content(
    request: Request, who: Visitor, review: Review, *, reveals: bool
) -> Shown | None:
    """Return what would leave, for who may decide; None when it is not theirs to see, or gone."""
    if not who.may(_DECIDES):
        return None
    message = await services(request).desk.message(who.principal, review.review_id)
    if message is None:
        return None
    return await asyncio.to_thread(shown, leaving(message), reveal=reveals)


def _outcome(request: Request, review: Review) -> str:
    """Say what came of what the visitor just did; the address says which it was."""
    if "voted" in request.query_params:
        return _OUTCOMES.get(review.state, f"Your vote is recorded; it is {review.state.value}.")
    said = {
        "claimed": "You have claimed it: nobody else can decide while you do.",
        "unclaimed": "You let go of your claim.",
        "escalated": "It is one level up: others can decide too.",
        "broken": _BROKEN.get(review.state, "You broke the glass; one more person must."),
    }
    return next((text for word, text in said.items() if word in request.query_params), "")
