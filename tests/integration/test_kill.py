"""`kill -9` of each process under load: acknowledged = recorded = delivered, each once.

And the service answers again, by itself, within ten seconds.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
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
    assert {answer["effect"] for answer in books.acknowledged.values()} == {"allow"}
    found = recorded_in_time(bus, f"{books.name}-", expected=len(books.acknowledged))
    assert Counter(found) == Counter(books.decisions.items())
    delivered = Counter(receive_all(bus, "tools", expected=len(books.acknowledged)))
    assert delivered == Counter(books.acknowledged.keys())
    assert verify_folder(bus.ledger_dir, own_key(bus.settings))


def report(books: Books, victims: str, backs_s: list[float], silences_s: list[float]) -> None:
    """Print what was measured; `pytest -rP` and the CI's log show it."""
    facts = {
        "victims": victims,
        "acknowledged": len(books.acknowledged),
        "back_s": [round(each, 2) for each in backs_s],
        "silence_s": [round(each, 2) for each in silences_s],
        "instead": dict(books.statuses),
    }
    print(json.dumps(facts))


@pytest.mark.timeout(240)
@pytest.mark.parametrize(
    "victims", ["store", "keeper", "ledger", "mailbox", "gateway", "gateway+ledger"]
)
def test_nothing_acknowledged_is_lost_or_doubled_when_a_process_is_killed(
    breakable: RunningBus, victims: str
) -> None:
    books, killed_at_s, backs_s = Books(victims.replace("+", "-")), [], []

    async def scenario() -> None:
        async with traffic(breakable, books):
            for _ in range(ROUNDS):
                await asyncio.sleep(LULL_S)
                killed_at_s.append(time.monotonic())
                for victim in victims.split("+"):
                    killed = await asyncio.to_thread(breakable.kill, victim)
                    assert killed, f"there was no {victim} to kill"
                backs_s.append(await back(books, time.monotonic(), within_s=GIVE_UP_S))
            await asyncio.sleep(LULL_S)

    breakable.wait_until_ready(60)
    asyncio.run(scenario())
    report(books, victims, backs_s, [books.silence_after_s(at) for at in killed_at_s])
    breakable.wait_until_ready(60)
    assert max(backs_s) < BACK_WITHIN_S
    assert_every_promise_is_kept(breakable, books)


@pytest.mark.timeout(240)
def test_a_store_that_hangs_delays_and_loses_nothing(breakable: RunningBus) -> None:
    books, backs_s = Books("hang"), []

    async def scenario() -> None:
        async with traffic(breakable, books):
            await asyncio.sleep(LULL_S)
            pids = breakable.pids("store")
            assert pids
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
    report(books, "store (stopped for 4 s)", backs_s, [])
    breakable.wait_until_ready(60)
    assert books.statuses["503"] > 0, "callers are told, not kept waiting"
    assert max(backs_s) < BACK_WITHIN_S
    assert_every_promise_is_kept(breakable, books)
