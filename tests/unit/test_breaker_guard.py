"""The two ways through a circuit."""

from __future__ import annotations

import asyncio
import inspect
import uuid
from collections.abc import AsyncIterator, Iterator

import pytest

from cluster.breaker.circuit import Circuit, CircuitBreakerConfig, CircuitState
from cluster.breaker.guard import guard, with_circuit_breaker
from cluster.breaker.registry import get_circuit_breaker
from cluster.errors import CircuitOpenError

ONCE = CircuitBreakerConfig(fail_max=1)


@pytest.fixture
def name() -> str:
    return f"dependency-{uuid.uuid4().hex[:8]}"


async def down() -> str:
    raise ConnectionError("down")


def test_guard_takes_a_name_or_a_circuit(name: str) -> None:
    async def scenario() -> None:
        assert await guard(name, lambda: asyncio.sleep(0, "by name")) == "by name"
        circuit = Circuit("its own")
        assert await guard(circuit, lambda: asyncio.sleep(0, "by hand")) == "by hand"

    asyncio.run(scenario())


def test_guard_opens_the_named_circuit_and_then_makes_no_call(name: str) -> None:
    circuit = get_circuit_breaker(name, ONCE)

    async def scenario() -> None:
        with pytest.raises(ConnectionError):
            await guard(name, down)
        with pytest.raises(CircuitOpenError) as caught:
            await guard(name, down)
        assert caught.value.dependency == name
        assert caught.value.code == "circuit.open"

    asyncio.run(scenario())
    assert circuit.state is CircuitState.OPEN


def test_a_deadline_inside_the_call_opens_the_circuit_and_one_outside_does_not(name: str) -> None:
    async def hangs() -> None:
        await asyncio.sleep(60)

    async def hangs_within_a_deadline() -> None:
        async with asyncio.timeout(0.01):
            await asyncio.sleep(60)

    async def scenario() -> None:
        circuit = get_circuit_breaker(name, ONCE)
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.01):
                await guard(name, hangs)
        assert circuit.state is CircuitState.CLOSED
        with pytest.raises(TimeoutError):
            await guard(name, hangs_within_a_deadline)
        assert circuit.state is CircuitState.OPEN

    asyncio.run(scenario())


def test_defect_11_a_decorated_async_def_opens_its_circuit(name: str) -> None:
    made = 0

    @with_circuit_breaker(name, CircuitBreakerConfig(fail_max=5))
    async def fetch() -> None:
        nonlocal made
        made += 1
        raise ConnectionError

    async def scenario() -> None:
        for _ in range(10):
            with pytest.raises((ConnectionError, CircuitOpenError)):
                await fetch()

    asyncio.run(scenario())
    assert made == 5
    assert inspect.iscoroutinefunction(fetch)
    assert get_circuit_breaker(name).state is CircuitState.OPEN


def test_a_decorated_def_opens_its_circuit_and_falls_back(name: str) -> None:
    @with_circuit_breaker(name, ONCE, fallback=lambda key, *, default: f"{key}: {default}")
    def fetch(key: str, *, default: str) -> str:
        raise ConnectionError(key + default)

    with pytest.raises(ConnectionError):
        fetch("a", default="b")
    assert fetch("a", default="b") == "a: b"


def test_an_async_def_may_fall_back_to_either_kind(name: str) -> None:
    async def slow_answer(key: str) -> str:
        await asyncio.sleep(0)
        return f"slow {key}"

    @with_circuit_breaker(name, ONCE, fallback=slow_answer)
    async def fetch(key: str) -> str:
        raise ConnectionError(key)

    @with_circuit_breaker(name, ONCE, fallback=lambda key: f"fast {key}")
    async def fetch_too(key: str) -> str:
        raise ConnectionError(key)

    async def scenario() -> None:
        with pytest.raises(ConnectionError):
            await fetch("a")
        assert await fetch("a") == "slow a"
        assert await fetch_too("a") == "fast a"

    asyncio.run(scenario())


def test_another_circuits_refusal_inside_the_function_is_not_ours_to_hide(name: str) -> None:
    @with_circuit_breaker(name, fallback=lambda: "hidden")
    def fetch() -> str:
        raise CircuitOpenError("another", 1.0)

    with pytest.raises(CircuitOpenError, match="another"):
        fetch()
    assert get_circuit_breaker(name).fail_counter == 1


def test_a_method_keeps_its_self_its_name_and_its_docstring(name: str) -> None:
    class Client:
        @with_circuit_breaker(name)
        def fetch(self, key: str) -> tuple[object, str]:
            """Fetch it."""
            return self, key

    client = Client()
    assert client.fetch("a") == (client, "a")
    assert (Client.fetch.__name__, Client.fetch.__doc__) == ("fetch", "Fetch it.")


def test_a_decorated_function_can_be_inspected_before_its_first_call(name: str) -> None:
    @with_circuit_breaker(name, ONCE)
    def fetch() -> None: ...

    assert get_circuit_breaker(name).config.fail_max == 1


def test_generators_and_mismatched_fallbacks_are_refused_when_written(name: str) -> None:
    def numbers() -> Iterator[int]:
        yield 1

    async def async_numbers() -> AsyncIterator[int]:
        yield 1

    for func in (numbers, async_numbers):
        with pytest.raises(TypeError, match="generator"):
            with_circuit_breaker(name)(func)
    with pytest.raises(TypeError, match="fallback"):
        with_circuit_breaker(name, fallback=down)(lambda: "x")
