"""A message as bytes, as it waits in the outbox for delivery or is held until people decide."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import datetime
from typing import Any, Final

from policies.errors import GovernanceError
from policies.message import Message, MessageType, Priority

VERSION: Final = 1


class DamagedParcelError(GovernanceError):
    """These bytes are not a message that this build packed; nothing of them may be delivered."""

    code = "parcel.damaged"

    def __init__(self, detail: str) -> None:
        super().__init__(detail)
        self.detail = detail

    def __str__(self) -> str:
        return f"the parcel is damaged: {self.detail}"


def parcel(message: Message, decision_id: str) -> bytes:
    """Pack the whole message and the decision that let it go; `open_parcel` gives it back equal."""
    packed = {
        "v": VERSION,
        "decision_id": decision_id,
        "id": message.id,
        "conversation_id": message.conversation_id,
        "session_id": message.session_id,
        "tenant": message.tenant,
        "sender": message.sender,
        "recipient": message.recipient,
        "type": message.type.value,
        "priority": int(message.priority),
        "constitutional_hash": message.constitutional_hash,
        "content": message.content,
        "content_digest": message.content_digest,
        "args_digest": message.args_digest,
        "content_size": message.content_size,
        "metadata": message.metadata,
        "sent_at": message.sent_at.isoformat(),
        "expires_at": message.expires_at.isoformat(),
    }
    return json.dumps(packed, separators=(",", ":"), allow_nan=False, default=_plain).encode()


def open_parcel(packed: bytes) -> Message:
    """Return the message that was packed. Raises DamagedParcelError for anything else."""
    fields = _fields(packed)
    try:
        return Message(
            id=fields["id"],
            conversation_id=fields["conversation_id"],
            session_id=fields["session_id"],
            tenant=fields["tenant"],
            sender=fields["sender"],
            recipient=fields["recipient"],
            type=MessageType(fields["type"]),
            priority=Priority(fields["priority"]),
            constitutional_hash=fields["constitutional_hash"],
            content=fields["content"],
            content_digest=fields["content_digest"],
            args_digest=fields["args_digest"],
            content_size=fields["content_size"],
            metadata=fields["metadata"],
            sent_at=datetime.fromisoformat(fields["sent_at"]),
            expires_at=datetime.fromisoformat(fields["expires_at"]),
        )
    except (KeyError, TypeError, ValueError) as error:
        raise DamagedParcelError(repr(error)) from error


def parcel_decision_id(packed: bytes) -> str:
    """Return the id of the decision under which the parcel was packed."""
    decision_id = _fields(packed).get("decision_id")
    if not isinstance(decision_id, str):
        raise DamagedParcelError("it names no decision")
    return decision_id


def _fields(packed: bytes) -> dict[str, Any]:
    try:
        fields = json.loads(packed)
    except ValueError as error:
        raise DamagedParcelError(repr(error)) from error
    if not isinstance(fields, dict) or fields.get("v") != VERSION:
        raise DamagedParcelError(f"it is not of version {VERSION}")
    return fields


def _plain(value: object) -> object:
    # content and metadata are Mappings by type; only a dict is one to the json module.
    if isinstance(value, Mapping):
        return dict(value)
    raise TypeError(f"{type(value).__name__} cannot be packed")
