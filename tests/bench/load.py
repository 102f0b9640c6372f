"""A load generator for HTTP on loopback: open loop or saturating, and it says what it saw."""

from __future__ import annotations

import asyncio
import json
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import count

CONNECT_ATTEMPTS = 3


@dataclass
class Seen:
    """What the clients saw: latencies in ms in order of completion, statuses, effects."""

    latencies_ms: list[float] = field(default_factory=list)
    statuses: Counter[int] = field(default_factory=Counter)
    effects: Counter[str] = field(default_factory=Counter)
    errors: Counter[str] = field(default_factory=Counter)
    wall_s: float = 0.0
    messages: int = 0


class Connection:
    """One keep-alive HTTP/1.1 connection."""

    def __init__(self, host: str, port: int) -> None:
        self._host = host
        self._port = port
        self._streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    async def send(self, request: bytes) -> tuple[int, bytes]:
        """Send one request and read its whole answer."""
        if self._streams is None:
            self._streams = await asyncio.open_connection(self._host, self._port, limit=1 << 22)
        reader, writer = self._streams
        try:
            writer.write(request)
            head = await reader.readuntil(b"\r\n\r\n")
            status = int(head[9:12])
            lower = head.lower()
            start = lower.index(b"content-length:") + 15
            size = int(lower[start : lower.index(b"\r\n", start)])
            return status, await reader.readexactly(size)
        except (OSError, ValueError, asyncio.IncompleteReadError):
            await self.close()
            raise

    async def close(self) -> None:
        """Let go of the connection."""
        if self._streams is not None:
            self._streams[1].close()
            self._streams = None


Body = Callable[[int], bytes]


@dataclass(frozen=True, kw_only=True)
class Target:
    """Where to send, and as whom: one of `tokens` for each request in turn."""

    host: str
    port: int
    path: str
    tokens: Sequence[str] = ()
    body: Body | None = None
    messages_each: int = 1
    method: str = "POST"

    def request(self, number: int) -> bytes:
        """Return request `number`, ready to be sent."""
        lines = [f"{self.method} {self.path} HTTP/1.1", "Host: bench"]
        if self.tokens:
            lines.append(f"Authorization: Bearer {self.tokens[number % len(self.tokens)]}")
        body = b"" if self.body is None else self.body(number)
        if self.body is not None:
            lines += ["Content-Type: application/json", f"Content-Length: {len(body)}"]
        return "\r\n".join([*lines, "", ""]).encode() + body


async def saturate(target: Target, *, connections: int, seconds: float) -> Seen:
    """Keep every connection busy for `seconds`."""
    seen, numbers = Seen(), count()
    ends_s = time.perf_counter() + seconds

    async def client() -> None:
        connection = Connection(target.host, target.port)
        while time.perf_counter() < ends_s:
            await _one(target, connection, next(numbers), seen=seen, due_s=None)
        await connection.close()

    started_s = time.perf_counter()
    await asyncio.gather(*(client() for _ in range(connections)))
    seen.wall_s = time.perf_counter() - started_s
    return seen


async def open_loop(target: Target, *, rate: float, seconds: float, connections: int) -> Seen:
    """Send `rate` requests a second whatever the answers do; latency counts from when each was due.

    So a stall is seen by every request that it delayed (no coordinated omission).
    """
    seen = Seen()
    free: asyncio.Queue[Connection] = asyncio.Queue()
    for _ in range(connections):
        free.put_nowait(Connection(target.host, target.port))
    started_s = time.perf_counter()

    async def send(number: int, due_s: float) -> None:
        connection = await free.get()
        await _one(target, connection, number, seen=seen, due_s=due_s)
        free.put_nowait(connection)

    tasks = []
    for number in range(int(rate * seconds)):
        due_s = started_s + number / rate
        await asyncio.sleep(max(0.0, due_s - time.perf_counter()))
        tasks.append(asyncio.create_task(send(number, due_s)))
    await asyncio.gather(*tasks)
    seen.wall_s = time.perf_counter() - started_s
    while not free.empty():
        await free.get_nowait().close()
    return seen


async def _one(
    target: Target, connection: Connection, number: int, *, seen: Seen, due_s: float | None
) -> None:
    request = target.request(number)
    started_s = time.perf_counter() if due_s is None else due_s
    try:
        status, answer = await connection.send(request)
    except (OSError, ValueError, asyncio.IncompleteReadError) as error:
        seen.errors[type(error).__name__] += 1
        return
    seen.latencies_ms.append((time.perf_counter() - started_s) * 1000)
    seen.statuses[status] += 1
    seen.messages += target.messages_each
    _tally(json.loads(answer), seen)


def _tally(answer: dict[str, object], seen: Seen) -> None:
    results = answer.get("results", [answer])
    assert isinstance(results, list)
    for result in results:
        said = result.get("effect") or result.get("code") or result.get("status")
        seen.effects[str(said)] += 1
