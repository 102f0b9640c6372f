"""The embedded engine under policies that do not end, and under changes of the law."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable

import pytest
from opa_bundles import ALLOWING, BUDGET_S, HEAD, RUNAWAY, a_bundle

from cluster.errors import EngineUnavailableError
from cluster.opa.embedded import EmbeddedEngine
from cluster.opa.engine import Bundle, BundleError, DeadlineError, Evaluation
from cluster.opa.native import NativeEngine

# About a second of work for OPA; it returns by itself, so that the test can see it return.
LONG = b'{"n": 1000}'
SHORT = b'{"n": 1}'


async def eventually(condition: Callable[[], bool], within_s: float = 30.0) -> None:
    deadline = time.monotonic() + within_s
    while not condition():
        assert time.monotonic() < deadline, "it did not become true"
        await asyncio.sleep(0.02)


def test_a_policy_that_does_not_end_is_answered_for_in_time_and_then_recovers() -> None:
    async def scenario() -> None:
        engine = EmbeddedEngine(RUNAWAY, stuck_max=2)
        for _ in range(2):
            began = time.monotonic()
            with pytest.raises(DeadlineError):
                await engine.evaluate(LONG, 0.1)
            assert time.monotonic() - began < 0.5
        began = time.monotonic()
        with pytest.raises(EngineUnavailableError, match="passed their deadline"):
            await engine.evaluate(SHORT, BUDGET_S)
        assert time.monotonic() - began < 0.05
        with pytest.raises(EngineUnavailableError):
            await engine.check()
        await eventually(lambda: engine.stuck == 0)
        assert (await engine.evaluate(SHORT, BUDGET_S)).value is False
        await engine.close()

    asyncio.run(scenario())


def test_one_bad_input_does_not_stop_the_others() -> None:
    async def scenario() -> None:
        engine = EmbeddedEngine(RUNAWAY)
        with pytest.raises(DeadlineError):
            await engine.evaluate(LONG, 0.05)
        for _ in range(20):
            assert (await engine.evaluate(SHORT, BUDGET_S)).value is False
        await eventually(lambda: engine.stuck == 0)
        await engine.close()

    asyncio.run(scenario())


def test_the_loop_runs_on_while_a_policy_is_evaluated() -> None:
    async def scenario() -> None:
        engine = EmbeddedEngine(RUNAWAY)
        evaluation = asyncio.create_task(engine.evaluate(b'{"n": 500}', BUDGET_S))
        ticks = 0
        while not evaluation.done():
            await asyncio.sleep(0.005)
            ticks += 1
        assert ticks > 3
        await engine.close()

    asyncio.run(scenario())


def test_a_new_revision_is_active_at_once_and_the_old_one_is_let_go(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    alive: list[object] = []
    closed = NativeEngine.close

    def close(self: NativeEngine) -> None:
        if self in alive:
            alive.remove(self)
        closed(self)

    def load(self: NativeEngine, bundle: Bundle) -> None:
        alive.append(self)
        loaded(self, bundle)

    loaded = NativeEngine._load
    monkeypatch.setattr(NativeEngine, "close", close)
    monkeypatch.setattr(NativeEngine, "_load", load)

    async def scenario() -> None:
        first, second = a_bundle("decision := 1"), a_bundle("decision := 2")
        engine = EmbeddedEngine(first, threads=2)
        assert (await engine.evaluate(b"{}", BUDGET_S)) == Evaluation(1, first.revision)
        await engine.activate(second)
        assert engine.revision == second.revision
        assert (await engine.evaluate(b"{}", BUDGET_S)) == Evaluation(2, second.revision)
        assert len(alive) == 2
        await engine.close()
        assert alive == []

    asyncio.run(scenario())


def test_changes_under_load_fail_nobody_and_mix_nothing() -> None:
    async def scenario() -> None:
        bundles = [a_bundle("decision := data.cfg.n", n=number) for number in range(2)]
        number_of = {bundle.revision: number for number, bundle in enumerate(bundles)}
        engine = EmbeddedEngine(bundles[0])
        stop = False
        seen: set[str] = set()

        async def ask() -> int:
            count = 0
            while not stop:
                evaluation = await engine.evaluate(b"{}", BUDGET_S)
                assert evaluation.value == number_of[evaluation.revision]
                seen.add(evaluation.revision)
                count += 1
            return count

        callers = [asyncio.create_task(ask()) for _ in range(8)]
        for flip in range(20):
            await engine.activate(bundles[(flip + 1) % 2])
        stop = True
        assert all(count > 0 for count in await asyncio.gather(*callers))
        assert len(seen) == 2
        await engine.close()

    asyncio.run(scenario())


@pytest.mark.parametrize(
    "bundle",
    [
        a_bundle('decision := http.send({"method": "get", "url": "http://x"})'),
        a_bundle("decision := {"),
        a_bundle("decision := unknown_function(1)"),
        a_bundle("other := 1"),
    ],
    ids=["forbidden", "syntax", "compile", "no entrypoint"],
)
def test_a_bundle_that_is_refused_leaves_the_active_one_active(bundle: Bundle) -> None:
    async def scenario() -> None:
        active = a_bundle("decision := 1")
        engine = EmbeddedEngine(active)
        with pytest.raises(BundleError):
            await engine.activate(bundle)
        assert engine.revision == active.revision
        assert (await engine.evaluate(b"{}", BUDGET_S)).value == 1
        await engine.close()

    asyncio.run(scenario())


def test_no_bundle_gets_into_an_engine_without_inspection() -> None:
    with pytest.raises(BundleError, match=r"opa\.runtime"):
        EmbeddedEngine(a_bundle("decision := opa.runtime()"))


def test_a_bundle_that_takes_too_long_to_warm_up_is_refused_in_time(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("cluster.opa.embedded.ACTIVATION_TIMEOUT_S", 0.3)

    async def scenario() -> None:
        engine = EmbeddedEngine(ALLOWING)
        endless = Bundle.of(
            {
                "a.rego": HEAD + "default decision := false\ndecision if {\n"
                "some a in numbers.range(1, 900); some b in numbers.range(1, 900); a + b == -1 }"
            }
        )
        began = time.monotonic()
        with pytest.raises(EngineUnavailableError, match="did not compile"):
            await engine.activate(endless)
        assert time.monotonic() - began < 2.0
        assert engine.revision == ALLOWING.revision
        await engine.close()

    asyncio.run(scenario())


def test_no_engine_is_ever_used_by_two_threads_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    busy: set[int] = set()
    guard = threading.Lock()
    original = NativeEngine.evaluate

    def evaluate(self: NativeEngine, document: bytes) -> object:
        with guard:
            assert id(self) not in busy
            busy.add(id(self))
        try:
            return original(self, document)
        finally:
            with guard:
                busy.remove(id(self))

    monkeypatch.setattr(NativeEngine, "evaluate", evaluate)

    async def scenario() -> None:
        engine = EmbeddedEngine(a_bundle(), threads=4)
        asked = (engine.evaluate(b'{"x": %d}' % number, BUDGET_S) for number in range(400))
        answers = await asyncio.gather(*asked)
        assert [answer.value for answer in answers] == list(range(400))
        await engine.close()

    asyncio.run(scenario())
