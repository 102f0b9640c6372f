"""`acgs ledger`: verify it, read it, prove with it, and erase what people said from it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.text import Text

from actors.ledger.audit import Audit, audit, is_url, open_place, tenants_in
from actors.ledger.checkpoint import Checkpoint, VerifierKey, parse
from actors.ledger.errors import TamperedError
from actors.ledger.keys import log_folder, log_origin
from actors.ledger.reader import LedgerReader
from cluster.errors import ConfigurationError
from cluster.settings import Settings
from serve_app.cli import keys, proof
from serve_app.cli.exits import Exit
from serve_app.cli.keys import KeyOption, own_key, trusted_key
from serve_app.cli.options import Output, Tenant
from serve_app.cli.output import (
    Format,
    complain,
    pairs,
    progress_bar,
    say,
    show_event,
    show_object,
    show_rows,
)
from serve_app.cli.sentences import sentence
from serve_app.cli.surroundings import quiet_settings, token_for

__all__ = ["app", "own_key", "verify_folder"]

app = typer.Typer(no_args_is_help=True, help="Verify, read and prove with the ledger.")

Expected = Annotated[
    list[Path] | None,
    typer.Option("--expect", exists=True, dir_okay=False, help="a checkpoint you kept; repeatable"),
]


@app.command("verify")
def verify(
    place: Annotated[str, typer.Argument(help="a ledger's folder, or a bus's address")] = "",
    *,
    key: KeyOption = None,
    expect: Expected = None,
    tenant: Annotated[
        list[str] | None, typer.Option("--tenant", help="over HTTP: whose log; repeatable")
    ] = None,
    output: Output = Format.TABLE,
) -> None:
    """Recompute the whole ledger from its files and the public key alone. Exits 7 if tampered.

    A folder is verified whole: every tenant's log and the root log over them. Over HTTP a tenant's
    own log is (--tenant, else acme), since nobody may read everybody's.
    """
    settings = quiet_settings()
    place = place or str(settings.data_dir / "ledger")
    trusted = trusted_key(key, settings)
    remembered = [_expected(path) for path in expect or ()]
    try:
        if is_url(place):
            found = _served(settings, place, trusted, tenants=tenant or ["acme"], known=remembered)
        else:
            found = _audited(place, trusted, known=remembered, tenants=tenant or [])
    except TamperedError as error:
        _show_damage(error, output)
        raise typer.Exit(Exit.TAMPERED) from error
    _show(found, output)


@app.command("tail")
def tail(
    *,
    tenant: Tenant = "acme",
    count: Annotated[int, typer.Option("-n", min=1, help="the last N entries")] = 10,
    output: Output = Format.TABLE,
) -> None:
    """Show the last entries of a tenant's log, read from its files (`verify` checks them)."""
    settings = quiet_settings()
    folder = settings.data_dir / "ledger"
    if not (folder / log_folder(tenant) / "checkpoint").is_file():
        raise ConfigurationError(f"there is no log of {tenant} in {folder}")
    reader = LedgerReader(folder, origin=settings.ledger_origin)
    found = [dict(body) for body in reader.entries(tenant, last=count)]
    if output is Format.TABLE:
        for body in found:
            _show_entry(body)
    else:
        show_rows(found, (), form=output)


app.command("proof")(proof.proof)
app.command("check")(proof.check)
app.command("key")(keys.key)
app.command("rotate-key")(keys.rotate_key)
app.command("erase")(keys.erase)


def verify_folder(folder: Path, key: VerifierKey) -> bool:
    """Verify a ledger's folder under a root key, show what was found, and say if it holds."""
    try:
        _show(_audited(str(folder), key, known=[], tenants=[]), Format.TABLE)
    except TamperedError as error:
        complain(sentence(error))
        return False
    return True


def _expected(path: Path) -> Checkpoint:
    try:
        return parse(path.read_text())
    except (TamperedError, UnicodeDecodeError) as error:
        raise typer.BadParameter(f"--expect: {path} holds no checkpoint: {error}") from error


def _served(
    settings: Settings,
    url: str,
    key: VerifierKey,
    *,
    tenants: list[str],
    known: list[Checkpoint],
) -> Audit:
    """Verify tenants' own logs over HTTP, each under its own name of the key."""
    logs = {}
    for tenant in tenants:
        mine = VerifierKey(log_origin(key.name, tenant), key.public)
        token = token_for(settings, tenant=tenant, agent="auditor", roles=("auditor",))
        place = f"{url.rstrip('/')}/{log_folder(tenant)}"
        logs[tenant] = _audited(place, mine, known=known, tenants=[], token=token).root
    return Audit(None, {name: log for name, log in logs.items() if log is not None})


def _audited(
    place: str,
    key: VerifierKey,
    *,
    known: list[Checkpoint],
    tenants: list[str],
    token: str = "",
) -> Audit:
    folder_tenants = [] if is_url(place) else tenants_in(Path(place))
    with progress_bar() as progress:

        def track(origin: str) -> Callable[[int, int], None]:
            task = progress.add_task(origin, total=None)
            return lambda done, size: progress.update(task, completed=done, total=size)

        return audit(
            open_place(place, token=token),
            key,
            tenants=[*tenants, *folder_tenants],
            remembered=known,
            progress=track,
        )


def _show(found: Audit, form: Format) -> None:
    named = {"(root)": found.root, **found.logs}
    logs = {name: log.checkpoint for name, log in named.items() if log is not None}
    if form is not Format.TABLE:
        sizes = [
            {"log": each.origin, "size": each.size, "root": each.root.hex()}
            for each in logs.values()
        ]
        show_object({"verified": True, "logs": sizes}, form=form)
        return
    say(
        Text.assemble(
            ("VERIFIED", "bold green"),
            "  every leaf, tile and signature, recomputed from the files",
        )
    )
    pairs(
        (name, f"{each.size} entries, root hash {each.root.hex()[:16]}…")
        for name, each in logs.items()
    )


def _show_damage(error: TamperedError, form: Format) -> None:
    complain(sentence(error))
    if form is not Format.TABLE:
        damage = {
            "code": error.code,
            "detail": error.detail,
            "log": error.log,
            "path": error.path,
            "leaf": error.leaf,
        }
        show_object({"verified": False, **damage}, form=form)


def _show_entry(body: Mapping[str, Any]) -> None:
    kind = body["kind"]
    facts: Mapping[str, Any] = body[kind]
    reasons = facts.get("reasons") or [{"code": facts.get("code", facts.get("reason", ""))}]
    show_event(
        at=str(facts.get("decided_at", facts.get("at", ""))),
        effect=facts.get("effect", kind),
        who=str(facts.get("agent") or facts.get("subject") or facts.get("by") or ""),
        what=str(
            facts.get("tool")
            or facts.get("action")
            or facts.get("message_type")
            or facts.get("step")
            or facts.get("change")
            or ""
        ),
        why=str(reasons[0]["code"]),
        name=str(facts.get("decision_id", "")),
    )
