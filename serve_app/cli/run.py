"""`acgs run`: start the whole bus on this machine, and stop it cleanly."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import os
import signal
import threading
import time
from collections.abc import Iterator
from types import FrameType
from typing import Final, NoReturn

import typer

from actors.ledger.errors import TamperedError
from cluster import session
from cluster.channels.reading import load_channels
from cluster.clock import SystemClock
from cluster.constants import CONSTITUTIONAL_HASH
from cluster.identity.devkeys import may_mint, mint_token
from cluster.logs import configure
from cluster.settings import Settings, load_settings
from policies.errors import GovernanceError
from serve_app.cli.exits import Exit
from serve_app.cli.haproxy import end_haproxy, end_orphans
from serve_app.cli.output import complain, note
from serve_app.cli.sentences import sentence
from serve_app.cli.surroundings import own_url

_SIGNALS: Final = (signal.SIGINT, signal.SIGTERM)
_TRY: Final = {
    "constitutional_hash": CONSTITUTIONAL_HASH,
    "content": {"tool": "web.search", "args": {"query": "weather"}},
}


def run() -> None:
    """Start the bus with embedded defaults; Ctrl-C stops it."""
    settings = load_settings()
    configure(settings)
    _on_signals(_leave)
    with _running(settings) as dashboard:
        # Only now: Ray has its own idea of these signals, and puts it in place when it starts.
        stopped = threading.Event()
        _on_signals(lambda *_: stopped.set())
        _welcome(settings, dashboard)
        stopped.wait()
        note("stopping: draining requests, then the actors, then the store")
    note("stopped")


@contextlib.contextmanager
def _running(settings: Settings) -> Iterator[str]:
    try:
        with session.sole(settings):
            yield from _started(settings)
    except GovernanceError as error:
        complain(sentence(error))
        tampered = isinstance(error, TamperedError)
        raise typer.Exit(Exit.TAMPERED if tampered else Exit.USAGE) from error


def _started(settings: Settings) -> Iterator[str]:
    started_s = time.monotonic()
    end_orphans(settings)
    session.require_port(settings)
    from serve_app.wiring import try_law  # noqa: PLC0415  # a second that other commands save

    asyncio.run(try_law(settings))
    load_channels(settings, env=os.environ)
    note(f"starting Ray and the bus; data in {settings.data_dir}")
    dashboard = session.start(settings, options={"logging_level": logging.WARNING})
    from serve_app import app  # noqa: PLC0415  # Ray reads its environment when it is imported

    logging.getLogger("ray.serve").setLevel(logging.WARNING)
    try:
        app.run(settings)
        note(f"ready in {time.monotonic() - started_s:.1f} s")
        yield dashboard
    finally:
        _on_signals(signal.SIG_IGN)  # a second Ctrl-C must not leave half of it behind
        try:
            app.stop(settings)
        finally:
            session.stop()
            end_haproxy(settings)


def _on_signals(action: object) -> None:
    for number in _SIGNALS:
        signal.signal(number, action)  # type: ignore[arg-type]  # what `signal` takes has no name


def _leave(number: int, _: FrameType | None) -> NoReturn:
    """End a start that is under way: what is up already is taken down again."""
    note("interrupted")
    raise SystemExit(128 + number)


def _welcome(settings: Settings, dashboard: str) -> None:
    url = own_url(settings)
    note(f"\n  ACGS-2 governs at {url}   (API: {url}/docs)")
    note(f"  Ray dashboard: http://{dashboard}")
    note("  Ctrl-C stops it.\n")
    if may_mint(settings):
        token = mint_token(
            settings,
            tenant="acme",
            agent="planner",
            roles=("agent",),
            ttl_s=3600,
            now=SystemClock().now(),
        )
        note("  Try it (a token for agent planner of tenant acme, good for an hour):\n")
        note(
            f"  curl -s {url}/v1/decisions -H 'Authorization: Bearer {token}' "
            f"-H 'Content-Type: application/json' -d '{json.dumps(_TRY)}'\n"
        )
