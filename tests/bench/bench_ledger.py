"""The ledger's numbers: appends per second as it grows, and what a proof costs.

Each function measures one thing on a server and a folder of its own and returns a dict.
"""

from __future__ import annotations

import asyncio
import logging
import os
import resource
import statistics
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import structlog

from actors.ledger.client import LedgerRecorder
from actors.ledger.keys import log_origin, signers
from actors.ledger.reader import LedgerReader
from actors.ledger.sequencer import Sequencer
from actors.ledger.store import Folder
from actors.ledger.verify import verify_log
from actors.ledger.writer import Opening, Writer
from cluster.clock import SystemClock, new_id
from cluster.settings import Settings
from cluster.store.connect import open_store
from cluster.store.embedded import EmbeddedValkey

from builders import a_decision, a_finding, a_message, a_reason, an_impact, digest_of

if TYPE_CHECKING:
    from cluster.store.redis_store import RedisStore
    from policies.decision import Decision
    from policies.message import Message

structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.WARNING))

ORIGIN = "bench.example"
TENANT = "acme"
CLOCK = SystemClock()


@dataclass(frozen=True)
class Secrets:
    wal_key: bytes = bytes(32)
    evidence_key: bytes = bytes([7]) * 32
    ledger_seeds: Sequence[bytes] = (bytes(range(32)),)


@asynccontextmanager
async def a_store(folder: Path) -> AsyncIterator[RedisStore]:
    server = EmbeddedValkey(folder)
    await server.ensure()
    try:
        async with open_store(Settings(data_dir=folder, redis_url=None)) as store:
            yield store
    finally:
        await server.stop()
        await server.close()


def a_pair(number: int) -> tuple[Decision, Message]:
    """A message of unique content, and a decision with every field that a real one has."""
    now = CLOCK.now()
    content = {
        "action": "email.send",
        "resource": f"inbox/{number}",
        "tool": "email",
        "args": {"to": f"person-{number}@example.com", "subject": f"minutes {number}"},
        "text": f"message number {number}: " + "the minutes of the meeting are attached " * 8,
    }
    message = a_message(
        id=new_id(now), sender=f"agent-{number % 1000}", content=content, sent_at=now
    )
    decision = a_decision(
        decision_id=new_id(now),
        message_id=message.id,
        agent=message.sender,
        content_digest=message.content_digest,
        args_digest=digest_of(content["args"]),
        reasons=(a_reason(), a_reason("policy.other")),
        findings=(a_finding(),),
        impact=an_impact(0.31, factors={f"factor_{n}": n / 10 for n in range(7)}),
        decided_at=now,
    )
    return decision, message


async def _append_all(
    recorder: LedgerRecorder, pairs: Sequence[tuple[Decision, Message]], *, callers: int
) -> list[float]:
    waits: list[float] = []
    rest = iter(pairs)

    async def caller() -> None:
        for decision, message in rest:
            started = time.perf_counter()
            await recorder.append(decision, message, release=message)
            waits.append(time.perf_counter() - started)

    await asyncio.gather(*(caller() for _ in range(callers)))
    return waits


async def _appends(
    count: int, callers: int, slices: int, *, sequencer_apart: bool
) -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        async with a_store(folder) as store, AsyncExitStack() as stack:
            recorder = LedgerRecorder(
                store, Secrets(), origin=ORIGIN, clock=CLOCK, replay_window_s=3600
            )
            stop = await _start_sequencer(store, folder, apart=sequencer_apart)
            stack.push_async_callback(stop)
            reader = LedgerReader(folder / "ledger", origin=ORIGIN, store=store)
            rates, in_tree, waits, recorder_s = [], [], [], 0.0
            before = resource.getrusage(resource.RUSAGE_CHILDREN)
            children_s = before.ru_utime + before.ru_stime
            first = await recorder.append(*a_pair(0), release=None)
            started = await reader.wait_for_leaf(TENANT, first.receipt.entry_id, timeout_s=60)
            assert started == 0, "the sequencer does not run"
            for part in range(slices):
                each = count // slices
                pairs = [a_pair(1 + part * each + n) for n in range(each)]
                started, cpu = time.perf_counter(), time.process_time()
                waits += await _append_all(recorder, pairs, callers=callers)
                rates.append(each / (time.perf_counter() - started))
                recorder_s += time.process_time() - cpu
                last = await recorder.append(*a_pair(-1 - part), release=None)
                await reader.wait_for_leaf(TENANT, last.receipt.entry_id, timeout_s=60)
                in_tree.append(each / (time.perf_counter() - started))
            standing = await reader.standing(TENANT)
            used = int(await _told(store, "memory", "used_memory"))
            store_s = float(await _told(store, "cpu", "used_cpu_user"))
            store_s += float(await _told(store, "cpu", "used_cpu_sys"))
            await stack.aclose()
            child = resource.getrusage(resource.RUSAGE_CHILDREN)
            return {
                "appended": count,
                "callers": callers,
                "sequencer_in_own_process": sequencer_apart,
                "appends_per_s": round(count / sum(each / rate for rate in rates)),
                "appends_per_s_first_slice": round(rates[0]),
                "appends_per_s_last_slice": round(rates[-1]),
                "into_the_tree_per_s_first_slice": round(in_tree[0]),
                "into_the_tree_per_s_last_slice": round(in_tree[-1]),
                **_spread("append_ms", waits),
                "tree_size": standing.size,
                "cpu_us_per_append_recorder": round(recorder_s / count * 1e6),
                "cpu_us_per_append_store": round(store_s / count * 1e6),
                "cpu_us_per_append_sequencer": round(
                    (child.ru_utime + child.ru_stime - children_s) / count * 1e6
                ),
                "load_average": os.getloadavg()[0],
                "cores": os.cpu_count(),
                "store_bytes_per_decision": used // standing.size,
            }


