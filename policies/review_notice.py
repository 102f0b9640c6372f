"""What the agent that asked is told about its review."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import datetime, timedelta
from hashlib import sha256
from typing import Final

from policies.admission import CONSTITUTIONAL_HASH
from policies.message import Message, MessageType, Priority
from policies.review import ENDED, Review, State

SENDER: Final = "acgs-reviews"
NOTICE_TTL: Final = timedelta(days=1)


def notice_of(review: Review, *, now: datetime) -> Message | None:
    """Return the message to the agent that asked; None when there is nothing that it must know.

    It is told how its review ended, but not that its message went; and that it may use an
    approval, when the bus does not deliver what is approved.
    """
    if review.follows is not None:
        return None  # it went long ago
    usable = review.state is State.APPROVED and not review.delivers
    ended = review.state in ENDED and review.state is not State.CONSUMED
    if not usable and not ended:
        return None
    return Message(
        id=notice_id(review),
        conversation_id=review.review_id,
        session_id=None,
        tenant=review.tenant,
        sender=SENDER,
        recipient=review.agent,
        type=MessageType.NOTIFICATION,
        priority=Priority.NORMAL,
        constitutional_hash=CONSTITUTIONAL_HASH,
        metadata={},
        sent_at=now,
        expires_at=review.expires_at if usable else now + NOTICE_TTL,
        **_told(review),  # type: ignore[arg-type]  # the fields about the content
    )


def notice_id(review: Review) -> str:
    """Return the id of the notice, under which it waits in the outbox as well."""
    return f"notice-{review.review_id}-{review.version}"


def _told(review: Review) -> Mapping[str, object]:
    args: dict[str, object] = {
        "review_id": review.review_id,
        "decision_id": review.decision_id,
        "message_id": review.message_id,
        "state": review.state.value,
        "action_digest": review.action_digest,
    }
    if review.closing is not None:
        args["code"] = review.closing.code
        args["reason"] = review.closing.reason
    content = {"action": f"review.{review.state.value}", "args": args}
    return {
        "content": content,
        "content_digest": _digest(content),
        "args_digest": _digest(args),
        "content_size": len(_canonical(content)),
    }


def _canonical(value: object) -> bytes:
    # RFC 8785 as far as these values need it: ASCII keys, and nothing but strings behind them.
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return text.encode()


def _digest(value: object) -> str:
    return "sha256:" + sha256(_canonical(value)).hexdigest()
