"""What may go wrong outside. Each error names what failed and what to do."""

from __future__ import annotations

from policies.errors import DependencyError, GovernanceError


class ConfigurationError(GovernanceError):
    """The application was asked to run in a way that it must refuse."""

    code = "configuration.refused"

    def __init__(self, detail: str) -> None:
        super().__init__(detail)
        self.detail = detail

    def __str__(self) -> str:
        return self.detail


class StoreUnavailableError(DependencyError):
    """The store cannot be reached, or did not answer in time."""

    code = "store.unavailable"

    def __init__(self, detail: str) -> None:
        super().__init__("store", detail)
        self.args = (detail,)


class EngineUnavailableError(DependencyError):
    """The policy engine cannot answer."""

    code = "policy.unavailable"

    def __init__(self, detail: str) -> None:
        super().__init__("policy engine", detail)
        self.args = (detail,)


class CircuitOpenError(DependencyError):
    """The circuit to a dependency is open, so the call was not made."""

    code = "circuit.open"

    def __init__(self, dependency: str, retry_in_s: float) -> None:
        super().__init__(dependency, f"its circuit is open; retry in {retry_in_s:.1f} s")
        self.args = (dependency, retry_in_s)
        self.retry_in_s = retry_in_s
