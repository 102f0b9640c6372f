"""One circuit: pybreaker's state machine, told of outcomes once they are known.

The laws of this file:

1. pybreaker counts and moves between the states. It never makes the call itself: it would hold its
   lock for as long as the call takes, and it takes the making of a coroutine for a success.
2. Time is the stopwatch that was handed in; pybreaker's own, the wall clock, is never asked.
3. A call belongs to the phase in which it was admitted. What it says after that phase has ended is
   told to the listeners and moves nothing.
4. A half-open phase admits one call at a time. A trial that ends without an answer (cancelled, or
   with an excluded exception) gives its place to the next caller.
5. Only an `Exception` is a failure. A deadline must therefore stand inside the guarded call:
   outside, it would arrive here as a cancellation, which is nobody's fault.
"""

from __future__ import annotations

import inspect
import math
import threading
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass
from enum import StrEnum
from functools import partial
from typing import Any, Final, TypeVar

import pybreaker
import structlog

from cluster.clock import Clock, SystemClock
from cluster.errors import CircuitOpenError, ConfigurationError

T = TypeVar("T")

log = structlog.get_logger(__name__)

# What a caller is told who comes while another's trial is under way: nobody knows for how long.
TRIAL_RETRY_S: Final = 1.0


class CircuitState(StrEnum):
    """Whether calls pass."""

    CLOSED = "closed"
    OPEN = "open"
    HALF_OPEN = "half_open"


_STATES: Final = {
    pybreaker.STATE_CLOSED: CircuitState.CLOSED,
    pybreaker.STATE_OPEN: CircuitState.OPEN,
    pybreaker.STATE_HALF_OPEN: CircuitState.HALF_OPEN,
}


@dataclass(frozen=True)
class CircuitBreakerConfig:
    """When a circuit opens, and for how long.

    `fail_max` consecutive failures open it for `reset_timeout` seconds. An exception of a type in
    `exclude_exceptions` is neither a failure nor a success. Each listener hears of everything.
    """

    fail_max: int = 5
    reset_timeout: float = 30
    exclude_exceptions: tuple[type[BaseException], ...] = ()
    listeners: tuple[pybreaker.CircuitBreakerListener, ...] = ()

    def __post_init__(self) -> None:
        """Take any sequence for the tuples, and refuse a circuit that could not work."""
        object.__setattr__(self, "exclude_exceptions", tuple(self.exclude_exceptions))
        object.__setattr__(self, "listeners", tuple(self.listeners))
        strangers = [each for each in self.exclude_exceptions if not _is_exception(each)]
        if strangers:
            raise ConfigurationError(f"exclude_exceptions holds {strangers!r}: not exception types")
        if self.fail_max < 1:
            raise ConfigurationError(f"fail_max is {self.fail_max}; it must be at least 1")
        if not (math.isfinite(self.reset_timeout) and self.reset_timeout >= 0):
            raise ConfigurationError(
                f"reset_timeout is {self.reset_timeout}; it must be a number of seconds from 0 up"
            )


@dataclass(frozen=True, slots=True, eq=False)
class Phase:
    """One stay in one state; two stays are two phases, and never equal."""

    state: CircuitState
    began_at_s: float


class _Relay(pybreaker.CircuitBreakerListener):
    """Hears pybreaker for the circuit, and passes it on."""

    def __init__(self, circuit: Circuit) -> None:
        self._circuit = circuit

    def state_change(
        self,
        cb: pybreaker.CircuitBreaker,
        old_state: pybreaker.CircuitBreakerState | None,
        new_state: pybreaker.CircuitBreakerState,
    ) -> None:
        self._circuit._enter(_STATES[new_state.name])  # noqa: SLF001  # one class in two parts
        self._circuit.tell("state_change", cb, old_state, new_state)

    def failure(self, cb: pybreaker.CircuitBreaker, exc: BaseException) -> None:
        self._circuit.tell("failure", cb, exc)

    def success(self, cb: pybreaker.CircuitBreaker) -> None:
        self._circuit.tell("success", cb)


