"""OPA inside this process: the default engine.

Laws of this file:
1. There is always exactly one active revision; the first one is needed to be made at all.
2. An engine is used by one thread at a time, and never changed: a new revision is new engines,
   compiled and warmed up before the first message meets them.
3. Every evaluation ran under one revision from its beginning to its end, and says which.
"""

from __future__ import annotations

import asyncio
import threading
from collections import deque
from collections.abc import Callable
from typing import Final

import structlog

from cluster.errors import EngineUnavailableError
from cluster.opa.engine import ENTRYPOINT, Bundle, Evaluation
from cluster.opa.inspection import inspect
from cluster.opa.native import NativeEngine, load_library
from cluster.opa.workers import Workers

log = structlog.get_logger(__name__)

THREADS: Final = 2  # measured: more add nothing on two cores, one lets a slow policy stop the rest
STUCK_MAX: Final = 4
WAITING_MAX: Final = 1024
ACTIVATION_TIMEOUT_S: Final = 30.0


class _Generation:
    """One revision, and its engines: as many as evaluate at once, each with one thread at a time.

    Raises BundleError for a bundle that may not or cannot run.
    """

    def __init__(self, bundle: Bundle, *, entrypoint: str, warm_up: bytes, engines: int) -> None:
        self._bundle = inspect(bundle, entrypoint)
        self._entrypoint = entrypoint
        self._warm_up = warm_up
        self.revision = bundle.revision
        self._lock = threading.Lock()
        self._retired = False
        self._idle: deque[NativeEngine] = deque(self._engine() for _ in range(engines))

    def evaluate(self, document: bytes) -> Evaluation:
        """Return what this revision says."""
        try:
            engine = self._idle.pop()
        except IndexError:  # the others are with stuck threads
            engine = self._engine()
        try:
            return Evaluation(engine.evaluate(document), self.revision)
        finally:
            self._give_back(engine)

    def retire(self) -> None:
        """Close every engine: idle ones now, busy ones when their evaluation ends."""
        with self._lock:
            self._retired = True
            while self._idle:
                self._idle.pop().close()

    def _give_back(self, engine: NativeEngine) -> None:
        with self._lock:
            if self._retired:
                engine.close()
            else:
                self._idle.append(engine)

    def _engine(self) -> NativeEngine:
        return NativeEngine(self._bundle, self._entrypoint, warm_up=self._warm_up)


class EmbeddedEngine:
    """A `PolicyEngine` on OPA's own library.

    Raises ConfigurationError where the library is not installed, BundleError for a bundle that
    may not or cannot run, and EngineUnavailableError for one that does not compile in time.
    """

    name: Final = "opa-embedded"

    def __init__(
        self,
        bundle: Bundle,
        *,
        entrypoint: str = ENTRYPOINT,
        warm_up: bytes = b"{}",
        threads: int = THREADS,
        stuck_max: int = STUCK_MAX,
    ) -> None:
        load_library()  # a missing library is said first, and as a matter of configuration
        self._entrypoint = entrypoint
        self._warm_up = warm_up
        self._threads = threads
        self._active = _within(ACTIVATION_TIMEOUT_S, lambda: self._compiled(bundle))
        self._activation = threading.Lock()
        self._workers = Workers(
            self._evaluate_now,
            threads=threads,
            stuck_max=stuck_max,
            waiting_max=WAITING_MAX,
        )

    @property
    def revision(self) -> str:
        """The active revision."""
        return self._active.revision

    @property
    def stuck(self) -> int:
        """How many threads are in an evaluation that passed its deadline."""
        return self._workers.stuck

    async def evaluate(self, document: bytes, deadline_s: float) -> Evaluation:
        """Return the entrypoint's value under the active revision."""
        return await self._workers.evaluate(document, deadline_s)

    async def activate(self, bundle: Bundle) -> None:
        """Make the bundle the active revision, at once for everybody, or change nothing.

        Raises BundleError and EngineUnavailableError, as the constructor does.
        """
        await asyncio.to_thread(self._activate, bundle)

    async def check(self) -> str:
        """Return a sentence on how it is; raise EngineUnavailableError if it cannot answer."""
        refusal = self._workers.refusal()
        if refusal is not None:
            raise refusal
        return f"{self.revision} is active; {self.stuck} evaluations are stuck"

    async def close(self) -> None:
        """Let the threads end and give the memory back."""
        self._workers.close()
        self._active.retire()

    def _evaluate_now(self, document: bytes) -> Evaluation:
        return self._active.evaluate(document)

    def _activate(self, bundle: Bundle) -> None:
        with self._activation:
            if bundle.revision == self.revision:
                return
            coming = _within(ACTIVATION_TIMEOUT_S, lambda: self._compiled(bundle))
            going, self._active = self._active, coming
            going.retire()
        log.info("policy.activated", revision=coming.revision, instead_of=going.revision)

    def _compiled(self, bundle: Bundle) -> _Generation:
        return _Generation(
            bundle, entrypoint=self._entrypoint, warm_up=self._warm_up, engines=self._threads
        )


def _within(timeout_s: float, make: Callable[[], _Generation]) -> _Generation:
    """Return what `make` makes, on a thread of its own: a compilation cannot be interrupted."""
    made: list[_Generation | BaseException] = []

    def attempt() -> None:
        try:
            made.append(make())
        except BaseException as error:  # noqa: BLE001  # raised again below, in the caller
            made.append(error)

    thread = threading.Thread(target=attempt, name="opa-compile", daemon=True)
    thread.start()
    thread.join(timeout_s)
    if not made:
        raise EngineUnavailableError(f"the bundle did not compile within {timeout_s:.0f} s")
    outcome = made[0]
    if isinstance(outcome, BaseException):
        raise outcome
    return outcome
