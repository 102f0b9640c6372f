"""The front door under load: a whole bus, on real HTTP, governed and durably recorded."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

from running import RunningBus, a_body, started

from bench.desk import bench_desk
from bench.load import Body, Target, open_loop, saturate
from bench.rows import Row, row_of

SENDERS = 100
BATCH = 100


def bench_http(seconds: float, *, waiting: int = 10_000) -> list[Row]:
    """Start a bus and measure its doors one after another; the desk with so many reviews open."""
    with TemporaryDirectory(prefix="acgs-bench-") as folder:
        began_s = time.monotonic()
        with started(Path(folder)) as bus:
            rows = [_start_up(bus, time.monotonic() - began_s)]
            bus.register("tools")
            tokens = [bus.token(f"sender-{number}") for number in range(SENDERS)]
            rows += asyncio.run(_doors(bus, tokens, seconds))
            bus.register("desk-sender", "desk-reader")
            rows += asyncio.run(bench_desk(bus, waiting=waiting, timed=200))
            return rows


async def _doors(bus: RunningBus, tokens: Sequence[str], seconds: float) -> list[Row]:
    await saturate(_single(bus, tokens, "warm"), connections=8, seconds=2)
    floor = await open_loop(_live(bus), rate=100, seconds=seconds, connections=64)
    door = row_of("HTTP GET /health/live, open loop 100/s", "-", floor)
    door.note = "nothing behind it: what HAProxy, Serve and the client cost at this rate"
    calm = await open_loop(_single(bus, tokens, "open"), rate=100, seconds=seconds, connections=64)
    row = row_of("HTTP POST /v1/messages, open loop 100/s", "p99 < 5 ms", calm)
    row.met = row.p99 is not None and row.p99 < 5 and not row.errors
    busy = await saturate(_single(bus, tokens, "busy"), connections=32, seconds=seconds)
    full = row_of("HTTP POST /v1/messages, saturated", ">= 800/s", busy)
    full.met = full.rate_s >= 800 and not full.errors
    many = await saturate(_batch(bus, tokens), connections=4, seconds=seconds)
    batch = row_of(f"HTTP :batch of {BATCH}", ">= 2000 messages/s", many)
    batch.met = batch.rate_s >= 2000 and not batch.errors
    same = await saturate(_same(bus, tokens), connections=32, seconds=seconds)
    cached = row_of("HTTP POST /v1/decisions, verdict cached", "-", same)
    return [door, row, full, batch, cached]


def _single(bus: RunningBus, tokens: Sequence[str], name: str) -> Target:
    def body(number: int) -> bytes:
        return json.dumps(_message(f"{name}-{number}")).encode()

    return _target(bus, "/v1/messages", tokens, body=body)


def _live(bus: RunningBus) -> Target:
    return Target(
        host=bus.settings.http_host, port=bus.settings.http_port, path="/health/live", method="GET"
    )


def _same(bus: RunningBus, tokens: Sequence[str]) -> Target:
    fixed = json.dumps(_message("same")).encode()
    return _target(bus, "/v1/decisions", tokens[:1], body=lambda _: fixed)


def _batch(bus: RunningBus, tokens: Sequence[str]) -> Target:
    def body(number: int) -> bytes:
        messages = [_message(f"batch-{number}-{place}") for place in range(BATCH)]
        return json.dumps({"messages": messages}).encode()

    return _target(bus, "/v1/messages:batch", tokens, body=body, messages_each=BATCH)


def _target(
    bus: RunningBus, path: str, tokens: Sequence[str], *, body: Body, messages_each: int = 1
) -> Target:
    return Target(
        host=bus.settings.http_host,
        port=bus.settings.http_port,
        path=path,
        tokens=tokens,
        body=body,
        messages_each=messages_each,
    )


def _message(unique: str) -> dict[str, object]:
    args = {"query": f"the weather in {unique}", "limit": 10}
    text = f"Please look up what is known about {unique} and summarise it in a few lines."
    content = {"action": "web.search", "tool": "web.search", "args": args, "text": text}
    return a_body(content=content)


def _start_up(bus: RunningBus, seconds: float) -> Row:
    memory = _memory_mib(bus)
    return Row(
        path="start-up to ready",
        goal="-",
        met=None,
        ran=len(memory),
        rate_s=0.0,
        p50=round(seconds * 1000),
        note=", ".join(f"{name} {mib} MiB" for name, mib in memory.items()),
    )


def _memory_mib(bus: RunningBus) -> dict[str, int]:
    """The resident memory of every process of the bus, by what it is called."""
    found: dict[str, int] = {}
    for pid, line in bus.processes():
        words = line.replace(b"\0", b" ").decode(errors="replace").split()
        name = next((word for word in words if word.startswith("ray::")), Path(words[0]).name)
        try:
            pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
        except OSError:
            continue
        found[name] = found.get(name, 0) + pages * 4096 // (1 << 20)
    found["all"] = sum(found.values())
    return dict(sorted(found.items(), key=lambda item: -item[1]))
