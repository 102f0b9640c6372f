"""What is like a review: how it went before, and the form that decides on all that is the same."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, Final

from fastapi import APIRouter, Path, Request, Response

from actors.reviews.client import KEPT_S
from policies.errors import RefusalError
from policies.panel import Choice
from policies.precedent import Part, Precedent, sides
from policies.review import OPEN, Review, State
from policies.review_guards import other_digest
from serve_app.api.auth import services
from serve_app.api.bulk import cast
from serve_app.api.fields import Handle
from serve_app.ballots import Ballot, Round
from serve_app.console import sheet
from serve_app.console.door import Visitor, posted
from serve_app.console.durations import duration_text
from serve_app.console.pages import ConsoleRoute, page

router = APIRouter(route_class=ConsoleRoute, include_in_schema=False)

SHOWN: Final = 5
KEPT_DAYS: Final = int(KEPT_S // 86_400)
_REASON_MAX: Final = 300
_ROWS_MAX: Final = 100  # of what became of the votes, so that the page stays small
_CURSOR_MAX: Final = 256
_CHOICES: Final = {choice.value: choice for choice in (Choice.APPROVE, Choice.REJECT)}
_PARTS: Final = {
    Part.ACTION: "action",
    Part.TOOL: "tool",
    Part.RULES: "rules",
    Part.SHAPE: "kind of arguments",
    Part.AGENT: "agent",
}
_AFTERWARDS: Final = {
    State.CONSUMED: "others found that right",
    State.REJECTED: "others found that wrong",
    State.EXPIRED: "nobody else looked at it in time",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Before:
    """A precedent as the page of a review shows it."""

    review_id: str
    title: str
    state: str
    alike: str
    common: str
    decided: str
    reason: str
    glass: str
    age: str


def before(precedent: Precedent, *, now: datetime) -> Before:
    """Return what the page says of one precedent."""
    review, closing = precedent.review, precedent.review.closing
    return Before(
        review_id=review.review_id,
        title=sheet.title(review),
        state=review.state.value,
        alike=f"{precedent.likeness.score:.0%}",
        common=_common(precedent),
        decided=_decided(review),
        reason="" if closing is None else _cut(closing.reason),
        glass=_glass(precedent),
        age=duration_text(now - precedent.ended_at),
    )


async def precedents(request: Request, who: Visitor, review: Review) -> list[Before]:
    """Return what the page says of how it went before."""
    here = services(request)
    found = await here.desk.precedents(who.principal, review.review_id, limit=SHOWN)
    now = here.clock.now()
    return [before(one, now=now) for one in found]


async def others(request: Request, who: Visitor, review: Review) -> int:
    """Return how many other reviews are open about exactly this action."""
    if review.follows is not None:
        return 0
    count = await services(request).desk.same_count(who.principal, review.action_digest)
    return max(0, count - (review.state in OPEN))


@router.post("/console/reviews/{review_id}/same")
async def decide_same(request: Request, review_id: Annotated[Handle, Path()]) -> Response:
    """Vote on everything that is open about exactly the action that the form showed."""
    who, fields = await posted(request, "reviews:decide")
    here = services(request)
    review = await here.desk.find(who.principal, review_id)
    try:
        ballot = _ballot(review, fields)
    except RefusalError as error:
        await here.refusals.record(who.principal, error)
        raise
    votes = await cast(request, who.principal, ballot)
    return _results(request, review, ballot, votes=votes)


def _ballot(review: Review, fields: Mapping[str, str]) -> Ballot:
    """Return what the form says; raises RefusalError for what it does not, or says of another."""
    choice = _CHOICES.get(fields.get("choice", ""))
    if choice is None:
        raise RefusalError("request.invalid", "choose: approve or reject", 422)
    if fields.get("digest") != review.action_digest:
        raise other_digest()
    return Ballot(
        digest=review.action_digest,
        choice=choice,
        reason=fields.get("reason", "").replace("\r\n", "\n").strip(),
        cursor=fields.get("cursor", "")[:_CURSOR_MAX] or None,
    )


def _results(request: Request, review: Review, ballot: Ballot, *, votes: Round) -> Response:
    # What was refused first: it is what somebody has to look at.
    listed = sorted(votes.outcomes, key=lambda one: one.error is None)[:_ROWS_MAX]
    rows = [
        {
            "review_id": one.review_id,
            "state": "" if one.review is None else one.review.state.value,
            "problem": "" if one.error is None else str(one.error),
            "code": "" if one.error is None else one.error.code,
        }
        for one in listed
    ]
    return page(
        request,
        "same.html",
        review=review,
        title=sheet.title(review),
        ballot=ballot,
        rows=rows,
        unlisted=len(votes.outcomes) - len(listed),
        voted=sum(one.error is None for one in votes.outcomes),
        refused=sum(one.error is not None for one in votes.outcomes),
        is_more=votes.is_more,
        following=votes.next_cursor or "",
    )


def _common(precedent: Precedent) -> str:
    alike = precedent.likeness
    if Part.ACTION in alike.same:
        return "the very same action"
    same = ", ".join(_PARTS[part] for part in alike.same)
    partly = ", ".join(_PARTS[part] for part in alike.partly)
    said = [f"the same {same}" if same else "", f"in part the same {partly}" if partly else ""]
    return "; ".join(filter(None, said))


def _decided(review: Review) -> str:
    said = sides(review)
    words = [
        f"{verb} by {', '.join(names)}"
        for verb, names in (("approved", said.approved_by), ("rejected", said.rejected_by))
        if names
    ]
    closing = review.closing
    if closing is not None and closing.by is not None and not words:
        words = [f"{review.state.value} by {closing.by}"]
    return "; ".join(words) or "nobody decided"


def _glass(precedent: Precedent) -> str:
    glass = precedent.review.glass
    if glass is None or not glass.is_broken:
        return ""
    later = precedent.afterwards
    said = "" if later is None else _AFTERWARDS.get(later.state, "others still look at it")
    return "let go without its quorum" + (f"; {said}" if said else "")


def _cut(reason: str) -> str:
    return reason if len(reason) <= _REASON_MAX else f"{reason[:_REASON_MAX]}…"