class Circuit:
    """A circuit breaker for one dependency, for `def` and `async def`, threads and tasks."""

    def __init__(
        self, name: str, config: CircuitBreakerConfig | None = None, *, clock: Clock | None = None
    ) -> None:
        self.name = name
        self.config = config or CircuitBreakerConfig()
        self._clock = clock or SystemClock()
        self._lock = threading.RLock()
        self._storage = pybreaker.CircuitMemoryStorage(pybreaker.STATE_CLOSED)
        self._breaker = pybreaker.CircuitBreaker(
            fail_max=self.config.fail_max,
            listeners=[_Relay(self)],
            state_storage=self._storage,
            name=name,
            throw_new_error_on_trip=False,
        )
        self._excluded = self.config.exclude_exceptions
        self._watches_calls = any(_overrides(each, "before_call") for each in self.listeners)
        self._watches_success = any(_overrides(each, "success") for each in self.listeners)
        self._phase = Phase(CircuitState.CLOSED, self._clock.monotonic_s())
        self._trial: Phase | None = None

    def __repr__(self) -> str:
        return f"<Circuit {self.name} {self.state}>"

    @property
    def state(self) -> CircuitState:
        """Where the circuit stands. An open one moves to half-open when the next call comes."""
        return self._phase.state

    @property
    def fail_counter(self) -> int:
        """Consecutive failures; of an open circuit, those that opened it."""
        return self._breaker.fail_counter

    @property
    def success_counter(self) -> int:
        """Successful trials of the present half-open phase."""
        return self._breaker.success_counter

    @property
    def listeners(self) -> tuple[pybreaker.CircuitBreakerListener, ...]:
        """Who hears of what happens here."""
        return self.config.listeners

    def open(self) -> None:
        """Trip the circuit by hand; `reset_timeout` runs from now."""
        with self._lock:
            self._breaker.open()

    def half_open(self) -> None:
        """Let the next call be a trial, without waiting for `reset_timeout`."""
        with self._lock:
            self._breaker.half_open()

    def reset(self) -> None:
        """Close the circuit and forget its failures."""
        with self._lock:
            if self._phase.state is CircuitState.CLOSED:
                self._storage.reset_counter()
            else:
                self._breaker.close()

    def call(self, func: Callable[..., T], /, *args: Any, **kwargs: Any) -> T:
        """Call `func` through the circuit; of an `async def`, return what is to be awaited.

        Raises CircuitOpenError instead of calling when the circuit does not let it pass.
        """
        if is_async(func):
            return self.run(partial(func, *args, **kwargs))  # type: ignore[arg-type,return-value]  # T is the coroutine
        return self.carry(self.admit(func, *args, **kwargs), partial(func, *args, **kwargs))

    async def run(self, call: Callable[[], Awaitable[T]]) -> T:
        """Await `call()` through the circuit, or raise CircuitOpenError without making it."""
        return await self.carry_async(self.admit(call), call)

    def admit(self, func: Callable[..., object], *args: object, **kwargs: object) -> Phase:
        """Let one call pass and return its phase, or raise CircuitOpenError.

        Each phase that is returned must be carried: it may be the only trial.
        """
        phase = self._phase
        if phase.state is not CircuitState.CLOSED:
            phase = self._admit_trial()
        if self._watches_calls:
            self.tell("before_call", self._breaker, func, *args, **kwargs)
        return phase

    def carry(self, phase: Phase, call: Callable[[], T]) -> T:
        """Make an admitted call and learn from its outcome."""
        try:
            result = call()
        except Exception as error:
            self._failed(phase, error)
            raise
        except BaseException:
            self._released(phase)
            raise
        if inspect.isawaitable(result):
            self._released(phase)
            raise _refuse_awaitable(self.name, result)
        self._succeeded(phase)
        return result

    async def carry_async(self, phase: Phase, call: Callable[[], Awaitable[T]]) -> T:
        """Await an admitted call and learn from its outcome."""
        try:
            result = await call()
        except Exception as error:
            self._failed(phase, error)
            raise
        except BaseException:
            self._released(phase)
            raise
        self._succeeded(phase)
        return result

    def tell(self, event: str, *facts: object, **more: object) -> None:
        """Tell every listener; one that raises is logged and harms nobody else."""
        for listener in self.listeners:
            try:
                getattr(listener, event)(*facts, **more)
            except Exception:
                log.exception("listener.failed", circuit=self.name, about=event)

    def _enter(self, state: CircuitState) -> None:
        self._phase = Phase(state, self._clock.monotonic_s())

    def _admit_trial(self) -> Phase:
        with self._lock:
            phase = self._phase
            match phase.state:
                case CircuitState.CLOSED:
                    return phase
                case CircuitState.OPEN:
                    ends_at_s = phase.began_at_s + self.config.reset_timeout
                    wait_s = ends_at_s - self._clock.monotonic_s()
                    if wait_s > 0:
                        raise CircuitOpenError(self.name, wait_s)
                    self._breaker.half_open()
                case CircuitState.HALF_OPEN:
                    if self._trial is phase:
                        raise CircuitOpenError(self.name, TRIAL_RETRY_S)
            self._trial = self._phase
            return self._phase

    def _succeeded(self, phase: Phase) -> None:
        # A success on a closed circuit without failures changes nothing: no lock, no pybreaker.
        if phase.state is not CircuitState.CLOSED or self._storage.counter:
            self._report(phase, None)
        elif self._watches_success:
            self.tell("success", self._breaker)

    def _failed(self, phase: Phase, error: Exception) -> None:
        if isinstance(error, self._excluded):
            self._released(phase)
            return
        trace = error.__traceback__
        self._report(phase, error)
        error.__traceback__ = trace  # without the frames of the telling

    def _report(self, phase: Phase, error: Exception | None) -> None:
        with self._lock:
            if phase is not self._phase:
                if error is None:
                    self.tell("success", self._breaker)
                else:
                    self.tell("failure", self._breaker, error)
                return
            with suppress(Exception):  # pybreaker raises what it was told
                self._breaker.call(_repeat, error)

    def _released(self, phase: Phase) -> None:
        with self._lock:
            if self._trial is phase:
                self._trial = None


def is_async(func: Callable[..., object]) -> bool:
    """Say whether calling `func` only makes a coroutine."""
    call = getattr(func, "__call__", None)  # noqa: B004  # an object may have an `async __call__`
    return inspect.iscoroutinefunction(func) or inspect.iscoroutinefunction(call)


def _is_exception(kind: object) -> bool:
    return isinstance(kind, type) and issubclass(kind, BaseException)


def _overrides(listener: pybreaker.CircuitBreakerListener, event: str) -> bool:
    own = getattr(type(listener), event, None)
    return own is not getattr(pybreaker.CircuitBreakerListener, event)


def _repeat(error: Exception | None) -> None:
    if error is not None:
        raise error


def _refuse_awaitable(name: str, result: object) -> TypeError:
    if inspect.iscoroutine(result):
        result.close()
    return TypeError(
        f"circuit {name}: a plain function returned {type(result).__name__}, whose outcome is not "
        "known yet; pass the `async def` itself, or use `await guard(name, call)`"
    )
