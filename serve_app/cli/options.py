"""The options that several commands take, so that each is named and explained once."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Annotated, Any, Final

import typer

from policies.message import AGENT_ID, MessageType, Priority
from policies.roles import ROLE_SCOPES
from serve_app.cli.output import Format


def _one_of(words: tuple[str, ...]) -> Callable[[str | None], str | None]:
    def check(value: str | None) -> str | None:
        if value is None or value in words:
            return value
        raise typer.BadParameter(f"{value!r} is none of: {', '.join(words)}")

    return check


def _is_id(value: str) -> str:
    if AGENT_ID.match(value):
        return value
    raise typer.BadParameter(f"{value!r} does not match {AGENT_ID.pattern}")


def is_recipient(value: str) -> str:
    """Return the recipient: an id, or `*`; raises BadParameter for anything else."""
    return value if value == "*" else _is_id(value)


EFFECTS: Final = ("allow", "review", "deny")
TYPES: Final = tuple(kind.value for kind in MessageType)
PRIORITIES: Final = tuple(priority.word for priority in Priority)
ROLES: Final = tuple(ROLE_SCOPES)

Tenant = Annotated[str, typer.Option("--tenant", callback=_is_id, help="whose agents and log")]
Sender = Annotated[str, typer.Option("--from", callback=_is_id, help="the agent that asks")]
AgentName = Annotated[str, typer.Argument(callback=_is_id, help="the agent's id")]
To = Annotated[str, typer.Argument(callback=_is_id, help="who decides in the giver's stead")]
ShiftName = Annotated[str, typer.Argument(callback=_is_id, help="the shift's name, of your choice")]
Who = Annotated[str, typer.Option("--as", callback=_is_id, help="the person who looks, or decides")]
Roles = Annotated[
    list[str] | None, typer.Option("--role", help="repeatable; reviewer if none", metavar="ROLE")
]
Output = Annotated[Format, typer.Option("-o", "--output", help="for people, or for programs")]
Kind = Annotated[
    str, typer.Option("--type", callback=_one_of(TYPES), metavar="TYPE", help=", ".join(TYPES))
]
Urgency = Annotated[
    str,
    typer.Option("--priority", callback=_one_of(PRIORITIES), help=", ".join(PRIORITIES)),
]
Effects = Annotated[
    str | None, typer.Option("--effect", callback=_one_of(EFFECTS), help=", ".join(EFFECTS))
]


def json_object(text: str) -> dict[str, Any]:
    """Return the JSON object in a text; raises BadParameter saying where it is not one."""
    try:
        parsed = json.loads(text)
    except ValueError as error:
        raise typer.BadParameter(
            f"this is not JSON: {error}. Quote it for the shell: "
            '\'{"tool": "web.search", "args": {"query": "weather"}}\''
        ) from error
    if not isinstance(parsed, dict):
        raise typer.BadParameter(f"the content is a JSON object, not {_kind(parsed)}")
    return parsed


def _kind(value: object) -> str:
    names = {list: "an array", str: "a string", bool: "a boolean", type(None): "null"}
    return names.get(type(value), "a number")
