"""Whatever an evaluation does, its caller has an answer by the deadline."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable

import pytest

from cluster.errors import EngineUnavailableError
from cluster.opa.engine import DeadlineError, Evaluation, EvaluationError, UndefinedError
from cluster.opa.workers import Workers

SOON_S = 0.03
AMPLE_S = 10.0


class Gate:
    """An evaluation that does not end before it is let go, for the documents that say `stick`."""

    def __init__(self) -> None:
        self.opened = threading.Event()
        self.begun: list[bytes] = []

    def __call__(self, document: bytes) -> Evaluation:
        self.begun.append(document)
        if document.startswith(b"stick"):
            self.opened.wait()
        return Evaluation(document, "sha256:1")


def some_workers(evaluate: Callable[[bytes], Evaluation], **changes: int) -> Workers:
    return Workers(evaluate, **{"threads": 2, "stuck_max": 3, "waiting_max": 100, **changes})


def opa_threads() -> set[threading.Thread]:
    """The threads of every pool in this process; other threads come and go as they like."""
    return {thread for thread in threading.enumerate() if thread.name == "opa"}


async def eventually(condition: Callable[[], bool]) -> None:
    for _ in range(500):
        if condition():
            return
        await asyncio.sleep(0.01)
    raise AssertionError("it did not become true")


async def stick(workers: Workers, count: int) -> None:
    """Leave `count` more threads stuck, one after another."""
    for _ in range(count):
        with pytest.raises(DeadlineError, match="did not end within 30 ms"):
            await workers.evaluate(b"stick", SOON_S)


def test_an_evaluation_answers_its_own_caller() -> None:
    async def scenario() -> None:
        workers = some_workers(Gate())
        asked = [b"%d" % number for number in range(200)]
        answers = await asyncio.gather(*(workers.evaluate(each, AMPLE_S) for each in asked[:100]))
        assert [answer.value for answer in answers] == asked[:100]
        workers.close()

    asyncio.run(scenario())


def test_an_error_of_the_engine_reaches_the_caller_as_it_is() -> None:
    def undefined(_: bytes) -> Evaluation:
        raise UndefinedError("nothing there")

    async def scenario() -> None:
        workers = some_workers(undefined)
        with pytest.raises(UndefinedError, match="nothing there"):
            await workers.evaluate(b"", AMPLE_S)
        workers.close()

    asyncio.run(scenario())


def test_a_bug_in_the_engine_is_an_error_and_costs_no_thread() -> None:
    def broken(_: bytes) -> Evaluation:
        raise ZeroDivisionError

    async def scenario() -> None:
        workers = some_workers(broken, threads=1)
        for _ in range(3):
            with pytest.raises(EvaluationError, match="ZeroDivisionError"):
                await workers.evaluate(b"", AMPLE_S)
        workers.close()

    asyncio.run(scenario())


def test_a_caller_waits_no_longer_than_its_deadline() -> None:
    async def scenario() -> None:
        gate = Gate()
        workers = some_workers(gate)
        began = time.monotonic()
        await stick(workers, 1)
        assert SOON_S <= time.monotonic() - began < 1.0
        gate.opened.set()
        workers.close()

    asyncio.run(scenario())


def test_a_stuck_thread_is_replaced_and_the_next_caller_is_answered() -> None:
    async def scenario() -> None:
        gate = Gate()
        workers = some_workers(gate, threads=1)
        await stick(workers, 2)
        assert (workers.stuck, workers.live) == (2, 1)
        assert (await workers.evaluate(b"next", AMPLE_S)).value == b"next"
        gate.opened.set()
        workers.close()

    asyncio.run(scenario())


def test_at_the_bound_everything_is_refused_at_once_until_one_returns() -> None:
    async def scenario() -> None:
        gate = Gate()
        workers = some_workers(gate)
        await stick(workers, 3)
        threads = opa_threads()
        began = time.monotonic()
        for _ in range(50):
            with pytest.raises(EngineUnavailableError, match="3 evaluations have passed"):
                await workers.evaluate(b"next", AMPLE_S)
        assert time.monotonic() - began < AMPLE_S
        assert opa_threads() <= threads
        gate.opened.set()
        await eventually(lambda: workers.stuck == 0)
        assert workers.live == 2
        assert (await workers.evaluate(b"again", AMPLE_S)).value == b"again"
        workers.close()

    asyncio.run(scenario())


def test_with_a_single_thread_and_no_replacement_it_still_recovers() -> None:
    async def scenario() -> None:
        gate = Gate()
        workers = some_workers(gate, threads=1, stuck_max=1)
        await stick(workers, 1)
        assert (workers.stuck, workers.live) == (1, 0)
        gate.opened.set()
        await eventually(lambda: workers.stuck == 0)
        assert (await workers.evaluate(b"again", AMPLE_S)).value == b"again"
        workers.close()

    asyncio.run(scenario())


def test_threads_do_not_grow_however_often_evaluations_stick() -> None:
    async def scenario() -> None:
        before = opa_threads()
        for _ in range(5):
            gate = Gate()
            workers = some_workers(gate)
            await stick(workers, 3)
            assert len(opa_threads() - before) <= 2 + 3
            gate.opened.set()
            workers.close()
            await eventually(lambda: opa_threads() <= before)

    asyncio.run(scenario())


def test_what_waited_too_long_is_not_begun_any_more() -> None:
    async def scenario() -> None:
        gate = Gate()
        workers = some_workers(gate, threads=1, stuck_max=1)
        first = asyncio.create_task(workers.evaluate(b"stick", AMPLE_S))
        await eventually(lambda: gate.begun == [b"stick"])
        with pytest.raises(DeadlineError, match="did not begin"):
            await workers.evaluate(b"late", SOON_S)
        gate.opened.set()
        await first
        await workers.evaluate(b"after", AMPLE_S)
        assert gate.begun == [b"stick", b"after"]
        assert workers.stuck == 0
        workers.close()

    asyncio.run(scenario())


def test_more_than_so_many_are_not_kept_waiting() -> None:
    async def scenario() -> None:
        gate = Gate()
        workers = some_workers(gate, threads=1, waiting_max=2)
        running = asyncio.create_task(workers.evaluate(b"stick", AMPLE_S))
        await eventually(lambda: len(gate.begun) == 1)
        waiting = [asyncio.create_task(workers.evaluate(b"w", AMPLE_S)) for _ in range(2)]
        await asyncio.sleep(0)
        with pytest.raises(EngineUnavailableError, match="2 evaluations are waiting"):
            await workers.evaluate(b"one more", AMPLE_S)
        gate.opened.set()
        await asyncio.gather(running, *waiting)
        workers.close()

    asyncio.run(scenario())


def test_a_caller_that_goes_away_takes_its_waiting_evaluation_along() -> None:
    async def scenario() -> None:
        gate = Gate()
        workers = some_workers(gate, threads=1)
        running = asyncio.create_task(workers.evaluate(b"stick", AMPLE_S))
        await eventually(lambda: len(gate.begun) == 1)
        gone = asyncio.create_task(workers.evaluate(b"gone", AMPLE_S))
        await asyncio.sleep(0)
        gone.cancel()
        with pytest.raises(asyncio.CancelledError):
            await gone
        gate.opened.set()
        await running
        await workers.evaluate(b"after", AMPLE_S)
        assert gate.begun == [b"stick", b"after"]
        workers.close()

    asyncio.run(scenario())


def test_a_thread_whose_caller_went_away_still_counts_as_stuck() -> None:
    async def scenario() -> None:
        gate = Gate()
        workers = some_workers(gate)
        gone = asyncio.create_task(workers.evaluate(b"stick", SOON_S))
        await eventually(lambda: len(gate.begun) == 1)
        gone.cancel()
        await eventually(lambda: workers.stuck == 1)
        gate.opened.set()
        await eventually(lambda: workers.stuck == 0)
        workers.close()

    asyncio.run(scenario())


def test_a_loop_that_is_gone_does_not_cost_the_thread() -> None:
    gate = Gate()
    workers = some_workers(gate, threads=1)

    async def leave() -> None:
        task = asyncio.create_task(workers.evaluate(b"stick", AMPLE_S))
        await eventually(lambda: len(gate.begun) == 1)
        task.cancel()

    asyncio.run(leave())
    gate.opened.set()

    async def come() -> None:
        assert (await workers.evaluate(b"next", AMPLE_S)).value == b"next"
        workers.close()

    asyncio.run(come())


def test_closed_workers_refuse_and_their_threads_end() -> None:
    async def scenario() -> None:
        before = opa_threads()
        workers = some_workers(Gate())
        workers.close()
        workers.close()
        with pytest.raises(EngineUnavailableError, match="closed"):
            await workers.evaluate(b"", AMPLE_S)
        await eventually(lambda: opa_threads() <= before)

    asyncio.run(scenario())
