"""`acgs token`: mint a development token."""

from __future__ import annotations

import re
from typing import Annotated, Final

import typer

from cluster.clock import SystemClock
from cluster.identity.devkeys import mint_token
from serve_app.cli.options import ROLES
from serve_app.cli.surroundings import quiet_settings

_DURATION: Final = re.compile(r"\A(\d{1,9})([smhd])\Z", re.ASCII)
_SECONDS: Final = {"s": 1, "m": 60, "h": 3600, "d": 86_400}


def token(
    *,
    tenant: Annotated[str, typer.Option("--tenant", help="the tenant it is good for")],
    sub: Annotated[str, typer.Option("--sub", help="the agent or person that it names")],
    role: Annotated[
        list[str], typer.Option("--role", help=f"repeatable: {', '.join(ROLES)}", metavar="ROLE")
    ],
    scope: Annotated[
        list[str] | None,
        typer.Option("--scope", help="narrows what the roles carry; repeatable or space-separated"),
    ] = None,
    owner: Annotated[
        str | None,
        typer.Option("--owner", help="who answers for the agent, and cannot approve what it asks"),
    ] = None,
    ttl: Annotated[str, typer.Option("--ttl", help="such as 30s, 15m, 1h, 7d")] = "1h",
) -> None:
    """Print a token signed by the development key (ACGS_ENV=dev only)."""
    scopes = None if scope is None else [word for words in scope for word in words.split()]
    minted = mint_token(
        quiet_settings(),
        tenant=tenant,
        agent=sub,
        roles=tuple(role),
        scopes=scopes,
        ttl_s=seconds(ttl),
        now=SystemClock().now(),
        owner=owner,
    )
    typer.echo(minted)


def seconds(text: str) -> int:
    """Return the seconds of a duration such as `15m`; raises BadParameter for anything else."""
    match = _DURATION.match(text)
    if match is None:
        raise typer.BadParameter(f"{text!r} is not a duration such as 30s, 15m, 1h or 7d")
    return int(match[1]) * _SECONDS[match[2]]
