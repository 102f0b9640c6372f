"""How circuits stand, for people and for Prometheus."""

from __future__ import annotations

import json

from cluster import metrics
from cluster.breaker.circuit import CircuitBreakerConfig
from cluster.breaker.health import circuit_breaker_health_check, refresh_circuit_metrics
from cluster.breaker.registry import CircuitBreakerRegistry
from cluster.constants import CONSTITUTIONAL_HASH

from fakes import FakeClock


def test_closed_circuits_are_healthy() -> None:
    registry = CircuitBreakerRegistry()
    registry.get_or_create("health-a")
    clock = FakeClock()
    assert circuit_breaker_health_check(registry=registry, clock=clock) == {
        "constitutional_hash": CONSTITUTIONAL_HASH,
        "timestamp": clock.now().isoformat(),
        "overall_health": "healthy",
        "open_circuits": [],
        "circuit_states": {
            "health-a": {"state": "closed", "fail_counter": 0, "success_counter": 0}
        },
    }


def test_one_open_circuit_degrades_and_is_named() -> None:
    registry = CircuitBreakerRegistry()
    registry.get_or_create("health-a")
    registry.get_or_create("health-b", CircuitBreakerConfig(fail_max=1)).open()
    health = circuit_breaker_health_check(registry=registry)
    assert health["overall_health"] == "degraded"
    assert health["open_circuits"] == ["health-b"]
    assert json.loads(json.dumps(health)) == health


def test_the_process_registry_is_asked_when_none_is_given() -> None:
    assert circuit_breaker_health_check()["overall_health"] in {"healthy", "degraded"}


def test_the_gauge_is_set_from_the_registry() -> None:
    registry = CircuitBreakerRegistry()
    registry.get_or_create("health-c").open()
    gauge = metrics.CIRCUIT_STATE.labels("health-c")
    gauge.set(0)
    refresh_circuit_metrics(registry)
    assert gauge._value.get() == 2
