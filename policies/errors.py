"""The errors of governance: each carries its facts, a stable code, and what to do about it."""

from __future__ import annotations


class GovernanceError(Exception):
    """Something was refused or could not be governed.

    `code` is dotted and stable, `status` is the HTTP status that API.md gives it, `retryable`
    says whether the same request may succeed later. Subclasses pass every argument to `super()`
    so that the error survives a journey between processes.
    """

    code: str = "governance.error"
    status: int = 500
    retryable: bool = False


class RefusalError(GovernanceError):
    """The request is at fault: a 4xx, and nothing changes."""

    code = "request.refused"
    status = 400

    def __init__(self, code: str, detail: str, status: int = 400) -> None:
        super().__init__(code, detail, status)
        self.code = code
        self.detail = detail
        self.status = status

    def __str__(self) -> str:
        return self.detail


class NewerRecordError(GovernanceError):
    """A newer build wrote this: one such can read it, and this one cannot."""

    code = "record.newer"


class DependencyError(GovernanceError):
    """Something behind the bus is down, slow or lying, so it cannot govern now: a 503."""

    code = "dependency.unavailable"
    status = 503
    retryable = True

    def __init__(self, dependency: str, detail: str) -> None:
        super().__init__(dependency, detail)
        self.dependency = dependency
        self.detail = detail

    def __str__(self) -> str:
        return f"{self.dependency} is unavailable: {self.detail}"
