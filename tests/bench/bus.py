"""`Bus.submit` in process, with the real OPA: the pure cost of governing one message."""

from __future__ import annotations

import asyncio
import time
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import cycle

from bench.load import Seen
from bench.rows import Row, row_of
from cluster.clock import SystemClock
from cluster.settings import Settings
from policies.message import Message
from policies.rate import RateTable
from serve_app.bus import Bus, Gate
from serve_app.judges.cache import VerdictCache
from serve_app.judges.policy import PolicyJudge
from serve_app.wiring import open_engine, open_law

from builders import a_message, a_principal
from fakes import FakeCourier, FakeMeter, FakeRecorder, no_controls

SENDERS = 1000
TOOLS = ("web.search",)


def bench_bus(messages: int) -> list[Row]:
    """Measure unique content from 1 000 senders, then the same message again and again."""
    return asyncio.run(_bench(messages))


async def _bench(messages: int) -> list[Row]:
    settings = Settings()
    law, engine = open_law(settings), await open_engine(settings)
    recorder = FakeRecorder()
    bus = Bus(
        law=law,
        judge=PolicyJudge(engine, VerdictCache(), timeout_s=settings.policy_timeout_ms / 1000),
        recorder=recorder,
        courier=FakeCourier(),
        meter=FakeMeter(),
        clock=SystemClock(),
        gate=Gate(controls=no_controls, rates=RateTable(rate_s=1e6, burst=1_000_000)),
    )
    note = "in process; OPA is real, the record is in memory"
    await _run(bus, [_unique(number) for number in range(500)])
    recorder.recorded.clear()
    unique = await _run(bus, [_unique(number) for number in range(messages)])
    row = row_of("Bus.submit, unique content, 1 000 senders", "p99 <= 1 ms, >= 2500/s", unique)
    row.note, row.met = note, (row.p99 or 9) <= 1.0 and row.rate_s >= 2500
    recorder.recorded.clear()
    hits = await _run(bus, [_same(number) for number in range(messages)])
    hit = row_of("Bus.submit, verdict-cache hit", "p99 <= 0.278 ms, >= 6310/s", hits)
    hit.note, hit.met = note, (hit.p99 or 9) <= 0.278 and hit.rate_s >= 6310
    await engine.close()
    return [row, hit]


async def _run(bus: Bus, messages: list[Message]) -> Seen:
    seen = Seen()
    principals = {message.sender: a_principal(agent=message.sender) for message in messages}
    started_s = time.perf_counter()
    for message in messages:
        before_s = time.perf_counter()
        recorded = await bus.submit(principals[message.sender], message)
        seen.latencies_ms.append((time.perf_counter() - before_s) * 1000)
        seen.effects[recorded.decision.effect.value] += 1
    seen.wall_s = time.perf_counter() - started_s
    seen.messages = len(messages)
    return seen


_NOW = datetime.now(UTC)
_NAMES = cycle(f"sender-{number}" for number in range(SENDERS))


def _unique(number: int) -> Message:
    args = {"query": f"document {number}", "limit": 10}
    content = {
        "action": "web.search",
        "tool": "web.search",
        "args": args,
        "text": f"Please look up document {number} and summarise what it says about the budget.",
    }
    return _sent(a_message(content=content), f"m-{number}", next(_NAMES))


def _same(number: int) -> Message:
    content = {"action": "web.search", "tool": "web.search", "args": {"query": "weather"}}
    return _sent(a_message(content=content), f"same-{number}", "sender-0")


def _sent(message: Message, message_id: str, sender: str) -> Message:
    return replace(
        message,
        id=message_id,
        conversation_id=message_id,
        sender=sender,
        sent_at=_NOW,
        expires_at=_NOW + timedelta(hours=1),
    )
