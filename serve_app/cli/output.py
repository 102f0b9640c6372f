"""How answers are shown: a table for people, JSON for programs; messages go to stderr."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from enum import StrEnum
from typing import Any, Final

from rich.console import Console
from rich.table import Table

console = Console()

_COLOURS: Final = {"allow": "green", "review": "yellow", "deny": "red"}


class Format(StrEnum):
    """What `-o` takes."""

    TABLE = "table"
    JSON = "json"
    JSONL = "jsonl"


def show_rows(
    rows: Sequence[Mapping[str, Any]], columns: Sequence[str], *, form: Format, title: str = ""
) -> None:
    """Show the rows; the table has only `columns`, JSON has everything."""
    match form:
        case Format.JSON:
            console.print_json(json.dumps(rows))
        case Format.JSONL:
            for row in rows:
                console.out(json.dumps(row), highlight=False)
        case Format.TABLE:
            table = Table(*columns, title=title or None, title_justify="left")
            for row in rows:
                table.add_row(*(_cell(row.get(column)) for column in columns))
            console.print(table)


def show_decision(decision: Mapping[str, Any], *, form: Format) -> None:
    """Show one decision with its reasons and its receipt."""
    if form is not Format.TABLE:
        show_rows([decision], (), form=Format.JSONL if form is Format.JSONL else Format.JSON)
        return
    effect = decision["effect"]
    impact = decision["impact"]["score"]
    console.print(
        f"[bold {_COLOURS[effect]}]{effect.upper()}[/] lane={decision['lane']} impact={impact:.2f}"
    )
    for reason in decision["reasons"]:
        console.print(f"  {reason['code']}  {reason['message']}", highlight=False)
        if reason["remedy"]:
            console.print(f"    remedy: {reason['remedy']}", highlight=False)
    console.print(f"  decision  {decision['decision_id']}", highlight=False)
    console.print(f"  leaf hash {decision['receipt']['leaf_hash']}", highlight=False)


def coloured(effect: str) -> str:
    """The effect in its colour; the word itself stays, for those who see no colour."""
    return f"[{_COLOURS.get(effect, 'white')}]{effect}[/]"


def lines(pairs: Iterable[tuple[str, object]]) -> None:
    """Show name and value, one pair a line."""
    for name, value in pairs:
        console.print(f"  {name:<22} {value}", highlight=False)


def _cell(value: object) -> str:
    if isinstance(value, list):
        return ", ".join(str(item) for item in value)
    return "" if value is None else str(value)
