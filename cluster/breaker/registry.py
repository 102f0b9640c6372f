"""The circuits of this process, by name."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, Final, TypedDict

import pybreaker
import structlog

from cluster import metrics
from cluster.breaker.circuit import Circuit, CircuitBreakerConfig
from cluster.errors import ConfigurationError

log = structlog.get_logger(__name__)

CIRCUITS_MAX: Final = 256

# What we call outside this process. While the store is away nothing is decided, so it is tried
# again soonest; a token's key is cached, so its source may rest longest. Whoever wants to sign in
# waits for the provider in person.
CORE_SERVICES: Final[Mapping[str, CircuitBreakerConfig]] = MappingProxyType(
    {
        "store": CircuitBreakerConfig(reset_timeout=5),
        "opa_server": CircuitBreakerConfig(reset_timeout=10),
        "jwks": CircuitBreakerConfig(),
        "oidc": CircuitBreakerConfig(reset_timeout=10),
    }
)


class CircuitFacts(TypedDict):
    """How one circuit stands."""

    state: str
    fail_counter: int
    success_counter: int


class ACGSCircuitBreakerListener(pybreaker.CircuitBreakerListener):
    """Logs and counts what happens to one circuit. Every circuit of a registry has one.

    Logs name the type of an exception, never its text: a text may carry an address or a secret.
    """

    def __init__(self, name: str) -> None:
        self.name = name
        self.state_changes = 0
        self.failures = 0
        self.successes = 0
        self._lock = threading.Lock()
        self._changed = metrics.CIRCUIT_EVENTS.labels(name, "state_change")
        self._failed = metrics.CIRCUIT_EVENTS.labels(name, "failure")
        self._succeeded = metrics.CIRCUIT_EVENTS.labels(name, "success")
        metrics.show_circuit(name, "closed")

    def state_change(
        self,
        cb: pybreaker.CircuitBreaker,  # noqa: ARG002  # pybreaker's signature
        old_state: pybreaker.CircuitBreakerState | None,
        new_state: pybreaker.CircuitBreakerState,
    ) -> None:
        """Count the change, show the new state, and log both."""
        with self._lock:
            self.state_changes += 1
        self._changed.inc()
        new = new_state.name.replace("-", "_")
        metrics.show_circuit(self.name, new)
        old = old_state.name.replace("-", "_") if old_state else None
        log.warning("circuit.changed", circuit=self.name, old=old, new=new)

    def failure(self, cb: pybreaker.CircuitBreaker, exc: BaseException) -> None:
        """Count and log a failed call."""
        with self._lock:
            self.failures += 1
        self._failed.inc()
        log.warning(
            "circuit.call_failed",
            circuit=self.name,
            error=type(exc).__name__,
            fail_counter=cb.fail_counter,
        )

    def success(self, cb: pybreaker.CircuitBreaker) -> None:  # noqa: ARG002  # pybreaker's signature
        """Count a successful call. Not logged: there is one for every round trip to the store."""
        with self._lock:
            self.successes += 1
        self._succeeded.inc()


class CircuitBreakerRegistry:
    """Makes each circuit once, and shows them all."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._circuits: dict[str, Circuit] = {}

    def get(self, name: str) -> Circuit | None:
        """Return the circuit of that name, if it was made."""
        return self._circuits.get(name)

    def get_or_create(self, name: str, config: CircuitBreakerConfig | None = None) -> Circuit:
        """Return the circuit of that name; the first to ask decides its configuration.

        Without one it is that of CORE_SERVICES, or the default. A later, different one is not
        obeyed, and that is logged.
        """
        circuit = self._circuits.get(name)
        if circuit is None:
            return self._make(name, config)
        if config is not None and config != _asked(circuit):
            log.warning("circuit.config_refused", circuit=name, kept=_figures(_asked(circuit)))
        return circuit

    def get_all_states(self) -> dict[str, CircuitFacts]:
        """Return how every circuit of this process stands."""
        return {name: _facts(circuit) for name, circuit in self.circuits()}

    def circuits(self) -> list[tuple[str, Circuit]]:
        """Return every circuit with its name, in the order of the names."""
        with self._lock:
            return sorted(self._circuits.items())

    def reset(self, name: str) -> bool:
        """Close one circuit and forget its failures; False if there is none of that name."""
        circuit = self._circuits.get(name)
        if circuit is not None:
            circuit.reset()
        return circuit is not None

    def reset_all(self) -> None:
        """Close every circuit and forget all failures."""
        for _, circuit in self.circuits():
            circuit.reset()

    def _make(self, name: str, config: CircuitBreakerConfig | None) -> Circuit:
        asked = config or CORE_SERVICES.get(name) or CircuitBreakerConfig()
        with self._lock:
            circuit = self._circuits.get(name)
            if circuit is None:
                if len(self._circuits) >= CIRCUITS_MAX:
                    raise ConfigurationError(
                        f"there are {CIRCUITS_MAX} circuits already; name them after dependencies, "
                        "not after what callers send"
                    )
                circuit = self._circuits[name] = Circuit(name, _watched(name, asked))
            return circuit


def _watched(name: str, config: CircuitBreakerConfig) -> CircuitBreakerConfig:
    return CircuitBreakerConfig(
        fail_max=config.fail_max,
        reset_timeout=config.reset_timeout,
        exclude_exceptions=config.exclude_exceptions,
        listeners=(ACGSCircuitBreakerListener(name), *config.listeners),
    )


def _asked(circuit: Circuit) -> CircuitBreakerConfig:
    """Return the configuration as it was asked for: without our own listener."""
    config = circuit.config
    return CircuitBreakerConfig(
        config.fail_max, config.reset_timeout, config.exclude_exceptions, config.listeners[1:]
    )


def _figures(config: CircuitBreakerConfig) -> dict[str, Any]:
    return {"fail_max": config.fail_max, "reset_timeout": config.reset_timeout}


def _facts(circuit: Circuit) -> CircuitFacts:
    return {
        "state": circuit.state.value,
        "fail_counter": circuit.fail_counter,
        "success_counter": circuit.success_counter,
    }


_REGISTRY: Final = CircuitBreakerRegistry()


def get_circuit_breaker_registry() -> CircuitBreakerRegistry:
    """Return the one registry of this process."""
    return _REGISTRY


def get_circuit_breaker(name: str, config: CircuitBreakerConfig | None = None) -> Circuit:
    """Return this process's circuit of that name, made if need be."""
    return _REGISTRY.get_or_create(name, config)


def initialize_core_circuit_breakers() -> list[str]:
    """Make the circuits of CORE_SERVICES, so that they can be seen before they are used."""
    return [_REGISTRY.get_or_create(name).name for name in CORE_SERVICES]
