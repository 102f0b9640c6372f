"""A sequencer that ends at any write, or at any call, loses nothing and doubles nothing."""

from __future__ import annotations

import asyncio
from base64 import b64decode
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from contract.test_ledger_road import (
    ORIGIN,
    SECRETS,
    a_pair,
    a_recorder,
    a_sequencer,
    entries_of,
    put,
    settle,
)

from actors.ledger.audit import audit, open_place
from actors.ledger.checkpoint import Signer
from actors.ledger.entry import Kind, open_entry
from actors.ledger.merkle import leaf_hash
from actors.ledger.reader import LedgerReader
from cluster.store import keys

from builders import a_principal

if TYPE_CHECKING:
    from contract.conftest import Valkey

    from cluster.store.client import Call, Store
    from policies.decision import Recorded

TENANT = "acme"
ROOT_KEY = Signer(ORIGIN, SECRETS.ledger_seeds[0]).verifier


class CrashError(Exception):
    """The process ends here."""


class Countdown:
    """Ends the process before its nth step; counts the steps when n is negative."""

    def __init__(self, at: int) -> None:
        self.passed = 0
        self._at = at

    def __call__(self, _what: str = "", _path: str = "") -> None:
        if self.passed == self._at:
            raise CrashError
        self.passed += 1


class FragileStore:
    """A store whose caller ends before, or just after, the nth call."""

    def __init__(self, store: Store, countdown: Countdown, *, after: bool) -> None:
        self._store = store
        self._countdown = countdown
        self._after = after

    async def execute(self, *command: str | bytes | float) -> object:
        return await self._guarded(self._store.execute(*command))  # type: ignore[arg-type]

    async def run(self, call: Call) -> object:
        return await self._guarded(self._store.run(call))

    async def run_many(self, calls: Sequence[Call]) -> list[object]:
        return await self._guarded(self._store.run_many(calls))  # type: ignore[return-value]

    async def _guarded(self, answer: object) -> object:
        if self._after:
            result = await answer  # type: ignore[misc]
            self._countdown()
            return result
        try:
            self._countdown()
        except CrashError:
            answer.close()  # type: ignore[attr-defined]
            raise
        return await answer  # type: ignore[misc]


async def _record(store: Store) -> list[Recorded]:
    recorder = a_recorder(store)
    made = [await put(recorder, *a_pair(TENANT)) for _ in range(3)]
    made.append(await put(recorder, *a_pair(TENANT, content={"text": "x" * 60_000})))
    return made


async def _check(store: Store, folder: Path, made: list[Recorded]) -> None:
    async with a_sequencer(store, folder) as sequencer:
        await settle(sequencer)
        await settle(sequencer)
        assert sequencer.status()[TENANT].stopped is None
        entries = entries_of(folder, TENANT)
        leaves = [leaf_hash(each) for each in entries]
        assert sorted(leaves) == sorted(b64decode(each.receipt.leaf_hash) for each in made)
        assert await store.execute("XLEN", keys.wal(TENANT)) == 1
        recorder, reader = a_recorder(store), LedgerReader(folder, origin=ORIGIN)
        for index, each in enumerate(made):
            kept = await recorder.decision(TENANT, each.decision.decision_id)
            assert kept is not None
            assert kept.receipt.leaf_hash == each.receipt.leaf_hash
            assert kept.receipt.leaf_index == index
        found = open_entry(entries[3])
        outside = await reader.outside(TENANT, found.body["evidence"]["digest"])
        assert b"x" * 1000 in await recorder.evidence(found, outside)
        await recorder.erase(TENANT, "writer", by=a_principal(tenant=TENANT), reason="asked")
        await settle(sequencer)
        assert open_entry(entries_of(folder, TENANT)[4]).kind is Kind.ERASURE
    assert audit(open_place(str(folder)), ROOT_KEY).logs[TENANT].checkpoint.size == 5


async def _crash_at(valkey: Valkey, folder: Path, at: int, *, where: str) -> int:
    countdown = Countdown(at)
    async with valkey.store() as store:
        await store.execute("FLUSHALL")
        made = await _record(store)
        fragile = store
        if where != "disk":
            fragile = FragileStore(store, countdown, after=where == "after a call")  # type: ignore[assignment]
        step = {"step": countdown} if where == "disk" else {}
        try:
            async with a_sequencer(fragile, folder, **step) as sequencer:
                await settle(sequencer)
        except CrashError:
            assert at >= 0, "nothing crashes without being asked to"
        await _check(store, folder, made)
    return countdown.passed


@pytest.mark.timeout(180)
@pytest.mark.parametrize("where", ["disk", "before a call", "after a call"])
def test_the_sequencer_may_end_anywhere(own_valkey: Valkey, tmp_path: Path, where: str) -> None:
    async def scenario() -> None:
        steps = await _crash_at(own_valkey, tmp_path / "whole", -1, where=where)
        assert steps > 8
        for at in range(steps):
            await _crash_at(own_valkey, tmp_path / str(at), at, where=where)

    asyncio.run(scenario())
