"""`acgs agents`: who is registered on the bus."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from cluster.settings import load_settings
from serve_app.cli.client import Client, ProblemError, base_url, errors, token_for
from serve_app.cli.output import Format, console, show_rows

app = typer.Typer(no_args_is_help=True, help="Register, list and remove agents.")

Tenant = Annotated[str, typer.Option("--tenant")]
Output = Annotated[Format, typer.Option("-o", "--output")]


@app.command("register")
def register(
    agent: Annotated[str, typer.Argument(help="the agent's id")],
    *,
    tenant: Tenant = "acme",
    agent_type: Annotated[str, typer.Option("--type")] = "default",
    capability: Annotated[list[str] | None, typer.Option("--capability")] = None,
) -> None:
    """Register an agent, or change its registration."""
    body = {"agent_type": agent_type, "capabilities": capability or []}
    _call(tenant, "PUT", f"/v1/agents/{agent}", body=body)
    console.print(f"registered {agent} in {tenant}", highlight=False)


@app.command("list")
def list_agents(*, tenant: Tenant = "acme", output: Output = Format.TABLE) -> None:
    """List the agents of a tenant."""
    answer = _call(tenant, "GET", "/v1/agents")
    show_rows(
        answer["agents"], ("agent_id", "agent_type", "capabilities", "last_seen"), form=output
    )


@app.command("remove")
def remove(agent: Annotated[str, typer.Argument()], *, tenant: Tenant = "acme") -> None:
    """Remove an agent from the bus."""
    _call(tenant, "DELETE", f"/v1/agents/{agent}")
    console.print(f"removed {agent} from {tenant}", highlight=False)


def _call(tenant: str, method: str, path: str, *, body: dict[str, Any] | None = None) -> Any:
    settings = load_settings()
    token = token_for(settings, tenant=tenant, agent="admin", roles=("tenant_admin",))
    try:
        with Client(base_url(settings), token) as client:
            return client.call(method, path, body=body)
    except ProblemError as problem:
        errors.print(str(problem), style="red", highlight=False)
        raise typer.Exit(problem.exit) from problem
