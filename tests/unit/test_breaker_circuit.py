"""One circuit: when it opens, whom it lets try, and what it learns from whom."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable

import pybreaker
import pytest

from cluster.breaker.circuit import (
    TRIAL_RETRY_S,
    Circuit,
    CircuitBreakerConfig,
    CircuitState,
)
from cluster.errors import CircuitOpenError, ConfigurationError

from fakes import FakeClock


class Ears(pybreaker.CircuitBreakerListener):
    def __init__(self) -> None:
        self.heard: list[str] = []

    def before_call(
        self, cb: pybreaker.CircuitBreaker, func: Callable[..., object], *args: object, **kw: object
    ) -> None:
        self.heard.append("call")

    def state_change(
        self,
        cb: pybreaker.CircuitBreaker,
        old_state: pybreaker.CircuitBreakerState | None,
        new_state: pybreaker.CircuitBreakerState,
    ) -> None:
        assert old_state is not None
        self.heard.append(f"{old_state.name} to {new_state.name}")

    def failure(self, cb: pybreaker.CircuitBreaker, exc: BaseException) -> None:
        self.heard.append(f"failure {type(exc).__name__}")

    def success(self, cb: pybreaker.CircuitBreaker) -> None:
        self.heard.append("success")


class Deaf(pybreaker.CircuitBreakerListener):
    def state_change(
        self,
        cb: pybreaker.CircuitBreaker,
        old_state: pybreaker.CircuitBreakerState | None,
        new_state: pybreaker.CircuitBreakerState,
    ) -> None:
        raise RuntimeError("a listener's own bug")

    failure = success = state_change  # type: ignore[assignment]


def a_circuit(
    clock: FakeClock | None = None, *, fail_max: int = 3, reset_timeout: float = 30, **more: object
) -> Circuit:
    config = CircuitBreakerConfig(fail_max, reset_timeout, **more)  # type: ignore[arg-type]
    return Circuit("dependency", config, clock=clock or FakeClock())


async def fine() -> str:
    return "fine"


async def down() -> str:
    raise ConnectionError("down")


def fine_now() -> str:
    return "fine"


def down_now() -> str:
    raise ConnectionError("down")


async def fail(circuit: Circuit, times: int) -> None:
    for _ in range(times):
        with pytest.raises(ConnectionError):
            await circuit.run(down)


def an_open_circuit(clock: FakeClock, **more: object) -> Circuit:
    circuit = a_circuit(clock, **more)  # type: ignore[arg-type]
    asyncio.run(fail(circuit, circuit.config.fail_max))
    assert circuit.state is CircuitState.OPEN
    return circuit


def a_circuit_on_trial(**more: object) -> Circuit:
    clock = FakeClock()
    circuit = an_open_circuit(clock, **more)
    clock.forward(circuit.config.reset_timeout)
    return circuit


def test_an_async_call_that_fails_opens_the_circuit() -> None:
    # The reference's defect: ten failing coroutines, ten executed, state closed.
    circuit = a_circuit(fail_max=5)
    made = 0

    async def attempt() -> None:
        nonlocal made
        made += 1
        raise ConnectionError

    async def scenario() -> None:
        for _ in range(10):
            with pytest.raises((ConnectionError, CircuitOpenError)):
                await circuit.run(attempt)

    asyncio.run(scenario())
    assert made == 5
    assert circuit.state is CircuitState.OPEN


def test_call_with_an_async_def_is_awaited_through_the_circuit() -> None:
    circuit = a_circuit(fail_max=1)
    assert asyncio.run(circuit.call(fine)) == "fine"  # type: ignore[arg-type]  # what it returns
    with pytest.raises(ConnectionError):
        asyncio.run(circuit.call(down))  # type: ignore[arg-type]  # likewise
    assert circuit.state is CircuitState.OPEN


def test_a_sync_call_that_fails_opens_the_circuit_and_raises_its_own_error() -> None:
    circuit = a_circuit(fail_max=2)
    for _ in range(2):
        with pytest.raises(ConnectionError):
            circuit.call(down_now)
    with pytest.raises(CircuitOpenError):
        circuit.call(fine_now)


def test_a_call_gets_its_arguments() -> None:
    assert a_circuit().call(lambda *a, **k: (a, k), 1, two=2) == ((1,), {"two": 2})


def test_an_open_circuit_says_when_to_retry() -> None:
    clock = FakeClock()
    circuit = an_open_circuit(clock, reset_timeout=30)
    clock.forward(10)
    with pytest.raises(CircuitOpenError) as caught:
        circuit.call(fine_now)
    assert caught.value.retry_in_s == pytest.approx(20)
    assert caught.value.dependency == "dependency"


def test_the_first_failures_are_forgotten_after_a_success() -> None:
    circuit = a_circuit(fail_max=3)

    async def scenario() -> None:
        await fail(circuit, 2)
        await circuit.run(fine)
        await fail(circuit, 2)

    asyncio.run(scenario())
    assert circuit.state is CircuitState.CLOSED
    assert circuit.fail_counter == 2


def test_a_trial_that_succeeds_closes_the_circuit() -> None:
    circuit = a_circuit_on_trial()
    assert asyncio.run(circuit.run(fine)) == "fine"
    assert circuit.state is CircuitState.CLOSED
    assert circuit.fail_counter == 0


def test_a_trial_that_fails_opens_it_for_another_whole_timeout() -> None:
    clock = FakeClock()
    circuit = an_open_circuit(clock, reset_timeout=30)
    clock.forward(30)
    with pytest.raises(ConnectionError):
        circuit.call(down_now)
    clock.forward(29)
    with pytest.raises(CircuitOpenError):
        circuit.call(fine_now)
    clock.forward(1)
    assert circuit.call(fine_now) == "fine"


def test_wall_time_moves_nothing() -> None:
    circuit = an_open_circuit(FakeClock(), reset_timeout=0.001)
    threading.Event().wait(0.01)
    with pytest.raises(CircuitOpenError):
        circuit.call(fine_now)


def test_half_open_admits_one_of_many_concurrent_tasks() -> None:
    circuit = a_circuit_on_trial()
    made = 0

    async def scenario() -> list[object]:
        release = asyncio.Event()

        async def slow() -> str:
            nonlocal made
            made += 1
            await release.wait()
            return "tried"

        tasks = [asyncio.create_task(circuit.run(slow)) for _ in range(50)]
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        assert circuit.state is CircuitState.HALF_OPEN
        release.set()
        return await asyncio.gather(*tasks, return_exceptions=True)

    outcomes = asyncio.run(scenario())
    assert made == 1
    assert outcomes.count("tried") == 1
    refused = [each for each in outcomes if isinstance(each, CircuitOpenError)]
    assert len(refused) == 49
    assert {each.retry_in_s for each in refused} == {TRIAL_RETRY_S}
    assert circuit.state is CircuitState.CLOSED


def test_half_open_admits_one_of_many_threads() -> None:
    circuit = a_circuit_on_trial()
    starting = threading.Barrier(16)
    release = threading.Event()
    made: list[int] = []
    refused: list[int] = []

    def slow() -> None:
        made.append(1)
        release.wait(10)

    def attempt() -> None:
        starting.wait(10)
        try:
            circuit.call(slow)
        except CircuitOpenError:
            refused.append(1)
            if len(refused) == 15:
                release.set()

    threads = [threading.Thread(target=attempt) for _ in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    assert (len(made), len(refused)) == (1, 15)


def test_slow_sync_calls_run_side_by_side() -> None:
    circuit = a_circuit()
    together = threading.Barrier(4, timeout=10)
    threads = [threading.Thread(target=circuit.call, args=(together.wait,)) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    assert not together.broken
    assert circuit.fail_counter == 0


def test_a_cancelled_call_is_neither_success_nor_failure() -> None:
    ears = Ears()
    circuit = a_circuit(fail_max=2, listeners=(ears,))

    async def scenario() -> None:
        await fail(circuit, 1)
        ears.heard.clear()
        task = asyncio.create_task(circuit.run(lambda: asyncio.sleep(60)))
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(scenario())
    assert circuit.fail_counter == 1
    assert ears.heard == ["call"]


def test_a_cancelled_trial_gives_its_place_to_the_next() -> None:
    circuit = a_circuit_on_trial()

    async def scenario() -> str:
        task = asyncio.create_task(circuit.run(lambda: asyncio.sleep(60, "late")))
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert circuit.state is CircuitState.HALF_OPEN
        return await circuit.run(fine)

    assert asyncio.run(scenario()) == "fine"
    assert circuit.state is CircuitState.CLOSED


def test_a_trial_that_was_never_awaited_takes_no_place() -> None:
    circuit = a_circuit_on_trial()
    circuit.run(fine).close()
    assert asyncio.run(circuit.run(fine)) == "fine"


def test_an_excluded_exception_does_not_count() -> None:
    circuit = a_circuit(fail_max=2, exclude_exceptions=(LookupError,))

    def refused() -> None:
        raise KeyError

    with pytest.raises(ConnectionError):
        circuit.call(down_now)
    for _ in range(10):
        with pytest.raises(KeyError):
            circuit.call(refused)
    assert circuit.fail_counter == 1
    assert circuit.state is CircuitState.CLOSED


def test_a_trial_with_an_excluded_exception_gives_its_place_to_the_next() -> None:
    circuit = a_circuit_on_trial(exclude_exceptions=(LookupError,))

    def refused() -> None:
        raise KeyError

    for _ in range(3):
        with pytest.raises(KeyError):
            circuit.call(refused)
        assert circuit.state is CircuitState.HALF_OPEN
    assert circuit.call(fine_now) == "fine"
    assert circuit.state is CircuitState.CLOSED


def test_an_excluded_class_with_a_metaclass_of_its_own_is_a_class() -> None:
    class Meta(type):
        pass

    class OddError(Exception, metaclass=Meta):
        pass

    circuit = a_circuit(fail_max=1, exclude_exceptions=(OddError,))
    with pytest.raises(ConnectionError):
        circuit.call(down_now)
    assert circuit.state is CircuitState.OPEN


@pytest.mark.parametrize("late", [fine, down])
def test_what_a_call_says_after_its_phase_moves_nothing(late: Callable[[], object]) -> None:
    clock = FakeClock()
    circuit = a_circuit(clock, fail_max=1, reset_timeout=30)

    async def scenario() -> None:
        release, finish = asyncio.Event(), asyncio.Event()

        async def slow() -> object:
            await release.wait()
            return await late()  # type: ignore[misc]  # both are async

        early = asyncio.create_task(circuit.run(slow))
        await asyncio.sleep(0)
        await fail(circuit, 1)
        clock.forward(30)
        trial = asyncio.create_task(circuit.run(finish.wait))
        await asyncio.sleep(0)
        assert circuit.state is CircuitState.HALF_OPEN
        before = circuit.fail_counter
        release.set()
        await asyncio.gather(early, return_exceptions=True)
        assert circuit.state is CircuitState.HALF_OPEN
        assert circuit.fail_counter == before
        finish.set()
        await trial
        assert circuit.state is CircuitState.CLOSED

    asyncio.run(scenario())


def test_the_trial_of_a_phase_that_was_reset_does_not_settle_the_next() -> None:
    clock = FakeClock()
    circuit = a_circuit(clock, fail_max=1)
    circuit.open()
    clock.forward(30)
    old = circuit.admit(fine_now)
    circuit.reset()
    circuit.open()
    clock.forward(30)
    circuit.admit(fine_now)
    with pytest.raises(ConnectionError):
        circuit.carry(old, down_now)
    assert circuit.state is CircuitState.HALF_OPEN
    with pytest.raises(CircuitOpenError):
        circuit.admit(fine_now)


def test_listeners_hear_everything_in_order() -> None:
    clock, ears = FakeClock(), Ears()
    circuit = a_circuit(clock, fail_max=1, listeners=[ears])
    circuit.call(fine_now)
    with pytest.raises(ConnectionError):
        circuit.call(down_now)
    clock.forward(30)
    circuit.call(fine_now)
    assert ears.heard == [
        *("call", "success"),
        *("call", "failure ConnectionError", "closed to open"),
        *("open to half-open", "call", "half-open to closed", "success"),
    ]


def test_a_listener_that_raises_harms_neither_the_call_nor_other_listeners() -> None:
    ears = Ears()
    circuit = a_circuit(fail_max=1, listeners=(Deaf(), ears))
    assert circuit.call(fine_now) == "fine"
    with pytest.raises(ConnectionError):
        circuit.call(down_now)
    assert circuit.state is CircuitState.OPEN
    assert ears.heard[-2:] == ["failure ConnectionError", "closed to open"]


def test_an_error_comes_out_as_it_went_in() -> None:
    error = ConnectionError("down")

    def broken() -> None:
        raise error

    with pytest.raises(ConnectionError) as caught:
        a_circuit(fail_max=1).call(broken)
    assert caught.value is error
    assert error.__context__ is None
    frames = []
    trace = error.__traceback__
    while trace is not None:
        frames.append(trace.tb_frame.f_code.co_name)
        trace = trace.tb_next
    assert "_repeat" not in frames


def test_by_hand_a_circuit_opens_tries_and_closes() -> None:
    circuit = a_circuit()
    circuit.open()
    with pytest.raises(CircuitOpenError):
        circuit.call(fine_now)
    circuit.half_open()
    assert circuit.call(fine_now) == "fine"
    assert circuit.state is CircuitState.CLOSED


def test_a_reset_forgets_failures_also_while_closed() -> None:
    ears = Ears()
    circuit = a_circuit(listeners=(ears,))
    with pytest.raises(ConnectionError):
        circuit.call(down_now)
    ears.heard.clear()
    circuit.reset()
    assert (circuit.fail_counter, ears.heard) == (0, [])


def test_a_plain_function_that_returns_a_coroutine_is_refused_not_believed() -> None:
    circuit = a_circuit()

    def looks_plain() -> object:
        return fine()

    with pytest.raises(TypeError, match="outcome is not known"):
        circuit.call(looks_plain)
    assert circuit.state is CircuitState.CLOSED


def test_an_object_with_an_async_call_is_async() -> None:
    class Client:
        async def __call__(self) -> str:
            raise ConnectionError

    circuit = a_circuit(fail_max=1)
    with pytest.raises(ConnectionError):
        asyncio.run(circuit.call(Client()))  # type: ignore[arg-type]  # what it returns
    assert circuit.state is CircuitState.OPEN


@pytest.mark.parametrize(
    "wrong",
    [
        {"fail_max": 0},
        {"reset_timeout": -1},
        {"reset_timeout": float("nan")},
        {"reset_timeout": float("inf")},
        {"exclude_exceptions": ("ValueError",)},
        {"exclude_exceptions": (int,)},
    ],
)
def test_a_configuration_that_could_not_work_is_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(ConfigurationError):
        CircuitBreakerConfig(**wrong)  # type: ignore[arg-type]


def test_the_defaults_are_the_specifications() -> None:
    config = CircuitBreakerConfig()
    assert (config.fail_max, config.reset_timeout) == (5, 30)
    assert (config.exclude_exceptions, config.listeners) == ((), ())
    assert [state.value for state in CircuitState] == ["closed", "open", "half_open"]
