"""`acgs reviews opine` and `break-glass`: what critics say, and what cannot wait for a quorum."""

from __future__ import annotations

from typing import Annotated

import typer

from policies.panel import Choice
from policies.review import State
from serve_app.cli.exits import Exit
from serve_app.cli.options import Output, Roles, Tenant
from serve_app.cli.output import Format
from serve_app.cli.reviews import Reason, ReviewId, Shown, act, tell
from serve_app.cli.surroundings import connect


def opine(
    review_id: ReviewId,
    opinion: Annotated[Choice, typer.Argument(help="what you think of it")],
    *,
    who: Annotated[str, typer.Option("--as", help="a critic who was called")],
    reason: Reason,
    digest: Shown = None,
    tenant: Tenant = "acme",
    output: Output = Format.TABLE,
) -> None:
    """Say what you think, as a critic who was called; exits with 3 when it ends rejected."""
    body = {"opinion": opinion.value, "reason": reason}
    with connect(tenant, who, "critic") as client:
        review = act(
            client, review_id, "opine", body=body | ({"action_digest": digest} if digest else {})
        )
    tell(review, output)
    if review["state"] == State.REJECTED:
        raise typer.Exit(Exit.DENIED)


def break_glass(
    review_id: ReviewId,
    *,
    who: Annotated[str, typer.Option("--as", help="who breaks it")],
    reason: Reason,
    digest: Shown = None,
    tenant: Tenant = "acme",
    roles: Roles = None,
    output: Output = Format.TABLE,
) -> None:
    """Let it go without its quorum, in an emergency. It takes two; others look at it afterwards.

    Exits with 3 when the law says no all the same.
    """
    body = {"reason": reason, **({"action_digest": digest} if digest else {})}
    with connect(tenant, who, *(roles or ["tenant_admin"])) as client:
        review = act(client, review_id, "break-glass", body=body)
    tell(review, output)
    if review["state"] == State.REJECTED:
        raise typer.Exit(Exit.DENIED)
