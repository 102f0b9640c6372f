"""Notifications as Slack shows them. What agents wrote is plain text, which Slack does not read."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, TypeAlias

import orjson

from policies.notification import Notification
from policies.notification_words import facts, grounds, headline

APPROVE: Final = "acgs.approve"
REJECT: Final = "acgs.reject"
OPEN: Final = "acgs.open"
VOTE: Final = "acgs.vote"  # the modal
REASON: Final = "reason"
_HEADER_MAX: Final = 150
_LINE_MAX: Final = 2000
_REASON_MAX: Final = 2000

Block: TypeAlias = dict[str, object]


def escaped(text: str) -> str:
    """Return the text as Slack shows it, without what would ring people or lead somewhere."""
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def blocks_of(notification: Notification, *, decides: bool) -> list[Block]:
    """Return the blocks; with buttons to decide by as long as there is something to decide."""
    blocks: list[Block] = [
        {"type": "header", "text": _plain(headline(notification), _HEADER_MAX)},
        {
            "type": "section",
            "fields": [
                _plain(f"{label}\n{value}", _LINE_MAX) for label, value in facts(notification)
            ],
        },
    ]
    why = "\n".join(grounds(notification))
    if why:
        blocks.append({"type": "section", "text": _plain(why, _LINE_MAX)})
    buttons = _buttons(notification, decides=decides)
    if buttons:
        blocks.append({"type": "actions", "elements": buttons})
    return blocks


def vote_view(choice: str, lines: tuple[str, ...], hidden: Mapping[str, object]) -> Block:
    """Return the modal that asks for a reason; `hidden` comes back with it."""
    verb = "Approve" if choice == "approve" else "Reject"
    return {
        "type": "modal",
        "callback_id": VOTE,
        "private_metadata": orjson.dumps(hidden).decode(),
        "title": _plain(verb, 24),
        "submit": _plain(verb, 24),
        "close": _plain("Back", 24),
        "blocks": [
            {"type": "section", "text": _plain("\n".join(lines), _LINE_MAX)},
            {
                "type": "input",
                "block_id": REASON,
                "label": _plain("Why? It is recorded.", 48),
                "element": {
                    "type": "plain_text_input",
                    "action_id": REASON,
                    "multiline": True,
                    "max_length": _REASON_MAX,
                },
            },
        ],
    }


def told_view(text: str) -> Block:
    """Return a modal that says what became of it."""
    return {
        "type": "modal",
        "title": _plain("Recorded", 24),
        "close": _plain("Close", 24),
        "blocks": [{"type": "section", "text": _plain(text, _LINE_MAX)}],
    }


def _buttons(notification: Notification, *, decides: bool) -> list[Block]:
    buttons: list[Block] = []
    if decides and not notification.over:
        value = orjson.dumps(
            {
                "channel": notification.channel,
                "review_id": notification.review_id,
                "digest": notification.action_digest,
            }
        ).decode()
        buttons += [
            _button(APPROVE, "Approve", value=value, style="primary"),
            _button(REJECT, "Reject", value=value, style="danger"),
        ]
    if notification.link is not None:
        buttons.append(_button(OPEN, "Open", url=notification.link))
    return buttons


def _button(action: str, text: str, **more: str) -> Block:
    return {"type": "button", "action_id": action, "text": _plain(text, 75), **more}


def _plain(text: str, most: int) -> Block:
    cut = text if len(text) <= most else text[: most - 1] + "…"
    return {"type": "plain_text", "text": cut, "emoji": False}
