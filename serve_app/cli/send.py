"""`acgs send` and `acgs decide`: govern one message, or a whole file of tool calls."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from cluster.constants import CONSTITUTIONAL_HASH
from serve_app.cli.client import Client
from serve_app.cli.exits import OF_EFFECT, Exit
from serve_app.cli.govern import govern
from serve_app.cli.options import Kind, Output, Sender, Tenant, Urgency, is_recipient, json_object
from serve_app.cli.output import Format, show_decision, show_line
from serve_app.cli.surroundings import connect
from serve_app.cli.traces import Trace, first_traces

Content = Annotated[str, typer.Argument(help='a JSON object: {"tool": …, "args": {…}}')]
TraceFile = Annotated[
    Path | None,
    typer.Option("--file", exists=True, dir_okay=False, help="JSON lines of tool calls instead"),
]


def send(  # noqa: PLR0913  # one parameter for each option of the command
    content: Content = "",
    *,
    to: Annotated[
        str, typer.Option("--to", callback=is_recipient, help="an agent, or * for the tenant")
    ] = "tools",
    file: TraceFile = None,
    limit: Annotated[
        int | None, typer.Option("--limit", min=1, help="at most so many of the file")
    ] = None,
    sender: Sender = "planner",
    tenant: Tenant = "acme",
    message_type: Kind = "command",
    priority: Urgency = "normal",
    output: Output = Format.TABLE,
) -> None:
    """Send a message, or each line of a file, and show what was decided.

    One message exits with its effect: 0 allow, 3 deny, 4 held. A file exits with 0 when every
    line was judged, and 6 when the bus refused one; -o jsonl prints every decision, the other
    formats the table of verdicts.
    """
    if bool(content) == (file is not None):
        raise typer.BadParameter("give the content as JSON, or --file; one of the two")
    if file is not None:
        traces = first_traces(file, limit)
        with connect(tenant, sender) as client:
            _all(client, traces, name=file.name, to=to, form=output)
        return
    body = _body(json_object(content), message_type, priority)
    with connect(tenant, sender) as client:
        _one(client, "/v1/messages", {**body, "to_agent": to}, form=output)


def decide(
    content: Content,
    *,
    sender: Sender = "planner",
    tenant: Tenant = "acme",
    message_type: Kind = "command",
    priority: Urgency = "normal",
    output: Output = Format.TABLE,
) -> None:
    """Ask for a decision without sending anything. Exits 0 allow, 3 deny, 4 held."""
    body = _body(json_object(content), message_type, priority)
    with connect(tenant, sender) as client:
        _one(client, "/v1/decisions", body, form=output)


def _body(content: dict[str, Any], message_type: str, priority: str) -> dict[str, Any]:
    return {
        "message_type": message_type,
        "priority": priority,
        "constitutional_hash": CONSTITUTIONAL_HASH,
        "content": content,
    }


def _one(client: Client, path: str, body: dict[str, Any], *, form: Format) -> None:
    decision = client.call("POST", path, body=body)
    show_decision(decision, form=form)
    raise typer.Exit(OF_EFFECT[decision["effect"]])


def _all(client: Client, traces: list[Trace], *, name: str, to: str, form: Format) -> None:
    def hear(trace: Trace, decision: dict[str, Any]) -> None:
        show_line({"trace": trace.where, **decision})

    is_stream = form is Format.JSONL
    tally = govern(client, traces, name=name, to=to, hear=hear if is_stream else None)
    if not is_stream:
        tally.show(form)
    if tally.refused:
        raise typer.Exit(Exit.REFUSED)
