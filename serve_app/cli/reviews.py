"""`acgs reviews`: what is held for people, and their word on it."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from functools import partial
from itertools import islice
from typing import Annotated, Any, Final

import typer

from policies.review import State
from serve_app.cli.client import Client, ProblemError
from serve_app.cli.exits import Exit
from serve_app.cli.options import Output, Roles, Sender, Tenant, Who
from serve_app.cli.output import (
    Column,
    Format,
    coloured,
    note,
    pairs,
    say,
    show_event,
    show_line,
    show_object,
    show_reasons,
    show_rows,
)
from serve_app.cli.stream import Told, follow
from serve_app.cli.surroundings import connect

app = typer.Typer(no_args_is_help=True, help="See what is held for people, and decide on it.")

_COLUMNS: Final = (
    Column("review_id", whole=True),
    Column("state"),
    Column("agent"),
    Column("what"),
    Column("votes", right=True),
    Column("expires_at", whole=True),
)
_OPEN: Final = (State.PENDING, State.CLAIMED)
_PAGE_MAX: Final = 200
_UNSEEN: Final = ("review.not_held", "auth.scope_missing")
_STATE_WIDTH: Final = max(len(state) for state in State)

ReviewId = Annotated[str, typer.Argument(help="the review's id, as `list` shows it")]
Reason = Annotated[str, typer.Option("--reason", help="why; it is recorded")]
Shown = Annotated[
    str | None,
    typer.Option("--digest", help="the action_digest that you were shown; another is refused"),
]


@app.command("list")
def list_reviews(
    *,
    state: Annotated[
        list[State] | None, typer.Option("--state", help="repeatable; those that are open if none")
    ] = None,
    assignee: Annotated[str | None, typer.Option("--assignee", help="who has claimed it")] = None,
    count: Annotated[int, typer.Option("-n", min=1, help="at most so many")] = 50,
    tenant: Tenant = "acme",
    who: Who = "reviewer",
    output: Output = Format.TABLE,
) -> None:
    """List what waits for people, the longest waiting first."""
    params = {"state": list(state or _OPEN), "assignee": assignee}
    with _person(tenant, who) as client:
        found = list(islice(_pages(client, params, count), count))
    if output is not Format.TABLE:
        show_rows(found, (), form=output)
    elif found:
        show_rows([_row(review) for review in found], _COLUMNS, form=output)
    else:
        note(f"nothing waits for people in {tenant}" if state is None else "there is none")


@app.command("show")
def show(
    review_id: ReviewId,
    *,
    tenant: Tenant = "acme",
    who: Who = "reviewer",
    roles: Roles = None,
    output: Output = Format.TABLE,
) -> None:
    """Show one review: what was asked, why it is held, who said what; and what would leave."""
    with _person(tenant, who, roles) as client:
        review = client.call("GET", f"/v1/reviews/{review_id}")
        held = _held(client, review_id)
    if output is Format.TABLE:
        _show(review, held)
    else:
        show_object({**review, "message": held}, form=output)


@app.command("approve")
def approve(  # noqa: PLR0913  # one parameter for each option of the command
    review_id: ReviewId,
    *,
    reason: Reason,
    digest: Shown = None,
    tenant: Tenant = "acme",
    who: Who = "reviewer",
    roles: Roles = None,
    output: Output = Format.TABLE,
) -> None:
    """Vote for it. With the last vote it goes; exits with 3 when the law says no by then."""
    body = {"reason": reason, **({"action_digest": digest} if digest else {})}
    with _person(tenant, who, roles) as client:
        review = _act(client, review_id, "approve", body=body)
    _tell(review, output)
    if review["state"] == State.REJECTED:
        raise typer.Exit(Exit.DENIED)


@app.command("reject")
def reject(  # noqa: PLR0913  # likewise
    review_id: ReviewId,
    *,
    reason: Reason,
    digest: Shown = None,
    tenant: Tenant = "acme",
    who: Who = "reviewer",
    roles: Roles = None,
    output: Output = Format.TABLE,
) -> None:
    """Vote against it. One rejection ends it, unless the law wants a majority."""
    body = {"reason": reason, **({"action_digest": digest} if digest else {})}
    with _person(tenant, who, roles) as client:
        _tell(_act(client, review_id, "reject", body=body), output)


@app.command("abstain")
def abstain(  # noqa: PLR0913  # likewise
    review_id: ReviewId,
    *,
    reason: Reason,
    tenant: Tenant = "acme",
    who: Who = "reviewer",
    roles: Roles = None,
    output: Output = Format.TABLE,
) -> None:
    """Say that you do not decide it; you cannot vote on it later."""
    with _person(tenant, who, roles) as client:
        _tell(_act(client, review_id, "abstain", body={"reason": reason}), output)


@app.command("claim")
def claim(
    review_id: ReviewId,
    *,
    tenant: Tenant = "acme",
    who: Who = "reviewer",
    roles: Roles = None,
    output: Output = Format.TABLE,
) -> None:
    """Say that you look at it: for a while nobody else can decide."""
    with _person(tenant, who, roles) as client:
        _tell(_act(client, review_id, "claim"), output)


@app.command("unclaim")
def unclaim(
    review_id: ReviewId,
    *,
    tenant: Tenant = "acme",
    who: Who = "reviewer",
    roles: Roles = None,
    output: Output = Format.TABLE,
) -> None:
    """Let go of your claim."""
    with _person(tenant, who, roles) as client:
        _tell(_act(client, review_id, "unclaim"), output)


@app.command("escalate")
def escalate(  # noqa: PLR0913  # likewise
    review_id: ReviewId,
    *,
    reason: Reason,
    tenant: Tenant = "acme",
    who: Who = "reviewer",
    roles: Roles = None,
    output: Output = Format.TABLE,
) -> None:
    """Let others decide too, now."""
    with _person(tenant, who, roles) as client:
        _tell(_act(client, review_id, "escalate", body={"reason": reason}), output)


@app.command("cancel")
def cancel(
    review_id: ReviewId,
    *,
    reason: Reason,
    tenant: Tenant = "acme",
    sender: Sender = "planner",
    output: Output = Format.TABLE,
) -> None:
    """Take back, as the agent that asked, what it asked for."""
    with connect(tenant, sender) as client:
        _tell(_act(client, review_id, "cancel", body={"reason": reason}), output)


@app.command("watch")
def watch(*, tenant: Tenant = "acme", who: Who = "reviewer", output: Output = Format.TABLE) -> None:
    """Show what happens to reviews from now on, as it happens; goes on until Ctrl-C."""
    if output is Format.JSON:
        raise typer.BadParameter("an endless list is no JSON: use -o jsonl")
    dial = partial(_person, tenant, who)
    for told in follow(dial, "/v1/reviews/stream", on_lost=_lost):
        _event(told, output)


def _person(tenant: str, who: str, roles: list[str] | None = None) -> Client:
    return connect(tenant, who, *(roles or ["reviewer"]))


def _pages(client: Client, params: Mapping[str, Any], count: int) -> Iterator[dict[str, Any]]:
    cursor: str | None = None
    while True:
        asked = {**params, "limit": min(count, _PAGE_MAX), "cursor": cursor}
        page = client.call("GET", "/v1/reviews", params=asked)
        yield from page["reviews"]
        cursor = page["next_cursor"]
        if cursor is None:
            return


def _act(
    client: Client, review_id: str, verb: str, *, body: Mapping[str, Any] | None = None
) -> dict[str, Any]:
    review: dict[str, Any] = client.call("POST", f"/v1/reviews/{review_id}:{verb}", body=body)
    return review


def _held(client: Client, review_id: str) -> dict[str, Any] | None:
    """Return what would leave; None when nothing is held any more, or who reads may not see it."""
    try:
        held: dict[str, Any] = client.call("GET", f"/v1/reviews/{review_id}/message")["message"]
    except ProblemError as error:
        if error.code not in _UNSEEN:
            raise
        note(error.detail)
        return None
    return held


def _lost(why: str) -> None:
    note(f"{why}\nconnecting again; nothing is missed")


def _event(told: Told, form: Format) -> None:
    event = json.loads(told.data)
    if form is not Format.TABLE:
        show_line({"id": told.id, **event})
        return
    review = event["review"] or {}
    show_event(
        at=event["at"],
        effect=event["state"],
        who=review.get("agent", ""),
        what=_what(review),
        why=event["step"],
        name=event["review_id"],
        width=_STATE_WIDTH,
    )


def _row(review: Mapping[str, Any]) -> dict[str, Any]:
    return {
        **review,
        "state": coloured(review["state"]),
        "what": _what(review),
        "votes": _votes(review),
    }


def _what(review: Mapping[str, Any]) -> str:
    return str(review.get("tool") or review.get("action") or "")


def _votes(review: Mapping[str, Any]) -> str:
    approvals = sum(vote["vote"] == "approve" for vote in review["votes"])
    return f"{approvals} of {review['quorum']['needed']}"


def _tell(review: Mapping[str, Any], form: Format) -> None:
    """Show what became of the review by what was just done."""
    if form is not Format.TABLE:
        show_object(review, form=form)
        return
    head = coloured(review["state"])
    head.stylize("bold")
    head.append(f"  {review['review_id']}, {_votes(review)} approved")
    say(head)
    if review["released_by"]:
        pairs([("decision", review["released_by"])])
    if review["closing"] and review["state"] != State.CONSUMED:
        say(f"  {review['closing']['code']}: {review['closing']['reason']}")


def _show(review: Mapping[str, Any], held: Mapping[str, Any] | None) -> None:
    _tell(review, Format.TABLE)
    show_reasons(review["reasons"])
    quorum, claimed = review["quorum"], review["claimed"]
    each = ", each of them" if quorum["each"] else ""
    facts = [
        ("who", f"{review['agent']} of {review['tenant_id']}"),
        ("to", review["to_agent"] or "nobody: it asks before it acts itself"),
        ("what", _what(review)),
        ("impact", f"{review['impact']['score']:.2f}, tier {review['tier']}"),
        ("needs", f"{quorum['needed']} of {', '.join(review['eligible'])}{each}"),
        ("level", review["escalation"]["level"]),
        ("claimed", f"by {claimed['by']} until {claimed['until']}" if claimed else "by nobody"),
        ("until", review["expires_at"]),
        ("digest", review["action_digest"]),
    ]
    pairs(facts)
    for vote in review["votes"]:
        say(f"  {vote['vote']} by {vote['by']} ({vote['role']}), {vote['at']}: {vote['reason']}")
    if held is not None:
        say("  what leaves if it is approved:")
        for line in json.dumps(held["content"], indent=2, ensure_ascii=False).splitlines():
            say(f"    {line}")
