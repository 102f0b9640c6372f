"""Following server-sent events: a stream that ends is opened again where it ended."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Final

from serve_app.cli.client import Client, ProblemError
from serve_app.cli.exits import Exit

_PAUSE_S: Final = 1.0


@dataclass(frozen=True, slots=True)
class Told:
    """One event of a stream. Without data it only says where the stream stands."""

    id: str
    kind: str
    data: str


def events(lines: Iterable[str]) -> Iterator[Told]:
    """Yield the events of a stream as the standard reads them; what is cut off is no event."""
    fields: dict[str, str] = {}
    for line in lines:
        if not line:
            if fields:
                yield Told(fields.get("id", ""), fields.get("event", ""), fields.get("data", ""))
            fields = {}
            continue
        name, _, value = line.partition(":")
        value = value.removeprefix(" ")
        if name == "data" and "data" in fields:
            value = f"{fields['data']}\n{value}"
        if name:  # else a comment, which shows that the stream lives
            fields[name] = value


def follow(
    connect: Callable[[], Client], path: str, *, on_lost: Callable[[str], None]
) -> Iterator[Told]:
    """Yield every event from now on, for ever, each once, across lost connections.

    `connect` is asked for every connection, since a token ends too; `on_lost` hears why one more
    is needed. Raises ProblemError when the first connection fails, and for a refusal.
    """
    last, is_known = "", False
    while True:
        try:
            with connect() as client, client.lines(path, headers=_from(last)) as lines:
                for told in events(lines):
                    last, is_known = told.id or last, True
                    if told.kind == "problem":
                        raise _problem(told)
                    if told.data:
                        yield told
        except ProblemError as error:
            if not is_known or error.exit is not Exit.UNAVAILABLE:
                raise
            on_lost(str(error))
        time.sleep(_PAUSE_S)


def _from(last: str) -> dict[str, str]:
    accept = {"Accept": "text/event-stream"}
    return {**accept, "Last-Event-ID": last} if last else accept


def _problem(told: Told) -> ProblemError:
    problem = json.loads(told.data)
    return ProblemError(problem["status"], problem["code"], problem["detail"])
