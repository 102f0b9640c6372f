"""`acgs tail`: what the bus decides, as it decides."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from datetime import datetime, timedelta
from typing import Annotated, Any, Final

import typer

from serve_app.cli.client import Client
from serve_app.cli.options import Effects, Output, Tenant
from serve_app.cli.output import Format, show_event, show_line, show_rows
from serve_app.cli.surroundings import connect

_INTERVAL_S: Final = 0.5
# What was decided first may be in the tree last: within so long, earlier ones are asked for again.
_OVERLAP: Final = timedelta(seconds=5)
_PAGE_MAX: Final = 500


def tail(
    *,
    tenant: Tenant = "acme",
    effect: Effects = None,
    follow: Annotated[
        bool, typer.Option("--follow/--no-follow", "-f", help="go on until Ctrl-C")
    ] = True,
    last: Annotated[int, typer.Option("-n", min=1, max=_PAGE_MAX, help="begin with the last N")] = (
        10
    ),
    output: Output = Format.TABLE,
) -> None:
    """Show decisions as they are recorded, oldest first."""
    if follow and output is Format.JSON:
        raise typer.BadParameter("an endless list is no JSON: use -o jsonl, or --no-follow")
    with connect(tenant, "auditor", "auditor") as client:
        if not follow:
            _show_page(_page(client, effect, limit=last), output)
            return
        for decision in _stream(client, effect, last=last):
            _show(decision, output)


def _stream(client: Client, effect: str | None, *, last: int) -> Iterator[dict[str, Any]]:
    """Yield every decision once: the last few, then each new one, whatever comes in between."""
    seen: dict[str, datetime] = {}
    since: datetime | None = None
    while True:
        for decision in _page(client, effect, limit=_PAGE_MAX if since else last, since=since):
            decision_id = decision["decision_id"]
            if decision_id not in seen:
                yield decision
            seen[decision_id] = datetime.fromisoformat(decision["decided_at"])
        if seen:
            since = max(seen.values()) - _OVERLAP
            seen = {key: at for key, at in seen.items() if at >= since}
        time.sleep(_INTERVAL_S)


def _page(
    client: Client, effect: str | None, *, limit: int, since: datetime | None = None
) -> list[dict[str, Any]]:
    """Return decisions, oldest first; with `since` all of them, however many pages that is."""
    found: list[dict[str, Any]] = []
    params: dict[str, Any] = {
        "limit": limit,
        "effect": effect,
        "since": since and since.isoformat(),
    }
    while True:
        page = client.call("GET", "/v1/decisions", params=params)
        found += page["decisions"]
        if since is None or page["next_cursor"] is None:
            return found[::-1]
        params["cursor"] = page["next_cursor"]


def _show_page(page: list[dict[str, Any]], form: Format) -> None:
    if form is Format.TABLE:
        for decision in page:
            _show(decision, form)
    else:
        show_rows(page, (), form=form)


def _show(decision: Mapping[str, Any], form: Format) -> None:
    if form is not Format.TABLE:
        show_line(decision)
        return
    show_event(
        at=decision["decided_at"],
        effect=decision["effect"],
        who=decision["agent"],
        what=decision["tool"] or decision["action"] or decision["message_type"],
        why=decision["reasons"][0]["code"] if decision["reasons"] else "",
        name=decision["decision_id"],
    )
