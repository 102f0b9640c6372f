"""How what was like a review ended, for those who decide on it."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query, Request, Response

from actors.reviews.precedents import PRECEDENTS_MAX
from policies.precedent import Precedent, sides
from policies.review import Review
from serve_app.api.alike_schemas import PrecedentsOut
from serve_app.api.auth import caller, services
from serve_app.api.openapi import problems as openapi_problems
from serve_app.api.review_steps import ReviewId, to_json
from serve_app.api.review_views import closing_view
from serve_app.api.views import time_text

router = APIRouter(tags=["reviews"])


@router.get(
    "/v1/reviews/{review_id}/precedents",
    operation_id="listPrecedents",
    response_model=PrecedentsOut,
    responses=openapi_problems(401, 403, 404, 422, 503),
)
async def list_precedents(
    request: Request,
    review_id: ReviewId,
    *,
    limit: Annotated[int, Query(ge=1, le=PRECEDENTS_MAX)] = 5,
) -> Response:
    """List the ended reviews of your tenant that are most like this one.

    Compared are the tool, the rules that held it, the names and types of its arguments, the agent,
    and the digest of the action; never what the arguments say.
    """
    principal = await caller(request, "reviews:read")
    found = await services(request).desk.precedents(principal, review_id, limit=limit)
    return to_json({"precedents": [precedent_view(one) for one in found]})


def precedent_view(precedent: Precedent) -> dict[str, object]:
    """Return one precedent as PrecedentOut."""
    review, alike, said = precedent.review, precedent.likeness, sides(precedent.review)
    return {
        "review_id": review.review_id,
        "state": review.state.value,
        "tool": review.tool,
        "action": review.action,
        "agent": review.agent,
        "closing": closing_view(review.closing),
        "ended_at": time_text(precedent.ended_at),
        "approved_by": list(said.approved_by),
        "rejected_by": list(said.rejected_by),
        "score": alike.score,
        "same": [part.value for part in alike.same],
        "partly": [part.value for part in alike.partly],
        "afterwards": _afterwards(precedent.afterwards),
    }


def _afterwards(review: Review | None) -> dict[str, object] | None:
    return None if review is None else {"review_id": review.review_id, "state": review.state.value}
