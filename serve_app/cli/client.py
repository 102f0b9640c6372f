"""The bus as the command sees it: one HTTP client, problems turned into sentences."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, Final, Self

import httpx

from serve_app.cli.exits import Exit

_TIMEOUT_S: Final = 70.0  # above the bus's own 60 s, so that it is the bus that says no
_BUSY_RETRIES: Final = 5
_BUSY_WAIT_MAX_S: Final = 30.0

# What to do about a code, where the command knows more than the bus does.
_ADVICE: Final = {
    "agent.unknown": "register it: acgs agents register NAME",
    "auth.scope_missing": "the token's role does not carry it; see `acgs token --help`",
    "review.role_missing": "speak in one of them: --role, or an ACGS_TOKEN that has it",
    "review.self_approval": "let somebody else decide: --as NAME",
    "auth.unknown_key": "the bus trusts other keys than the one that signed this token: run the "
    "command with the bus's own ACGS_DATA_DIR, or set ACGS_TOKEN",
}
_MINT_ANOTHER: Final = "set ACGS_TOKEN to a fresh token, or unset it to have one minted here"


class ProblemError(Exception):
    """The bus answered with a problem document, or not at all (status 0)."""

    def __init__(
        self,
        status: int,
        code: str,
        detail: str,
        *,
        fields: Sequence[Mapping[str, Any]] = (),
    ) -> None:
        super().__init__(status, code, detail)
        self.status = status
        self.code = code
        self.detail = detail
        self.fields = fields

    def __str__(self) -> str:
        advice = _ADVICE.get(self.code, _MINT_ANOTHER if self.status == 401 else "")
        wrong = [f"  {_path(field['loc'])}: {field['msg']}" for field in self.fields]
        return "\n".join([f"{self.code}: {self.detail}", *wrong, *([advice] if advice else [])])

    @property
    def exit(self) -> Exit:
        """The exit status that this problem calls for."""
        if self.status in (0, 503):
            return Exit.UNAVAILABLE
        return Exit.REFUSED if 400 <= self.status < 500 else Exit.FAILED


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
    ) -> Any:
        """Return the JSON answer; raises ProblemError. Waits and retries when told to (429)."""
        answer = self._send(method, path, body=body, params=params)
        if not answer.content:
            return None
        try:
            return answer.json()
        except ValueError as error:
            raise _stranger(answer) from error

    def text(self, path: str, *, accept: str) -> str:
        """Return a text answer of this media type; raises ProblemError."""
        return self._send("GET", path, headers={"Accept": accept}).text

    @contextmanager
    def lines(self, path: str, *, headers: Mapping[str, str]) -> Iterator[Iterator[str]]:
        """Open an answer that comes line by line, as it comes; raises ProblemError, also later."""
        try:
            with self._http.stream("GET", path, headers=headers) as answer:
                if not answer.is_success:
                    answer.read()
                    raise _problem(answer)
                yield answer.iter_lines()
        except httpx.TransportError as error:
            raise _silence(self._http.base_url, error) from error

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
        for attempt in range(_BUSY_RETRIES):
            try:
                answer = self._http.request(method, path, json=body, params=given, headers=headers)
            except httpx.TransportError as error:
                raise _silence(self._http.base_url, error) from error
            if answer.status_code != httpx.codes.TOO_MANY_REQUESTS or attempt == _BUSY_RETRIES - 1:
                break
            time.sleep(_wait_s(answer))
        if not answer.is_success:
            raise _problem(answer)
        return answer


def _silence(url: httpx.URL, error: httpx.TransportError) -> ProblemError:
    if isinstance(error, httpx.ConnectError | httpx.ConnectTimeout):
        advice = "start it with `acgs run`, or set ACGS_URL to where it runs"
        return ProblemError(0, "client.unreachable", f"no bus answers at {url}: {advice}")
    return ProblemError(
        0, "client.no_answer", f"{url} took the request and did not answer: {error}"
    )


def _problem(answer: httpx.Response) -> ProblemError:
    try:
        problem = answer.json()
        detail = str(problem["detail"])
        if answer.is_server_error:
            detail += f" (request {problem['request_id']})"
        return ProblemError(
            answer.status_code, str(problem["code"]), detail, fields=problem.get("errors") or ()
        )
    except (ValueError, KeyError, TypeError, AttributeError):
        return _stranger(answer)


def _stranger(answer: httpx.Response) -> ProblemError:
    detail = (
        f"{answer.url} answers {answer.status_code} in words that are not the bus's; is it one?"
    )
    return ProblemError(answer.status_code, "client.not_the_bus", detail)


def _wait_s(answer: httpx.Response) -> float:
    given = answer.headers.get("Retry-After", "1")
    return min(float(given), _BUSY_WAIT_MAX_S) if given.isdigit() else 1.0


def _path(loc: Sequence[object]) -> str:
    return ".".join(str(part) for part in loc) or "the body"
