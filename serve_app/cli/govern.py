"""Governing a whole file over HTTP, with progress, and the table of what was decided."""

from __future__ import annotations

import json
import statistics
import time
from collections import Counter
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any, Final

from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from cluster.constants import CONSTITUTIONAL_HASH
from serve_app.cli.client import Client, ProblemError, errors
from serve_app.cli.output import Format, coloured, console, lines, show_rows
from serve_app.cli.traces import Trace, read_traces

_IN_FLIGHT: Final = 8
_WINDOW: Final = 64


@dataclass(slots=True)
class Tally:
    """What was decided about how many, and how long each took (milliseconds, as the caller saw)."""

    decided: Counter[tuple[str, str, str]] = field(default_factory=Counter)
    by_source: Counter[tuple[str, str]] = field(default_factory=Counter)
    refused: Counter[str] = field(default_factory=Counter)
    latencies_ms: list[float] = field(default_factory=list)
    wall_s: float = 0.0

    def add(self, trace: Trace, decision: dict[str, Any], latency_ms: float) -> None:
        """Count one decision under its effect, its lane and its first reason."""
        reasons = decision["reasons"]
        code = reasons[0]["code"] if reasons else "(none)"
        self.decided[(decision["effect"], decision["lane"], code)] += 1
        self.by_source[(trace.source, decision["effect"])] += 1
        self.latencies_ms.append(latency_ms)

    def merge(self, other: Tally) -> None:
        """Take in the counts of another file."""
        self.decided += other.decided
        self.by_source += other.by_source
        self.refused += other.refused
        self.latencies_ms += other.latencies_ms
        self.wall_s += other.wall_s

    def percentile_ms(self, percent: int) -> float:
        """The latency that this share of the requests did not exceed; 0 when there were none."""
        if len(self.latencies_ms) < 2:
            return self.latencies_ms[0] if self.latencies_ms else 0.0
        return statistics.quantiles(self.latencies_ms, n=100)[percent - 1]

    def rows(self) -> list[dict[str, Any]]:
        """One row for each effect, lane and reason, most frequent first."""
        return [
            {"effect": effect, "lane": lane, "reason": code, "count": count}
            for (effect, lane, code), count in self.decided.most_common()
        ]

    def show(self, form: Format) -> None:
        """Show the verdicts, then the latencies."""
        rows = self.rows()
        if form is not Format.TABLE:
            console.out(json.dumps({"verdicts": rows, "latency_ms": self.latency()}))
            return
        shown = [{**row, "effect": coloured(row["effect"])} for row in rows]
        show_rows(shown, ("effect", "lane", "reason", "count"), form=form, title="verdicts")
        for code, count in self.refused.most_common():
            console.print(f"  refused {count}: {code}", highlight=False)
        decided = len(self.latencies_ms)
        rate = decided / self.wall_s if self.wall_s else 0.0
        lines(
            [
                ("governed", f"{decided} in {self.wall_s:.1f} s ({rate:.0f}/s)"),
                *((f"latency {name}", f"{value:.2f} ms") for name, value in self.latency().items()),
            ]
        )

    def latency(self) -> dict[str, float]:
        """The p50, p95 and p99 in milliseconds."""
        return {f"p{percent}": round(self.percentile_ms(percent), 3) for percent in (50, 95, 99)}


def govern_file(client: Client, path: Path, *, to: str, limit: int | None = None) -> Tally:
    """Send every line of the file to `to`, eight at a time, and count what was decided.

    A line that the bus refuses (4xx) is counted by its code. Raises ProblemError when the bus
    cannot govern, TraceError at the first line that is no trace.
    """
    tally = Tally()
    total = min(sum(1 for _ in path.open(encoding="utf-8")), limit or 1 << 60)
    started_s = time.perf_counter()
    with _progress() as progress, ThreadPoolExecutor(_IN_FLIGHT) as pool:
        task = progress.add_task(path.name, total=total)
        for window in _windows(read_traces(path, limit=limit)):
            for answer in pool.map(lambda trace: _govern(client, trace, to), window):
                _count(tally, answer)
                progress.advance(task)
    tally.wall_s = time.perf_counter() - started_s
    return tally


Answer = tuple[Trace, dict[str, Any] | ProblemError, float]


def _govern(client: Client, trace: Trace, to: str) -> Answer:
    body = {
        "to_agent": to,
        "constitutional_hash": CONSTITUTIONAL_HASH,
        "content": trace.content,
        "ttl_seconds": 3600,
    }
    started_s = time.perf_counter()
    try:
        decision = client.call("POST", "/v1/messages", body=body)
    except ProblemError as problem:
        return trace, problem, 0.0
    return trace, decision, (time.perf_counter() - started_s) * 1000


def _count(tally: Tally, answer: Answer) -> None:
    trace, outcome, latency_ms = answer
    if isinstance(outcome, ProblemError):
        if not 400 <= outcome.status < 500:
            raise outcome
        tally.refused[outcome.code] += 1
    else:
        tally.add(trace, outcome, latency_ms)


def _windows(traces: Iterable[Trace]) -> Iterator[list[Trace]]:
    iterator = iter(traces)
    while window := list(islice(iterator, _WINDOW)):
        yield window


def _progress() -> Progress:
    return Progress(
        TextColumn("{task.description:<28}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        console=errors,
    )
