"""A trace file is read whole or refused by its line, and each line becomes what it says."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from serve_app.cli.traces import Trace, TraceError, first_traces, read_traces, spread_traces


def a_file(folder: Path, *lines: object) -> Path:
    path = folder / "calls.jsonl"
    path.write_text("".join(f"{json.dumps(line)}\n" for line in lines))
    return path


def the_trace(folder: Path, line: object) -> Trace:
    (trace,) = read_traces(a_file(folder, line))
    return trace


def test_a_tool_call_keeps_its_arguments_and_its_text(tmp_path: Path) -> None:
    line = {"tool": "web.search", "args": {"query": "x"}, "text": "why", "extra": 1}
    trace = the_trace(tmp_path, line)
    assert trace.content == {
        "action": "web.search",
        "tool": "web.search",
        "args": {"query": "x"},
        "text": "why",
    }
    assert (trace.source, trace.label, trace.where) == ("calls", None, "calls.jsonl:1")


def test_a_call_that_is_written_out_is_a_call(tmp_path: Path) -> None:
    content = the_trace(tmp_path, {"text": 'Tool call: math.add {"a": {"b": 1}}'}).content
    assert content == {"action": "math.add", "tool": "math.add", "args": {"a": {"b": 1}}}


def test_a_call_with_an_instruction_in_words_is_a_call(tmp_path: Path) -> None:
    content = the_trace(tmp_path, {"text": "Tool call: StealthExport. Please send it."}).content
    assert content == {
        "action": "StealthExport",
        "tool": "StealthExport",
        "text": "Please send it.",
    }


@pytest.mark.parametrize(
    "text", ["hello", "Tool call: f {broken", "Tool call: f {]}", "a Tool call: f {}", ""]
)
def test_any_other_text_is_something_said(tmp_path: Path, text: str) -> None:
    assert the_trace(tmp_path, {"text": text}).content == {"action": "say", "text": text}


@pytest.mark.parametrize(("label", "known"), [(0, 0), (1, 1), (2, None), ("1", None), (None, None)])
def test_only_0_and_1_are_labels(tmp_path: Path, label: object, known: int | None) -> None:
    assert the_trace(tmp_path, {"text": "x", "label": label, "source": "s"}).label == known


@pytest.mark.parametrize(
    ("line", "complaint"),
    [
        ("{", "calls.jsonl:2 is not JSON"),
        ("[]", "calls.jsonl:2 is not a JSON object"),
        ("{}", 'calls.jsonl:2 is no trace: it needs "tool", or "text" as a string'),
        ('{"text": 1}', "calls.jsonl:2 is no trace"),
        ('{"tool": 1}', "calls.jsonl:2 names no tool"),
        ('{"tool": ""}', "calls.jsonl:2 names no tool"),
        ('{"tool": "f", "args": []}', "calls.jsonl:2 has `args` that are not a JSON object"),
        ("[" * 100_000, "calls.jsonl:2 is not JSON"),
        ("\xff", "calls.jsonl:2 is not JSON"),
    ],
)
def test_a_line_that_is_no_trace_is_named(tmp_path: Path, line: str, complaint: str) -> None:
    path = tmp_path / "calls.jsonl"
    path.write_bytes(b'{"tool": "f"}\n' + line.encode("latin-1") + b"\n")
    with pytest.raises(TraceError) as caught:
        first_traces(path, None)
    assert str(caught.value).startswith(complaint)


def test_empty_lines_are_no_traces_and_a_limit_counts_traces(tmp_path: Path) -> None:
    path = tmp_path / "calls.jsonl"
    path.write_text('\n{"tool": "a"}\n\n  \n{"tool": "b"}\n{"tool": "c"}')
    assert [trace.where for trace in read_traces(path)] == [
        "calls.jsonl:2",
        "calls.jsonl:5",
        "calls.jsonl:6",
    ]
    assert [trace.content["tool"] for trace in first_traces(path, 2)] == ["a", "b"]


def test_a_spread_sample_comes_from_the_whole_file(tmp_path: Path) -> None:
    path = a_file(tmp_path, *({"tool": f"t{number}"} for number in range(10)))
    assert [t.content["tool"] for t in spread_traces(path, 3)] == ["t0", "t3", "t6"]
    assert len(spread_traces(path, 100)) == 10


def test_our_own_traces_are_labelled_both_ways() -> None:
    own = first_traces(Path(__file__).parents[1] / "data" / "traces.jsonl", None)
    assert {trace.label for trace in own} == {0, 1}
