"""A few threads that evaluate with a deadline, though an evaluation cannot be interrupted.

A caller whose deadline passes gets its answer; the thread it leaves behind is *stuck* until the
evaluation returns by itself. Laws of this file:
1. A caller waits no longer than its deadline, whatever its evaluation does.
2. A stuck thread is replaced, so that one bad input does not slow the next caller, until
   `stuck_max` are stuck; from then on every evaluation is refused at once, until one returns.
3. There are never more than `threads + stuck_max` threads, nor more than `waiting_max` waiting.
"""

from __future__ import annotations

import asyncio
import queue
import threading
from collections.abc import Callable
from contextlib import suppress
from enum import Enum, auto

import structlog

from cluster.errors import EngineUnavailableError
from cluster.opa.engine import DeadlineError, Evaluation, EvaluationError
from policies.errors import GovernanceError

log = structlog.get_logger(__name__)

Evaluate = Callable[[bytes], Evaluation]


class _State(Enum):
    WAITING = auto()
    RUNNING = auto()
    STUCK = auto()
    OVER = auto()


class _Job:
    """One evaluation, and the caller that waits for it."""

    __slots__ = ("document", "future", "loop", "state", "timer")

    def __init__(self, document: bytes, loop: asyncio.AbstractEventLoop) -> None:
        self.document = document
        self.loop = loop
        self.future: asyncio.Future[Evaluation] = loop.create_future()
        self.state = _State.WAITING
        self.timer: asyncio.TimerHandle | None = None

    def deliver(self, outcome: Evaluation | GovernanceError) -> None:
        """Give the caller its answer; runs on the caller's loop."""
        if self.timer is not None:
            self.timer.cancel()
        if self.future.done():
            return
        if isinstance(outcome, Evaluation):
            self.future.set_result(outcome)
        else:
            self.future.set_exception(outcome)


class Workers:
    """Runs `evaluate` on `threads` threads of its own."""

    def __init__(
        self, evaluate: Evaluate, *, threads: int, stuck_max: int, waiting_max: int
    ) -> None:
        assert threads > 0
        assert stuck_max > 0
        self._evaluate = evaluate
        self._threads = threads
        self._stuck_max = stuck_max
        self._waiting_max = waiting_max
        self._queue: queue.SimpleQueue[_Job | None] = queue.SimpleQueue()
        self._lock = threading.Lock()
        self._live = 0
        self._stuck = 0
        self._closed = False
        with self._lock:
            for _ in range(threads):
                self._start()

    @property
    def stuck(self) -> int:
        """How many threads are in an evaluation that nobody waits for any more."""
        return self._stuck

    @property
    def live(self) -> int:
        """How many threads take work."""
        return self._live

    def refusal(self) -> EngineUnavailableError | None:
        """Return why nothing can be evaluated now, or None."""
        if self._closed:
            return EngineUnavailableError("the engine is closed")
        if self._stuck >= self._stuck_max:
            return EngineUnavailableError(
                f"{self._stuck} evaluations have passed their deadline and still run; "
                "correct or roll back the policy that does not end"
            )
        if self._queue.qsize() >= self._waiting_max:
            return EngineUnavailableError(f"{self._waiting_max} evaluations are waiting")
        return None

    async def evaluate(self, document: bytes, deadline_s: float) -> Evaluation:
        """Return the evaluation. Raises DeadlineError, EngineUnavailableError, EvaluationError."""
        refusal = self.refusal()
        if refusal is not None:
            raise refusal
        loop = asyncio.get_running_loop()
        job = _Job(document, loop)
        job.timer = loop.call_later(deadline_s, self._expire, job, deadline_s)
        self._queue.put(job)
        try:
            return await job.future
        except asyncio.CancelledError:
            self._forget(job)
            raise

    def close(self) -> None:
        """Let every idle thread end, and every busy one end after its evaluation."""
        with self._lock:
            if self._closed:
                return
            self._closed = True
            for _ in range(self._live):
                self._queue.put(None)

    def _start(self) -> None:
        self._live += 1
        # A daemon: a process that is asked to stop must not wait for a policy that does not end.
        threading.Thread(target=self._work, name="opa", daemon=True).start()

    def _work(self) -> None:
        while (job := self._queue.get()) is not None:
            if not self._begin(job):
                continue
            outcome = self._outcome(job.document)
            stays = self._end(job)
            with suppress(RuntimeError):  # the caller's loop is closed: nobody waits
                job.loop.call_soon_threadsafe(job.deliver, outcome)
            if not stays:
                return
            del job, outcome  # hold no message while waiting for the next

    def _outcome(self, document: bytes) -> Evaluation | GovernanceError:
        try:
            return self._evaluate(document)
        except GovernanceError as error:
            return error
        except Exception as error:  # else the thread dies and its caller waits
            log.exception("policy.engine_failed")
            return EvaluationError(f"the engine failed: {error!r}")

    def _begin(self, job: _Job) -> bool:
        with self._lock:
            if job.state is not _State.WAITING:
                return False
            job.state = _State.RUNNING
            return True

    def _end(self, job: _Job) -> bool:
        """Return whether this thread takes more work: not if it was replaced meanwhile."""
        with self._lock:
            was_stuck = job.state is _State.STUCK
            job.state = _State.OVER
            if not was_stuck:
                return True
            self._stuck -= 1
            if self._closed or self._live >= self._threads:
                return False
            self._live += 1
            return True

    def _expire(self, job: _Job, deadline_s: float) -> None:
        with self._lock:
            state = job.state
            if state is _State.OVER:
                return  # its answer is on the way to this loop
            if state is _State.RUNNING:
                job.state = _State.STUCK
                self._abandon_thread()
            else:
                job.state = _State.OVER
        log.warning("policy.timeout", started=state is _State.RUNNING, stuck=self._stuck)
        did = "did not end" if state is _State.RUNNING else "did not begin"
        job.deliver(DeadlineError(f"the evaluation {did} within {deadline_s * 1000:.0f} ms"))

    def _abandon_thread(self) -> None:
        self._stuck += 1
        self._live -= 1
        if self._stuck < self._stuck_max and not self._closed:
            self._start()

    def _forget(self, job: _Job) -> None:
        """The caller has gone; what has not begun will not begin. The timer watches the rest."""
        with self._lock:
            if job.state is _State.WAITING:
                job.state = _State.OVER
                if job.timer is not None:
                    job.timer.cancel()
