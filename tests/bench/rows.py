"""What a benchmark says: one row a path, with the goal beside it, and what it really did."""

from __future__ import annotations

import json
import os
import platform
import statistics
import subprocess
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from bench.load import Seen

OUT = Path(__file__).resolve().parents[2] / "docs" / "benchmarks"


@dataclass(kw_only=True)
class Row:
    """One measured path. Latencies in ms; `first_p50` and `last_p50` are of the outer deciles."""

    path: str
    goal: str
    met: bool | None
    ran: int
    rate_s: float
    p50: float | None = None
    p95: float | None = None
    p99: float | None = None
    first_p50: float | None = None
    last_p50: float | None = None
    effects: dict[str, int] = field(default_factory=dict)
    errors: dict[str, int] = field(default_factory=dict)
    note: str = ""


def percentile(values: Sequence[float], percent: int) -> float:
    """The value that this share of the values does not exceed."""
    return statistics.quantiles(values, n=100, method="inclusive")[percent - 1]


def row_of(path: str, goal: str, seen: Seen, *, note: str = "") -> Row:
    """Return the row of what clients saw; whether the goal is met is the caller's to say."""
    values = seen.latencies_ms
    tenth = max(2, len(values) // 10)
    errors: Counter[str] = Counter(seen.errors)
    errors.update({f"HTTP {s}": n for s, n in seen.statuses.items() if s != 200})
    return Row(
        path=path,
        goal=goal,
        met=None,
        ran=seen.messages,
        rate_s=round(seen.messages / seen.wall_s, 1),
        p50=round(percentile(values, 50), 3),
        p95=round(percentile(values, 95), 3),
        p99=round(percentile(values, 99), 3),
        first_p50=round(statistics.median(values[:tenth]), 3),
        last_p50=round(statistics.median(values[-tenth:]), 3),
        effects=dict(seen.effects),
        errors=dict(errors),
        note=note,
    )


def show(rows: Sequence[Row]) -> None:
    """Print the table."""
    columns = ("path", "goal", "met", "ran", "/s", "p50", "p95", "p99", "1st/last", "effects")
    table = Table(*columns, title="benchmarks (ms)", title_justify="left")
    for row in rows:
        met = {True: "[green]yes[/]", False: "[red]no[/]", None: "-"}[row.met]
        edges = f"{_text(row.first_p50)}/{_text(row.last_p50)}" if row.first_p50 else "-"
        effects = " ".join(
            f"{name}={count}" for name, count in {**row.effects, **row.errors}.items()
        )
        table.add_row(
            row.path, row.goal, met, str(row.ran), f"{row.rate_s:.0f}",
            _text(row.p50), _text(row.p95), _text(row.p99), edges, effects or row.note,
        )  # fmt: skip
    Console(width=180).print(table)


def save(rows: Sequence[Row]) -> Path:
    """Write the rows as JSON, with the machine and the commit that they were measured on."""
    OUT.mkdir(parents=True, exist_ok=True)
    path = OUT / "latest.json"
    document = {**_where(), "rows": [asdict(row) for row in rows]}
    path.write_text(json.dumps(document, indent=1) + "\n")
    (OUT / "latest.md").write_text(_markdown(document, rows))
    return path


def _markdown(document: dict[str, Any], rows: Sequence[Row]) -> str:
    lines = [
        "# The last `make bench`",
        "",
        (
            f"{document['measured_at']}, commit {document['commit']}, {document['cpus']} CPUs "
            f"({document['cpu']}), Python {document['python']}. Latencies in ms; `first / last` "
            "are the medians of the first and the last tenth."
        ),
        "",
        "| path | goal | met | ran | /s | p50 | p95 | p99 | first / last | what became of them |",
        "|---|---|---|---|---|---|---|---|---|---|",
    ]
    for row in rows:
        met = {True: "yes", False: "**no**", None: ""}[row.met]
        edges = f"{_text(row.first_p50)} / {_text(row.last_p50)}" if row.first_p50 else ""
        counts = ", ".join(f"{n} {name}" for name, n in {**row.effects, **row.errors}.items())
        told = "; ".join(part for part in (counts, row.note) if part)
        lines.append(
            f"| {row.path} | {row.goal} | {met} | {row.ran} | {row.rate_s:.0f} | "
            f"{_text(row.p50)} | {_text(row.p95)} | {_text(row.p99)} | {edges} | {told} |"
        )
    return "\n".join(lines) + "\n"


def _where() -> dict[str, Any]:
    commit = subprocess.run(
        ["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=False
    )
    model = [
        line.partition(":")[2].strip()
        for line in Path("/proc/cpuinfo").read_text().splitlines()
        if line.startswith("model name")
    ]
    return {
        "measured_at": datetime.now(UTC).isoformat(timespec="seconds"),
        "commit": commit.stdout.strip(),
        "cpus": os.cpu_count(),
        "cpu": model[0] if model else platform.processor(),
        "python": platform.python_version(),
        "constitutional_hash": "cdd01ef066bc6cf2",
    }


def _text(value: float | None) -> str:
    return "-" if value is None else f"{value:.2f}"
