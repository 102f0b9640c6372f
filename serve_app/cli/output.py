"""How answers are shown: a table for people, JSON for programs; messages go to stderr."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final

from rich import box
from rich.console import Console
from rich.padding import Padding
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table
from rich.text import Text

console = Console()
errors = Console(stderr=True)

_EVENT_WIDTH: Final = 118
_PIPED_WIDTH: Final = 200  # nobody looks at it: a reader such as grep wants whole lines
_COLOURS: Final = {
    "allow": "green",
    "review": "yellow",
    "deny": "red",
    "pending": "yellow",
    "claimed": "yellow",
    "approved": "green",
    "consumed": "green",
    "rejected": "red",
}


class Format(StrEnum):
    """What `-o` takes."""

    TABLE = "table"
    JSON = "json"
    JSONL = "jsonl"


@dataclass(frozen=True, slots=True)
class Column:
    """A column of a table: `whole` is never folded, since a part of it is of no use."""

    name: str
    whole: bool = False
    right: bool = False


def show_rows(
    rows: Sequence[Mapping[str, Any]],
    columns: Sequence[Column],
    *,
    form: Format,
    title: str = "",
) -> None:
    """Show the rows; the table has only `columns`, JSON has everything."""
    match form:
        case Format.JSON:
            console.print_json(json.dumps(rows), ensure_ascii=True)
        case Format.JSONL:
            for row in rows:
                show_line(row)
        case Format.TABLE:
            console.print(_table(rows, columns, title), width=_width())


def show_object(value: Mapping[str, Any], *, form: Format) -> None:
    """Show one JSON object: indented, or on one line for `jsonl`."""
    if form is Format.JSONL:
        show_line(value)
    else:
        console.print_json(json.dumps(value), ensure_ascii=True)


def show_line(value: Mapping[str, Any]) -> None:
    """Show one JSON object on one line, at once: its reader may be waiting for it."""
    console.out(json.dumps(value, separators=(",", ":")), highlight=False)
    console.file.flush()


def show_decision(decision: Mapping[str, Any], *, form: Format) -> None:
    """Show one decision with its reasons, its obligations and its receipt."""
    if form is not Format.TABLE:
        show_object(decision, form=form)
        return
    say(
        Text.assemble(
            (decision["effect"].upper(), f"bold {_COLOURS[decision['effect']]}"),
            f"  {decision['lane']} lane, impact {decision['impact']['score']:.2f}",
        )
    )
    show_reasons(decision["reasons"])
    for duty in decision["obligations"]:
        say(f"  obligation {duty['type']}: {json.dumps(duty['properties'])}")
    facts = [("decision", decision["decision_id"]), ("leaf hash", decision["receipt"]["leaf_hash"])]
    if review := decision.get("review"):
        facts.append(("review", f"{review['review_id']}, until {review['expires_at']}"))
    pairs(facts)


def show_reasons(reasons: Iterable[Mapping[str, Any]]) -> None:
    """Show why: each reason's code, its sentence, and what would help."""
    for reason in reasons:
        say(f"  {reason['code']}")
        say(f"{reason['message']} (rule {reason['rule']})", indent=6)
        if reason["remedy"]:
            say(f"remedy: {reason['remedy']}", indent=6)


def coloured(effect: str) -> Text:
    """The effect, or the state of a review, in its colour; the word itself stays."""
    return Text(plain(effect), style=_COLOURS.get(effect, ""))


def pairs(facts: Iterable[tuple[str, object]]) -> None:
    """Show name and value, one pair a line."""
    for name, value in facts:
        say(f"  {name:<12} {value}")


def show_event(
    *, at: str, effect: str, who: str, what: str, why: str, name: str, width: int = 6
) -> None:
    """Show one line about a decision or another entry; two where the terminal is narrow."""
    shown = coloured(effect)
    shown.pad_right(max(0, width - len(shown)))
    gap = "  " if _is_wide(_EVENT_WIDTH) else "\n         "
    facts = f"  {plain(who):<12} {plain(what):<18} {plain(why):<30}"
    say(Text.assemble(f"{at[11:19]} ", shown, facts, f"{gap}{name}"))


def say(text: str | Text, *, indent: int = 0) -> None:
    """Show a line of data on stdout; what others wrote in it is shown, never obeyed."""
    shown = text if isinstance(text, Text) else Text(plain(text))
    if indent and console.is_terminal:
        console.print(Padding(shown, (0, 0, 0, indent)))  # folded between words, and indented
    else:
        console.print(Text(" " * indent) + shown, soft_wrap=True)


def note(text: str, *, style: str = "") -> None:
    """Show a line for people on stderr."""
    errors.print(Text(text), style=style, soft_wrap=True)


def complain(text: str) -> None:
    """Show on stderr what went wrong."""
    note(text, style="red")


def plain(text: str) -> str:
    """Return the text with everything that could steer a terminal or turn its words around escaped.

    Messages are written by agents: an escape sequence or a right-to-left override in one must not
    change what an auditor sees.
    """
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def progress_bar() -> Progress:
    """Return a progress bar on stderr; nothing is drawn where stderr is no terminal."""
    return Progress(
        TextColumn("{task.description:<28}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        console=errors,
        transient=True,
        disable=not errors.is_terminal,
    )


def _is_wide(width: int) -> bool:
    """Say whether a line of this width fits, as it always does where no terminal shows it."""
    return not console.is_terminal or console.width >= width


def _table(rows: Sequence[Mapping[str, Any]], columns: Sequence[Column], title: str) -> Table:
    table = Table(
        box=box.SIMPLE_HEAD,
        show_edge=False,
        pad_edge=False,
        title=title or None,
        title_justify="left",
    )
    for column in columns:
        table.add_column(
            column.name,
            no_wrap=column.whole,
            overflow="fold",
            justify="right" if column.right else "left",
        )
    for row in rows:
        table.add_row(*(_cell(row.get(column.name)) for column in columns))
    return table


def _cell(value: object) -> Text:
    match value:
        case Text():
            return value
        case list():
            return Text(plain(", ".join(str(item) for item in value)))
        case None:
            return Text("")
        case _:
            return Text(plain(str(value)))


def _width() -> int | None:
    return None if console.is_terminal or "COLUMNS" in os.environ else _PIPED_WIDTH
