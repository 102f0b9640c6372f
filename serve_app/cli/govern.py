"""Governing a whole file over HTTP, several lines at a time, with progress."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any, Final

from cluster.constants import CONSTITUTIONAL_HASH
from serve_app.cli.client import Client, ProblemError
from serve_app.cli.output import progress_bar
from serve_app.cli.tally import Tally
from serve_app.cli.traces import Trace, count_traces, read_traces

IN_FLIGHT: Final = 8
_WINDOW: Final = 64

Hear = Callable[[Trace, dict[str, Any]], None]
"""Hears of every decision, in the order of the file."""


@dataclass(frozen=True, slots=True)
class _Answer:
    trace: Trace
    outcome: dict[str, Any] | ProblemError
    latency_ms: float


def govern_file(
    client: Client,
    path: Path,
    *,
    to: str,
    limit: int | None = None,
    hear: Hear | None = None,
) -> Tally:
    """Send every line of the file to `to`, eight at a time, and count what was decided.

    A line that the bus refuses (4xx) is counted by its code. Raises TraceError before anything is
    sent when a line is no trace, and ProblemError when the bus cannot govern or the token does
    not permit it.
    """
    total = count_traces(path, limit=limit)
    tally = Tally()
    started_s = time.perf_counter()
    with progress_bar() as progress, ThreadPoolExecutor(IN_FLIGHT) as pool:
        task = progress.add_task(path.name, total=total)
        for window in _windows(read_traces(path, limit=limit)):
            for answer in pool.map(lambda trace: _govern(client, trace, to), window):
                _count(tally, answer, hear)
                progress.advance(task)
    tally.wall_s = time.perf_counter() - started_s
    return tally


def _govern(client: Client, trace: Trace, to: str) -> _Answer:
    body = {
        "to_agent": to,
        "constitutional_hash": CONSTITUTIONAL_HASH,
        "content": trace.content,
        "metadata": {"trace": trace.where},
    }
    started_s = time.perf_counter()
    try:
        decision = client.call("POST", "/v1/messages", body=body)
    except ProblemError as problem:
        return _Answer(trace, problem, 0.0)
    return _Answer(trace, decision, (time.perf_counter() - started_s) * 1000)


def _count(tally: Tally, answer: _Answer, hear: Hear | None) -> None:
    if isinstance(answer.outcome, ProblemError):
        if not _is_about_the_line(answer.outcome):
            raise answer.outcome
        tally.refuse(answer.outcome.code)
        return
    tally.add(answer.trace, answer.outcome, answer.latency_ms)
    if hear is not None:
        hear(answer.trace, answer.outcome)


def _is_about_the_line(problem: ProblemError) -> bool:
    """Say whether this line alone is at fault: the next one may be judged."""
    return problem.status in (400, 409, 413, 422)


def _windows(traces: Iterable[Trace]) -> Iterator[list[Trace]]:
    iterator = iter(traces)
    while window := list(islice(iterator, _WINDOW)):
        yield window
