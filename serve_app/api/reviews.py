"""Reviews: people read what is held and decide; who asked takes it back, or uses an approval."""

from __future__ import annotations

import asyncio
from typing import Annotated, Final

from fastapi import APIRouter, Query, Request, Response

from policies.errors import RefusalError
from policies.panel import Choice
from policies.principal import Principal
from policies.review import State
from policies.roles import require_scope
from serve_app.api.auth import caller, identify, services
from serve_app.api.bodies import read_json
from serve_app.api.fields import Id
from serve_app.api.openapi import body as openapi_body
from serve_app.api.openapi import problems as openapi_problems
from serve_app.api.review_schemas import (
    ConsumeIn,
    HeldOut,
    ReviewDetailOut,
    ReviewPage,
    SaidIn,
    VoteIn,
)
from serve_app.api.review_steps import (
    BODY_BYTES_MAX,
    CLAIMING,
    DECIDES,
    DECIDING,
    TAGGED,
    IfMatch,
    ReviewId,
    allowed,
    answer,
    record_reveal,
    recorded_step,
    to_json,
    versions_of,
)
from serve_app.api.review_views import held_view, review_view
from serve_app.api.schemas import DecisionOut
from serve_app.api.views import decision_view
from serve_app.desk import Desk
from serve_app.masking import masked, unmasked

router = APIRouter(tags=["reviews"])

_READS: Final = "reviews:read"
_ACTS: Final = ("messages:send", "decisions:make")


# -- reading --------------------------------------------------------------------------------------


@router.get(
    "/v1/reviews",
    operation_id="listReviews",
    response_model=ReviewPage,
    responses=openapi_problems(401, 403, 422, 503),
)
async def list_reviews(
    request: Request,
    *,
    state: Annotated[list[State] | None, Query(description="repeatable; else all")] = None,
    assignee: Annotated[Id | None, Query(description="who has claimed it")] = None,
    limit: Annotated[int, Query(ge=1, le=200)] = 50,
    cursor: Annotated[str | None, Query(max_length=256)] = None,
) -> Response:
    """List the reviews of your tenant: open ones oldest first, ended ones newest first."""
    principal = await caller(request, _READS)
    page = await services(request).desk.listed(
        principal,
        states=frozenset(state) if state else None,
        assignee=assignee,
        limit=limit,
        cursor=cursor,
    )
    views = [review_view(review) for review in page.reviews]
    return to_json({"reviews": views, "next_cursor": page.next_cursor})


@router.get(
    "/v1/reviews/{review_id}",
    operation_id="getReview",
    response_model=ReviewDetailOut,
    responses={**TAGGED, **openapi_problems(401, 403, 404, 422, 503)},
)
async def get_review(request: Request, review_id: ReviewId) -> Response:
    """Return one review of your tenant; the agent that asked may look at its own."""
    principal, desk = await identify(request), services(request).desk
    if _READS not in principal.scopes and not await _asked(desk, principal, review_id):
        require_scope(principal, _READS)
    return answer(await desk.find(principal, review_id))


@router.get(
    "/v1/reviews/{review_id}/message",
    operation_id="getHeldMessage",
    response_model=HeldOut,
    responses=openapi_problems(401, 403, 404, 422, 503),
)
async def get_held_message(
    request: Request,
    review_id: ReviewId,
    *,
    reveal: Annotated[bool, Query(description="show what is private too; goes on record")] = False,
) -> Response:
    """Return what leaves if it is approved, for those who decide, as long as it is held.

    What is private in it is masked. Who reveals it is in the ledger before they see it.
    """
    principal = await caller(request, DECIDES)
    here = services(request)
    review = await here.desk.find(principal, review_id)
    message = await here.desk.message(principal, review_id)
    if message is None:
        raise RefusalError("review.not_held", "nothing is held for this review any more", 404)
    shown = await asyncio.to_thread(masked, message)
    if reveal:
        await record_reveal(request, principal, review, kinds=shown.kinds)
        shown = unmasked(message, shown.kinds)
    view = held_view(review, message, shown, revealed=reveal and bool(shown.kinds))
    return to_json(view, {"Cache-Control": "no-store"})


# -- deciding -------------------------------------------------------------------------------------


@router.post(
    "/v1/reviews/{review_id}:approve",
    operation_id="approveReview",
    response_model=ReviewDetailOut,
    responses=DECIDING,
    openapi_extra=openapi_body(VoteIn),
)
async def approve(request: Request, review_id: ReviewId, if_match: IfMatch = None) -> Response:
    """Vote for it; the last vote that is needed lets the message go."""
    return await _vote(request, review_id, Choice.APPROVE, if_match=if_match)


@router.post(
    "/v1/reviews/{review_id}:reject",
    operation_id="rejectReview",
    response_model=ReviewDetailOut,
    responses=DECIDING,
    openapi_extra=openapi_body(VoteIn),
)
async def reject(request: Request, review_id: ReviewId, if_match: IfMatch = None) -> Response:
    """Vote against it; one rejection ends it unless the law wants a majority."""
    return await _vote(request, review_id, Choice.REJECT, if_match=if_match)


