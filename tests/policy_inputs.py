"""Inputs of the policy for tests, spelled as the judge spells them."""

from __future__ import annotations

from collections.abc import Mapping
from copy import deepcopy
from typing import Any

import orjson

from policies.message import MessageType
from serve_app.judges.question import policy_input
from serve_app.ports import Question

from builders import a_message, a_principal

MAIL: Mapping[str, object] = {
    "action": "email.send",
    "args": {"to": "ann@example.com", "subject": "minutes"},
}


def asked(changes: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """What the judge asks about a mail, with other values at these dotted places."""
    question = Question(
        principal=a_principal(),
        message=a_message(content=MAIL),
        findings=(),
        target=None,
    )
    document: dict[str, Any] = orjson.loads(policy_input(question))
    for place, value in (changes or {}).items():
        *parents, last = place.split(".")
        node = document
        for parent in parents:
            node = node[parent]
        node[last] = value
    return document


def calls(tool: str, args: Mapping[str, Any]) -> dict[str, Any]:
    """A command that calls this tool."""
    return asked({"message.action": tool, "message.tool": tool, "message.args": deepcopy(args)})


def says(type_: MessageType) -> dict[str, Any]:
    """A message in words."""
    return asked(
        {
            "message.type": type_.value,
            "message.action": "",
            "message.tool": "",
            "message.args": {},
        }
    )


def finding(kind: str, detector: str, path: str) -> dict[str, Any]:
    """What a scan saw."""
    return {"kind": kind, "detector": detector, "path": path, "start": 0, "end": 4}
