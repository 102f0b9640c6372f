"""`acgs agents`: who is registered on the bus."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Any, Final

import typer

from serve_app.cli.client import Client
from serve_app.cli.options import AgentName, Output, Tenant
from serve_app.cli.output import Column, Format, note, show_object, show_rows
from serve_app.cli.surroundings import connect

app = typer.Typer(no_args_is_help=True, help="Register, list and remove agents.")

_COLUMNS: Final = (
    Column("agent_id", whole=True),
    Column("agent_type"),
    Column("capabilities"),
    Column("last_seen", whole=True),
)


@app.command("register")
def register(
    agent: AgentName,
    *,
    tenant: Tenant = "acme",
    agent_type: Annotated[str, typer.Option("--type", help="what kind of agent it is")] = "default",
    capability: Annotated[
        list[str] | None, typer.Option("--capability", help="what it can do; repeatable")
    ] = None,
    output: Output = Format.TABLE,
) -> None:
    """Register an agent, or change its registration: then it can be written to."""
    body = {"agent_type": agent_type, "capabilities": capability or []}
    with _admin(tenant) as client:
        registration = client.call("PUT", f"/v1/agents/{agent}", body=body)
    if output is Format.TABLE:
        note(f"registered {agent} in {tenant}")
    else:
        show_object(registration, form=output)


@app.command("list")
def list_agents(*, tenant: Tenant = "acme", output: Output = Format.TABLE) -> None:
    """List the agents of a tenant, by id."""
    with _admin(tenant) as client:
        found = list(_pages(client))
    show_rows(found, _COLUMNS, form=output)


@app.command("remove")
def remove(agent: AgentName, *, tenant: Tenant = "acme") -> None:
    """Remove an agent: what waits for it becomes dead letters."""
    with _admin(tenant) as client:
        client.call("DELETE", f"/v1/agents/{agent}")
    note(f"removed {agent} from {tenant}")


def _admin(tenant: str) -> Client:
    return connect(tenant, "admin", "tenant_admin")


def _pages(client: Client) -> Iterator[dict[str, Any]]:
    cursor: str | None = None
    while True:
        page = client.call("GET", "/v1/agents", params={"limit": 1000, "cursor": cursor})
        yield from page["agents"]
        cursor = page["next_cursor"]
        if cursor is None:
            return
