"""`acgs inbox` and `acgs tail`: what an agent has received, and what the bus decides."""

from __future__ import annotations

import json
import time
from typing import Annotated, Any, Final

import typer

from cluster.settings import load_settings
from serve_app.cli.client import Client, ProblemError, base_url, errors, token_for
from serve_app.cli.output import Format, coloured, console, show_rows

Tenant = Annotated[str, typer.Option("--tenant")]
_TAIL_INTERVAL_S: Final = 0.5


def inbox(
    agent: Annotated[str, typer.Argument(help="whose mailbox")] = "tools",
    *,
    tenant: Tenant = "acme",
    maximum: Annotated[int, typer.Option("--max", min=1, max=100)] = 10,
    wait: Annotated[int, typer.Option("--wait", min=0, max=30, help="seconds")] = 0,
    ack: Annotated[bool, typer.Option("--ack/--no-ack", help="acknowledge what is shown")] = True,
    output: Annotated[Format, typer.Option("-o", "--output")] = Format.TABLE,
) -> None:
    """Receive an agent's messages; with --no-ack they come back when their lease ends."""
    with _client(tenant, agent) as client:
        received = _or_exit(
            client,
            "GET",
            "/v1/mailbox",
            params={"max": maximum, "wait_s": wait, "lease_s": 30},
        )["messages"]
        if output is Format.TABLE:
            _show(received)
        else:
            show_rows(received, (), form=output)
        for item in received if ack else ():
            _or_exit(client, "POST", f"/v1/mailbox/{item['lease_id']}:ack")


def _show(received: list[dict[str, Any]]) -> None:
    rows = [
        {
            "from": item["message"]["from_agent"],
            "priority": item["message"]["priority"],
            "attempt": item["attempt"],
            "content": json.dumps(item["message"]["content"])[:100],
            "decision": item["decision_id"],
        }
        for item in received
    ]
    show_rows(rows, ("from", "priority", "attempt", "content", "decision"), form=Format.TABLE)


def tail(
    *,
    tenant: Tenant = "acme",
    effect: Annotated[str | None, typer.Option("--effect", help="allow, review or deny")] = None,
    follow: Annotated[bool, typer.Option("--follow/--no-follow", "-f")] = True,
    last: Annotated[int, typer.Option("-n", min=1, max=500, help="start with the last N")] = 10,
) -> None:
    """Show decisions as they are recorded."""
    seen: dict[str, str] = {}
    since: str | None = None
    with _client(tenant, "auditor", roles=("auditor",)) as client:
        while True:
            params = {"limit": 500 if since else last, "effect": effect, "since": since}
            page = _or_exit(client, "GET", "/v1/decisions", params=params)
            for decision in reversed(page["decisions"]):
                if decision["decision_id"] not in seen:
                    _line(decision)
                since = max(since or "", decision["decided_at"])
                seen[decision["decision_id"]] = decision["decided_at"]
            seen = {key: at for key, at in seen.items() if at >= (since or "")}
            if not follow:
                return
            time.sleep(_TAIL_INTERVAL_S)


def _line(decision: dict[str, Any]) -> None:
    code = decision["reasons"][0]["code"] if decision["reasons"] else ""
    console.print(
        f"{decision['decided_at']} {coloured(decision['effect']):<20} {decision['agent']} "
        f"{decision['tool'] or decision['action'] or decision['message_type']} {code}",
        highlight=False,
    )


def _client(tenant: str, agent: str, roles: tuple[str, ...] = ("agent",)) -> Client:
    settings = load_settings()
    token = token_for(settings, tenant=tenant, agent=agent, roles=roles)
    return Client(base_url(settings), token)


def _or_exit(
    client: Client, method: str, path: str, *, params: dict[str, Any] | None = None
) -> Any:
    try:
        return client.call(method, path, params=params)
    except ProblemError as problem:
        errors.print(str(problem), style="red", highlight=False)
        raise typer.Exit(problem.exit) from problem
