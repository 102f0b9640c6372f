"""`acgs ledger key`, `rotate-key` and `erase`: what is done with the bus's own secrets."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path
from typing import Annotated

import typer

from actors.ledger.checkpoint import VerifierKey, parse_key
from actors.ledger.client import LedgerRecorder
from actors.ledger.keys import ROOT, signers
from cluster.clock import SystemClock
from cluster.errors import ConfigurationError
from cluster.keyring import load_keyring, rotate_ledger_key
from cluster.settings import Settings
from cluster.store.connect import open_store
from policies.principal import Principal
from serve_app.cli.options import AgentName, Tenant
from serve_app.cli.output import note, say
from serve_app.cli.surroundings import quiet_settings

KeyOption = Annotated[
    str | None,
    typer.Option("--key", help="the root log's verifier key, or a file that holds it"),
]


def key(
    tenant: Annotated[
        str | None, typer.Option("--tenant", help="of a tenant's log; else the root log's")
    ] = None,
) -> None:
    """Print the public keys that checkpoints are verified with, newest first."""
    settings = quiet_settings()
    require_seeds(settings)
    seeds = load_keyring(settings).ledger_seeds
    for signer in signers(seeds, origin=settings.ledger_origin, tenant=tenant or ROOT):
        typer.echo(str(signer.verifier))


def rotate_key() -> None:
    """Add a newer signing key; it takes over when the ledger starts next, signed by the old one."""
    settings = quiet_settings()
    require_seeds(settings)
    number = rotate_ledger_key(settings)
    note(f"key {number} made; restart the bus, then publish what `acgs ledger key` prints")


def erase(
    subject: AgentName,
    *,
    tenant: Tenant = "acme",
    reason: Annotated[str, typer.Option("--reason", help="why; kept in the ledger")],
    yes: Annotated[bool, typer.Option("--yes", help="do not ask")] = False,
) -> None:
    """Delete the key of a subject's evidence: what it said is gone, every proof still holds."""
    settings = quiet_settings()
    if not yes:
        if not sys.stdin.isatty():
            raise typer.BadParameter("this cannot be undone, and nobody is here to ask: add --yes")
        typer.confirm(f"Erase what {subject} of {tenant} said, for ever?", abort=True, err=True)
    entry_id = asyncio.run(_erase(settings, tenant, subject, reason=reason))
    note(f"erased; recorded in {tenant}'s log as entry")
    say(entry_id)


def require_seeds(settings: Settings) -> None:
    """Raise ConfigurationError where this folder has no signing key yet: it would be a new one."""
    has_seed = any((settings.data_dir / "keys").glob("ledger-*.seed"))
    if settings.ledger_key is None and not has_seed:
        raise ConfigurationError(
            f"there is no ledger key in {settings.data_dir / 'keys'}: give the public one with "
            "--key (the bus shows it at /v1/ledger/key), or set ACGS_DATA_DIR to the bus's folder"
        )


def own_key(settings: Settings) -> VerifierKey:
    """Return the newest root key of these settings' own keyring."""
    seeds = load_keyring(settings).ledger_seeds
    return signers(seeds, origin=settings.ledger_origin, tenant=ROOT)[0].verifier


def trusted_key(given: str | None, settings: Settings) -> VerifierKey:
    """Return the key of `--key`, or our own; never a fresh one that nobody has signed with."""
    if given is None:
        require_seeds(settings)
        return own_key(settings)
    path = Path(given)
    lines = path.read_text().splitlines() if path.is_file() else [given]
    try:
        return parse_key(lines[0] if lines else "")
    except ValueError as error:
        raise typer.BadParameter(f"--key: {error}") from error


async def _erase(settings: Settings, tenant: str, subject: str, *, reason: str) -> str:
    clock = SystemClock()
    operator = Principal(
        tenant=tenant,
        agent="operator",
        roles=frozenset({"operator"}),
        scopes=frozenset(),
        token_id="local",  # noqa: S106  # no secret: the id of a token that was not needed
        expires_at_s=clock.now().timestamp(),
    )
    async with open_store(settings) as store:
        recorder = LedgerRecorder(
            store,
            load_keyring(settings),
            origin=settings.ledger_origin,
            clock=clock,
            replay_window_s=settings.replay_window_s,
        )
        receipt = await recorder.erase(tenant, subject, by=operator, reason=reason)
        await recorder.close()
        return receipt.entry_id
