"""From bytes on the wire to a Message: the only place that reads a sender's JSON."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from actors.ledger.canonical import digest
from cluster.clock import new_id
from policies.admission import Limits, check_shape, same_tenant
from policies.errors import RefusalError
from policies.message import Message, Priority
from policies.principal import Principal
from serve_app.api.schemas import MessageIn


def to_message(
    body: MessageIn, principal: Principal, *, size: int, now: datetime, limits: Limits
) -> Message:
    """Return the message that this body asks for, under the token's identity.

    `size` is the body's length in bytes. Raises RefusalError: `auth.sender_mismatch` and
    `auth.tenant_mismatch` (403), `message.*` (413, 422) for content that cannot be governed.
    """
    _require_own_name(body, principal)
    check_shape(body.content, limits=limits)
    check_shape(body.metadata, limits=limits)
    message_id = body.message_id or new_id(now)
    return Message(
        id=message_id,
        conversation_id=body.conversation_id or message_id,
        session_id=body.session_id,
        tenant=principal.tenant,
        sender=principal.agent,
        recipient=body.to_agent,
        type=body.message_type,
        priority=Priority[body.priority.upper()],
        constitutional_hash=body.constitutional_hash,
        content=body.content,
        content_digest=digest(body.content),
        args_digest=digest(body.content.get("args", {})),
        content_size=size,
        metadata=body.metadata,
        sent_at=now,
        expires_at=_expiry(body, now=now, limits=limits),
    )


def _require_own_name(body: MessageIn, principal: Principal) -> None:
    if body.from_agent is not None and body.from_agent != principal.agent:
        raise RefusalError(
            "auth.sender_mismatch",
            "from_agent is not the agent that your token names; leave it out or correct it",
            403,
        )
    if body.tenant_id is not None and not same_tenant(body.tenant_id, principal.tenant):
        raise RefusalError(
            "auth.tenant_mismatch",
            "tenant_id is not the tenant that your token names; leave it out or correct it",
            403,
        )


def _expiry(body: MessageIn, *, now: datetime, limits: Limits) -> datetime:
    if body.expires_at is None:
        return now + timedelta(seconds=body.ttl_seconds or limits.ttl_default_s)
    if body.ttl_seconds is not None:
        raise RefusalError(
            "message.ttl_ambiguous", "give either ttl_seconds or expires_at, not both", 422
        )
    if body.expires_at.tzinfo is None:
        raise RefusalError(
            "message.expiry_without_zone", "expires_at needs a time zone, such as a final Z", 422
        )
    try:
        return body.expires_at.astimezone(UTC)
    except OverflowError:
        raise RefusalError(
            "message.ttl_out_of_range", "expires_at is at the end of the calendar", 422
        ) from None
