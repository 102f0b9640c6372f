"""`acgs notifications`: what channels did not take, and trying them."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from typing import Annotated, Any, Final

import typer

from serve_app.cli.client import Client
from serve_app.cli.options import Output, Tenant, Who
from serve_app.cli.output import Format, note, say, show_object, show_rows
from serve_app.cli.surroundings import connect

app = typer.Typer(no_args_is_help=True, help="See what channels did not take, and try them.")

_PAGE_MAX: Final = 100


@app.command("list")
def list_dead(
    *,
    count: Annotated[int, typer.Option("-n", min=1, help="at most so many")] = 50,
    tenant: Tenant = "acme",
    who: Who = "operator",
    output: Output = Format.TABLE,
) -> None:
    """List the notifications that were not sent, and why; the oldest first."""
    with _operator(tenant, who) as client:
        found = list(islice(_pages(client, tenant, count), count))
    if output is not Format.TABLE:
        show_rows(found, (), form=output)
        return
    for letter in found:
        say(f"{letter['died_at']}  {letter['channel']}  {letter['step']}  {letter['id']}")
        say(f"  {letter['code']} after {letter['attempts']} attempts: {letter['reason']}")
    if not found:
        note(f"every channel has taken what there was to tell of {tenant}, or is still trying")


@app.command("redrive")
def redrive(
    notification_id: Annotated[str, typer.Argument(help="as `list` shows it")],
    *,
    tenant: Tenant = "acme",
    who: Who = "operator",
) -> None:
    """Send one again, as if it had just come."""
    with _operator(tenant, who) as client:
        path = f"/v1/notifications/{notification_id}:redrive"
        client.call("POST", path, params={"tenant_id": tenant})
    note(f"{notification_id} is queued again")


@app.command("test")
def try_channel(
    channel: Annotated[str, typer.Argument(help="its name in the channels file")],
    *,
    tenant: Tenant = "acme",
    who: Who = "operator",
    output: Output = Format.TABLE,
) -> None:
    """Send a notification that says that it is a test, from the bus itself."""
    with _operator(tenant, who) as client:
        sent = client.call("POST", f"/v1/channels/{channel}:test")
    if output is Format.TABLE:
        note(f"{channel} has taken {sent['notification_id']}")
    else:
        show_object(sent, form=output)


def _operator(tenant: str, who: str) -> Client:
    return connect(tenant, who, "operator")


def _pages(client: Client, tenant: str, count: int) -> Iterator[dict[str, Any]]:
    cursor: str | None = None
    while True:
        asked = {"limit": min(count, _PAGE_MAX), "cursor": cursor, "tenant_id": tenant}
        page = client.call("GET", "/v1/notifications/dead-letters", params=asked)
        yield from page["dead_letters"]
        cursor = page["next_cursor"]
        if cursor is None:
            return
