"""What people click in Slack, out of the form that Slack sends; to be read once it is proven."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, TypeAlias
from urllib.parse import parse_qs

from cluster.channels.slack_blocks import APPROVE, REASON, REJECT, VOTE
from policies.errors import RefusalError
from policies.notification import plain
from policies.panel import Choice

VALUE_MAX: Final = 3000
_CHOICES: Final = {APPROVE: Choice.APPROVE, REJECT: Choice.REJECT}


@dataclass(frozen=True, slots=True, kw_only=True)
class Pressed:
    """Somebody pressed a button of a message; `trigger` lets a modal open for a few seconds."""

    user: str
    channel: str
    review_id: str
    digest: str
    choice: Choice
    trigger: str


@dataclass(frozen=True, slots=True, kw_only=True)
class SentOff:
    """Somebody sent off the modal that asked why; `version` is what it showed."""

    user: str
    channel: str
    review_id: str
    digest: str
    choice: Choice
    version: int
    reason: str


Clicked: TypeAlias = Pressed | SentOff


def read_click(raw: bytes) -> Clicked | None:
    """Return what was clicked, None for what needs no answer, such as a link.

    Raises RefusalError `callback.malformed` (400) for what Slack would never send.
    """
    payload = _payload(raw)
    match payload.get("type"):
        case "block_actions":
            return _pressed(payload)
        case "view_submission":
            return _sent_off(payload)
        case _:
            return None


def malformed() -> RefusalError:
    """The refusal of what is signed and makes no sense."""
    return RefusalError("callback.malformed", "this is no click that we know", 400)


def _pressed(payload: Mapping[str, Any]) -> Pressed | None:
    match payload.get("actions"):
        case [dict() as button] if button.get("action_id") in _CHOICES:
            value = _json(_text(button, "value"))
            return Pressed(
                user=_user(payload),
                channel=_text(value, "channel"),
                review_id=_text(value, "review_id"),
                digest=_text(value, "digest"),
                choice=_CHOICES[button["action_id"]],
                trigger=_text(payload, "trigger_id"),
            )
        case _:
            return None


def _sent_off(payload: Mapping[str, Any]) -> SentOff | None:
    view = _mapping(payload, "view")
    if view.get("callback_id") != VOTE:
        return None
    hidden = _json(_text(view, "private_metadata"))
    version = hidden.get("version")
    if type(version) is not int:
        raise malformed()
    return SentOff(
        user=_user(payload),
        channel=_text(hidden, "channel"),
        review_id=_text(hidden, "review_id"),
        digest=_text(hidden, "digest"),
        choice=_choice(_text(hidden, "choice")),
        version=version,
        reason=_reason(view),
    )


def _choice(word: str) -> Choice:
    try:
        return Choice(word)
    except ValueError:
        raise malformed() from None


def _reason(view: Mapping[str, Any]) -> str:
    values = _mapping(_mapping(view, "state"), "values")
    field = _mapping(_mapping(values, REASON), REASON)
    return str(field.get("value") or "")


def _user(payload: Mapping[str, Any]) -> str:
    return plain(_text(_mapping(payload, "user"), "id"))


def _payload(raw: bytes) -> Mapping[str, Any]:
    try:
        form = parse_qs(raw.decode(), strict_parsing=True, max_num_fields=8)
    except ValueError:
        raise malformed() from None
    match form.get("payload"):
        case [str(text)]:
            return _json(text)
        case _:
            raise malformed()


def _json(text: str) -> Mapping[str, Any]:
    try:
        said = json.loads(text)
    except (ValueError, RecursionError):
        raise malformed() from None
    if not isinstance(said, dict):
        raise malformed()
    return said


def _mapping(said: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    value = said.get(name)
    if not isinstance(value, dict):
        raise malformed()
    return value


def _text(said: Mapping[str, Any], name: str) -> str:
    value = said.get(name)
    if not isinstance(value, str) or len(value) > VALUE_MAX:
        raise malformed()
    return value
