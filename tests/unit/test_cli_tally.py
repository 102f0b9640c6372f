"""A tally says what was decided about how many, and how long each took."""

from __future__ import annotations

import json
from typing import Any

import pytest

from serve_app.cli.output import Format
from serve_app.cli.tally import Tally
from serve_app.cli.traces import Trace


def a_trace(source: str = "own", label: int | None = None) -> Trace:
    return Trace(content={}, source=source, label=label, where="own.jsonl:1")


def a_decision(effect: str = "allow", *codes: str) -> dict[str, Any]:
    lane = "human" if effect == "review" else "fast"
    return {"effect": effect, "lane": lane, "reasons": [{"code": code} for code in codes]}


def test_verdicts_are_ordered_by_effect_and_then_by_how_many() -> None:
    tally = Tally()
    for effect, code, count in (
        ("deny", "b", 1),
        ("deny", "a", 2),
        ("review", "c", 1),
        ("allow", "d", 1),
    ):
        for _ in range(count):
            tally.add(a_trace(), a_decision(effect, code, "another"), 1.0)
    rows = [(row["effect"], row["reason"], row["count"]) for row in tally.verdicts()]
    assert rows == [("allow", "d", 1), ("review", "c", 1), ("deny", "a", 2), ("deny", "b", 1)]


def test_a_decision_without_reasons_is_counted_too() -> None:
    tally = Tally()
    tally.add(a_trace(), a_decision(), 1.0)
    assert tally.verdicts()[0]["reason"] == "(none)"


def test_sources_are_split_by_their_own_labels() -> None:
    tally = Tally()
    tally.add(a_trace("a", 1), a_decision("deny"), 1.0)
    tally.add(a_trace("a", 0), a_decision("allow"), 1.0)
    tally.add(a_trace("b"), a_decision("review"), 1.0)
    rows = {(row["source"], row["labelled"]): row for row in tally.sources()}
    assert rows["a", "harmful"]["deny"] == 1
    assert rows["a", "harmless"]["allow"] == 1
    assert rows["b", "not labelled"]["review"] == 1


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([], {}),
        ([4.0], {"p50": 4.0, "p95": 4.0, "p99": 4.0}),
        ([float(n) for n in range(101)], {"p50": 50.0, "p95": 95.0, "p99": 99.0}),
        ([1.0, 1000.0], {"p50": 500.5, "p95": 950.05, "p99": 990.01}),
    ],
)
def test_percentiles_stay_within_what_was_measured(
    values: list[float], expected: dict[str, float]
) -> None:
    assert Tally(latencies_ms=values).latency_ms() == expected


def test_two_files_make_one_tally() -> None:
    one, other = Tally(wall_s=1.0), Tally(wall_s=2.0)
    one.add(a_trace(), a_decision("deny", "x"), 1.0)
    other.add(a_trace(), a_decision("deny", "x"), 3.0)
    other.refuse("message.too_large")
    one.merge(other)
    assert one.verdicts()[0]["count"] == 2
    assert one.latencies_ms == [1.0, 3.0]
    assert one.refused == {"message.too_large": 1}
    assert one.wall_s == 3.0


def test_a_program_gets_everything_as_one_object(capsys: pytest.CaptureFixture[str]) -> None:
    tally = Tally()
    tally.add(a_trace("a", 1), a_decision("deny", "x"), 1.5)
    tally.show(Format.JSON)
    facts = json.loads(capsys.readouterr().out)
    assert facts["governed"] == 1
    assert facts["verdicts"] == [{"effect": "deny", "lane": "fast", "reason": "x", "count": 1}]


def test_a_tally_of_nothing_can_be_shown(capsys: pytest.CaptureFixture[str]) -> None:
    Tally().show(Format.TABLE)
    assert "0 messages" in capsys.readouterr().out
