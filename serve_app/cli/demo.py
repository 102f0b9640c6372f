"""`acgs demo`: the main job on real input, end to end over HTTP, then the proof."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, Final

import httpx
import typer

from cluster.clock import SystemClock
from cluster.identity.devkeys import mint_token
from cluster.session import free_port
from cluster.settings import Settings
from serve_app.cli.client import Client
from serve_app.cli.exits import Exit
from serve_app.cli.govern import govern
from serve_app.cli.keys import own_key
from serve_app.cli.ledger import verify_folder
from serve_app.cli.output import Format, complain, note, say
from serve_app.cli.proof import checked, show_proved
from serve_app.cli.surroundings import own_url, quiet_settings
from serve_app.cli.tally import Tally
from serve_app.cli.traces import Trace, spread_traces

PUBLIC_TRACES: Final = Path("../shared/data")
OWN_TRACES: Final = Path("tests/data/traces.jsonl")
_TRACE_FILES: Final = ("bfcl", "tau_retail", "asb", "assebench_security", "bipia")
_START_TIMEOUT_S: Final = 180.0
_STOP_TIMEOUT_S: Final = 90.0
_UNKNOWN: Final = "policy.tool_unknown"


def demo(
    *,
    limit: Annotated[int, typer.Option("--limit", min=1, help="of each file, evenly")] = 400,
    data: Annotated[
        Path | None,
        typer.Option("--data", exists=True, file_okay=False, help="your own folder of *.jsonl"),
    ] = None,
) -> None:
    """Govern real agent traces over HTTP, show the verdicts, and verify the ledger they made."""
    files = trace_files(data)
    with tempfile.TemporaryDirectory(prefix="acgs-demo-") as folder:
        place = {"data_dir": Path(folder), "http_host": "127.0.0.1", "http_port": free_port()}
        settings = quiet_settings().model_copy(update=place)
        note("starting a bus of its own, in a temporary folder")
        with _running(settings):
            note(f"governing {len(files)} files over HTTP at {own_url(settings)}")
            tally, chosen = _govern(settings, files, limit)
            proof = _proof(settings, chosen) if chosen else None
        tally.show(Format.TABLE)
        _explain(tally)
        _verify(settings, proof)


def trace_files(folder: Path | None) -> list[Path]:
    """Return the trace files: of `folder`, else the public ones, else our own small set."""
    if folder is not None:
        found = sorted(folder.glob("*.jsonl"))
        if not found:
            raise typer.BadParameter(f"there is no *.jsonl in {folder}")
        return found
    public = [PUBLIC_TRACES / f"{name}.jsonl" for name in _TRACE_FILES]
    present = [path for path in public if path.is_file()]
    if not present and not OWN_TRACES.is_file():
        raise typer.BadParameter(f"there is no {OWN_TRACES} here: run it in the repository")
    if not present:
        note(f"no public traces in {PUBLIC_TRACES}: governing {OWN_TRACES}")
    return present or [OWN_TRACES]


def _govern(settings: Settings, files: list[Path], limit: int) -> tuple[Tally, str]:
    """Govern the files; return the tally, and the last decision that is worth a proof."""
    total, chosen = Tally(), ""

    def hear(_: Trace, decision: dict[str, Any]) -> None:
        nonlocal chosen
        if decision["effect"] == "deny" or not chosen:
            chosen = decision["decision_id"]

    with _client(settings, "admin", "tenant_admin") as client:
        client.call("PUT", "/v1/agents/tools", body={"agent_type": "tool_runner"})
    with _client(settings, "planner", "agent") as client:
        for file in files:
            traces = spread_traces(file, limit)
            total.merge(govern(client, traces, name=file.name, to="tools", hear=hear))
    return total, chosen


def _proof(settings: Settings, decision_id: str) -> dict[str, Any]:
    with _client(settings, "auditor", "auditor") as client:
        text = client.text(f"/v1/decisions/{decision_id}/proof", accept="application/json")
    proof: dict[str, Any] = json.loads(text)
    return proof


def _explain(tally: Tally) -> None:
    unknown = sum(count for (_, _, code), count in tally.decided.items() if code == _UNKNOWN)
    if unknown:
        note(
            f"\n{unknown} calls name tools that the default policy does not list. Nobody vouches "
            "for those,\nso they are held for people rather than let through: put them into "
            "policies/rego/cfg/tools."
        )


def _verify(settings: Settings, proof: dict[str, Any] | None) -> None:
    """Check what the bus left behind, now that it is gone: its files and the public key."""
    key = own_key(settings)
    note("\nThe bus is stopped. Verifying the ledger that it wrote, from its files and the key")
    say(str(key))
    if not verify_folder(settings.data_dir / "ledger", key):
        raise typer.Exit(Exit.TAMPERED)
    if proof is not None:
        show_proved(checked(proof, key))


def _client(settings: Settings, agent: str, role: str) -> Client:
    token = mint_token(
        settings, tenant="acme", agent=agent, roles=(role,), ttl_s=3600, now=SystemClock().now()
    )
    return Client(own_url(settings), token)


@contextlib.contextmanager
def _running(settings: Settings) -> Iterator[None]:
    # Neither another bus's address nor its store: this one is on its own.
    strangers = {"REDIS_URL", "ACGS_URL", "ACGS_TOKEN", "RAY_ADDRESS"}
    environment = {
        **{name: value for name, value in os.environ.items() if name not in strangers},
        "ACGS_DATA_DIR": str(settings.data_dir),
        "ACGS_HTTP_HOST": settings.http_host,
        "ACGS_HTTP_PORT": str(settings.http_port),
    }
    command = [sys.executable, "-m", "serve_app.cli.main", "run"]
    log = settings.data_dir / "run.log"
    with log.open("wb") as words:
        process = subprocess.Popen(  # noqa: S603  # our own command
            command, env=environment, stdout=words, stderr=words
        )
        try:
            _wait_until_ready(settings, process, log)
            yield
        finally:
            process.terminate()
            process.wait(timeout=_STOP_TIMEOUT_S)


def _wait_until_ready(settings: Settings, process: subprocess.Popen[bytes], log: Path) -> None:
    url = f"{own_url(settings)}/health/ready"
    deadline_s = time.monotonic() + _START_TIMEOUT_S
    while time.monotonic() < deadline_s:
        if process.poll() is not None:
            complain(f"the bus did not start. Its last words:\n{_last_words(log)}")
            raise typer.Exit(Exit.FAILED)
        with contextlib.suppress(httpx.TransportError):
            if httpx.get(url, timeout=2).status_code == httpx.codes.OK:
                return
        time.sleep(0.3)
    complain(
        f"the bus was not ready in {_START_TIMEOUT_S:.0f} s. Its last words:\n{_last_words(log)}"
    )
    raise typer.Exit(Exit.UNAVAILABLE)


def _last_words(log: Path) -> str:
    return "\n".join(log.read_text(errors="replace").splitlines()[-15:])
