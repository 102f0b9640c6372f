"""From what the store returned to what a mailbox says; what is damaged is logged and left out."""

from __future__ import annotations

import structlog

from actors.mailbox.mailbox import DeadLetter, Envelope, Profile, Registration, time_of
from actors.mailbox.store import Entry, Letter, Received
from policies.message import Message
from policies.parcel import DamagedParcelError, open_parcel

log = structlog.get_logger(__name__)


def envelopes(received: Received, ends_ms: int) -> list[Envelope]:
    """What can be read of it; the rest is retried, then dead, as if nobody had answered."""
    return [
        Envelope(
            message=message,
            decision_id=leased.decision_id,
            lease_id=str(leased.lease),
            attempt=leased.lease.attempt,
            expires_at=time_of(ends_ms),
        )
        for leased in received.leased
        if (message := _open(leased.parcel, leased.decision_id))
    ]


def dead_letter(letter: Letter) -> DeadLetter | None:
    """The dead letter, None when its parcel is damaged."""
    message = _open(letter.parcel, letter.decision_id)
    if message is None:
        return None
    return DeadLetter(
        message=message,
        decision_id=letter.decision_id,
        code=letter.code,
        reason=letter.reason,
        attempts=letter.attempts,
        died_at=time_of(letter.died_ms),
        cursor=letter.cursor,
    )


def _open(packed: bytes, decision_id: str) -> Message | None:
    try:
        return open_parcel(packed)
    except DamagedParcelError as error:
        log.error("parcel.damaged", decision_id=decision_id, error=str(error))  # noqa: TRY400
        return None


def registration(tenant: str, entry: Entry) -> Registration:
    """An agent's registration."""
    return Registration(
        tenant=tenant,
        agent=entry.agent,
        profile=Profile.unpack(entry.profile),
        registered_at=time_of(entry.since_ms),
        last_seen=time_of(entry.seen_ms),
    )
