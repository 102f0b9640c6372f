"""`acgs send` and `acgs decide`: govern one message, or a whole file of tool calls."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import typer

from cluster.constants import CONSTITUTIONAL_HASH
from cluster.settings import Settings, load_settings
from serve_app.cli.client import Client, ProblemError, base_url, errors, token_for
from serve_app.cli.exits import OF_EFFECT, Exit
from serve_app.cli.govern import govern_file
from serve_app.cli.output import Format, show_decision
from serve_app.cli.traces import TraceError

Sender = Annotated[str, typer.Option("--from", help="the agent that sends")]
Tenant = Annotated[str, typer.Option("--tenant", help="the agent's tenant")]
Output = Annotated[Format, typer.Option("-o", "--output", help="table, json or jsonl")]


def send(  # noqa: PLR0913  # one parameter for each option of the command
    *,
    to: Annotated[str, typer.Option("--to", help="recipient, or * for the tenant")] = "tools",
    content: Annotated[str | None, typer.Argument(help="the content, as a JSON object")] = None,
    file: Annotated[Path | None, typer.Option("--file", help="JSON lines of tool calls")] = None,
    sender: Sender = "planner",
    tenant: Tenant = "acme",
    message_type: Annotated[str, typer.Option("--type")] = "command",
    priority: Annotated[str, typer.Option("--priority")] = "normal",
    limit: Annotated[int | None, typer.Option("--limit", help="lines of the file")] = None,
    output: Output = Format.TABLE,
) -> None:
    """Send a message (or each line of a file) through the bus and show what was decided."""
    settings = load_settings()
    with _client(settings, tenant, sender) as client:
        if file is not None:
            _send_file(client, file, to=to, limit=limit, form=output)
        elif content is not None:
            body = _body(content, to=to, message_type=message_type, priority=priority)
            _one(client, "/v1/messages", body, form=output)
        else:
            raise typer.BadParameter("give the content as JSON, or --file")


def decide(
    content: Annotated[str, typer.Argument(help="the content, as a JSON object")],
    *,
    sender: Sender = "planner",
    tenant: Tenant = "acme",
    message_type: Annotated[str, typer.Option("--type")] = "command",
    priority: Annotated[str, typer.Option("--priority")] = "normal",
    output: Output = Format.TABLE,
) -> None:
    """Ask for a decision without sending anything. Exits 0 allow, 3 deny, 4 held."""
    with _client(load_settings(), tenant, sender) as client:
        body = _body(content, to=None, message_type=message_type, priority=priority)
        _one(client, "/v1/decisions", body, form=output)


def _client(settings: Settings, tenant: str, sender: str) -> Client:
    token = token_for(settings, tenant=tenant, agent=sender, roles=("agent",))
    return Client(base_url(settings), token)


def _body(content: str, *, to: str | None, message_type: str, priority: str) -> dict[str, Any]:
    try:
        parsed = json.loads(content)
    except ValueError as error:
        raise typer.BadParameter(f"the content is not JSON: {error}") from error
    return {
        "to_agent": to,
        "message_type": message_type,
        "priority": priority,
        "constitutional_hash": CONSTITUTIONAL_HASH,
        "content": parsed,
    }


def _one(client: Client, path: str, body: dict[str, Any], *, form: Format) -> None:
    try:
        decision = client.call("POST", path, body=body)
    except ProblemError as problem:
        errors.print(str(problem), style="red", highlight=False)
        raise typer.Exit(problem.exit) from problem
    show_decision(decision, form=form)
    raise typer.Exit(OF_EFFECT[decision["effect"]])


def _send_file(client: Client, file: Path, *, to: str, limit: int | None, form: Format) -> None:
    if not file.is_file():
        raise typer.BadParameter(f"{file} is not a file")
    try:
        tally = govern_file(client, file, to=to, limit=limit)
    except (TraceError, ProblemError) as error:
        errors.print(str(error), style="red", highlight=False)
        exit_code = error.exit if isinstance(error, ProblemError) else Exit.USAGE
        raise typer.Exit(exit_code) from error
    tally.show(form)
