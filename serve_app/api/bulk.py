"""One decision on everything that is open about exactly one action."""

from __future__ import annotations

from functools import partial

from fastapi import APIRouter, Request, Response

from policies.errors import DependencyError, GovernanceError, RefusalError
from policies.panel import Choice
from policies.principal import Principal
from serve_app.api import problems
from serve_app.api.alike_schemas import BulkIn, BulkOut
from serve_app.api.auth import require_free, services
from serve_app.api.bodies import read_json
from serve_app.api.openapi import body as openapi_body
from serve_app.api.openapi import problems as openapi_problems
from serve_app.api.review_steps import BODY_BYTES_MAX, DECIDES, allowed, to_json
from serve_app.api.review_views import review_view
from serve_app.ballots import Ballot, Outcome, Round, vote_all

router = APIRouter(tags=["reviews"])


@router.post(
    "/v1/reviews:approve",
    operation_id="approveSameReviews",
    response_model=BulkOut,
    responses=openapi_problems(400, 401, 403, 408, 413, 415, 422, 503),
    openapi_extra=openapi_body(BulkIn),
)
async def approve_same(request: Request) -> Response:
    """Vote for every open review of exactly this action, one vote each, at most 200 a call."""
    return await _bulk(request, Choice.APPROVE)


@router.post(
    "/v1/reviews:reject",
    operation_id="rejectSameReviews",
    response_model=BulkOut,
    responses=openapi_problems(400, 401, 403, 408, 413, 415, 422, 503),
    openapi_extra=openapi_body(BulkIn),
)
async def reject_same(request: Request) -> Response:
    """Vote against every open review of exactly this action, one vote each, at most 200 a call."""
    return await _bulk(request, Choice.REJECT)


async def cast(
    request: Request, principal: Principal, ballot: Ballot, *, request_digest: str | None = None
) -> Round:
    """Vote as `vote_all` does; every refusal is counted, and recorded as any other."""
    here = services(request)

    async def refused(error: GovernanceError) -> None:
        if isinstance(error, DependencyError | RefusalError):
            here.meter.refused(error.code)
        await here.refusals.record(principal, error, request_digest=request_digest)

    return await vote_all(
        here.desk,
        principal,
        ballot,
        clock=here.clock,
        require_free=partial(require_free, request, principal),
        on_refused=refused,
    )


async def _bulk(request: Request, choice: Choice) -> Response:
    principal = await allowed(request, DECIDES)
    asked = await read_json(request, BulkIn, limit=BODY_BYTES_MAX)
    said = asked.said
    ballot = Ballot(
        digest=said.action_digest, choice=choice, reason=said.reason, cursor=said.cursor
    )
    votes = await cast(request, principal, ballot, request_digest=asked.digest)
    results = [_result(request, outcome) for outcome in votes.outcomes]
    return to_json({"results": results, "more": votes.is_more, "next_cursor": votes.next_cursor})


def _result(request: Request, outcome: Outcome) -> dict[str, object]:
    review, error = outcome.review, outcome.error
    named = problems.request_id(request)
    return {
        "review_id": outcome.review_id,
        "review": None if review is None else review_view(review),
        "problem": None if error is None else problems.of_error(error, request_id=named),
    }
