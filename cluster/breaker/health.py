"""How the circuits of this process stand, for people and for Prometheus."""

from __future__ import annotations

from typing import Literal, TypedDict

from cluster import metrics
from cluster.breaker.circuit import CircuitState
from cluster.breaker.registry import (
    CircuitBreakerRegistry,
    CircuitFacts,
    get_circuit_breaker_registry,
)
from cluster.clock import Clock, SystemClock
from cluster.constants import CONSTITUTIONAL_HASH


class CircuitHealth(TypedDict):
    """The answer of `circuit_breaker_health_check`."""

    constitutional_hash: str
    timestamp: str
    overall_health: Literal["healthy", "degraded"]
    open_circuits: list[str]
    circuit_states: dict[str, CircuitFacts]


def circuit_breaker_health_check(
    *, registry: CircuitBreakerRegistry | None = None, clock: Clock | None = None
) -> CircuitHealth:
    """Return every circuit of this process; degraded while any of them is open."""
    states = (registry or get_circuit_breaker_registry()).get_all_states()
    tripped = [name for name, facts in states.items() if facts["state"] == CircuitState.OPEN]
    return {
        "constitutional_hash": CONSTITUTIONAL_HASH,
        "timestamp": (clock or SystemClock()).now().isoformat(),
        "overall_health": "degraded" if tripped else "healthy",
        "open_circuits": tripped,
        "circuit_states": states,
    }


def refresh_circuit_metrics(registry: CircuitBreakerRegistry | None = None) -> None:
    """Set `acgs_circuit_state` of this process from its registry.

    The circuits' own listener sets it at every change; this is for a circuit that was moved
    before the metrics were prepared, and costs a few microseconds a circuit.
    """
    for name, circuit in (registry or get_circuit_breaker_registry()).circuits():
        metrics.show_circuit(name, circuit.state.value)
