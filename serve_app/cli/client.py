"""The bus as the command sees it: one HTTP client, problems turned into sentences."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping
from typing import Any, Final, Self

import httpx
import typer
from rich.console import Console

from cluster.clock import SystemClock
from cluster.identity.devkeys import mint_token
from cluster.settings import Environment, Settings
from serve_app.cli.exits import Exit

errors = Console(stderr=True)

_TIMEOUT_S: Final = 40.0
_BUSY_RETRIES: Final = 5


class ProblemError(Exception):
    """The bus answered with a problem document, or not at all."""

    def __init__(self, status: int, code: str, detail: str) -> None:
        super().__init__(status, code, detail)
        self.status = status
        self.code = code
        self.detail = detail

    def __str__(self) -> str:
        return f"{self.code}: {self.detail}"

    @property
    def exit(self) -> Exit:
        """The exit status that this problem calls for."""
        return Exit.UNAVAILABLE if self.status in (0, 503) else Exit.REFUSED


def base_url(settings: Settings) -> str:
    """Where the bus answers: ACGS_URL, or the host and port of the settings."""
    return os.environ.get("ACGS_URL") or f"http://{settings.http_host}:{settings.http_port}"


def token_for(settings: Settings, *, tenant: str, agent: str, roles: tuple[str, ...]) -> str:
    """Return ACGS_TOKEN, or in dev a fresh token of this identity."""
    given = os.environ.get("ACGS_TOKEN")
    if given:
        return given
    if settings.env is not Environment.DEV:
        raise typer.BadParameter("set ACGS_TOKEN: only ACGS_ENV=dev mints its own tokens")
    return mint_token(
        settings, tenant=tenant, agent=agent, roles=roles, ttl_s=3600, now=SystemClock().now()
    )


class Client:
    """A connection to one bus under one identity. Use as a context manager."""

    def __init__(self, url: str, token: str | None = None) -> None:
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        self._http = httpx.Client(base_url=url, headers=headers, timeout=_TIMEOUT_S)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._http.close()

    def call(
        self,
        method: str,
        path: str,
        *,
        body: Mapping[str, Any] | None = None,
        params: Mapping[str, Any] | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Any:
        """Return the JSON answer; raises ProblemError. Waits and retries when told to (429)."""
        for attempt in range(_BUSY_RETRIES):
            answer = self._send(method, path, body=body, params=params, headers=headers)
            if answer.status_code != 429 or attempt == _BUSY_RETRIES - 1:
                break
            time.sleep(float(answer.headers.get("Retry-After", "1")))
        if answer.is_success:
            return answer.json() if answer.content else None
        raise _problem(answer)

    def text(self, path: str, *, headers: Mapping[str, str] | None = None) -> str:
        """Return a text answer; raises ProblemError."""
        answer = self._send("GET", path, headers=headers)
        if answer.is_success:
            return answer.text
        raise _problem(answer)

    def _send(
        self,
        method: str,
        path: str,
        *,
        body: Mapping[str, Any] | None = None,
        params: Mapping[str, Any] | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> httpx.Response:
        given = {name: value for name, value in (params or {}).items() if value is not None}
        try:
            return self._http.request(
                method, path, json=body, params=given, headers=dict(headers or {})
            )
        except httpx.TransportError as error:
            detail = f"no answer from {self._http.base_url}: {error}; is `acgs run` running?"
            raise ProblemError(0, "client.unreachable", detail) from error


def _problem(answer: httpx.Response) -> ProblemError:
    try:
        problem = answer.json()
        return ProblemError(answer.status_code, str(problem["code"]), str(problem["detail"]))
    except (ValueError, KeyError, TypeError):
        return ProblemError(answer.status_code, "http.unexpected", answer.text[:200])
