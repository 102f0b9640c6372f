"""A notification as bytes, as it waits in the store; and one that was never sent."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

import orjson

from policies.errors import GovernanceError
from policies.notification import Ground, Notification

VERSION: Final = 1


class DamagedNotificationError(GovernanceError):
    """These bytes are not a notification that this build packed."""

    code = "notification.damaged"

    def __init__(self, detail: str) -> None:
        super().__init__(detail)
        self.detail = detail

    def __str__(self) -> str:
        return f"the notification is damaged: {self.detail}"


@dataclass(frozen=True, slots=True, kw_only=True)
class DeadNotification:
    """What was not sent, and why. `code` is stable, `cursor` names its place in the list."""

    id: str
    channel: str
    review_id: str
    step: str
    state: str
    code: str
    reason: str
    attempts: int
    died_at: datetime
    cursor: str


def pack(notification: Notification) -> bytes:
    """Return it as JSON; `unpack` gives it back equal."""
    return orjson.dumps({"v": VERSION, "notification": notification})


def unpack(packed: bytes) -> Notification:
    """Return what was packed. Raises DamagedNotificationError for anything else."""
    try:
        outer = orjson.loads(packed)
        if outer["v"] != VERSION:
            raise ValueError(f"it is of version {outer['v']!r}, not {VERSION}")  # noqa: TRY301
        fields: Mapping[str, Any] = outer["notification"]
        return Notification(
            **{
                **fields,
                "at": datetime.fromisoformat(fields["at"]),
                "expires_at": datetime.fromisoformat(fields["expires_at"]),
                "grounds": tuple(Ground(**ground) for ground in fields["grounds"]),
                "roles": tuple(fields["roles"]),
            }
        )
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise DamagedNotificationError(repr(error)) from error
