"""`acgs console`: a link that signs a person in to the console, once."""

from __future__ import annotations

import webbrowser
from typing import Annotated

import typer

from serve_app.cli.client import Client
from serve_app.cli.options import Roles, Tenant, Who
from serve_app.cli.output import note
from serve_app.cli.surroundings import base_url, quiet_settings, token_for
from serve_app.cli.token import seconds


def console(
    *,
    tenant: Tenant = "acme",
    who: Who = "reviewer",
    role: Roles = None,
    ttl: Annotated[
        str, typer.Option("--ttl", help="how long the session lasts, such as 1h; dev only")
    ] = "8h",
    opens: Annotated[bool, typer.Option("--open", help="open it in the browser")] = False,
) -> None:
    """Print a link that signs you in to the console, once, within a minute."""
    settings = quiet_settings()
    url = base_url(settings)
    token = token_for(
        settings,
        tenant=tenant,
        agent=who,
        roles=tuple(role or ("reviewer",)),
        ttl_s=seconds(ttl),
    )
    with Client(url, token) as client:
        ticket = client.call("POST", "/console/tickets")
    # Behind the #: browsers send that to no server, so it is in no log.
    link = f"{url}/console/sign-in#{ticket['code']}"
    note(f"works once, within {ticket['expires_in_s']} s:")
    typer.echo(link)
    if opens:
        webbrowser.open(link)
