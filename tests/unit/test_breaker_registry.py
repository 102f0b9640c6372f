"""The registry: one circuit a name, all of them seen and counted."""

from __future__ import annotations

import threading
import uuid
from collections.abc import Iterator

import pybreaker
import pytest
from structlog.testing import capture_logs

from cluster import metrics
from cluster.breaker import registry as module
from cluster.breaker.circuit import Circuit, CircuitBreakerConfig, CircuitState
from cluster.breaker.registry import (
    CIRCUITS_MAX,
    CORE_SERVICES,
    ACGSCircuitBreakerListener,
    CircuitBreakerRegistry,
    get_circuit_breaker,
    get_circuit_breaker_registry,
    initialize_core_circuit_breakers,
)
from cluster.errors import ConfigurationError


@pytest.fixture
def registry(monkeypatch: pytest.MonkeyPatch) -> Iterator[CircuitBreakerRegistry]:
    fresh = CircuitBreakerRegistry()
    monkeypatch.setattr(module, "_REGISTRY", fresh)
    return fresh


@pytest.fixture
def name() -> str:
    return f"dependency-{uuid.uuid4().hex[:8]}"


def fail(circuit: Circuit, text: str = "down") -> None:
    def down() -> None:
        raise ConnectionError(text)

    with pytest.raises(ConnectionError):
        circuit.call(down)


def events(name: str, event: str) -> float:
    for family in metrics.CIRCUIT_EVENTS.collect():
        for sample in family.samples:
            if sample.labels == {"name": name, "event": event} and sample.name.endswith("_total"):
                return sample.value
    return 0.0


def test_one_name_is_one_circuit(registry: CircuitBreakerRegistry, name: str) -> None:
    assert get_circuit_breaker(name) is registry.get_or_create(name)
    assert get_circuit_breaker_registry() is registry


def test_many_threads_that_ask_at_once_get_one_circuit(
    registry: CircuitBreakerRegistry, name: str
) -> None:
    starting = threading.Barrier(16)
    got: list[Circuit] = []

    def ask() -> None:
        starting.wait(10)
        got.append(registry.get_or_create(name))

    threads = [threading.Thread(target=ask) for _ in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    assert len({id(each) for each in got}) == 1


def test_the_first_configuration_holds_and_another_is_refused_aloud(
    registry: CircuitBreakerRegistry, name: str
) -> None:
    first = registry.get_or_create(name, CircuitBreakerConfig(fail_max=2))
    with capture_logs() as logs:
        assert registry.get_or_create(name) is first
        assert registry.get_or_create(name, CircuitBreakerConfig(fail_max=2)) is first
        assert logs == []
        assert registry.get_or_create(name, CircuitBreakerConfig(fail_max=9)) is first
    assert [log["event"] for log in logs] == ["circuit.config_refused"]
    assert first.config.fail_max == 2


def test_the_listeners_of_a_configuration_hear(registry: CircuitBreakerRegistry, name: str) -> None:
    class Ears(pybreaker.CircuitBreakerListener):
        heard = 0

        def failure(self, cb: pybreaker.CircuitBreaker, exc: BaseException) -> None:
            self.heard += 1

    ears = Ears()
    circuit = registry.get_or_create(name, CircuitBreakerConfig(listeners=(ears,)))
    fail(circuit)
    assert ears.heard == 1
    assert ears in circuit.listeners


def test_every_state_can_be_seen_and_reset(registry: CircuitBreakerRegistry) -> None:
    registry.get_or_create("b", CircuitBreakerConfig(fail_max=1))
    circuit = registry.get_or_create("a", CircuitBreakerConfig(fail_max=1))
    fail(circuit)
    assert registry.get_all_states() == {
        "a": {"state": "open", "fail_counter": 1, "success_counter": 0},
        "b": {"state": "closed", "fail_counter": 0, "success_counter": 0},
    }
    circuit.half_open()
    assert registry.get_all_states()["a"]["state"] == "half_open"
    assert registry.reset("a")
    assert not registry.reset("unknown")
    assert circuit.state is CircuitState.CLOSED
    circuit.open()
    registry.get_or_create("b").open()
    registry.reset_all()
    assert {facts["state"] for facts in registry.get_all_states().values()} == {"closed"}


def test_names_that_never_end_are_refused(registry: CircuitBreakerRegistry) -> None:
    for index in range(CIRCUITS_MAX):
        registry._circuits[f"name-{index}"] = Circuit(f"name-{index}")
    with pytest.raises(ConfigurationError, match="not after what callers send"):
        registry.get_or_create("one-more")
    assert registry.get_or_create("name-0").name == "name-0"


def test_the_core_circuits_exist_before_they_are_used(registry: CircuitBreakerRegistry) -> None:
    assert initialize_core_circuit_breakers() == list(CORE_SERVICES)
    assert initialize_core_circuit_breakers() == list(CORE_SERVICES)
    assert set(registry.get_all_states()) == {"store", "opa_server", "jwks", "oidc"}


def test_a_core_circuit_has_its_own_figures_whoever_asks_first(
    registry: CircuitBreakerRegistry,
) -> None:
    wanted = CORE_SERVICES["store"].reset_timeout
    assert registry.get_or_create("store").config.reset_timeout == wanted


def test_our_listener_logs_and_counts(registry: CircuitBreakerRegistry, name: str) -> None:
    with capture_logs() as logs:
        circuit = registry.get_or_create(name, CircuitBreakerConfig(fail_max=1))
        circuit.call(lambda: None)
        fail(circuit, "redis://:hunter2@store refused")
    listener = circuit.listeners[0]
    assert isinstance(listener, ACGSCircuitBreakerListener)
    assert (listener.successes, listener.failures, listener.state_changes) == (1, 1, 1)
    assert [events(name, kind) for kind in ("success", "failure", "state_change")] == [1, 1, 1]
    # A success is counted and not logged: there is one for every round trip to the store.
    assert [log["event"] for log in logs] == ["circuit.call_failed", "circuit.changed"]
    assert logs[1] == {
        "event": "circuit.changed",
        "log_level": "warning",
        "circuit": name,
        "old": "closed",
        "new": "open",
    }
    assert "hunter2" not in str(logs)


def test_the_gauge_follows_the_circuit(registry: CircuitBreakerRegistry, name: str) -> None:
    circuit = registry.get_or_create(name)
    gauge = metrics.CIRCUIT_STATE.labels(name)
    levels = [gauge._value.get()]
    for move in (circuit.open, circuit.half_open, circuit.reset):
        move()
        levels.append(gauge._value.get())
    assert levels == [0, 2, 1, 0]
