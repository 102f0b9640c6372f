"""The two ways through a circuit: `await guard("store", call)`, and a decorator."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Awaitable, Callable, Coroutine
from functools import partial
from typing import Any, ParamSpec, TypeVar, cast

from cluster.breaker.circuit import Circuit, CircuitBreakerConfig, is_async
from cluster.breaker.registry import get_circuit_breaker, get_circuit_breaker_registry
from cluster.errors import CircuitOpenError

P = ParamSpec("P")
T = TypeVar("T")


def guard(circuit: str | Circuit, call: Callable[[], Awaitable[T]], /) -> Coroutine[Any, Any, T]:
    """Await `call()` through a circuit, or raise CircuitOpenError without making it.

    Put the deadline inside `call`: a call that is cancelled from outside teaches the circuit
    nothing, so a dependency that hangs would never open it.
    """
    if isinstance(circuit, str):
        circuit = get_circuit_breaker(circuit)
    return circuit.run(call)


def with_circuit_breaker(
    name: str,
    config: CircuitBreakerConfig | None = None,
    fallback: Callable[..., Any] | None = None,
) -> Callable[[Callable[P, T]], Callable[P, T]]:
    """Send every call of a `def` or `async def` through the circuit of that name.

    When the circuit does not let a call pass, `fallback` gets its arguments and answers in its
    place; without one, CircuitOpenError is raised. The fallback of an `async def` may be either.
    What the function itself raises is raised, also by the call that opens the circuit.
    """

    def decorate(func: Callable[P, T]) -> Callable[P, T]:
        if inspect.isgeneratorfunction(func) or inspect.isasyncgenfunction(func):
            raise TypeError(f"{func!r} is a generator: its calls end before its work begins")
        if is_async(func):
            return cast(
                "Callable[P, T]", _guarded_async(func, name=name, config=config, fallback=fallback)
            )
        if fallback is not None and is_async(fallback):
            raise TypeError(f"{func!r} is not async, so its fallback must not be")
        return _guarded(func, name=name, config=config, fallback=fallback)

    return decorate


def _guarded(
    func: Callable[P, T],
    *,
    name: str,
    config: CircuitBreakerConfig | None,
    fallback: Callable[..., Any] | None,
) -> Callable[P, T]:
    _find(name, config)

    @functools.wraps(func)
    def guarded(*args: P.args, **kwargs: P.kwargs) -> T:
        circuit = _find(name, config)
        try:
            phase = circuit.admit(func, *args, **kwargs)
        except CircuitOpenError:
            if fallback is None:
                raise
            return cast("T", fallback(*args, **kwargs))
        return circuit.carry(phase, partial(func, *args, **kwargs))

    return guarded


def _guarded_async(
    func: Callable[..., Any],
    *,
    name: str,
    config: CircuitBreakerConfig | None,
    fallback: Callable[..., Any] | None,
) -> Callable[..., Coroutine[Any, Any, Any]]:
    _find(name, config)

    @functools.wraps(func)
    async def guarded(*args: Any, **kwargs: Any) -> Any:
        circuit = _find(name, config)
        try:
            phase = circuit.admit(func, *args, **kwargs)
        except CircuitOpenError:
            if fallback is None:
                raise
            answer = fallback(*args, **kwargs)
            return await answer if inspect.isawaitable(answer) else answer
        return await circuit.carry_async(phase, partial(func, *args, **kwargs))

    return guarded


def _find(name: str, config: CircuitBreakerConfig | None) -> Circuit:
    # By name at each call: a decorated class may be pickled to a process with its own registry.
    return get_circuit_breaker_registry().get(name) or get_circuit_breaker(name, config)
