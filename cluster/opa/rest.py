"""OPA as a server beside us: the same protocol over its data API.

Laws of this file:
1. What the server says is read as if anybody had said it: bounded, checked, and never guessed at.
2. With an expected revision, an answer under any other is not believed.
3. The circuit learns from a server that is away, slow or broken, never from a policy that fails
   on one input: else one agent's messages could close the policy to all others. A hang looks the
   same in both cases, and is taken for the server's.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import urlsplit

import httpx
import orjson

from cluster.breaker.circuit import Circuit
from cluster.breaker.guard import guard
from cluster.errors import CircuitOpenError, ConfigurationError, EngineUnavailableError
from cluster.opa.engine import (
    ENTRYPOINT,
    AnswerError,
    DeadlineError,
    Evaluation,
    EvaluationError,
    RevisionMismatchError,
    UndefinedError,
)

CIRCUIT: Final = "opa_server"
ANSWER_SIZE_MAX: Final = 1 << 20
CONNECTIONS_MAX: Final = 32
CHECK_TIMEOUT_S: Final = 2.0
REVISION_SIZE_MAX: Final = 200
UNKNOWN_REVISION: Final = "unknown"

_PARAMETERS: Final = "strict-builtin-errors=true&provenance=true"
_REDIRECTS: Final = range(300, 400)


@dataclass(frozen=True, slots=True)
class _Answer:
    """What came back; the body is None when it was longer than we read."""

    status: int
    body: bytes | None


class RestEngine:
    """A `PolicyEngine` on an OPA server, `http(s)://host:port` or `unix:///path/of/socket`.

    `expected_revision` is what the server must say that it runs; without one, whatever it says is
    recorded, and its verdicts are never cached. Raises ConfigurationError for any other URL.
    """

    name: Final = "opa-server"

    def __init__(
        self,
        url: str,
        *,
        token: str | None = None,
        expected_revision: str = "",
        entrypoint: str = ENTRYPOINT,
        circuit: str | Circuit = CIRCUIT,
        answer_size_max: int = ANSWER_SIZE_MAX,
    ) -> None:
        base, socket = _address(url)
        self._client = httpx.AsyncClient(
            base_url=base,
            headers=_headers(token),
            transport=httpx.AsyncHTTPTransport(
                uds=socket,
                limits=httpx.Limits(
                    max_connections=CONNECTIONS_MAX, max_keepalive_connections=CONNECTIONS_MAX
                ),
            ),
            timeout=None,  # noqa: S113  # one deadline spans the whole call: see _ask
            trust_env=False,  # a proxy of the environment has no business with our policies
        )
        self._path = f"/v1/data/{entrypoint.replace('.', '/')}?{_PARAMETERS}"
        self._expected = expected_revision
        self._circuit = circuit
        self._size_max = answer_size_max
        self._closed = False

    @property
    def revision(self) -> str:
        """The expected revision; empty when none is, because only an answer says which it was."""
        return self._expected

    async def evaluate(self, document: bytes, deadline_s: float) -> Evaluation:
        """Return the entrypoint's value, as the server gives it."""
        body = b'{"input":' + document + b"}"
        answer = await self._guarded(lambda: self._post(body), deadline_s)
        if answer.body is None:
            raise AnswerError(f"the answer is longer than {self._size_max} bytes")
        if answer.status != httpx.codes.OK:
            raise _refusal(answer.status, answer.body)
        fields = _object(answer.body)
        revision = self._believed(fields)
        if "result" not in fields:
            raise UndefinedError("the server's answer has no result: the decision is undefined")
        return Evaluation(fields["result"], revision)

    async def check(self) -> str:
        """Return a sentence on how it is; raise EngineUnavailableError if it cannot answer."""
        try:
            answer = await self._guarded(self._health, CHECK_TIMEOUT_S)
        except EvaluationError as error:
            raise EngineUnavailableError(str(error)) from error
        if answer.status != httpx.codes.OK:
            raise EngineUnavailableError(f"its health is HTTP {answer.status}")
        return f"the OPA server answers; expected revision: {self._expected or 'any'}"

    async def close(self) -> None:
        """Close every connection."""
        self._closed = True
        await self._client.aclose()

    async def _guarded(self, ask: Callable[[], Awaitable[_Answer]], deadline_s: float) -> _Answer:
        if self._closed:
            raise EngineUnavailableError("the engine is closed")
        try:
            return await guard(self._circuit, lambda: _within(deadline_s, ask))
        except CircuitOpenError as error:
            raise EngineUnavailableError(str(error)) from error
        except TimeoutError as error:
            raise DeadlineError(
                f"the OPA server did not answer within {deadline_s * 1000:.0f} ms"
            ) from error
        except httpx.HTTPError as error:
            raise EngineUnavailableError(f"the OPA server: {type(error).__name__}") from error

    async def _post(self, body: bytes) -> _Answer:
        return await self._ask(self._client.build_request("POST", self._path, content=body))

    async def _health(self) -> _Answer:
        return await self._ask(self._client.build_request("GET", "/health?bundles=true"))

    async def _ask(self, request: httpx.Request) -> _Answer:
        """Return the answer. Raises what teaches the circuit that the server is unwell."""
        response = await self._client.send(request, stream=True)
        try:
            body = await self._bounded(response)
        finally:
            await response.aclose()
        failed = response.status_code >= httpx.codes.INTERNAL_SERVER_ERROR
        if failed and not (body and _policy_failed(body)):
            raise EngineUnavailableError(f"the OPA server answered HTTP {response.status_code}")
        return _Answer(response.status_code, body)

    async def _bounded(self, response: httpx.Response) -> bytes | None:
        body = bytearray()
        async for piece in response.aiter_raw():
            body += piece
            if len(body) > self._size_max:
                return None
        return bytes(body)

    def _believed(self, fields: Mapping[str, Any]) -> str:
        revisions = _revisions(fields.get("provenance"))
        if not self._expected:
            return ",".join(sorted(revisions))[:REVISION_SIZE_MAX] or UNKNOWN_REVISION
        if revisions != {self._expected}:
            said = ", ".join(sorted(revisions)) or "no revision"
            raise RevisionMismatchError(
                f"the OPA server runs {said[:REVISION_SIZE_MAX]}, not {self._expected}"
            )
        return self._expected


