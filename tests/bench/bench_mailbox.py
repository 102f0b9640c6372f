"""The mailbox's numbers: deliveries and receipts per second, empty and with much that waits.

Each function measures one thing on a server of its own and returns a dict.
"""

from __future__ import annotations

import asyncio
import statistics
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from itertools import count
from pathlib import Path
from typing import Any

from actors.mailbox.client import Mailboxes
from actors.mailbox.mailbox import Profile
from actors.mailbox.redelivery import Redelivery
from actors.mailbox.store import MailboxStore
from cluster.clock import SystemClock, new_id
from cluster.settings import Settings
from cluster.store import keys
from cluster.store.connect import open_bell, open_store
from cluster.store.embedded import EmbeddedValkey
from cluster.store.redis_store import RedisStore
from policies.message import BROADCAST, Message
from policies.parcel import parcel

from builders import a_message

TENANT = "acme"
AGENT = "mailer"
CLOCK = SystemClock()


@dataclass
class Bench:
    """One server, one mailbox, and messages of about 700 bytes of unique content."""

    store: RedisStore
    mailboxes: Mailboxes
    serial: count[int]

    def message(self, **changes: Any) -> Message:
        number, now = next(self.serial), CLOCK.now()
        message_id = new_id(now)
        return a_message(
            **{
                "id": message_id,
                "conversation_id": message_id,
                "content": {
                    "action": "email.send",
                    "resource": f"inbox/{number}",
                    "args": {"to": f"person-{number}@example.com"},
                    "text": f"message {number}: " + "the minutes of the meeting are attached " * 6,
                },
                "sent_at": now,
                "expires_at": now + timedelta(hours=1),
                **changes,
            }
        )

    async def fill(self, many: int, **changes: Any) -> list[float]:
        return await together(256, await self.deliveries(many, **changes))

    async def deliveries(self, many: int, **changes: Any) -> list[Callable[[], Awaitable[object]]]:
        """Promise so many messages in the outbox; return what delivers each of them."""
        messages = [self.message(**changes) for _ in range(many)]
        for message in messages:
            packed = parcel(message, message.id)
            await self.store.execute("HSET", keys.outbox(TENANT), message.id, packed)
        return [partial(self.mailboxes.deliver, message, message.id) for message in messages]

    async def take(self, many: int, at_most: int) -> list[float]:
        """Receive and acknowledge; return what each receipt took."""
        waits: list[float] = []
        while many > 0:
            started = time.perf_counter()
            found = await self.mailboxes.receive(TENANT, AGENT, at_most=min(many, at_most))
            waits.append(time.perf_counter() - started)
            assert found, many
            await asyncio.gather(
                *(self.mailboxes.ack(TENANT, AGENT, envelope.lease_id) for envelope in found)
            )
            many -= len(found)
        return waits


async def together(callers: int, calls: Sequence[Callable[[], Awaitable[object]]]) -> list[float]:
    """Make the calls, so many at a time; return what each took."""
    waits: list[float] = []
    rest = iter(calls)

    async def caller() -> None:
        for call in rest:
            started = time.perf_counter()
            await call()
            waits.append(time.perf_counter() - started)

    await asyncio.gather(*(caller() for _ in range(callers)))
    return waits


@asynccontextmanager
async def a_bench() -> AsyncIterator[Bench]:
    with tempfile.TemporaryDirectory() as name:
        server = EmbeddedValkey(Path(name))
        await server.ensure()
        settings = Settings(data_dir=Path(name), redis_url=None)
        bell = open_bell(settings)
        try:
            async with open_store(settings) as store:
                mailboxes = Mailboxes(store, bell=bell, clock=CLOCK)
                await mailboxes.register(TENANT, AGENT, Profile())
                yield Bench(store, mailboxes, count())
                await mailboxes.close()
        finally:
            await bell.close()
            await server.stop()
            await server.close()


async def _deliveries(many: int, callers: int) -> dict[str, Any]:
    async with a_bench() as bench:
        calls = await bench.deliveries(many)
        started = time.perf_counter()
        waits = await together(callers, calls)
        took_s = time.perf_counter() - started
        return {
            "delivered": many,
            "callers": callers,
            "deliveries_per_s": round(many / took_s),
            **_spread("deliver_ms", waits),
        }


def deliveries(many: int = 20_000, *, callers: int = 256) -> dict[str, Any]:
    """Measure deliveries whose callers share round trips."""
    return asyncio.run(_deliveries(many, callers))


def one_sender(many: int = 2_000) -> dict[str, Any]:
    """Measure what a lone sender waits for one delivery."""
    return asyncio.run(_deliveries(many, 1))


async def _receipts(many: int, at_most: int) -> dict[str, Any]:
    async with a_bench() as bench:
        await bench.fill(many)
        started = time.perf_counter()
        waits = await bench.take(many, at_most)
        took_s = time.perf_counter() - started
        return {
            "received_and_acked": many,
            "at_most": at_most,
            "per_s": round(many / took_s),
            **_spread("receive_ms", waits),
        }


def receipts(many: int = 20_000, *, at_most: int = 100) -> dict[str, Any]:
    """Measure receipts with their acknowledgements, one worker."""
    return asyncio.run(_receipts(many, at_most))


