"""What every policy engine promises, asked of OPA in this process and of an OPA server."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import TypeAlias

import pytest
from opa_bundles import BUDGET_S, DIVIDING, a_bundle
from opa_server import OpaServer

from cluster.breaker.circuit import Circuit
from cluster.errors import EngineUnavailableError
from cluster.opa.embedded import EmbeddedEngine
from cluster.opa.engine import Bundle, EvaluationError, PolicyEngine, UndefinedError
from cluster.opa.rest import RestEngine

Open: TypeAlias = Callable[[Bundle], AbstractAsyncContextManager[PolicyEngine]]


@asynccontextmanager
async def _embedded(bundle: Bundle) -> AsyncIterator[PolicyEngine]:
    engine = EmbeddedEngine(bundle)
    try:
        yield engine
    finally:
        await engine.close()


@asynccontextmanager
async def _server(bundle: Bundle) -> AsyncIterator[PolicyEngine]:
    with OpaServer(bundle) as server:
        circuit = Circuit("opa_server")
        engine = RestEngine(server.url, expected_revision=bundle.revision, circuit=circuit)
        try:
            yield engine
        finally:
            await engine.close()


@pytest.fixture(params=[_embedded, _server], ids=["opa-embedded", "opa-server"])
def opened(request: pytest.FixtureRequest) -> Open:
    chosen: Open = request.param
    return chosen


def test_it_says_its_name_and_the_revision_that_it_answers_for(
    opened: Open, request: pytest.FixtureRequest
) -> None:
    async def scenario() -> None:
        bundle = a_bundle()
        async with opened(bundle) as engine:
            assert f"[{engine.name}]" in request.node.name
            assert engine.revision == bundle.revision
            evaluation = await engine.evaluate(b'{"x": 1}', BUDGET_S)
            assert (evaluation.value, evaluation.revision) == (1, bundle.revision)
            assert await engine.check()

    asyncio.run(scenario())


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (b"null", None),
        (b"false", False),
        (b'"\xc3\xa9\\u0000\\n"', "é\0\n"),
        (b"[1, [2.5, {}]]", [1, [2.5, {}]]),
        (b'{"allow": true}', {"allow": True}),
        (b"12345678901234567890", 12345678901234567890),
    ],
)
def test_a_value_arrives_as_it_was_given(opened: Open, given: bytes, expected: object) -> None:
    async def scenario() -> None:
        async with opened(a_bundle()) as engine:
            evaluation = await engine.evaluate(b'{"x":%s}' % given, BUDGET_S)
            assert evaluation.value == expected

    asyncio.run(scenario())


def test_undefined_is_said_by_its_own_error(opened: Open) -> None:
    async def scenario() -> None:
        async with opened(a_bundle()) as engine:
            with pytest.raises(UndefinedError):
                await engine.evaluate(b"{}", BUDGET_S)

    asyncio.run(scenario())


def test_builtin_errors_are_strict_so_that_a_failing_check_is_never_a_passing_one(
    opened: Open,
) -> None:
    async def scenario() -> None:
        async with opened(DIVIDING) as engine:
            assert (await engine.evaluate(b'{"x": 2}', BUDGET_S)).value == {"quotient": 0.5}
            with pytest.raises(EvaluationError, match="divide by zero") as caught:
                await engine.evaluate(b'{"x": 0}', BUDGET_S)
            assert caught.value.code == "policy.error"

    asyncio.run(scenario())


def test_conflicting_answers_are_an_error(opened: Open) -> None:
    async def scenario() -> None:
        rules = "decision := 1 if input.x\ndecision := 2 if input.x"
        async with opened(a_bundle(rules)) as engine:
            with pytest.raises(EvaluationError, match="conflict"):
                await engine.evaluate(b'{"x": true}', BUDGET_S)

    asyncio.run(scenario())


def test_concurrent_callers_get_their_own_answers(opened: Open) -> None:
    async def scenario() -> None:
        async with opened(a_bundle()) as engine:
            asked = [b'{"x": %d}' % number for number in range(60)]
            answers = await asyncio.gather(*(engine.evaluate(each, BUDGET_S) for each in asked))
            assert [answer.value for answer in answers] == list(range(60))

    asyncio.run(scenario())


def test_a_closed_engine_refuses(opened: Open) -> None:
    async def scenario() -> None:
        async with opened(a_bundle()) as engine:
            await engine.close()
            with pytest.raises(EngineUnavailableError):
                await engine.evaluate(b'{"x": 1}', BUDGET_S)
            with pytest.raises(EngineUnavailableError):
                await engine.check()

    asyncio.run(scenario())
