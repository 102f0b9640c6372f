"""What is not everyday about reviews: critics who are called, and glass that is broken."""

from __future__ import annotations

from fastapi import APIRouter, Request, Response

from serve_app.api.bodies import read_json
from serve_app.api.openapi import body as openapi_body
from serve_app.api.review_schemas import OpinionIn, ReviewDetailOut, VoteIn
from serve_app.api.review_steps import (
    BODY_BYTES_MAX,
    DECIDES,
    DECIDING,
    IfMatch,
    ReviewId,
    allowed,
    answer,
    recorded_step,
    versions_of,
)

router = APIRouter(tags=["reviews"])


@router.post(
    "/v1/reviews/{review_id}:opine",
    operation_id="opineOnReview",
    response_model=ReviewDetailOut,
    responses=DECIDING,
    openapi_extra=openapi_body(OpinionIn),
)
async def opine(request: Request, review_id: ReviewId, if_match: IfMatch = None) -> Response:
    """Say what you think, as a critic who was called; the panel may decide with your word."""
    principal = await allowed(request, DECIDES)
    asked = await read_json(request, OpinionIn, limit=BODY_BYTES_MAX)
    said = asked.said
    return answer(
        await recorded_step(
            request,
            principal,
            lambda desk: desk.opine(
                principal,
                review_id,
                choice=said.opinion,
                reason=said.reason,
                digest=said.action_digest,
                versions=versions_of(if_match),
            ),
            digest=asked.digest,
        )
    )


@router.post(
    "/v1/reviews/{review_id}:break-glass",
    operation_id="breakGlass",
    response_model=ReviewDetailOut,
    responses=DECIDING,
    openapi_extra=openapi_body(VoteIn),
)
async def break_glass(request: Request, review_id: ReviewId, if_match: IfMatch = None) -> Response:
    """Let it go without its quorum, in an emergency; it takes two, and is reviewed afterwards.

    A denial stands, and who broke the glass cannot judge it afterwards.
    """
    principal = await allowed(request, DECIDES)
    asked = await read_json(request, VoteIn, limit=BODY_BYTES_MAX)
    said = asked.said
    return answer(
        await recorded_step(
            request,
            principal,
            lambda desk: desk.break_glass(
                principal,
                review_id,
                reason=said.reason,
                digest=said.action_digest,
                versions=versions_of(if_match),
            ),
            digest=asked.digest,
        )
    )
