"""An OPA server that misbehaves in every way we know, and is believed in none of them."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import orjson
import pytest
from opa_bundles import ALLOWING, BUDGET_S, DIVIDING, a_bundle
from opa_server import Fault, OpaServer

from cluster.breaker.circuit import Circuit, CircuitBreakerConfig, CircuitState
from cluster.errors import ConfigurationError, EngineUnavailableError
from cluster.opa.engine import (
    AnswerError,
    DeadlineError,
    EvaluationError,
    RevisionMismatchError,
)
from cluster.opa.rest import RestEngine

DOCUMENT = b'{"x":1}'
JSON = (("Content-Type", "application/json"),)


def a_circuit(fail_max: int = 100) -> Circuit:
    return Circuit("opa_server", CircuitBreakerConfig(fail_max=fail_max, reset_timeout=60))


@asynccontextmanager
async def an_engine(
    server: OpaServer,
    *,
    circuit: Circuit | None = None,
    expected_revision: str = "",
    token: str | None = None,
) -> AsyncIterator[RestEngine]:
    engine = RestEngine(
        server.url,
        circuit=circuit or a_circuit(),
        expected_revision=expected_revision,
        token=token,
        answer_size_max=10_000,
    )
    try:
        yield engine
    finally:
        await engine.close()


def failed(code: str, message: str = "m", **more: object) -> bytes:
    return orjson.dumps({"code": code, "message": message, **more})


def test_it_asks_strictly_for_provenance_over_one_connection() -> None:
    async def scenario() -> None:
        with OpaServer(a_bundle()) as server:
            async with an_engine(server) as engine:
                for _ in range(10):
                    await engine.evaluate(DOCUMENT, BUDGET_S)
            path = "/v1/data/acgs/governance/decision?strict-builtin-errors=true&provenance=true"
            assert set(server.requests) == {path}
            assert server.connections == 1

    asyncio.run(scenario())


def test_a_unix_socket_is_as_good(tmp_path: Path) -> None:
    async def scenario() -> None:
        bundle = a_bundle()
        with OpaServer(bundle, socket=tmp_path / "opa.sock") as server:
            async with an_engine(server, expected_revision=bundle.revision) as engine:
                assert (await engine.evaluate(DOCUMENT, BUDGET_S)).value == 1
                assert await engine.check()

    asyncio.run(scenario())


def test_the_token_is_sent_and_a_refused_one_is_named() -> None:
    async def scenario() -> None:
        with OpaServer(a_bundle(), token="right") as server:
            async with an_engine(server, token="right") as engine:
                assert (await engine.evaluate(DOCUMENT, BUDGET_S)).value == 1
            async with an_engine(server, token="wrong") as engine:
                with pytest.raises(EngineUnavailableError, match="ACGS_OPA_TOKEN"):
                    await engine.evaluate(DOCUMENT, BUDGET_S)

    asyncio.run(scenario())


@pytest.mark.parametrize("running", ["sha256:" + "0" * 64, "", None])
def test_a_server_with_another_revision_is_not_believed(running: str | None) -> None:
    async def scenario() -> None:
        with OpaServer(ALLOWING) as server:
            server.revision = running
            async with an_engine(server, expected_revision=ALLOWING.revision) as engine:
                with pytest.raises(RevisionMismatchError) as caught:
                    await engine.evaluate(DOCUMENT, BUDGET_S)
                assert caught.value.code == "policy.revision_mismatch"

    asyncio.run(scenario())


def test_a_server_with_one_bundle_more_than_expected_is_not_believed() -> None:
    async def scenario() -> None:
        with OpaServer(ALLOWING) as server:
            bundles = {"a": {"revision": ALLOWING.revision}, "b": {"revision": "other"}}
            answer = {"result": {}, "provenance": {"bundles": bundles}}
            server.fault = Fault(status=200, body=orjson.dumps(answer), headers=JSON)
            async with an_engine(server, expected_revision=ALLOWING.revision) as engine:
                with pytest.raises(RevisionMismatchError):
                    await engine.evaluate(DOCUMENT, BUDGET_S)

    asyncio.run(scenario())


@pytest.mark.parametrize(("running", "recorded"), [("release-7", "release-7"), (None, "unknown")])
def test_without_an_expected_revision_what_the_server_says_is_recorded(
    running: str | None, recorded: str
) -> None:
    async def scenario() -> None:
        with OpaServer(ALLOWING) as server:
            server.revision = running
            async with an_engine(server) as engine:
                assert engine.revision == ""
                assert (await engine.evaluate(DOCUMENT, BUDGET_S)).revision == recorded

    asyncio.run(scenario())


BUILTIN_FAILED = failed("internal_error", errors=[{"code": "eval_builtin_error", "message": "bad"}])
FAULTS: dict[str, tuple[Fault, type[Exception]]] = {
    "a failed built-in": (Fault(status=500, body=BUILTIN_FAILED), EvaluationError),
    "a bad parameter": (Fault(status=400, body=failed("invalid_parameter")), EvaluationError),
    "a 400 of somebody else": (Fault(status=400, body=b"no"), AnswerError),
    "a 500 of somebody else": (Fault(status=500, body=b"oops"), EngineUnavailableError),
    "a 500 without errors": (
        Fault(status=500, body=failed("internal_error")),
        EngineUnavailableError,
    ),
    "a 503": (Fault(status=503, body=b""), EngineUnavailableError),
    "a 404": (Fault(status=404, body=b"{}"), EngineUnavailableError),
    "a redirect": (
        Fault(status=302, headers=(("Location", "http://127.0.0.1:9/"),)),
        EngineUnavailableError,
    ),
    "no content": (Fault(status=204), AnswerError),
    "garbage": (Fault(status=200, body=b"\x00\xff not json"), AnswerError),
    "half a JSON": (Fault(status=200, body=b'{"result": {'), AnswerError),
    "an array": (Fault(status=200, body=b'[{"result": true}]'), AnswerError),
    "a string": (Fault(status=200, body=b'"allow"'), AnswerError),
    "true": (Fault(status=200, body=b"true"), AnswerError),
    "nothing": (Fault(status=200, body=b""), AnswerError),
    "deep nesting": (Fault(status=200, body=b"[" * 9000), AnswerError),
    "a huge answer": (Fault(status=200, body=b"[" + b" " * 50_000 + b"]"), AnswerError),
    "compressed": (
        Fault(status=200, body=b"\x1f\x8b\x08", headers=(("Content-Encoding", "gzip"),)),
        AnswerError,
    ),
    "a dropped connection": (Fault(drops=True), EngineUnavailableError),
    "half an answer": (Fault(half=True), EngineUnavailableError),
    "a hang": (Fault(hangs=True), DeadlineError),
    "a late answer": (Fault(delay_s=1.0), DeadlineError),
}


@pytest.mark.parametrize(("fault", "error"), FAULTS.values(), ids=FAULTS.keys())
def test_a_fault_is_an_error_of_ours_within_the_deadline(
    fault: Fault, error: type[Exception]
) -> None:
    async def scenario() -> None:
        with OpaServer(ALLOWING) as server:
            async with an_engine(server) as engine:
                await engine.evaluate(DOCUMENT, BUDGET_S)
                server.fault = fault
                began = time.monotonic()
                with pytest.raises(error):
                    await engine.evaluate(DOCUMENT, 0.3)
                assert time.monotonic() - began < 0.8
                server.fault = None
                server.woken.set()
                assert (await engine.evaluate(DOCUMENT, BUDGET_S)).value

    asyncio.run(scenario())


def test_a_server_that_is_not_there_is_unavailable() -> None:
    async def scenario() -> None:
        with OpaServer(ALLOWING) as server:
            pass
        async with an_engine(server) as engine:
            with pytest.raises(EngineUnavailableError):
                await engine.evaluate(DOCUMENT, BUDGET_S)
            with pytest.raises(EngineUnavailableError):
                await engine.check()

    asyncio.run(scenario())


def test_a_socket_that_is_not_there_is_unavailable(tmp_path: Path) -> None:
    async def scenario() -> None:
        engine = RestEngine(f"unix://{tmp_path}/none.sock", circuit=a_circuit())
        with pytest.raises(EngineUnavailableError):
            await engine.evaluate(DOCUMENT, BUDGET_S)
        await engine.close()

    asyncio.run(scenario())


@pytest.mark.parametrize(
    "fault",
    [Fault(hangs=True), Fault(drops=True), Fault(status=503)],
    ids=["hangs", "drops", "503"],
)
def test_a_server_that_stays_unwell_opens_the_circuit_and_is_left_alone(fault: Fault) -> None:
    async def scenario() -> None:
        with OpaServer(ALLOWING) as server:
            server.fault = fault
            circuit = a_circuit(fail_max=3)
            async with an_engine(server, circuit=circuit) as engine:
                for _ in range(3):
                    with pytest.raises((DeadlineError, EngineUnavailableError)):
                        await engine.evaluate(DOCUMENT, 0.1)
                assert circuit.state is CircuitState.OPEN
                asked = len(server.requests)
                began = time.monotonic()
                with pytest.raises(EngineUnavailableError, match="circuit is open"):
                    await engine.evaluate(DOCUMENT, BUDGET_S)
                assert time.monotonic() - began < 0.1
                assert len(server.requests) == asked

    asyncio.run(scenario())


def test_a_policy_that_fails_on_one_input_does_not_close_the_door_to_all() -> None:
    async def scenario() -> None:
        with OpaServer(DIVIDING) as server:
            circuit = a_circuit(fail_max=2)
            async with an_engine(server, circuit=circuit) as engine:
                for _ in range(10):
                    with pytest.raises(EvaluationError):
                        await engine.evaluate(b'{"x": 0}', BUDGET_S)
                assert circuit.state is CircuitState.CLOSED
                assert (await engine.evaluate(b'{"x": 1}', BUDGET_S)).value == {"quotient": 1}

    asyncio.run(scenario())


def test_an_answer_in_time_says_nothing_of_a_hang_before_it() -> None:
    async def scenario() -> None:
        with OpaServer(a_bundle()) as server:
            async with an_engine(server) as engine:
                server.fault = Fault(delay_s=0.3)
                with pytest.raises(DeadlineError):
                    await engine.evaluate(b'{"x":"late"}', 0.1)
                server.fault = None
                # The late answer must not arrive here, on a connection that was kept.
                for number in range(5):
                    asked = b'{"x":%d}' % number
                    assert (await engine.evaluate(asked, BUDGET_S)).value == number

    asyncio.run(scenario())


@pytest.mark.parametrize(
    "url",
    ["", "opa:8181", "ftp://opa", "http://", "unix://relative.sock", "file:///x", "http://h/?a=b"],
)
def test_a_url_that_names_no_server_refuses_to_start(url: str) -> None:
    with pytest.raises(ConfigurationError, match="ACGS_OPA_URL"):
        RestEngine(url)


def test_a_refused_url_is_not_repeated_because_it_may_hold_a_password() -> None:
    with pytest.raises(ConfigurationError) as caught:
        RestEngine("ftp://user:hunter2@opa")
    assert "hunter2" not in str(caught.value)
