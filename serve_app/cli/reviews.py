"""`acgs reviews`: what is held for people, and their word on it."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from datetime import datetime
from functools import partial
from itertools import islice
from typing import Annotated, Any, Final

import typer

from cluster.clock import SystemClock
from policies.review import OPEN, State
from serve_app.cli.alike import precedents, show_precedents, vote_on_all
from serve_app.cli.client import Client, ProblemError
from serve_app.cli.exits import Exit
from serve_app.cli.options import Output, Roles, Sender, Tenant, Who
from serve_app.cli.output import (
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

_OPEN: Final = tuple(state for state in State if state in OPEN)
_PAGE_MAX: Final = 200
_UNSEEN: Final = ("review.not_held", "auth.scope_missing")
_STATE_WIDTH: Final = max(len(state) for state in State)

ReviewId = Annotated[str, typer.Argument(help="the review's id, as `list` shows it")]
ReviewIdOrAll = Annotated[
    str | None, typer.Argument(help="the review's id; none, with --digest: all of that action")
]
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
        return
    for review in found:
        _line(review, now=SystemClock().now())
    if not found:
        note(f"nothing waits for people in {tenant}" if state is None else "there is none")


@app.command("show")
def show(
    review_id: ReviewId,
    *,
    reveal: Annotated[
        bool, typer.Option("--reveal", help="show what is private too; goes on record")
    ] = False,
    tenant: Tenant = "acme",
    who: Who = "reviewer",
    roles: Roles = None,
    output: Output = Format.TABLE,
) -> None:
    """Show one review: what was asked, why it is held, who said what; and what would leave."""
    with _person(tenant, who, roles) as client:
        review = client.call("GET", f"/v1/reviews/{review_id}")
        held = _held(client, review_id, reveal=reveal)
        before = precedents(client, review_id)
    if held is not None and held["masked"]:
        how = "shown, which is on record" if held["revealed"] else "masked; --reveal shows it"
        note(f"private in it: {', '.join(held['masked'])} ({how})")
    message = None if held is None else held["message"]
    if output is Format.TABLE:
        _show(review, message)
        show_precedents(before)
    else:
        show_object({**review, "message": message, "precedents": before}, form=output)


@app.command("approve")
def approve(
    review_id: ReviewIdOrAll = None,
    *,
    reason: Reason,
    digest: Shown = None,
    tenant: Tenant = "acme",
    who: Who = "reviewer",
    roles: Roles = None,
    output: Output = Format.TABLE,
) -> None:
    """Vote for it, or for all that is open about one action: then give its --digest and no id.

    With the last vote it goes; exits with 3 when the law says no by then.
    """
    body = _ballot(review_id, reason, digest)
    with _person(tenant, who, roles) as client:
        if review_id is None:
            vote_on_all(client, "approve", body, form=output)
            return
        review = act(client, review_id, "approve", body=body)
    tell(review, output)
    if review["state"] == State.REJECTED:
        raise typer.Exit(Exit.DENIED)


@app.command("reject")
def reject(
    review_id: ReviewIdOrAll = None,
    *,
    reason: Reason,
    digest: Shown = None,
    tenant: Tenant = "acme",
    who: Who = "reviewer",
    roles: Roles = None,
    output: Output = Format.TABLE,
) -> None:
    """Vote against it, or against all that is open about one action: then give its --digest.

    One rejection ends a review, unless the law wants a majority.
    """
    body = _ballot(review_id, reason, digest)
    with _person(tenant, who, roles) as client:
        if review_id is None:
            vote_on_all(client, "reject", body, form=output)
            return
        tell(act(client, review_id, "reject", body=body), output)


@app.command("abstain")
def abstain(
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
        tell(act(client, review_id, "abstain", body={"reason": reason}), output)


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
        tell(act(client, review_id, "claim"), output)


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
        tell(act(client, review_id, "unclaim"), output)


@app.command("escalate")
def escalate(
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
        tell(act(client, review_id, "escalate", body={"reason": reason}), output)


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
        tell(act(client, review_id, "cancel", body={"reason": reason}), output)


@app.command("watch")
def watch(*, tenant: Tenant = "acme", who: Who = "reviewer", output: Output = Format.TABLE) -> None:
    """Show what happens to reviews from now on, as it happens; goes on until Ctrl-C."""
    if output is Format.JSON:
        raise typer.BadParameter("an endless list is no JSON: use -o jsonl")
    dial = partial(_person, tenant, who)
    for told in follow(dial, "/v1/reviews/stream", on_lost=_lost):
        _event(told, output)


def _ballot(review_id: str | None, reason: str, digest: str | None) -> dict[str, str]:
    if review_id is None and digest is None:
        raise typer.BadParameter("give the id of a review, or the --digest of one action for all")
    return {"reason": reason, **({"action_digest": digest} if digest else {})}


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


def act(
    client: Client, review_id: str, verb: str, *, body: Mapping[str, Any] | None = None
) -> dict[str, Any]:
    """Take a step, and return the review after it."""
    review: dict[str, Any] = client.call("POST", f"/v1/reviews/{review_id}:{verb}", body=body)
    return review


def _held(client: Client, review_id: str, *, reveal: bool) -> dict[str, Any] | None:
    """Return what would leave; None when nothing is held any more, or who reads may not see it."""
    params = {"reveal": "true"} if reveal else None
    path = f"/v1/reviews/{review_id}/message"
    try:
        held: dict[str, Any] = client.call("GET", path, params=params)
    except ProblemError as error:
        if error.code not in _UNSEEN:
            raise
        note(error.detail)
        return None
    return held


def _lost(why: str) -> None:
    note(f"{why}\nconnecting again, behind the last event that came")


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


def _line(review: Mapping[str, Any], *, now: datetime) -> None:
    left_s = (datetime.fromisoformat(review["expires_at"]) - now).total_seconds()
    waits = review["state"] in _OPEN or review["state"] == State.APPROVED
    show_event(
        at=review["opened_at"],
        effect=review["state"],
        who=review["agent"],
        what=_what(review),
        why=f"{_votes(review)} approved" + (f", {left(left_s)} left" if waits else ""),
        name=review["review_id"],
        width=_STATE_WIDTH,
    )


def left(seconds: float) -> str:
    """Return a time to go in its largest unit, rounded down, such as 59m."""
    for unit, length_s in (("d", 86_400), ("h", 3600), ("m", 60)):
        if seconds >= length_s:
            return f"{int(seconds // length_s)}{unit}"
    return f"{max(0, int(seconds))}s"


def _what(review: Mapping[str, Any]) -> str:
    return str(review.get("tool") or review.get("action") or "")


def _votes(review: Mapping[str, Any]) -> str:
    panel, glass = review["panel"], review["glass"]
    if panel and panel["outcome"] == "approved":
        return f"{sum(one['opinion'] == 'approve' for one in panel['opinions'])} critics"
    if glass and len(glass["broken"]) >= glass["needed"]:
        return f"{len(glass['broken'])} through broken glass"
    approvals = sum(vote["vote"] == "approve" for vote in review["votes"])
    return f"{approvals} of {review['quorum']['needed']}"


def tell(review: Mapping[str, Any], form: Format) -> None:
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
    tell(review, Format.TABLE)
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
    if review["follows"]:
        facts.append(("follows", f"{review['follows']}, whose glass was broken"))
    pairs(facts)
    for vote in review["votes"]:
        absent = f" in the stead of {', '.join(vote['in_stead_of'])}" if vote["in_stead_of"] else ""
        who = f"{vote['by']} ({vote['role']}){absent}"
        say(f"  {vote['vote']} by {who}, {vote['at']}: {vote['reason']}")
    _show_panel(review["panel"])
    for vote in (review["glass"] or {"broken": ()})["broken"]:
        say(f"  glass broken by {vote['by']}, {vote['at']}: {vote['reason']}")
    if held is not None:
        say("  what leaves if it is approved:")
        for line in json.dumps(held["content"], indent=2, ensure_ascii=False).splitlines():
            say(f"    {line}")


def _show_panel(panel: Mapping[str, Any] | None) -> None:
    if panel is None:
        return
    seats = panel["seats"]
    called = ", ".join(f"{one['agent']} ({one['weight']})" for one in seats or ()) or "nobody"
    whom = "the critics are being called" if seats is None else f"called: {called}"
    say(
        f"  panel until {panel['closes_at']}, {panel['rule']} of at least {panel['needed']}; {whom}"
    )
    for one in panel["opinions"]:
        say(f"  {one['opinion']} by critic {one['by']}, {one['at']}: {one['reason']}")
