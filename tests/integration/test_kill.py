"""`kill -9` of each process under load: acknowledged = recorded = delivered, each once.

And the service answers again, by itself, within ten seconds.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
import time
from collections import Counter
from collections.abc import Iterator

import pytest
from integration.traffic import Books, back, receive_all, recorded_in_time, traffic
from running import RunningBus, started

from serve_app.cli.ledger import own_key, verify_folder

BACK_WITHIN_S = 10.0  # the promise: from the kill to a decision on a message sent after it
GIVE_UP_S = 60.0
ROUNDS = 2
LULL_S = 0.6  # of ordinary traffic around each kill


@pytest.fixture(scope="module")
def breakable(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningBus]:
    with started(tmp_path_factory.mktemp("breakable")) as running:
        running.register("planner", "tools")
        yield running


def assert_every_promise_is_kept(bus: RunningBus, books: Books) -> None:
    """Acknowledged = recorded = delivered, each once, in a ledger that verifies."""
    assert books.conflicting == []
    assert books.refused == []
    # A machine that is busy bringing a replica back may be late with a verdict: then it denies.
    assert set(books.codes_of("deny")) <= {"policy.timeout"}
    assert books.ids("review") == []
    prefix, allowed = f"{books.name}-", books.ids("allow")
    found = recorded_in_time(bus, prefix, expected=len(books.acknowledged))
    assert Counter(found) == Counter(books.decisions.items())
    delivered = receive_all(bus, "tools", prefix, expected=len(allowed))
    assert Counter(delivered) == Counter(allowed)
    assert verify_folder(bus.ledger_dir, own_key(bus.settings))


def kill_when_seated(bus: RunningBus, victim: str) -> None:
    """Kill it; the one that was killed before may still be coming back."""
    deadline_s = time.monotonic() + GIVE_UP_S
    while not bus.kill(victim):
        assert time.monotonic() < deadline_s, f"there is no {victim} to kill"
        time.sleep(0.02)


def report(books: Books, victims: str, *, backs_s: list[float], killed_s: list[float]) -> None:
    """Write what was measured where `pytest -rP` shows it."""
    facts = {
        "victims": victims,
        "acknowledged": len(books.acknowledged),
        "denied": books.codes_of("deny"),
        "back_s": [round(each, 2) for each in backs_s],
        "silence_s": [round(books.silence_after_s(each), 2) for each in killed_s],
        "instead": dict(books.statuses),
    }
    sys.stdout.write(json.dumps(facts) + "\n")


@pytest.mark.timeout(240)
@pytest.mark.parametrize(
    "victims", ["store", "keeper", "ledger", "mailbox", "gateway", "gateway+ledger"]
)
def test_nothing_acknowledged_is_lost_or_doubled_when_a_process_is_killed(
    breakable: RunningBus, victims: str
) -> None:
    books = Books(victims.replace("+", "-"))
    killed_s: list[float] = []
    backs_s: list[float] = []

    async def scenario() -> None:
        async with traffic(breakable, books):
            for _ in range(ROUNDS):
                await asyncio.sleep(LULL_S)
                for victim in victims.split("+"):
                    await asyncio.to_thread(kill_when_seated, breakable, victim)
                killed_s.append(time.monotonic())
                backs_s.append(await back(books, killed_s[-1], within_s=GIVE_UP_S))
            await asyncio.sleep(LULL_S)

    breakable.wait_until_ready(60)
    asyncio.run(scenario())
    report(books, victims, backs_s=backs_s, killed_s=killed_s)
    breakable.wait_until_ready(60)
    assert max(backs_s) < BACK_WITHIN_S
    assert_every_promise_is_kept(breakable, books)


@pytest.mark.timeout(240)
def test_a_store_that_hangs_delays_and_loses_nothing(breakable: RunningBus) -> None:
    books = Books("hang")
    killed_s: list[float] = []
    backs_s: list[float] = []

    async def scenario() -> None:
        async with traffic(breakable, books):
            await asyncio.sleep(LULL_S)
            pids = breakable.pids("store")
            assert pids
            killed_s.append(time.monotonic())
            for pid in pids:
                os.kill(pid, signal.SIGSTOP)
            try:
                await asyncio.sleep(4.0)
            finally:
                for pid in pids:
                    os.kill(pid, signal.SIGCONT)
            backs_s.append(await back(books, time.monotonic(), within_s=GIVE_UP_S))
            await asyncio.sleep(LULL_S)

    breakable.wait_until_ready(60)
    asyncio.run(scenario())
    report(books, "store (stopped for 4 s)", backs_s=backs_s, killed_s=killed_s)
    breakable.wait_until_ready(60)
    assert books.statuses["503"] > 0, "callers are told, not kept waiting"
    assert max(backs_s) < BACK_WITHIN_S
    assert_every_promise_is_kept(breakable, books)
