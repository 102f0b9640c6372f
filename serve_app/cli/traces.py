"""Files of agent traces: each line becomes the content of one governed message."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any, Final

# As the public data sets write a call: its name, then its arguments or an instruction in words.
_CALL: Final = re.compile(
    r"\ATool call: (?P<tool>[A-Za-z0-9_:-]+(?:\.[A-Za-z0-9_:-]+)*)"
    r"(?:\s*(?P<args>\{.*\})|\.\s+(?P<text>.+))\Z",
    re.DOTALL,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Trace:
    """One line of a trace file: what to send, and how its source labels it (None: unlabelled).

    `where` is the file's name and the line's number.
    """

    content: dict[str, Any]
    source: str
    label: int | None
    where: str


class TraceError(Exception):
    """A line that is not a trace; says which and what was wrong."""


def read_traces(path: Path) -> Iterator[Trace]:
    """Yield the traces of a JSON-lines file; empty lines are none.

    A line is `{"tool", "args"?, "text"?}`, or `{"text", "label"?, "source"?}` whose text may be
    `Tool call: NAME {json}` or `Tool call: NAME. words`. Raises TraceError naming the first line
    that is neither.
    """
    with path.open("rb") as lines:
        for number, line in enumerate(lines, start=1):
            if line.strip():
                yield _trace(line, where=f"{path.name}:{number}", source=path.stem)


def first_traces(path: Path, limit: int | None) -> list[Trace]:
    """Return the first traces of a file, or all: read whole, before any of them is sent."""
    return list(islice(read_traces(path), limit))


def spread_traces(path: Path, limit: int) -> list[Trace]:
    """Return as many traces, evenly from the whole file: many files are ordered by their label."""
    found = list(read_traces(path))
    if len(found) <= limit:
        return found
    return [found[number * len(found) // limit] for number in range(limit)]


def _trace(line: bytes, *, where: str, source: str) -> Trace:
    try:
        row = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise TraceError(f"{where} is not JSON: {error}") from error
    if not isinstance(row, dict):
        raise TraceError(f"{where} is not a JSON object")
    label = row.get("label")
    return Trace(
        content=_content(row, where),
        source=str(row.get("source", source)),
        label=label if label in (0, 1) else None,
        where=where,
    )


def _content(row: dict[str, Any], where: str) -> dict[str, Any]:
    text = row.get("text")
    if "tool" in row:
        if not isinstance(row["tool"], str) or not row["tool"]:
            raise TraceError(f"{where} names no tool: `tool` must be a string")
        if not isinstance(row.get("args", {}), dict):
            raise TraceError(f"{where} has `args` that are not a JSON object")
        return {"action": row["tool"]} | {
            name: row[name] for name in ("tool", "args", "text") if name in row
        }
    if not isinstance(text, str):
        raise TraceError(f'{where} is no trace: it needs "tool", or "text" as a string')
    return _call(text) or {"action": "say", "text": text}


def _call(text: str) -> dict[str, Any] | None:
    """Return the content of a text that writes a tool call down, or None when it is just text."""
    call = _CALL.match(text)
    if call is None:
        return None
    named = {"action": call["tool"], "tool": call["tool"]}
    if call["args"] is None:
        return {**named, "text": call["text"]}
    try:
        args = json.loads(call["args"])
    except ValueError:
        return None
    return {**named, "args": args}
