"""One HTTP request to a channel: bounded in time and size, never redirected."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import Final, NamedTuple

import httpx

from cluster.channels.channel import RetryLaterError

ANSWER_BYTES_MAX: Final = 64 << 10
_USER_AGENT: Final = "ACGS-2"


class Answer(NamedTuple):
    """What came back; of a long body, its beginning."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def is_success(self) -> bool:
        """Whether it is a 2xx."""
        return 200 <= self.status < 300

    def retry_after_s(self, now: datetime) -> float | None:
        """Return how long the other side asks us to stay away, None when it does not."""
        said = self.headers.get("retry-after", "").strip()
        if said.isascii() and said.isdigit() and len(said) < 10:
            return float(said)
        try:
            until = parsedate_to_datetime(said)
        except (OverflowError, ValueError):
            return None
        until = until if until.tzinfo else until.replace(tzinfo=UTC)
        return max(0.0, (until - now).total_seconds())


class Exchange:
    """Makes requests for one channel. `ca_file` names who signs its certificate, if not the usual.

    Raises OSError when that file cannot be read.
    """

    def __init__(self, channel: str, *, timeout_s: float, ca_file: Path | None = None) -> None:
        self._channel = channel
        self._timeout_s = timeout_s
        context = ssl.create_default_context(cafile=None if ca_file is None else str(ca_file))
        self._client = httpx.AsyncClient(
            timeout=timeout_s,
            verify=context,
            follow_redirects=False,
            headers={"User-Agent": _USER_AGENT, "Accept-Encoding": "identity"},
        )

    async def post(self, url: str, content: bytes, headers: Mapping[str, str]) -> Answer:
        """Return the answer, whatever it says. Raises RetryLaterError when there is none."""
        try:
            async with (
                asyncio.timeout(self._timeout_s),
                self._client.stream("POST", url, content=content, headers=headers) as response,
            ):
                return Answer(response.status_code, response.headers, await _beginning(response))
        except TimeoutError as error:
            detail = f"no answer within {self._timeout_s:g} s"
            raise RetryLaterError(self._channel, detail) from error
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            # The text of an error may carry the address, and that a secret.
            detail = f"it was not reached ({type(error).__name__})"
            raise RetryLaterError(self._channel, detail) from error

    async def close(self) -> None:
        """Close the connections."""
        await self._client.aclose()


async def _beginning(response: httpx.Response) -> bytes:
    body = bytearray()
    async for chunk in response.aiter_raw():
        body += chunk
        if len(body) >= ANSWER_BYTES_MAX:
            break
    return bytes(body[:ANSWER_BYTES_MAX])
