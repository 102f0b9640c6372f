"""`acgs demo`: the main job on real input, end to end over HTTP, then the proof."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Final

import httpx
import typer

from cluster.session import free_port
from cluster.settings import Settings
from serve_app.cli.client import Client, ProblemError, errors, token_for
from serve_app.cli.exits import Exit
from serve_app.cli.govern import Tally, govern_file
from serve_app.cli.ledger import own_key, verify_folder
from serve_app.cli.output import Format, console, show_rows

PUBLIC_TRACES: Final = Path("../shared/data")
OWN_TRACES: Final = Path("tests/data/traces.jsonl")
_TRACE_FILES: Final = ("bfcl", "tau_retail", "asb", "assebench_security", "bipia")
_START_TIMEOUT_S: Final = 180.0


def demo(
    *,
    limit: Annotated[int, typer.Option("--limit", min=1, help="lines of each file")] = 400,
    data: Annotated[Path | None, typer.Option("--data", help="a folder of traces")] = None,
) -> None:
    """Govern real agent traces over HTTP, show the verdicts, and verify the ledger they made."""
    files = trace_files(data)
    with tempfile.TemporaryDirectory(prefix="acgs-demo-") as folder:
        settings = Settings(data_dir=Path(folder), http_port=free_port())
        with _running(settings):
            tally = _govern(settings, files, limit)
        tally.show(Format.TABLE)
        _by_source(tally)
        console.print("\nverifying the ledger that this wrote, from its files alone")
        if not verify_folder(settings.data_dir / "ledger", own_key(settings)):
            raise typer.Exit(Exit.TAMPERED)


def trace_files(folder: Path | None) -> list[Path]:
    """Return the trace files: of `folder`, else the public ones, else our own small set."""
    if folder is not None:
        found = sorted(folder.glob("*.jsonl"))
        if not found:
            raise typer.BadParameter(f"no *.jsonl in {folder}")
        return found
    public = [PUBLIC_TRACES / f"{name}.jsonl" for name in _TRACE_FILES]
    present = [path for path in public if path.is_file()]
    if not present:
        errors.print(f"no public traces in {PUBLIC_TRACES}: using {OWN_TRACES}", highlight=False)
    return present or [OWN_TRACES]


def _govern(settings: Settings, files: list[Path], limit: int) -> Tally:
    url = f"http://{settings.http_host}:{settings.http_port}"
    admin = token_for(settings, tenant="acme", agent="admin", roles=("tenant_admin",))
    planner = token_for(settings, tenant="acme", agent="planner", roles=("agent",))
    total = Tally()
    try:
        with Client(url, admin) as client:
            client.call("PUT", "/v1/agents/tools", body={"agent_type": "tool_runner"})
        with Client(url, planner) as client:
            for file in files:
                total.merge(govern_file(client, file, to="tools", limit=limit))
    except ProblemError as problem:
        errors.print(str(problem), style="red", highlight=False)
        raise typer.Exit(problem.exit) from problem
    return total


def _by_source(tally: Tally) -> None:
    sources = sorted({source for source, _ in tally.by_source})
    effects = ("allow", "review", "deny")
    rows = [
        {"source": source, **{effect: tally.by_source[source, effect] for effect in effects}}
        for source in sources
    ]
    show_rows(rows, ("source", *effects), form=Format.TABLE, title="by source")


@contextlib.contextmanager
def _running(settings: Settings) -> Iterator[None]:
    environment = {
        **os.environ,
        "ACGS_DATA_DIR": str(settings.data_dir),
        "ACGS_HTTP_PORT": str(settings.http_port),
    }
    command = [sys.executable, "-m", "serve_app.cli.main", "run"]
    process = subprocess.Popen(command, env=environment)  # noqa: S603  # our own command
    try:
        _wait_until_ready(settings, process)
        yield
    finally:
        process.terminate()
        process.wait(timeout=60)


def _wait_until_ready(settings: Settings, process: subprocess.Popen[bytes]) -> None:
    url = f"http://{settings.http_host}:{settings.http_port}/health/ready"
    deadline_s = time.monotonic() + _START_TIMEOUT_S
    while time.monotonic() < deadline_s:
        if process.poll() is not None:
            errors.print("the bus did not start; its own words are above", style="red")
            raise typer.Exit(Exit.FAILED)
        with contextlib.suppress(httpx.TransportError):
            if httpx.get(url, timeout=2).status_code == httpx.codes.OK:
                return
        time.sleep(0.3)
    errors.print(f"the bus was not ready within {_START_TIMEOUT_S:.0f} s", style="red")
    raise typer.Exit(Exit.UNAVAILABLE)
