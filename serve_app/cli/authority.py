"""`acgs delegations`, `acgs on-call`, `acgs critics`: who may decide on reviews."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Annotated, Any, Final

import typer

from cluster.clock import SystemClock
from policies.panel import WEIGHT_MAX
from serve_app.cli.client import Client
from serve_app.cli.options import AgentName, Output, Roles, ShiftName, Tenant, To, Who
from serve_app.cli.output import Column, Format, note, show_object, show_rows
from serve_app.cli.surroundings import connect
from serve_app.cli.token import seconds

delegations = typer.Typer(no_args_is_help=True, help="Let others decide in your stead.")
shifts = typer.Typer(no_args_is_help=True, help="Say who is on call for reviews.")
critics = typer.Typer(no_args_is_help=True, help="Say which agents are called to panels.")

_GIVEN: Final = (
    Column("giver", whole=True),
    Column("to", whole=True),
    Column("roles"),
    Column("until", whole=True),
    Column("reason"),
)
_PLANNED: Final = (
    Column("shift_id", whole=True),
    Column("person", whole=True),
    Column("starts_at", whole=True),
    Column("ends_at", whole=True),
)
_BENCH: Final = (
    Column("agent", whole=True),
    Column("weight", right=True),
    Column("registered"),
)


# -- delegations ----------------------------------------------------------------------------------


@delegations.command("list")
def list_delegations(
    *, tenant: Tenant = "acme", who: Who = "reviewer", output: Output = Format.TABLE
) -> None:
    """List who lets whom decide in their stead, now."""
    with _person(tenant, who) as client:
        found = client.call("GET", "/v1/delegations")["delegations"]
    _rows(found, _GIVEN, output, none="nobody lets another decide in their stead")


@delegations.command("give")
def give(
    to: To,
    *,
    reason: Annotated[str, typer.Option("--reason", help="why; it is recorded")],
    lasts: Annotated[str, typer.Option("--for", help="such as 8h or 7d, at most 14d")],
    tenant: Tenant = "acme",
    who: Who = "reviewer",
    roles: Roles = None,
    only: Annotated[
        list[str] | None,
        typer.Option("--only", metavar="ROLE", help="repeatable; of your roles, all if none"),
    ] = None,
    output: Output = Format.TABLE,
) -> None:
    """Let somebody decide in your stead for a while. Their vote is then yours."""
    until = SystemClock().now() + timedelta(seconds=seconds(lasts))
    body = {"reason": reason, "until": until.isoformat(), **({"roles": only} if only else {})}
    with _person(tenant, who, roles) as client:
        given = client.call("PUT", f"/v1/delegations/{to}", body=body)
    if output is Format.TABLE:
        note(f"{to} decides in the stead of {given['giver']} until {given['until']}")
    else:
        show_object(given, form=output)


@delegations.command("withdraw")
def withdraw(
    to: To,
    *,
    giver: Annotated[
        str | None, typer.Option("--from", help="who gave it, if not you; for admins")
    ] = None,
    tenant: Tenant = "acme",
    who: Who = "reviewer",
    roles: Roles = None,
) -> None:
    """Take back what you gave; with `--from`, as an admin, what somebody else gave."""
    default = ["tenant_admin"] if giver else None
    with _person(tenant, who, roles or default) as client:
        client.call("DELETE", f"/v1/delegations/{to}", params={"from": giver} if giver else None)
    note(f"{to} decides in the stead of {giver or 'you'} no more")


# -- on call --------------------------------------------------------------------------------------


@shifts.command("show")
def show_shifts(
    *, tenant: Tenant = "acme", who: Who = "reviewer", output: Output = Format.TABLE
) -> None:
    """Show who is on call now, and the shifts that are not over."""
    with _person(tenant, who) as client:
        found = client.call("GET", "/v1/on-call")
    if output is not Format.TABLE:
        show_object(found, form=output)
        return
    note(f"on call now: {', '.join(found['now']) or 'nobody'}")
    if found["shifts"]:
        show_rows(found["shifts"], _PLANNED, form=output)


@shifts.command("plan")
def plan(
    shift: ShiftName,
    *,
    person: Annotated[str, typer.Option("--person", help="who is on call")],
    lasts: Annotated[str, typer.Option("--for", help="such as 8h or 7d, at most 31d")],
    starts: Annotated[
        datetime | None, typer.Option("--from", help="when it begins, in UTC; now if not said")
    ] = None,
    tenant: Tenant = "acme",
    output: Output = Format.TABLE,
) -> None:
    """Plan a shift, or change it."""
    zone = SystemClock().now()
    begins = zone if starts is None else starts.replace(tzinfo=zone.tzinfo)
    ends = begins + timedelta(seconds=seconds(lasts))
    body = {"person": person, "starts_at": begins.isoformat(), "ends_at": ends.isoformat()}
    with _admin(tenant) as client:
        planned = client.call("PUT", f"/v1/on-call/{shift}", body=body)
    if output is Format.TABLE:
        note(f"{person} is on call from {planned['starts_at']} until {planned['ends_at']}")
    else:
        show_object(planned, form=output)


@shifts.command("remove")
def remove_shift(shift: ShiftName, *, tenant: Tenant = "acme") -> None:
    """Take a shift away."""
    with _admin(tenant) as client:
        client.call("DELETE", f"/v1/on-call/{shift}")
    note(f"the shift {shift} is gone")


# -- critics --------------------------------------------------------------------------------------


@critics.command("list")
def list_critics(
    *, tenant: Tenant = "acme", who: Who = "reviewer", output: Output = Format.TABLE
) -> None:
    """List the critics and what their words weigh; only registered agents are called."""
    with _person(tenant, who) as client:
        found = client.call("GET", "/v1/critics")["critics"]
    _rows(found, _BENCH, output, none="no agent is a critic")


@critics.command("seat")
def seat(
    agent: AgentName,
    *,
    weight: Annotated[
        int, typer.Option("--weight", min=1, max=WEIGHT_MAX, help="what its word weighs")
    ] = 1,
    tenant: Tenant = "acme",
    output: Output = Format.TABLE,
) -> None:
    """Let a registered agent be called to panels; its token needs the role `critic`."""
    with _admin(tenant) as client:
        seated = client.call("PUT", f"/v1/critics/{agent}", body={"weight": weight})
    if output is Format.TABLE:
        note(f"{agent} is a critic with the weight {seated['weight']}")
    else:
        show_object(seated, form=output)


@critics.command("remove")
def remove_critic(agent: AgentName, *, tenant: Tenant = "acme") -> None:
    """Call an agent to no more panels."""
    with _admin(tenant) as client:
        client.call("DELETE", f"/v1/critics/{agent}")
    note(f"{agent} is no critic any more")


def _person(tenant: str, who: str, roles: list[str] | None = None) -> Client:
    return connect(tenant, who, *(roles or ["reviewer"]))


def _admin(tenant: str) -> Client:
    return connect(tenant, "admin", "tenant_admin")


def _rows(
    found: list[dict[str, Any]], columns: tuple[Column, ...], form: Format, *, none: str
) -> None:
    if found or form is not Format.TABLE:
        show_rows(found, columns, form=form)
    else:
        note(none)
