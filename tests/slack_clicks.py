"""Requests as Slack sends them when people click, signed as Slack signs them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode

from pydantic import SecretStr

from cluster.channels.slack import signature_of
from serve_app.slack import Signed


@dataclass(frozen=True)
class Click:
    """What Slack sends: a body, and the headers that prove it."""

    body: bytes
    timestamp: str
    signature: str

    @property
    def headers(self) -> dict[str, str]:
        return {
            "Content-Type": "application/x-www-form-urlencoded",
            "X-Slack-Request-Timestamp": self.timestamp,
            "X-Slack-Signature": self.signature,
        }

    def signed(self) -> Signed:
        return Signed(raw=self.body, signature=self.signature, timestamp=self.timestamp)


def a_click(payload: Mapping[str, Any], secret: str, at_s: float) -> Click:
    """A request with this payload, signed at that time."""
    body = urlencode({"payload": json.dumps(payload)}).encode()
    timestamp = str(int(at_s))
    return Click(body, timestamp, signature_of(SecretStr(secret), timestamp, body))


def pressed(message: Mapping[str, Any], action: str, user: str) -> dict[str, Any]:
    """The payload of somebody who presses a button of a message that was posted."""
    rows = [block for block in message["blocks"] if block["type"] == "actions"]
    (button,) = [
        button for row in rows for button in row["elements"] if button["action_id"] == action
    ]
    return {
        "type": "block_actions",
        "trigger_id": "17653.1987.abcdef",
        "user": {"id": user, "name": "boss", "username": "boss"},
        "actions": [{"action_id": action, "type": "button", "value": button.get("value", "")}],
    }


def submitted(view: Mapping[str, Any], reason: str, user: str) -> dict[str, Any]:
    """The payload of somebody who sends off a modal that was opened."""
    return {
        "type": "view_submission",
        "user": {"id": user, "name": "boss"},
        "view": {
            "callback_id": view["callback_id"],
            "private_metadata": view["private_metadata"],
            "state": {"values": {"reason": {"reason": {"value": reason}}}},
        },
    }
