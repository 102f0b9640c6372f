"""What was decided about a file of traces: how many of each, and how long each took."""

from __future__ import annotations

import statistics
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from serve_app.cli.output import Column, Format, coloured, pairs, say, show_object, show_rows
from serve_app.cli.traces import Trace

EFFECTS: Final = ("allow", "review", "deny")
_LABELS: Final = {0: "harmless", 1: "harmful", None: "not labelled"}
_VERDICTS: Final = (
    Column("effect", whole=True),
    Column("lane", whole=True),
    Column("reason"),
    Column("count", right=True),
)
_SOURCES: Final = (
    Column("source"),
    Column("labelled"),
    *(Column(effect, right=True) for effect in EFFECTS),
)


@dataclass(slots=True)
class Tally:
    """What was decided about how many, and how long each took (milliseconds, as the caller saw).

    `refused` counts what the bus did not even judge (a 4xx), by code.
    """

    decided: Counter[tuple[str, str, str]] = field(default_factory=Counter)
    by_source: Counter[tuple[str, str, str]] = field(default_factory=Counter)
    refused: Counter[str] = field(default_factory=Counter)
    latencies_ms: list[float] = field(default_factory=list)
    wall_s: float = 0.0

    def add(self, trace: Trace, decision: Mapping[str, Any], latency_ms: float) -> None:
        """Count one decision under its effect, its lane and its first reason."""
        reasons = decision["reasons"]
        code = reasons[0]["code"] if reasons else "(none)"
        self.decided[(decision["effect"], decision["lane"], code)] += 1
        self.by_source[(trace.source, _LABELS[trace.label], decision["effect"])] += 1
        self.latencies_ms.append(latency_ms)

    def refuse(self, code: str) -> None:
        """Count one trace that the bus refused to judge."""
        self.refused[code] += 1

    def merge(self, other: Tally) -> None:
        """Take in the counts of another file that was governed after this one."""
        self.decided += other.decided
        self.by_source += other.by_source
        self.refused += other.refused
        self.latencies_ms += other.latencies_ms
        self.wall_s += other.wall_s

    def latency_ms(self) -> dict[str, float]:
        """The p50, p95 and p99; empty when nothing was decided."""
        values = self.latencies_ms
        if not values:
            return {}
        # Of one value, every percentile is that value.
        cuts = (
            statistics.quantiles(values, n=100, method="inclusive") if values[1:] else values * 99
        )
        return {f"p{percent}": round(cuts[percent - 1], 3) for percent in (50, 95, 99)}

    def verdicts(self) -> list[dict[str, Any]]:
        """One row for each effect, lane and reason: allow, review, deny; most frequent first."""
        ordered = sorted(
            self.decided.items(),
            key=lambda item: (EFFECTS.index(item[0][0]), -item[1], item[0]),
        )
        return [
            {"effect": effect, "lane": lane, "reason": code, "count": count}
            for (effect, lane, code), count in ordered
        ]

    def sources(self) -> list[dict[str, Any]]:
        """One row for each source and label: how many of each effect."""
        return [
            {
                "source": source,
                "labelled": label,
                **{effect: self.by_source[source, label, effect] for effect in EFFECTS},
            }
            for source, label in sorted({key[:2] for key in self.by_source})
        ]

    def facts(self) -> dict[str, Any]:
        """Everything as one JSON object."""
        return {
            "governed": len(self.latencies_ms),
            "wall_s": round(self.wall_s, 3),
            "latency_ms": self.latency_ms(),
            "verdicts": self.verdicts(),
            "sources": self.sources(),
            "refused": dict(self.refused),
        }

    def show(self, form: Format) -> None:
        """Show the verdicts by effect, lane and reason, those by source, and the latencies."""
        if form is not Format.TABLE:
            show_object(self.facts(), form=form)
            return
        shown = [{**row, "effect": coloured(row["effect"])} for row in self.verdicts()]
        show_rows(shown, _VERDICTS, form=form, title="verdicts")
        if any(label != _LABELS[None] for _, label, _ in self.by_source) or len(self.sources()) > 1:
            say("")
            show_rows(self.sources(), _SOURCES, form=form, title="by source, and by its own labels")
        say("")
        for code, count in self.refused.most_common():
            say(f"  refused, not judged: {count} with {code}")
        count = len(self.latencies_ms)
        rate = count / self.wall_s if self.wall_s else 0.0
        latency = "  ".join(f"{name} {value:.1f}" for name, value in self.latency_ms().items())
        pairs(
            [
                ("governed", f"{count} messages in {self.wall_s:.1f} s ({rate:.0f}/s)"),
                ("latency", f"{latency} ms, as the sender saw it" if latency else "none"),
            ]
        )
