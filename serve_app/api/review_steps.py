"""What every step of a review over HTTP shares: who may take it, from which version, on record."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable
from typing import Annotated, Final, TypeVar

import orjson
import structlog
from fastapi import Header, Path, Request, Response

from actors.reviews.client import Versions
from policies.controls import RevokedError
from policies.errors import RefusalError
from policies.principal import Principal
from policies.review import Review
from policies.roles import require_scope
from serve_app.api.auth import require_free, services, verified
from serve_app.api.fields import Handle
from serve_app.api.openapi import Responses
from serve_app.api.openapi import problems as openapi_problems
from serve_app.api.review_views import etag, review_view
from serve_app.desk import Desk

BODY_BYTES_MAX: Final = 64 * 1024
DECIDES: Final = "reviews:decide"
_TAG: Final = re.compile(r'\A"[0-9]{1,18}"\Z', re.ASCII)

log = structlog.get_logger(__name__)

Answered = TypeVar("Answered")
ReviewId = Annotated[Handle, Path(description="the id of the decision that was held")]
IfMatch = Annotated[
    str | None,
    Header(alias="If-Match", max_length=256, description="the ETag of what was read; else 412"),
]

TAGGED: Final[Responses] = {
    200: {"headers": {"ETag": {"description": "its version", "schema": {"type": "string"}}}}
}
DECIDING: Final[Responses] = {
    **TAGGED,
    **openapi_problems(400, 401, 403, 404, 408, 409, 412, 413, 415, 422, 503),
}
CLAIMING: Final[Responses] = {**TAGGED, **openapi_problems(401, 403, 404, 409, 412, 422, 503)}


async def allowed(request: Request, *scopes: str) -> Principal:
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


async def recorded_step(
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


async def record_reveal(
    request: Request, principal: Principal, review: Review, *, kinds: tuple[str, ...]
) -> None:
    """Put on record that somebody is about to see what is private; raises if it cannot be.

    Nothing may be shown before this has returned. Where nothing is private there is no reveal.
    """
    if kinds:
        await services(request).recorder.reveal(
            principal,
            review_id=review.review_id,
            action_digest=review.action_digest,
            masked=kinds,
        )
        log.warning(
            "review.revealed",
            tenant=principal.tenant,
            by=principal.agent,
            review_id=review.review_id,
            action_digest=review.action_digest,
        )


def versions_of(if_match: str | None) -> Versions:
    """Return the versions that a strong comparison with If-Match finds; None for any."""
    tags = {tag.strip() for tag in (if_match or "*").split(",")}
    return None if "*" in tags else frozenset(int(tag[1:-1]) for tag in tags if _TAG.match(tag))


def answer(review: Review) -> Response:
    """Answer with the review, tagged with its version."""
    return to_json(review_view(review), {"ETag": etag(review)})


def to_json(view: object, headers: dict[str, str] | None = None) -> Response:
    """Answer 200 with this."""
    return Response(orjson.dumps(view), 200, headers, media_type="application/json")
