"""What the kill tests kill: a sequencer, or a writer that notes what was acknowledged to it.

python ledger_child.py sequencer DATA LEDGER
python ledger_child.py writer DATA ACKS TENANT [ack-first]
"""

from __future__ import annotations

import asyncio
import logging
import os
import sys
from pathlib import Path

import structlog

from actors.ledger.client import LedgerRecorder
from actors.ledger.sequencer import Sequencer
from cluster.clock import SystemClock, new_id
from cluster.keyring import Keyring
from cluster.settings import Settings
from cluster.store.connect import open_store
from policies.errors import DependencyError

from builders import a_decision, a_message

ORIGIN = "bus.example"
CLOCK = SystemClock()
KEYRING = Keyring((bytes(range(32)),), bytes(32), bytes([7]) * 32)
CALLERS = 16


async def sequence(data: Path, ledger: Path) -> None:
    store = open_store(Settings(data_dir=data, redis_url=None))
    sequencer = Sequencer(store, ledger, KEYRING, origin=ORIGIN, clock=CLOCK, lock_wait_s=5)
    await sequencer.start()
    await sequencer.run()


async def write(data: Path, acks: Path, tenant: str, *, ack_first: bool) -> None:
    store = open_store(Settings(data_dir=data, redis_url=None))
    recorder = LedgerRecorder(store, KEYRING, origin=ORIGIN, clock=CLOCK, replay_window_s=600)
    handle = os.open(acks, os.O_WRONLY | os.O_APPEND | os.O_CREAT)

    async def caller() -> None:
        while True:
            message = a_message(id=new_id(CLOCK.now()), tenant=tenant)
            decision = a_decision(
                decision_id=new_id(CLOCK.now()), message_id=message.id, tenant=tenant
            )
            if ack_first:
                os.write(handle, f"{message.id} ?\n".encode())
            while True:
                try:
                    recorded = await recorder.append(decision, message, release=None)
                    break
                except DependencyError:
                    await asyncio.sleep(0.02)
            if not ack_first:
                os.write(handle, f"{message.id} {recorded.receipt.leaf_hash}\n".encode())

    await asyncio.gather(*(caller() for _ in range(CALLERS)))


if __name__ == "__main__":
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.ERROR))
    match sys.argv[1:]:
        case ["sequencer", data, ledger]:
            asyncio.run(sequence(Path(data), Path(ledger)))
        case ["writer", data, acks, tenant, *rest]:
            asyncio.run(write(Path(data), Path(acks), tenant, ack_first=rest == ["ack-first"]))
