"""Verifying keys at an identity provider's URL.

Laws of this file:
1. One fetch at a time, and never two within MIN_INTERVAL_S: no token, however forged, makes us
   ask the provider more often than that.
2. Keys are refreshed before their time is over, so under traffic nobody waits for the provider.
3. Keys that cannot be refreshed are kept for GRACE_S past their time, then nobody is believed.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from hashlib import sha256
from typing import Final, Protocol, TypeVar

import httpx
import structlog

from cluster.breaker.guard import guard as through_circuit
from cluster.clock import Clock
from cluster.identity.jwks import DOCUMENT_BYTES_MAX, KeySet, UnusableKeysError, parse_jwks
from cluster.identity.sources import GRACE_S
from policies.errors import DependencyError

T = TypeVar("T")

MIN_INTERVAL_S: Final = 5.0
TTL_S: Final = 300.0  # when the provider does not say how long its keys may be kept
TTL_BOUNDS_S: Final = (30.0, 3600.0)
DEADLINE_S: Final = 3.0

log = structlog.get_logger(__name__)


class Guard(Protocol):
    """Makes a call through the circuit of a dependency."""

    def __call__(self, circuit: str, call: Callable[[], Awaitable[T]], /) -> Awaitable[T]:
        """Await the call, or raise CircuitOpenError without making it."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class _Held:
    """An answer of the provider, and for how long it is good."""

    keys: KeySet
    digest: bytes
    etag: str | None
    fetched_at_s: float
    ttl_s: float

    @property
    def refresh_at_s(self) -> float:
        return self.fetched_at_s + 0.8 * self.ttl_s

    @property
    def stale_at_s(self) -> float:
        return self.fetched_at_s + self.ttl_s

    @property
    def useless_at_s(self) -> float:
        return self.stale_at_s + GRACE_S


