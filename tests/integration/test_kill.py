"""`kill -9` of each process under load: acknowledged = recorded = delivered, each once."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from actors.ledger.reader import LedgerReader
from integration.traffic import Books, receive_all, send
from running import RunningBus, started
from serve_app.cli.ledger import verify_folder

SENDERS, EACH = 8, 60
BACK_WITHIN_S = 10.0  # the promise; from the kill to the next 200 of a real message


@pytest.fixture(scope="module")
def breakable(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningBus]:
    with started(tmp_path_factory.mktemp("breakable")) as running:
        running.register("planner", "tools")
        yield running


def recorded_ids(bus: RunningBus, tenant: str = "acme") -> Counter[str]:
    """Every message id that the ledger's own entries hold, read from its files."""
    reader = LedgerReader(bus.ledger_dir, origin=bus.settings.ledger_origin)
    return Counter(
        entry["decision"]["message_id"]
        for entry in reader.entries(tenant)
        if entry["kind"] == "decision"
    )


@pytest.mark.timeout(300)
@pytest.mark.parametrize("victim", ["store", "ledger", "mailbox", "gateway", "keeper"])
def test_nothing_acknowledged_is_lost_or_doubled_when_a_process_is_killed(
    breakable: RunningBus, victim: str
) -> None:
    books = Books()
    back_s: list[float] = []

    async def scenario() -> None:
        load = asyncio.create_task(send(breakable, books, senders=SENDERS, each=EACH, deadline_s=120))
        for _ in range(2):
            await asyncio.sleep(0.7)
            killed = await asyncio.to_thread(breakable.kill, victim)
            assert killed, f"there was no {victim} to kill"
            killed_s = time.monotonic()
            before = len(books.acknowledged)
            while len(books.acknowledged) == before and not load.done():
                await asyncio.sleep(0.02)
            back_s.append(time.monotonic() - killed_s)
        await load

    asyncio.run(scenario())
    assert len(books.acknowledged) == SENDERS * EACH
    assert books.conflicting == []
    assert books.refused == []
    assert max(back_s) < BACK_WITHIN_S
    breakable.wait_until_ready(60)
    allowed = {key for key, answer in books.acknowledged.items() if answer["effect"] == "allow"}
    assert allowed == set(books.acknowledged)
    delivered = Counter(receive_all(breakable, "tools"))
    assert set(delivered) == allowed
    assert max(delivered.values()) == 1