async def _within(deadline_s: float, ask: Callable[[], Awaitable[_Answer]]) -> _Answer:
    async with asyncio.timeout(deadline_s):
        return await ask()


def _address(url: str) -> tuple[str, str | None]:
    """Return the base URL, and the path of the unix socket if it is one."""
    parts = urlsplit(url)
    if parts.scheme in ("http", "https") and parts.hostname and not parts.query:
        return url.rstrip("/"), None
    if parts.scheme == "unix" and parts.path.startswith("/"):
        return "http://opa", parts.path
    # Not the URL itself: it may carry a password, and this sentence ends up in a log.
    raise ConfigurationError(
        "ACGS_OPA_URL must be http://host:port, https://host:port or unix:///path/of/socket"
    )


def _headers(token: str | None) -> dict[str, str]:
    # Uncompressed: a few bytes of gzip can be more than any bound on what is read.
    headers = {"Content-Type": "application/json", "Accept-Encoding": "identity"}
    if token:
        headers["Authorization"] = f"Bearer {token}"
    return headers


def _object(body: bytes) -> dict[str, Any]:
    try:
        fields = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise AnswerError(f"the answer is not JSON: {error}") from error
    if not isinstance(fields, dict):
        raise AnswerError("the answer is not an object")
    return fields


def _policy_failed(body: bytes) -> bool:
    """Say whether OPA itself reports a failed evaluation, as it does under strict errors."""
    try:
        fields = _object(body)
    except AnswerError:
        return False
    errors = fields.get("errors")
    return fields.get("code") == "internal_error" and isinstance(errors, list) and bool(errors)


def _refusal(status: int, body: bytes) -> EvaluationError | EngineUnavailableError:
    if _policy_failed(body):
        return EvaluationError(_told(body))
    match status:
        case httpx.codes.UNAUTHORIZED | httpx.codes.FORBIDDEN:
            return EngineUnavailableError("the OPA server refuses our token; see ACGS_OPA_TOKEN")
        case httpx.codes.BAD_REQUEST:
            return EvaluationError(_told(body))
        case _ if status in _REDIRECTS or status == httpx.codes.NOT_FOUND:
            return EngineUnavailableError(f"no OPA server is at ACGS_OPA_URL (HTTP {status})")
        case _:
            return AnswerError(f"the OPA server answered HTTP {status}")


def _told(body: bytes) -> str:
    """What OPA says went wrong, cut to a readable length."""
    fields = _object(body)
    errors = fields.get("errors")
    first = errors[0] if isinstance(errors, list) and errors else {}
    told = first.get("message") if isinstance(first, dict) else None
    return (
        f"OPA answered {str(fields.get('code'))[:64]}: {str(told or fields.get('message'))[:400]}"
    )


def _revisions(provenance: object) -> set[str]:
    """Return the revisions that the server says it runs: one for each of its bundles."""
    if not isinstance(provenance, dict):
        return set()
    bundles = provenance.get("bundles")
    named = bundles.values() if isinstance(bundles, dict) else [provenance]  # before OPA 0.12
    found = (bundle.get("revision") if isinstance(bundle, dict) else None for bundle in named)
    return {revision if isinstance(revision, str) else "" for revision in found} - {""}
