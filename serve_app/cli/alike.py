"""What is like a review, in a terminal: how it went before, and one word on all of a kind."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

import typer

from policies.review import State
from serve_app.cli.client import Client, ProblemError
from serve_app.cli.exits import Exit
from serve_app.cli.output import Format, coloured, note, say, show_line, show_object

SHOWN: Final = 3
_PARTS: Final = {"shape": "kind of arguments"}


def precedents(client: Client, review_id: str) -> list[dict[str, Any]]:
    """Return how it went before; nothing where who reads may not see other reviews."""
    path = f"/v1/reviews/{review_id}/precedents"
    try:
        found: list[dict[str, Any]] = client.call("GET", path, params={"limit": SHOWN})[
            "precedents"
        ]
    except ProblemError as error:
        if error.code != "auth.scope_missing":
            raise
        return []
    return found


def show_precedents(found: Sequence[Mapping[str, Any]]) -> None:
    """Show how it went before, two lines each."""
    if found:
        say("  how it went before:")
    for one in found:
        head = coloured(one["state"])
        head.append(f"  {one['review_id']}, {one['score']:.0%} alike: {_common(one)}")
        say(head, indent=4)
        say(f"{_decided(one)}: {one['closing']['reason']}", indent=6)
        if one["afterwards"]:
            say(f"its glass was broken; afterwards: {one['afterwards']['state']}", indent=6)


def vote_on_all(
    client: Client, verb: str, body: Mapping[str, Any], *, form: Format = Format.TABLE
) -> None:
    """Vote on everything that is open about the digest in `body`, and show what became of each.

    Exits as the first refused vote alone would, or with 3 when the law says no to one by then.
    """
    results = []
    for result in _rounds(client, verb, body):
        results.append(result)
        _tell(result, form)
    if form is Format.JSON:
        show_object({"results": results}, form=form)
    if not results:
        note("nothing is open about exactly this action")
    refused = [result["problem"] for result in results if result["problem"]]
    if refused:
        first = refused[0]
        note(f"{len(refused)} of {len(results)} votes were refused")
        raise typer.Exit(ProblemError(first["status"], first["code"], first["detail"]).exit)
    if verb == "approve" and any(one["review"]["state"] == State.REJECTED for one in results):
        raise typer.Exit(Exit.DENIED)


def _rounds(client: Client, verb: str, body: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    cursor: str | None = None
    while True:
        asked = {**body, **({"cursor": cursor} if cursor else {})}
        page = client.call("POST", f"/v1/reviews:{verb}", body=asked)
        yield from page["results"]
        cursor = page["next_cursor"]
        if not page["more"]:
            return


def _tell(result: Mapping[str, Any], form: Format) -> None:
    match form:
        case Format.JSON:
            pass  # one object at the end
        case Format.JSONL:
            show_line(result)
        case Format.TABLE:
            problem, review = result["problem"], result["review"]
            if problem:
                say(f"refused   {result['review_id']}, {problem['code']}: {problem['detail']}")
            else:
                head = coloured(review["state"])
                head.append(f"  {result['review_id']}")
                say(head)


def _common(precedent: Mapping[str, Any]) -> str:
    if "action" in precedent["same"]:
        return "the very same action"
    same, partly = (
        ", ".join(_PARTS.get(part, part) for part in precedent[kind]) for kind in ("same", "partly")
    )
    said = [f"the same {same}" if same else "", f"in part the same {partly}" if partly else ""]
    return "; ".join(filter(None, said))


def _decided(precedent: Mapping[str, Any]) -> str:
    said = [
        f"{word} by {', '.join(names)}"
        for word, names in (
            ("approved", precedent["approved_by"]),
            ("rejected", precedent["rejected_by"]),
        )
        if names
    ]
    return "; ".join(said) or "nobody decided"