class UrlKeys:
    """Keys at an identity provider's URL. Use it in one event loop, and close it there."""

    def __init__(
        self,
        url: str,
        *,
        clock: Clock,
        guard: Guard = through_circuit,
        deadline_s: float = DEADLINE_S,
    ) -> None:
        self._url = url
        self._clock = clock
        self._guard = guard
        self._deadline_s = deadline_s
        self._client = httpx.AsyncClient(timeout=deadline_s, follow_redirects=False)
        self._held: _Held | None = None
        self._flight: asyncio.Task[None] | None = None
        self._tried_at_s = float("-inf")
        self._failure: DependencyError | None = None

    def current(self) -> KeySet | None:
        """Return the keys while nobody has to do anything for them."""
        held, now_s = self._held, self._clock.monotonic_s()
        if held is None:
            return None
        is_tended = self._flight is not None or not self._is_due(now_s)
        if now_s < held.refresh_at_s or (is_tended and self._may_serve(held, now_s)):
            return held.keys
        return None

    async def keys(self) -> KeySet:
        """Return the keys; wait only when there are none, or stale ones not yet retried."""
        held, now_s = self._held, self._clock.monotonic_s()
        if held is not None and self._may_serve(held, now_s):
            self._take_off()
            return held.keys
        await self._refresh()
        return self._usable()

    async def newer(self, seen: KeySet) -> KeySet:
        """Fetch again, unless that was done since `seen` or a moment ago."""
        if self._held is None or self._held.keys is seen:
            await self._refresh()
            if self._failure is not None:
                # The key may exist: to call it unknown would be a guess.
                raise DependencyError("jwks", self._failure.detail)
        return self._usable()

    async def close(self) -> None:
        """End a fetch that is under way, and the connection."""
        if self._flight is not None:
            self._flight.cancel()
            await asyncio.wait([self._flight])
        await self._client.aclose()

    def _usable(self) -> KeySet:
        if self._held is not None and self._clock.monotonic_s() < self._held.useless_at_s:
            return self._held.keys
        detail = self._failure.detail if self._failure else "no keys were fetched yet"
        raise DependencyError("jwks", detail)

    def _may_serve(self, held: _Held, now_s: float) -> bool:
        retried = self._failure is not None and self._tried_at_s >= held.stale_at_s
        return now_s < held.stale_at_s or (retried and now_s < held.useless_at_s)

    def _is_due(self, now_s: float) -> bool:
        return now_s - self._tried_at_s >= MIN_INTERVAL_S

    async def _refresh(self) -> None:
        self._take_off()
        if self._flight is not None:
            # Shielded: one caller who goes away must not end it for the others.
            await asyncio.shield(self._flight)

    def _take_off(self) -> None:
        now_s = self._clock.monotonic_s()
        if self._flight is None and self._is_due(now_s):
            self._tried_at_s = now_s
            self._flight = asyncio.create_task(self._fetch(now_s), name="jwks fetch")

    async def _fetch(self, now_s: float) -> None:
        before = self._held
        try:
            self._held = await self._guard("jwks", lambda: self._ask(now_s))
        except DependencyError as error:
            self._failure = error
            log.warning("jwks.refresh_failed", url=self._url, error=repr(error.__cause__ or error))
        else:
            self._failure = None
            if before is None or before.keys is not self._held.keys:
                keys = self._held.keys
                log.info("jwks.refreshed", keys=len(keys.keys), ignored=list(keys.ignored))
        finally:
            self._flight = None

    async def _ask(self, now_s: float) -> _Held:
        try:
            # Inside the guard, or a provider that hangs would never open its circuit.
            async with asyncio.timeout(self._deadline_s):
                return await self._download(now_s)
        except TimeoutError as error:
            detail = f"it did not answer within {self._deadline_s:g} s"
            raise DependencyError("jwks", detail) from error
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            # Callers see this; the text of an error may carry an address.
            raise DependencyError("jwks", f"it was not reached ({type(error).__name__})") from error
        except UnusableKeysError as error:
            raise DependencyError("jwks", str(error)) from error

    async def _download(self, now_s: float) -> _Held:
        held = self._held
        # Compressed, a small answer could unfold into a huge one.
        headers = {"Accept": "application/json", "Accept-Encoding": "identity"}
        if held is not None and held.etag is not None:
            headers["If-None-Match"] = held.etag
        async with self._client.stream("GET", self._url, headers=headers) as response:
            if response.status_code == httpx.codes.NOT_MODIFIED and held and held.etag:
                return replace(held, fetched_at_s=now_s, ttl_s=_ttl_s(response))
            if response.status_code != httpx.codes.OK:
                raise UnusableKeysError(f"it answered {response.status_code}")
            document = await _bounded_body(response)
        digest = sha256(document).digest()
        unchanged = held is not None and held.digest == digest
        return _Held(
            keys=held.keys if held is not None and unchanged else parse_jwks(document),
            digest=digest,
            etag=response.headers.get("etag"),
            fetched_at_s=now_s,
            ttl_s=_ttl_s(response),
        )


async def _bounded_body(response: httpx.Response) -> bytes:
    if response.headers.get("content-encoding", "identity") != "identity":
        raise UnusableKeysError("it answered compressed, which was not asked for")
    body = bytearray()
    async for chunk in response.aiter_raw():
        body += chunk
        if len(body) > DOCUMENT_BYTES_MAX:
            raise UnusableKeysError(f"it answered more than {DOCUMENT_BYTES_MAX} bytes")
    return bytes(body)


def _ttl_s(response: httpx.Response) -> float:
    policy = response.headers.get("cache-control", "").lower()
    if "no-store" in policy or "no-cache" in policy:
        return TTL_BOUNDS_S[0]
    age = re.search(r"\bmax-age=(\d{1,9})\b", policy)
    return TTL_S if age is None else min(max(float(age[1]), TTL_BOUNDS_S[0]), TTL_BOUNDS_S[1])
