"""`acgs token`: mint a development token."""

from __future__ import annotations

import re
from typing import Annotated, Final

import typer

from cluster.clock import SystemClock
from cluster.errors import ConfigurationError
from cluster.identity.devkeys import mint_token
from cluster.settings import load_settings
from serve_app.cli.client import errors
from serve_app.cli.exits import Exit

_DURATION: Final = re.compile(r"\A(\d+)([smhd])\Z")
_SECONDS: Final = {"s": 1, "m": 60, "h": 3600, "d": 86_400}


def token(
    *,
    tenant: Annotated[str, typer.Option("--tenant")],
    sub: Annotated[str, typer.Option("--sub", help="the agent or person")],
    role: Annotated[list[str], typer.Option("--role", help="repeatable")],
    scope: Annotated[str | None, typer.Option("--scope", help="narrows, space-separated")] = None,
    ttl: Annotated[str, typer.Option("--ttl", help="such as 30s, 15m, 1h, 7d")] = "1h",
) -> None:
    """Print a token signed by the development key (ACGS_ENV=dev only)."""
    try:
        minted = mint_token(
            load_settings(),
            tenant=tenant,
            agent=sub,
            roles=tuple(role),
            scopes=tuple(scope.split()) if scope is not None else None,
            ttl_s=seconds(ttl),
            now=SystemClock().now(),
        )
    except (ConfigurationError, ValueError) as error:
        errors.print(str(error), style="red", highlight=False)
        raise typer.Exit(Exit.USAGE) from error
    typer.echo(minted)


def seconds(text: str) -> int:
    """Return the seconds of a duration such as `15m`; raises BadParameter for anything else."""
    match = _DURATION.match(text)
    if match is None:
        raise typer.BadParameter(f"{text!r} is not a duration such as 30s, 15m, 1h or 7d")
    return int(match[1]) * _SECONDS[match[2]]
