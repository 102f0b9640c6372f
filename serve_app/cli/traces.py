"""Files of agent traces: each line becomes the content of one governed message."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

_CALL: Final = re.compile(
    r"\ATool call: (?P<tool>[A-Za-z0-9_.:-]+)\s*(?P<args>\{.*\})\Z", re.DOTALL
)
_TEXT_MAX: Final = 200_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Trace:
    """One line of a trace file: what to send, and how its source labels it (None: unlabelled)."""

    content: dict[str, Any]
    source: str
    label: int | None


class TraceError(Exception):
    """A line that is not a trace; says which and what was wrong."""


def read_traces(path: Path, *, limit: int | None = None) -> Iterator[Trace]:
    """Yield the traces of a JSON-lines file.

    A line is `{"tool", "args"?, "text"?}`, or `{"text", "label"?, "source"?}` whose text may be
    `Tool call: NAME {json}`. Raises TraceError naming the first line that is neither.
    """
    with path.open(encoding="utf-8") as lines:
        for number, line in enumerate(lines, start=1):
            if limit is not None and number > limit:
                return
            if line.strip():
                yield _trace(line, where=f"{path.name}:{number}", source=path.stem)


def _trace(line: str, *, where: str, source: str) -> Trace:
    try:
        row = json.loads(line)
    except ValueError as error:
        raise TraceError(f"{where} is not JSON: {error}") from error
    if not isinstance(row, dict) or not ("tool" in row or isinstance(row.get("text"), str)):
        raise TraceError(f"{where} has neither `tool` nor `text`")
    label = row.get("label")
    return Trace(
        content=_content(row),
        source=str(row.get("source", source)),
        label=label if label in (0, 1) else None,
    )


def _content(row: dict[str, Any]) -> dict[str, Any]:
    if "tool" in row:
        content: dict[str, Any] = {"action": str(row["tool"])}
        content.update((name, row[name]) for name in ("tool", "args", "text") if name in row)
        return content
    text = row["text"][:_TEXT_MAX]
    call = _CALL.match(text)
    if call is not None:
        try:
            args = json.loads(call["args"])
        except ValueError:
            args = None
        if isinstance(args, dict):
            return {"action": call["tool"], "tool": call["tool"], "args": args}
    return {"action": "say", "text": text}
