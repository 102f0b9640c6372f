"""`acgs ledger`: verify it, read it, prove with it, and erase what people said from it."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import typer
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from actors.ledger.audit import Audit, audit, is_url, open_place, tenants_in
from actors.ledger.checkpoint import Checkpoint, VerifierKey, parse, parse_key
from actors.ledger.client import LedgerRecorder
from actors.ledger.errors import TamperedError
from actors.ledger.keys import ROOT, signers
from actors.ledger.reader import LedgerReader
from cluster.clock import SystemClock
from cluster.keyring import load_keyring, rotate_ledger_key
from cluster.settings import Settings, load_settings
from cluster.store.connect import open_store
from policies.errors import GovernanceError
from policies.principal import Principal
from serve_app.cli.client import Client, ProblemError, base_url, errors, token_for
from serve_app.cli.exits import Exit
from serve_app.cli.output import console, lines

app = typer.Typer(no_args_is_help=True, help="Verify, read and prove with the ledger.")

Tenant = Annotated[str, typer.Option("--tenant")]


@app.command("verify")
def verify(
    place: Annotated[str | None, typer.Argument(help="a ledger's folder, or the bus's URL")] = None,
    *,
    key: Annotated[
        str | None, typer.Option("--key", help="verifier key name+hex+base64, or a file with it")
    ] = None,
    expect: Annotated[
        list[Path] | None, typer.Option("--expect", help="a checkpoint you kept; repeatable")
    ] = None,
    tenant: Annotated[
        list[str] | None, typer.Option("--tenant", help="over HTTP: your tenant's log")
    ] = None,
) -> None:
    """Recompute the whole ledger from its files and the public key alone. Exits 7 if tampered."""
    settings = load_settings()
    place = place or str(settings.data_dir / "ledger")
    try:
        trusted = _key(key, settings)
        remembered = [parse(path.read_text()) for path in expect or []]
        token = _auditor_token(settings, tenant) if is_url(place) else ""
        found = _audited(place, trusted, remembered=remembered, tenants=tenant or [], token=token)
    except TamperedError as error:
        errors.print(f"TAMPERED  {error.code}: {error}", style="bold red", highlight=False)
        raise typer.Exit(Exit.TAMPERED) from error
    except (GovernanceError, ValueError, OSError) as error:
        errors.print(str(error), style="red", highlight=False)
        raise typer.Exit(Exit.FAILED) from error
    _show(found)


def verify_folder(folder: Path, key: VerifierKey) -> bool:
    """Verify a ledger's folder under a root key, show what was found, and say if it holds."""
    try:
        _show(_audited(str(folder), key, remembered=[], tenants=[], token=""))
    except TamperedError as error:
        errors.print(f"TAMPERED  {error.code}: {error}", style="bold red", highlight=False)
        return False
    return True


def own_key(settings: Settings) -> VerifierKey:
    """Return the newest root key of these settings' own keyring."""
    seeds = load_keyring(settings).ledger_seeds
    return signers(seeds, origin=settings.ledger_origin, tenant=ROOT)[-1].verifier


@app.command("proof")
def proof(
    decision_id: Annotated[str, typer.Argument()],
    *,
    tenant: Tenant = "acme",
    as_json: Annotated[bool, typer.Option("--json", help="JSON instead of a tlog-proof")] = False,
) -> None:
    """Print the proof that a decision is in the ledger, as a C2SP tlog-proof."""
    settings = load_settings()
    token = token_for(settings, tenant=tenant, agent="auditor", roles=("auditor",))
    try:
        with Client(base_url(settings), token) as client:
            path = f"/v1/decisions/{decision_id}/proof"
            accept = {"Accept": "application/json" if as_json else "text/plain"}
            typer.echo(client.text(path, headers=accept))
    except ProblemError as problem:
        errors.print(str(problem), style="red", highlight=False)
        raise typer.Exit(problem.exit) from problem


@app.command("tail")
def tail(
    *,
    tenant: Tenant = "acme",
    count: Annotated[int, typer.Option("-n", min=1, help="the last N entries")] = 10,
) -> None:
    """Print the last entries of a tenant's log, read from its files, one JSON object a line."""
    settings = load_settings()
    reader = LedgerReader(settings.data_dir / "ledger", origin=settings.ledger_origin)
    found = [dict(body) for body in reader.entries(tenant)][-count:]
    for body in found:
        typer.echo(json.dumps(body, separators=(",", ":")))


@app.command("key")
def key_command(tenant: Annotated[str | None, typer.Option("--tenant")] = None) -> None:
    """Print the verifier key of the root log, or of a tenant's, from the local keyring."""
    settings = load_settings()
    seeds = load_keyring(settings).ledger_seeds
    for signer in reversed(signers(seeds, origin=settings.ledger_origin, tenant=tenant or ROOT)):
        typer.echo(str(signer.verifier))


@app.command("rotate-key")
def rotate_key() -> None:
    """Add a newer signing key; it takes over when the ledger starts next, signed by the old one."""
    try:
        number = rotate_ledger_key(load_settings())
    except GovernanceError as error:
        errors.print(str(error), style="red", highlight=False)
        raise typer.Exit(Exit.USAGE) from error
    console.print(f"key {number} made; restart the bus, and publish `acgs ledger key`")


@app.command("erase")
def erase(
    subject: Annotated[str, typer.Argument(help="the agent whose evidence is to be erased")],
    *,
    tenant: Tenant = "acme",
    reason: Annotated[str, typer.Option("--reason", help="kept in the ledger")],
) -> None:
    """Delete the key of a subject's evidence: what it said is gone, every proof still holds."""
    settings = load_settings()
    try:
        receipt = asyncio.run(_erase(settings, tenant, subject, reason=reason))
    except GovernanceError as error:
        errors.print(str(error), style="red", highlight=False)
        raise typer.Exit(Exit.REFUSED) from error
    console.print(f"erased; recorded as entry {receipt} of {tenant}'s log", highlight=False)


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


def _key(given: str | None, settings: Settings) -> VerifierKey:
    if given is None:
        return own_key(settings)
    path = Path(given)
    text = path.read_text().splitlines()[0] if path.is_file() else given
    return parse_key(text)


def _auditor_token(settings: Settings, tenants: list[str] | None) -> str:
    tenant = (tenants or ["acme"])[0]
    return token_for(settings, tenant=tenant, agent="auditor", roles=("auditor",))


def _audited(
    place: str,
    key: VerifierKey,
    *,
    remembered: list[Checkpoint],
    tenants: list[str],
    token: str,
) -> Audit:
    folder_tenants = [] if is_url(place) else tenants_in(Path(place))
    with Progress(
        TextColumn("{task.description:<28}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        console=errors,
    ) as progress:

        def track(origin: str) -> Callable[[int, int], None]:
            task = progress.add_task(origin, total=None)
            return lambda done, size: progress.update(task, completed=done, total=size)

        return audit(
            open_place(place, token=token),
            key,
            tenants=[*tenants, *folder_tenants],
            remembered=remembered,
            progress=track,
        )


def _show(found: Audit) -> None:
    console.print("[bold green]VERIFIED[/] every leaf, tile, proof and signature", highlight=False)
    logs = {"(root)": found.root, **found.logs}
    lines(
        (name, f"{log.checkpoint.size} entries, root {log.checkpoint.root.hex()[:16]}…")
        for name, log in logs.items()
        if log is not None
    )
