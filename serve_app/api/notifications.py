"""Notifications, for operators: what was not sent, sending it again, and trying a channel."""

from __future__ import annotations

from typing import Annotated

import orjson
from fastapi import APIRouter, Path, Query, Request, Response

from actors.herald.letter import DeadNotification
from serve_app.api.auth import caller, services
from serve_app.api.fields import Id
from serve_app.api.notification_schemas import DeadNotificationPage, TestedOut
from serve_app.api.openapi import problems
from serve_app.api.views import time_text

router = APIRouter(tags=["operations"])

_OPERATES = "ops:control"
OfTenant = Annotated[Id | None, Query(description="whose; your token's if none")]
LetterId = Annotated[str, Path(pattern=r"^[A-Za-z0-9][A-Za-z0-9._:-]{0,199}$")]
ChannelName = Annotated[str, Path(pattern=r"^[a-z][a-z0-9-]{0,31}$")]


@router.get(
    "/v1/notifications/dead-letters",
    operation_id="listDeadNotifications",
    response_model=DeadNotificationPage,
    responses=problems(401, 403, 422, 503),
)
async def dead_letters(
    request: Request,
    *,
    tenant_id: OfTenant = None,
    limit: Annotated[int, Query(ge=1, le=100)] = 50,
    cursor: Annotated[str | None, Query(max_length=256)] = None,
) -> Response:
    """List what channels did not take, and why; oldest first."""
    principal = await caller(request, _OPERATES)
    page = await services(request).outside.notifications.dead_letters(
        tenant_id or principal.tenant, after=cursor, limit=limit
    )
    letters = [_letter(letter) for letter in page.letters]
    return _json({"dead_letters": letters, "next_cursor": page.next_cursor})


@router.post(
    "/v1/notifications/{notification_id}:redrive",
    operation_id="redriveNotification",
    status_code=204,
    responses=problems(401, 403, 404, 409, 422, 503),
)
async def redrive(
    request: Request, notification_id: LetterId, *, tenant_id: OfTenant = None
) -> Response:
    """Send a dead letter again, as if it had just come; repeating it is fine."""
    principal = await caller(request, _OPERATES)
    await services(request).outside.notifications.redrive(
        tenant_id or principal.tenant, notification_id
    )
    return Response(status_code=204)


@router.post(
    "/v1/channels/{channel}:test",
    operation_id="testChannel",
    response_model=TestedOut,
    responses=problems(401, 403, 404, 409, 422, 503),
)
async def try_channel(request: Request, channel: ChannelName) -> Response:
    """Send a notification that says that it is a test; return once the channel has taken it."""
    principal = await caller(request, _OPERATES)
    sent = await services(request).outside.test(channel, tenant=principal.tenant)
    return _json({"channel": channel, "notification_id": sent.id})


def _letter(letter: DeadNotification) -> dict[str, object]:
    return {
        "id": letter.id,
        "channel": letter.channel,
        "review_id": letter.review_id,
        "step": letter.step,
        "state": letter.state,
        "code": letter.code,
        "reason": letter.reason,
        "attempts": letter.attempts,
        "died_at": time_text(letter.died_at),
    }


def _json(view: object) -> Response:
    return Response(orjson.dumps(view), media_type="application/json")
