"""`acgs run`: start the whole bus on this machine, and stop it cleanly."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import threading
import time
from collections.abc import Iterator

import typer

from actors.ledger.errors import TamperedError
from cluster import session
from cluster.clock import SystemClock
from cluster.errors import ConfigurationError
from cluster.identity.devkeys import may_mint, mint_token
from cluster.logs import configure
from cluster.settings import Settings, load_settings
from policies.errors import GovernanceError
from serve_app.cli.output import errors
from serve_app.cli.exits import Exit
from serve_app.cli.haproxy import end_haproxy
from serve_app.wiring import try_law


def run() -> None:
    """Start the bus with embedded defaults; Ctrl-C stops it."""
    settings = _settings()
    configure(settings)
    stopped = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stopped.set())
    with _running(settings) as dashboard:
        _welcome(settings, dashboard)
        stopped.wait()
        errors.print("stopping: draining requests, then the actors, then the store")


@contextlib.contextmanager
def _running(settings: Settings) -> Iterator[str]:
    try:
        with session.sole(settings):
            yield from _started(settings)
    except GovernanceError as error:
        errors.print(str(error), style="red", highlight=False)
        tampered = isinstance(error, TamperedError)
        raise typer.Exit(Exit.TAMPERED if tampered else Exit.USAGE) from error


def _started(settings: Settings) -> Iterator[str]:
    started_s = time.monotonic()
    end_haproxy(settings)  # a driver that was killed leaves its own behind, and it holds the port
    session.require_port(settings)
    asyncio.run(try_law(settings))
    errors.print(f"starting Ray and the bus; data in {settings.data_dir}", highlight=False)
    dashboard = session.start(settings)
    from serve_app import app  # noqa: PLC0415  # Ray reads its environment when it is imported

    try:
        app.run(settings)
        errors.print(f"ready in {time.monotonic() - started_s:.1f} s", highlight=False)
        yield dashboard
    finally:
        try:
            app.stop(settings)
        finally:
            session.stop()
            end_haproxy(settings)


def _settings() -> Settings:
    try:
        return load_settings()
    except ConfigurationError as error:
        errors.print(str(error), style="red", highlight=False)
        raise typer.Exit(Exit.USAGE) from error


def _welcome(settings: Settings, dashboard: str) -> None:
    url = f"http://{settings.http_host}:{settings.http_port}"
    errors.print(f"\n  ACGS-2 governs at {url}   (API: {url}/docs)", highlight=False)
    errors.print(f"  Ray dashboard: http://{dashboard}\n", highlight=False)
    if may_mint(settings):
        token = mint_token(
            settings,
            tenant="acme",
            agent="planner",
            roles=("agent",),
            ttl_s=3600,
            now=SystemClock().now(),
        )
        errors.print("  Try it (a token for agent planner of tenant acme, good for an hour):\n")
        errors.print(
            f"  curl -s {url}/v1/decisions -H 'Authorization: Bearer {token}' \\\n"
            "    -H 'Content-Type: application/json' -d '"
            '{"constitutional_hash": "cdd01ef066bc6cf2", '
            '"content": {"tool": "web.search", "args": {"query": "weather"}}}\'\n',
            highlight=False,
            soft_wrap=True,
        )
