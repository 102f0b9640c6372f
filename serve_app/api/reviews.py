"""Reviews: people read what is held and decide; who asked takes it back, or uses an approval."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable
from typing import Annotated, Final, TypeVar

import orjson
from fastapi import APIRouter, Header, Path, Query, Request, Response

from actors.reviews.client import Versions
from policies.controls import RevokedError
from policies.errors import RefusalError
from policies.principal import Principal
from policies.review import Choice, Review, State
from policies.roles import require_scope
from serve_app.api.auth import caller, identify, require_free, services, verified
from serve_app.api.bodies import read_json
from serve_app.api.fields import Handle, Id
from serve_app.api.openapi import Responses
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
from serve_app.api.review_views import etag, held_view, review_view
from serve_app.api.schemas import DecisionOut
from serve_app.api.views import decision_view
from serve_app.desk import Desk

router = APIRouter(tags=["reviews"])

_BODY_BYTES_MAX: Final = 64 * 1024
_READS: Final = "reviews:read"
_DECIDES: Final = "reviews:decide"
_TAG: Final = re.compile(r'\A"[0-9]{1,18}"\Z', re.ASCII)
_ACTS: Final = ("messages:send", "decisions:make")

Answered = TypeVar("Answered")
ReviewId = Annotated[Handle, Path(description="the id of the decision that was held")]
IfMatch = Annotated[
    str | None,
    Header(alias="If-Match", max_length=256, description="the ETag of what was read; else 412"),
]

_TAGGED: Final[Responses] = {
    200: {"headers": {"ETag": {"description": "its version", "schema": {"type": "string"}}}}
}
_DECIDING: Final[Responses] = {
    **_TAGGED,
    **openapi_problems(400, 401, 403, 404, 408, 409, 412, 413, 415, 422, 503),
}
_CLAIMING: Final[Responses] = {**_TAGGED, **openapi_problems(401, 403, 404, 409, 412, 422, 503)}


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
    return _json({"reviews": views, "next_cursor": page.next_cursor})


@router.get(
    "/v1/reviews/{review_id}",
    operation_id="getReview",
    response_model=ReviewDetailOut,
    responses={**_TAGGED, **openapi_problems(401, 403, 404, 422, 503)},
)
async def get_review(request: Request, review_id: ReviewId) -> Response:
    """Return one review of your tenant; the agent that asked may look at its own."""
    principal, desk = await identify(request), services(request).desk
    if _READS not in principal.scopes and not await _asked(desk, principal, review_id):
        require_scope(principal, _READS)
    return _answer(await desk.find(principal, review_id))


@router.get(
    "/v1/reviews/{review_id}/message",
    operation_id="getHeldMessage",
    response_model=HeldOut,
    responses=openapi_problems(401, 403, 404, 422, 503),
)
async def get_held_message(request: Request, review_id: ReviewId) -> Response:
    """Return what leaves if it is approved, for those who decide, as long as it is held."""
    principal = await caller(request, _DECIDES)
    desk = services(request).desk
    review = await desk.find(principal, review_id)
    message = await desk.message(principal, review_id)
    if message is None:
        raise RefusalError("review.not_held", "nothing is held for this review any more", 404)
    return _json(held_view(review, message))


# -- deciding -------------------------------------------------------------------------------------


@router.post(
    "/v1/reviews/{review_id}:approve",
    operation_id="approveReview",
    response_model=ReviewDetailOut,
    responses=_DECIDING,
    openapi_extra=openapi_body(VoteIn),
)
async def approve(request: Request, review_id: ReviewId, if_match: IfMatch = None) -> Response:
    """Vote for it; the last vote that is needed lets the message go."""
    return await _vote(request, review_id, Choice.APPROVE, if_match=if_match)


@router.post(
    "/v1/reviews/{review_id}:reject",
    operation_id="rejectReview",
    response_model=ReviewDetailOut,
    responses=_DECIDING,
    openapi_extra=openapi_body(VoteIn),
)
async def reject(request: Request, review_id: ReviewId, if_match: IfMatch = None) -> Response:
    """Vote against it; one rejection ends it unless the law wants a majority."""
    return await _vote(request, review_id, Choice.REJECT, if_match=if_match)


@router.post(
    "/v1/reviews/{review_id}:abstain",
    operation_id="abstainFromReview",
    response_model=ReviewDetailOut,
    responses=_DECIDING,
    openapi_extra=openapi_body(VoteIn),
)
async def abstain(request: Request, review_id: ReviewId, if_match: IfMatch = None) -> Response:
    """Say that you do not decide it; you cannot vote on it later."""
    return await _vote(request, review_id, Choice.ABSTAIN, if_match=if_match)


@router.post(
    "/v1/reviews/{review_id}:escalate",
    operation_id="escalateReview",
    response_model=ReviewDetailOut,
    responses=_DECIDING,
    openapi_extra=openapi_body(SaidIn),
)
async def escalate(request: Request, review_id: ReviewId, if_match: IfMatch = None) -> Response:
    """Let others decide too, now."""
    principal = await _allowed(request, _DECIDES)
    asked = await read_json(request, SaidIn, limit=_BODY_BYTES_MAX)
    return _answer(
        await _recorded(
            request,
            principal,
            lambda desk: desk.escalate(
                principal,
                review_id,
                reason=asked.said.reason,
                versions=_versions(if_match),
            ),
            digest=asked.digest,
        )
    )


@router.post(
    "/v1/reviews/{review_id}:claim",
    operation_id="claimReview",
    response_model=ReviewDetailOut,
    responses=_CLAIMING,
)
async def claim(request: Request, review_id: ReviewId, if_match: IfMatch = None) -> Response:
    """Say that you look at it, so that nobody else need; again, for longer."""
    principal = await _allowed(request, _DECIDES)
    return _answer(
        await _recorded(
            request,
            principal,
            lambda desk: desk.claim(principal, review_id, versions=_versions(if_match)),
        )
    )


@router.post(
    "/v1/reviews/{review_id}:unclaim",
    operation_id="unclaimReview",
    response_model=ReviewDetailOut,
    responses=_CLAIMING,
)
async def unclaim(request: Request, review_id: ReviewId, if_match: IfMatch = None) -> Response:
    """Let go of your claim."""
    principal = await _allowed(request, _DECIDES)
    return _answer(
        await _recorded(
            request,
            principal,
            lambda desk: desk.unclaim(principal, review_id, versions=_versions(if_match)),
        )
    )


# -- the agent that asked -------------------------------------------------------------------------


@router.post(
    "/v1/reviews/{review_id}:cancel",
    operation_id="cancelReview",
    response_model=ReviewDetailOut,
    responses=_DECIDING,
    openapi_extra=openapi_body(SaidIn),
)
async def cancel(request: Request, review_id: ReviewId, if_match: IfMatch = None) -> Response:
    """Take back what you asked for; nothing leaves."""
    principal = await _allowed(request, *_ACTS)
    asked = await read_json(request, SaidIn, limit=_BODY_BYTES_MAX)
    return _answer(
        await _recorded(
            request,
            principal,
            lambda desk: desk.cancel(
                principal,
                review_id,
                reason=asked.said.reason,
                versions=_versions(if_match),
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
    principal = await _allowed(request, *_ACTS)
    asked = await read_json(request, ConsumeIn, limit=_BODY_BYTES_MAX)
    recorded = await _recorded(
        request,
        principal,
        lambda desk: desk.consume(
            principal,
            review_id,
            digest=asked.said.action_digest,
            versions=_versions(if_match),
        ),
        digest=asked.digest,
    )
    return _json(decision_view(recorded, services(request).law.reviews))


async def _vote(
    request: Request, review_id: str, choice: Choice, *, if_match: str | None
) -> Response:
    principal = await _allowed(request, _DECIDES)
    asked = await read_json(request, VoteIn, limit=_BODY_BYTES_MAX)
    said = asked.said
    return _answer(
        await _recorded(
            request,
            principal,
            lambda desk: desk.vote(
                principal,
                review_id,
                choice=choice,
                reason=said.reason,
                digest=said.action_digest,
                versions=_versions(if_match),
            ),
            digest=asked.digest,
        )
    )


async def _allowed(request: Request, *scopes: str) -> Principal:
    """Return the caller, who holds one of the scopes; a refusal of who proved who it is is kept."""
    try:
        principal = await verified(request)
    except RevokedError as error:
        await services(request).refusals.record(error.principal, error)
        raise
    try:
        require_free(request, principal)
        if principal.scopes.isdisjoint(scopes):
            require_scope(principal, scopes[0])
    except RefusalError as error:
        await services(request).refusals.record(principal, error)
        raise
    return principal


async def _recorded(
    request: Request,
    principal: Principal,
    step: Callable[[Desk], Awaitable[Answered]],
    *,
    digest: str | None = None,
) -> Answered:
    """Take the step; that it was refused goes into the ledger."""
    here = services(request)
    try:
        return await step(here.desk)
    except RefusalError as error:
        await here.refusals.record(principal, error, request_digest=digest)
        raise


def _versions(if_match: str | None) -> Versions:
    """Return the versions that a strong comparison with If-Match finds; None for any."""
    tags = {tag.strip() for tag in (if_match or "*").split(",")}
    return None if "*" in tags else frozenset(int(tag[1:-1]) for tag in tags if _TAG.match(tag))


async def _asked(desk: Desk, principal: Principal, review_id: str) -> bool:
    """Say whether the caller asked for what is reviewed; unknown is no, as of others."""
    if "decisions:read" not in principal.scopes:
        return False
    try:
        review = await desk.find(principal, review_id)
    except RefusalError:
        return False
    return review.agent == principal.agent


def _answer(review: Review) -> Response:
    return _json(review_view(review), {"ETag": etag(review)})


def _json(view: object, headers: dict[str, str] | None = None) -> Response:
    return Response(orjson.dumps(view), 200, headers, media_type="application/json")
