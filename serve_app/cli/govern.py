"""Governing many traces over HTTP, several at a time, with progress."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, Final

from cluster.constants import CONSTITUTIONAL_HASH
from serve_app.cli.client import Client, ProblemError
from serve_app.cli.output import progress_bar
from serve_app.cli.tally import Tally
from serve_app.cli.traces import Trace

IN_FLIGHT: Final = 8
_WINDOW: Final = 64

Hear = Callable[[Trace, dict[str, Any]], None]
"""Hears of every decision, in the order of the file."""


@dataclass(frozen=True, slots=True)
class _Answer:
    trace: Trace
    outcome: dict[str, Any] | ProblemError
    latency_ms: float


def govern(
    client: Client,
    traces: Sequence[Trace],
    *,
    name: str,
    to: str,
    hear: Hear | None = None,
) -> Tally:
    """Send every trace to `to`, eight at a time, and count what was decided.

    A trace that the bus refuses (4xx) is counted by its code. Raises ProblemError when the bus
    cannot govern, or the token or the recipient does not permit any of them.
    """
    tally = Tally()
    started_s = time.perf_counter()
    with progress_bar() as progress, ThreadPoolExecutor(IN_FLIGHT) as pool:
        task = progress.add_task(name, total=len(traces))
        for window in _windows(traces):
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


def _windows(traces: Sequence[Trace]) -> Iterator[Sequence[Trace]]:
    for start in range(0, len(traces), _WINDOW):
        yield traces[start : start + _WINDOW]
