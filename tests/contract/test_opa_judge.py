"""The judge on real engines: whatever happens behind it, its caller gets a denial, in time."""

from __future__ import annotations

import asyncio
import time

import pytest
from opa_bundles import ALLOWING, BUDGET_S, a_bundle
from opa_server import Fault, OpaServer

from cluster.breaker.circuit import Circuit, CircuitBreakerConfig
from cluster.opa.embedded import EmbeddedEngine
from cluster.opa.engine import Bundle, PolicyEngine
from cluster.opa.rest import RestEngine
from policies.decision import Effect, Judgement
from serve_app.judges.cache import VerdictCache
from serve_app.judges.policy import PolicyJudge
from serve_app.ports import Question

from builders import a_message, a_principal

TIMEOUT_S = 0.25  # the default of ACGS_POLICY_TIMEOUT_MS
# It runs away whenever it is asked to do something, and ends by itself after about a second.
RUNAWAY_ON_ACTION = a_bundle(
    'n := 1000 if input.message.action != "" else := 1\n'
    'default decision := {"allow": true, "verdicts": [], "obligations": []}\n'
    "decision := false if {\n"
    "  some a in numbers.range(1, n)\n"
    "  some b in numbers.range(1, n)\n"
    "  a + b == -1\n"
    "}"
)
QUESTION = Question(principal=a_principal(), message=a_message(), findings=(), target=None)


def a_judge(engine: PolicyEngine, timeout_s: float = BUDGET_S) -> PolicyJudge:
    return PolicyJudge(engine, VerdictCache(), timeout_s=timeout_s)


def code_of(judgement: Judgement) -> str:
    (verdict,) = judgement.verdicts
    assert verdict.effect is Effect.DENY
    assert verdict.remedy
    return verdict.code


def test_a_policy_that_does_not_end_is_a_timeout_and_then_unavailable() -> None:
    async def scenario() -> None:
        engine = EmbeddedEngine(RUNAWAY_ON_ACTION, stuck_max=2)
        judge = a_judge(engine, timeout_s=0.1)
        for _ in range(2):
            began = time.monotonic()
            assert code_of(await judge.judge(QUESTION)) == "policy.timeout"
            assert time.monotonic() - began < 0.5
        began = time.monotonic()
        assert code_of(await judge.judge(QUESTION)) == "policy.unavailable"
        assert time.monotonic() - began < 0.1
        for _ in range(600):
            await asyncio.sleep(0.05 if engine.stuck else 0)
        calm = Question(
            principal=a_principal(),
            message=a_message(content={"action": None}),
            findings=(),
            target=None,
        )
        judgement = await judge.judge(calm)
        assert [verdict.effect for verdict in judgement.verdicts] == [Effect.ALLOW]
        await engine.close()

    asyncio.run(scenario())


@pytest.mark.parametrize(
    ("bundle", "code"),
    [
        (a_bundle("decision := 1 / input.message.content_size if false"), "policy.undefined"),
        (a_bundle("decision := to_number(input.message.action)"), "policy.error"),
        (a_bundle("decision := true"), "policy.malformed"),
        (a_bundle('decision := {"allow": true}'), "policy.missing_field"),
    ],
    ids=["undefined", "strict built-in error", "no object", "a field is missing"],
)
def test_a_policy_at_fault_denies_with_a_code_of_its_own(bundle: Bundle, code: str) -> None:
    async def scenario() -> None:
        embedded = EmbeddedEngine(bundle)
        assert code_of(await a_judge(embedded).judge(QUESTION)) == code
        await embedded.close()
        with OpaServer(bundle) as server:
            rest = RestEngine(server.url, circuit=Circuit("opa_server"))
            assert code_of(await a_judge(rest).judge(QUESTION)) == code
            await rest.close()

    asyncio.run(scenario())


@pytest.mark.parametrize(
    ("fault", "code"),
    [
        (Fault(hangs=True), "policy.timeout"),
        (Fault(delay_s=1.0), "policy.timeout"),
        (Fault(drops=True), "policy.unavailable"),
        (Fault(half=True), "policy.unavailable"),
        (Fault(status=500, body=b"oops"), "policy.unavailable"),
        (Fault(status=200, body=b"garbage"), "policy.malformed"),
        (Fault(status=200, body=b'{"result": true}'), "policy.revision_mismatch"),
        (Fault(status=200, body=b" " * (2 << 20)), "policy.malformed"),
        (Fault(status=200, body=b"{}"), "policy.revision_mismatch"),
    ],
    ids=["hang", "late", "drop", "half", "500", "garbage", "unproven", "huge", "empty"],
)
def test_a_server_at_fault_denies_in_time_and_is_believed_again_when_it_is_well(
    fault: Fault, code: str
) -> None:
    async def scenario() -> None:
        with OpaServer(ALLOWING) as server:
            circuit = Circuit("opa_server", CircuitBreakerConfig(fail_max=100))
            engine = RestEngine(server.url, expected_revision=ALLOWING.revision, circuit=circuit)
            judge = a_judge(engine, timeout_s=TIMEOUT_S)
            server.fault = fault
            began = time.monotonic()
            assert code_of(await judge.judge(QUESTION)) == code
            assert time.monotonic() - began < TIMEOUT_S + 0.5
            server.fault = None
            server.woken.set()
            judgement = await a_judge(engine).judge(QUESTION)
            assert [verdict.effect for verdict in judgement.verdicts] == [Effect.ALLOW]
            assert (judgement.revision, judgement.engine) == (ALLOWING.revision, "opa-server")
            await engine.close()

    asyncio.run(scenario())


def test_defect_1_a_configured_server_that_is_not_there_denies_everything() -> None:
    async def scenario() -> None:
        with OpaServer(ALLOWING) as server:
            pass
        engine = RestEngine(server.url, circuit=Circuit("opa_server"))
        judge = a_judge(engine)
        codes = {code_of(await judge.judge(QUESTION)) for _ in range(10)}
        assert codes == {"policy.unavailable"}
        await engine.close()

    asyncio.run(scenario())