@router.post(
    "/v1/reviews/{review_id}:abstain",
    operation_id="abstainFromReview",
    response_model=ReviewDetailOut,
    responses=DECIDING,
    openapi_extra=openapi_body(VoteIn),
)
async def abstain(request: Request, review_id: ReviewId, if_match: IfMatch = None) -> Response:
    """Say that you do not decide it; you cannot vote on it later."""
    return await _vote(request, review_id, Choice.ABSTAIN, if_match=if_match)


@router.post(
    "/v1/reviews/{review_id}:escalate",
    operation_id="escalateReview",
    response_model=ReviewDetailOut,
    responses=DECIDING,
    openapi_extra=openapi_body(SaidIn),
)
async def escalate(request: Request, review_id: ReviewId, if_match: IfMatch = None) -> Response:
    """Let others decide too, now."""
    principal = await allowed(request, DECIDES)
    asked = await read_json(request, SaidIn, limit=BODY_BYTES_MAX)
    return answer(
        await recorded_step(
            request,
            principal,
            lambda desk: desk.escalate(
                principal,
                review_id,
                reason=asked.said.reason,
                versions=versions_of(if_match),
            ),
            digest=asked.digest,
        )
    )


@router.post(
    "/v1/reviews/{review_id}:claim",
    operation_id="claimReview",
    response_model=ReviewDetailOut,
    responses=CLAIMING,
)
async def claim(request: Request, review_id: ReviewId, if_match: IfMatch = None) -> Response:
    """Say that you look at it, so that nobody else need; again, for longer."""
    principal = await allowed(request, DECIDES)
    return answer(
        await recorded_step(
            request,
            principal,
            lambda desk: desk.claim(principal, review_id, versions=versions_of(if_match)),
        )
    )


@router.post(
    "/v1/reviews/{review_id}:unclaim",
    operation_id="unclaimReview",
    response_model=ReviewDetailOut,
    responses=CLAIMING,
)
async def unclaim(request: Request, review_id: ReviewId, if_match: IfMatch = None) -> Response:
    """Let go of your claim."""
    principal = await allowed(request, DECIDES)
    return answer(
        await recorded_step(
            request,
            principal,
            lambda desk: desk.unclaim(principal, review_id, versions=versions_of(if_match)),
        )
    )


# -- the agent that asked -------------------------------------------------------------------------


@router.post(
    "/v1/reviews/{review_id}:cancel",
    operation_id="cancelReview",
    response_model=ReviewDetailOut,
    responses=DECIDING,
    openapi_extra=openapi_body(SaidIn),
)
async def cancel(request: Request, review_id: ReviewId, if_match: IfMatch = None) -> Response:
    """Take back what you asked for; nothing leaves."""
    principal = await allowed(request, *_ACTS)
    asked = await read_json(request, SaidIn, limit=BODY_BYTES_MAX)
    return answer(
        await recorded_step(
            request,
            principal,
            lambda desk: desk.cancel(
                principal,
                review_id,
                reason=asked.said.reason,
                versions=versions_of(if_match),
            ),
            digest=asked.digest,
        )
    )


@router.post(
    "/v1/reviews/{review_id}:consume",
    operation_id="consumeReview",
    response_model=DecisionOut,
    responses=openapi_problems(400, 401, 403, 404, 408, 409, 412, 413, 415, 422, 503),
    openapi_extra=openapi_body(ConsumeIn),
)
async def consume(request: Request, review_id: ReviewId, if_match: IfMatch = None) -> Response:
    """Use an approval, once, for exactly what was approved; act only if the answer is `allow`.

    It is judged again: a rule that says no by now wins, and the answer is `deny`.
    """
    principal = await allowed(request, *_ACTS)
    asked = await read_json(request, ConsumeIn, limit=BODY_BYTES_MAX)
    recorded = await recorded_step(
        request,
        principal,
        lambda desk: desk.consume(
            principal,
            review_id,
            digest=asked.said.action_digest,
            versions=versions_of(if_match),
        ),
        digest=asked.digest,
    )
    return to_json(decision_view(recorded, services(request).law.reviews))


async def _vote(
    request: Request, review_id: str, choice: Choice, *, if_match: str | None
) -> Response:
    principal = await allowed(request, DECIDES)
    asked = await read_json(request, VoteIn, limit=BODY_BYTES_MAX)
    said = asked.said
    return answer(
        await recorded_step(
            request,
            principal,
            lambda desk: desk.vote(
                principal,
                review_id,
                choice=choice,
                reason=said.reason,
                digest=said.action_digest,
                versions=versions_of(if_match),
            ),
            digest=asked.digest,
        )
    )


async def _asked(desk: Desk, principal: Principal, review_id: str) -> bool:
    """Say whether the caller asked for what is reviewed; unknown is no, as of others."""
    if "decisions:read" not in principal.scopes:
        return False
    try:
        review = await desk.find(principal, review_id)
    except RefusalError:
        return False
    return review.agent == principal.agent
