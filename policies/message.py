"""What an agent asks the bus to carry."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import IntEnum, StrEnum
from typing import Final

AGENT_ID: Final = re.compile(r"\A[a-z0-9][a-z0-9_-]{1,63}\Z")
BROADCAST: Final = "*"


class MessageType(StrEnum):
    """The eleven kinds of message; the value is the wire form."""

    COMMAND = "command"
    QUERY = "query"
    RESPONSE = "response"
    EVENT = "event"
    NOTIFICATION = "notification"
    HEARTBEAT = "heartbeat"
    GOVERNANCE_REQUEST = "governance_request"
    GOVERNANCE_RESPONSE = "governance_response"
    CONSTITUTIONAL_VALIDATION = "constitutional_validation"
    TASK_REQUEST = "task_request"
    TASK_RESPONSE = "task_response"


class Priority(IntEnum):
    """How soon it should be read. One order everywhere, Rego included: larger is more urgent."""

    LOW = 0
    NORMAL = 1
    HIGH = 2
    CRITICAL = 3

    @property
    def word(self) -> str:
        """The wire form: low, normal, high or critical."""
        return self.name.lower()


@dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    """One request from a sender to a recipient, as it stood when it was admitted.

    `recipient` is an agent id, `BROADCAST`, or None when only a decision is asked for. `content`
    is the JSON object as it came; `content_digest` and `args_digest` are `sha256:<hex>` over the
    RFC 8785 form of it and of its `args`; `content_size` is its size in bytes on the wire.
    `sent_at` is when the bus took it in.
    """

    id: str
    conversation_id: str
    session_id: str | None
    tenant: str
    sender: str
    recipient: str | None
    type: MessageType
    priority: Priority
    constitutional_hash: str
    content: Mapping[str, object]
    content_digest: str
    args_digest: str
    content_size: int
    metadata: Mapping[str, object]
    sent_at: datetime
    expires_at: datetime

    @property
    def action(self) -> str:
        """The verb, from `content.action`; empty when the content names none."""
        return self._text("action")

    @property
    def tool(self) -> str:
        """The tool that would run, from `content.tool`, else the action."""
        return self._text("tool") or self.action

    @property
    def resource(self) -> str:
        """The target, from `content.resource`; empty when the content names none."""
        return self._text("resource")

    @property
    def args(self) -> Mapping[str, object]:
        """The tool's arguments; empty when there are none."""
        args = self.content.get("args")
        return args if isinstance(args, Mapping) else {}

    def _text(self, field: str) -> str:
        value = self.content.get(field)
        return value if isinstance(value, str) else ""