async def _told(store: RedisStore, section: str, name: str) -> str:
    info = await store.execute("INFO", section)
    assert isinstance(info, bytes)
    return info.decode().split(f"{name}:")[1].split("\r\n")[0]


async def _start_sequencer(store: RedisStore, folder: Path, *, apart: bool) -> Any:
    if not apart:
        sequencer = Sequencer(store, folder / "ledger", Secrets(), origin=ORIGIN, clock=CLOCK)
        await sequencer.start()
        running = asyncio.create_task(sequencer.run())

        async def stop() -> None:
            sequencer.stop()
            await running
            sequencer.close()

        return stop
    roots = os.pathsep.join(str(Path(__file__).parents[up]) for up in (2, 1))
    command = [sys.executable, "-m", "bench.bench_ledger", "sequencer", str(folder)]
    process = await asyncio.create_subprocess_exec(
        *command, env={**os.environ, "PYTHONPATH": roots}
    )

    async def end() -> None:
        if process.returncode is None:
            process.terminate()
        await process.wait()

    return end


def appends(
    count: int = 100_000, *, callers: int = 256, slices: int = 10, sequencer_apart: bool = True
) -> dict[str, Any]:
    """Measure decisions through the recorder into the tree, in slices, so that growth shows."""
    return asyncio.run(_appends(count, callers, slices, sequencer_apart=sequencer_apart))


def one_caller(count: int = 2_000) -> dict[str, Any]:
    """Measure what one caller waits for one append."""
    return asyncio.run(_appends(count, 1, 1, sequencer_apart=True))


def a_long_log(folder: Path, size: int, *, batch: int = 1024) -> Writer:
    """Write a log of this size, straight into its tiles."""
    from actors.ledger.entry import seal

    origin = log_origin(ORIGIN, TENANT)
    opening = Opening(
        origin=origin, signers=signers(Secrets().ledger_seeds, origin=ORIGIN, tenant=TENANT)
    )
    writer = Writer.open(Folder(folder / "t" / TENANT), opening)
    body = b'{"filler":"%b","number":%d}'
    for first in range(0, size, batch):
        writer.commit(
            [
                seal(body % (b"x" * 1500, number), f"{1 + number}-0")
                for number in range(first, min(first + batch, size))
            ]
        )
    return writer


def proofs(sizes: Sequence[int] = (100_000, 1_000_000), *, count: int = 2_000) -> dict[str, Any]:
    """Measure inclusion proofs out of tiles, checked before they are handed out."""
    found: dict[str, Any] = {}
    for size in sizes:
        with tempfile.TemporaryDirectory() as name:
            started = time.perf_counter()
            writer = a_long_log(Path(name), size)
            found[f"write_{size}_per_s"] = round(size / (time.perf_counter() - started))
            reader = LedgerReader(Path(name), origin=ORIGIN)
            view = reader._view(TENANT)
            checkpoint = view.checkpoint()
            assert checkpoint is not None
            waits = []
            step = max(1, size // count)
            for index in sorted(range(0, size, step), key=lambda n: (n * 7919) % size):
                started = time.perf_counter()
                view.prove(index, checkpoint)
                waits.append(time.perf_counter() - started)
            found |= _spread(f"proof_{size}_ms", waits)
            started = time.perf_counter()
            keys = [each.verifier for each in writer._signers]
            verify_log(writer.folder, keys)
            found[f"verify_{size}_s"] = round(time.perf_counter() - started, 2)
    return found


def _spread(name: str, waits_s: Sequence[float]) -> dict[str, float]:
    parts = statistics.quantiles(waits_s, n=100)
    return {
        f"{name}_p50": round(parts[49] * 1000, 3),
        f"{name}_p99": round(parts[98] * 1000, 3),
        f"{name}_max": round(max(waits_s) * 1000, 3),
    }


async def _sequence(folder: Path) -> None:
    import signal

    store = open_store(Settings(data_dir=folder, redis_url=None))
    sequencer = Sequencer(store, folder / "ledger", Secrets(), origin=ORIGIN, clock=CLOCK)
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, sequencer.stop)
    await sequencer.start()
    await sequencer.run()
    sequencer.close()


if __name__ == "__main__":
    if sys.argv[1:2] == ["sequencer"]:
        asyncio.run(_sequence(Path(sys.argv[2])))
    else:
        import json

        for measure in (one_caller, appends, proofs):
            print(measure.__name__, json.dumps(measure(), indent=1))
