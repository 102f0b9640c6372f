"""`kill -9`, again and again: what was acknowledged is in the ledger, exactly once.

Killed processes are not a power cut: the machine's own cache survives them. What a power cut could
lose is covered by fsync before rename before checkpoint (tests/unit/test_ledger_crash.py).
"""

from __future__ import annotations

import asyncio
import os
import random
import subprocess
import sys
import time
from base64 import b64encode
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from contract import ledger_child as child

from actors.ledger.checkpoint import Signer
from actors.ledger.entry import open_entry
from actors.ledger.keys import log_origin
from actors.ledger.sequencer import Sequencer
from actors.ledger.store import Folder
from actors.ledger.verify import verify_log
from cluster.store import keys

if TYPE_CHECKING:
    from contract.conftest import Valkey

TENANT = "acme"
KEY = Signer(log_origin(child.ORIGIN, TENANT), child.KEYRING.ledger_seeds[0]).verifier


class Fleet:
    """The two processes, and the dice that say who is killed when."""

    def __init__(self, valkey: Valkey, folder: Path, *words: str) -> None:
        self.valkey = valkey
        self.ledger, self.acks = folder / "ledger", folder / "acks"
        data = str(valkey.server.data_dir)
        self._commands = {
            "sequencer": ["sequencer", data, str(self.ledger)],
            "writer": ["writer", data, str(self.acks), TENANT, *words],
        }
        self._running: dict[str, subprocess.Popen[bytes]] = {}
        self._dice = random.Random(7)

    def start(self, name: str) -> None:
        command = [sys.executable, str(Path(child.__file__)), *self._commands[name]]
        roots = os.pathsep.join(str(Path(child.__file__).parents[up]) for up in (2, 1))
        self._running[name] = subprocess.Popen(command, env={**os.environ, "PYTHONPATH": roots})

    def kill(self, name: str) -> None:
        process = self._running.pop(name)
        process.kill()
        process.wait()

    def wait_for_acks(self, more: int) -> None:
        wanted = len(self.acknowledged()) + more
        deadline = time.monotonic() + 40
        while len(self.acknowledged()) < wanted:
            assert time.monotonic() < deadline, "nothing is acknowledged any more"
            time.sleep(self._dice.uniform(0.01, 0.06))

    def acknowledged(self) -> dict[str, str]:
        lines = self.acks.read_text().splitlines() if self.acks.exists() else []
        return dict(line.split(" ") for line in lines if line.count(" ") == 1)

    def stop(self) -> None:
        for name in list(self._running):
            self.kill(name)


@contextmanager
def a_fleet(valkey: Valkey, folder: Path, *words: str) -> Iterator[Fleet]:
    fleet = Fleet(valkey, folder, *words)
    try:
        fleet.start("sequencer")
        fleet.start("writer")
        fleet.wait_for_acks(50)
        yield fleet
    finally:
        fleet.stop()


def in_the_ledger(fleet: Fleet) -> tuple[Counter[str], set[str]]:
    """Take in what is left, verify everything, and return the message ids and leaf hashes."""
    ids: Counter[str] = Counter()
    leaves: set[str] = set()

    def visit(_index: int, entry: bytes, leaf: bytes) -> None:
        ids[open_entry(entry).body["decision"]["message_id"]] += 1
        leaves.add(b64encode(leaf).decode())

    async def drain() -> None:
        async with fleet.valkey.store() as store:
            sequencer = Sequencer(
                store, fleet.ledger, child.KEYRING, origin=child.ORIGIN, clock=child.CLOCK
            )
            await sequencer.start()
            while True:
                for turn in sequencer._turns.values():
                    turn.due_s = 0.0
                if not await sequencer.round():
                    break
            assert sequencer.status()[TENANT].stopped is None
            assert await store.execute("XLEN", keys.wal(TENANT)) == 1
            sequencer.close()

    asyncio.run(drain())
    verify_log(Folder(fleet.ledger / "t" / TENANT), [KEY], visit=visit)
    return ids, leaves


@pytest.mark.timeout(240)
def test_nothing_acknowledged_is_lost_or_doubled_under_kill_9(
    own_valkey: Valkey, tmp_path: Path
) -> None:
    with a_fleet(own_valkey, tmp_path) as fleet:
        for victim in ["sequencer", "writer", "sequencer", "store"] * 3:
            fleet.wait_for_acks(60)
            if victim == "store":
                own_valkey.server.kill()
                own_valkey.server.start()
            else:
                fleet.kill(victim)
                fleet.start(victim)
        fleet.wait_for_acks(60)
        fleet.stop()
        acknowledged = fleet.acknowledged()
        ids, leaves = in_the_ledger(fleet)
    assert len(acknowledged) > 700
    assert set(acknowledged) <= set(ids), "an acknowledged decision is not in the ledger"
    assert max(ids.values()) == 1, "a decision is in the ledger twice"
    assert set(acknowledged.values()) <= leaves, "a receipt names a leaf that is not there"


@pytest.mark.timeout(120)
def test_the_check_itself_finds_a_writer_that_acknowledges_first(
    own_valkey: Valkey, tmp_path: Path
) -> None:
    with a_fleet(own_valkey, tmp_path, "ack-first") as fleet:
        for _ in range(4):
            fleet.wait_for_acks(40)
            fleet.kill("writer")
            fleet.start("writer")
        fleet.stop()
        ids, _ = in_the_ledger(fleet)
        lost = set(fleet.acknowledged()) - set(ids)
    assert lost, "the negative control must fail"