def one_at_a_time(many: int = 2_000) -> dict[str, Any]:
    """Measure receipts of one message with its acknowledgement, one worker."""
    return asyncio.run(_receipts(many, 1))


async def _crowded(crowd: int, sample: int) -> dict[str, Any]:
    found: dict[str, Any] = {"crowd": crowd, "sample": sample}

    async def measure(bench: Bench, name: str) -> None:
        await bench.fill(sample)
        started = time.perf_counter()
        waits = await bench.take(sample, 1)
        found[f"{name}_per_s"] = round(sample / (time.perf_counter() - started))
        found.update(_spread(f"{name}_receive_ms", waits))
        found[f"{name}_script_us"] = await script_us(bench)

    async def script_us(bench: Bench) -> float:
        """What one receipt and one acknowledgement take inside the server, without the disk."""
        await bench.store.execute("CONFIG", "RESETSTAT")
        await bench.fill(sample)
        before = await _evalsha_us(bench)
        await bench.take(sample, 1)
        return round((await _evalsha_us(bench) - before) / sample, 1)

    async with a_bench() as bench:
        await measure(bench, "empty")
    async with a_bench() as bench:
        await bench.fill(crowd)
        await measure(bench, "waiting")
    async with a_bench() as bench:
        await bench.fill(crowd, conversation_id="long")
        (held,) = await bench.mailboxes.receive(TENANT, AGENT, lease_s=3600)
        await measure(bench, "blocked")
        await bench.mailboxes.ack(TENANT, AGENT, held.lease_id)
    return found


def crowded(crowd: int = 10_000, *, sample: int = 1_000) -> dict[str, Any]:
    """Measure receipts beside 10 000 that wait, and beside 10 000 blocked in one conversation."""
    return asyncio.run(_crowded(crowd, sample))


async def _one_conversation(many: int) -> dict[str, Any]:
    async with a_bench() as bench:
        await bench.fill(many, conversation_id="long")
        part = many // 10
        rates = []
        for _ in range(10):
            started = time.perf_counter()
            await bench.take(part, 100)
            rates.append(part / (time.perf_counter() - started))
        return {
            "read": many,
            "per_s_first_tenth": round(rates[0]),
            "per_s_last_tenth": round(rates[-1]),
        }


def one_conversation(many: int = 10_000) -> dict[str, Any]:
    """Measure reading 10 000 messages of one conversation, each promoted by the one before."""
    return asyncio.run(_one_conversation(many))


async def _broadcasts(agents: int, many: int) -> dict[str, Any]:
    async with a_bench() as bench:
        for number in range(agents):
            await bench.mailboxes.register(TENANT, f"agent-{number}", Profile())
        calls = await bench.deliveries(many, recipient=BROADCAST)
        started = time.perf_counter()
        waits = await together(1, calls)
        took_s = time.perf_counter() - started
        return {
            "agents": agents + 1,
            "broadcasts": many,
            "entries_per_s": round(many * (agents + 1) / took_s),
            **_spread("broadcast_ms", waits),
        }


def broadcasts(agents: int = 1_000, *, many: int = 10) -> dict[str, Any]:
    """Measure broadcasts to a thousand agents."""
    return asyncio.run(_broadcasts(agents, many))


async def _repairs(many: int) -> dict[str, Any]:
    async with a_bench() as bench:
        long_ago = CLOCK.now() - timedelta(seconds=10)
        await bench.store.execute("SADD", keys.TENANTS, TENANT)

        def record() -> Callable[[], Awaitable[object]]:
            decision_id = new_id(CLOCK.now())
            packed = parcel(bench.message(sent_at=long_ago), decision_id)
            return lambda: bench.store.execute("HSET", keys.outbox(TENANT), decision_id, packed)

        await together(8, [record() for _ in range(many)])
        boxes = MailboxStore(bench.store, bench.mailboxes._terms)
        loop = Redelivery(bench.mailboxes, boxes, CLOCK)
        started = time.perf_counter()
        while loop.status()["redelivered"] < many:
            await loop.once()
        took_s = time.perf_counter() - started
        return {"repaired": many, "repairs_per_s": round(many / took_s), **loop.status()}


def repairs(many: int = 5_000) -> dict[str, Any]:
    """Measure how fast an outbox empties after a crash."""
    return asyncio.run(_repairs(many))


async def _evalsha_us(bench: Bench) -> float:
    stats = await bench.store.execute("INFO", "commandstats")
    assert isinstance(stats, bytes)
    _, _, rest = stats.decode().partition("cmdstat_evalsha:calls=")
    return float(rest.partition("usec=")[2].partition(",")[0] or 0)


def _spread(name: str, waits_s: Sequence[float]) -> dict[str, float]:
    parts = statistics.quantiles(waits_s, n=100)
    return {
        f"{name}_p50": round(parts[49] * 1000, 3),
        f"{name}_p99": round(parts[98] * 1000, 3),
        f"{name}_max": round(max(waits_s) * 1000, 3),
    }


if __name__ == "__main__":
    import json
    import logging

    import structlog

    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.WARNING))
    for measure in (
        one_sender,
        deliveries,
        one_at_a_time,
        receipts,
        crowded,
        one_conversation,
        broadcasts,
        repairs,
    ):
        print(measure.__name__, json.dumps(measure(), indent=1))
