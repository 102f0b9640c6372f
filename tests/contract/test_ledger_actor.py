"""The shell that Ray runs, without Ray: it starts by itself, answers, and lets go."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from actors.ledger.actor import LedgerActor
from actors.ledger.client import LedgerRecorder
from actors.ledger.errors import LockedError, TamperedError
from actors.ledger.reader import LedgerReader
from cluster.clock import SystemClock
from cluster.errors import StoreUnavailableError
from cluster.keyring import load_keyring

from builders import a_decision, a_message

if TYPE_CHECKING:
    from contract.conftest import Valkey

    from cluster.store.client import Store


def a_recorder(valkey: Valkey, store: Store) -> LedgerRecorder:
    return LedgerRecorder(
        store,
        load_keyring(valkey.settings),
        origin=valkey.settings.ledger_origin,
        clock=SystemClock(),
        replay_window_s=600,
    )


def test_it_sequences_from_the_moment_it_is_made(own_valkey: Valkey) -> None:
    async def scenario() -> None:
        actor = LedgerActor(own_valkey.settings)
        await actor.ready()
        async with own_valkey.store() as store:
            recorder = a_recorder(own_valkey, store)
            recorded = await recorder.append(a_decision(), a_message(), release=None)
            reader = LedgerReader(
                own_valkey.settings.data_dir / "ledger", origin=own_valkey.settings.ledger_origin
            )
            entry_id = recorded.receipt.entry_id
            assert await reader.wait_for_leaf("acme", entry_id, timeout_s=5) == 0
        status = await actor.status()
        assert status["acme"]["size"] == 1
        assert status["acme"]["stopped"] is None
        await actor.stop()
        again = LedgerActor(own_valkey.settings)
        await again.ready()
        assert (await again.status())["acme"]["size"] == 1
        await again.stop()

    asyncio.run(scenario())


def test_it_says_what_is_wrong_with_a_ledger_that_does_not_verify(own_valkey: Valkey) -> None:
    async def scenario() -> None:
        folder = own_valkey.settings.data_dir / "ledger/t/acme"
        folder.mkdir(parents=True)
        (folder / "checkpoint").write_text("nonsense")
        actor = LedgerActor(own_valkey.settings)
        for _ in range(2):
            with pytest.raises(TamperedError, match="signed note"):
                await actor.ready()
        await actor.stop()

    asyncio.run(scenario())


def test_it_waits_for_the_one_it_follows(
    own_valkey: Valkey, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("actors.ledger.sequencer.LOCK_WAIT_S", 0.6)

    async def scenario() -> None:
        first = LedgerActor(own_valkey.settings)
        await first.ready()
        second = LedgerActor(own_valkey.settings)
        with pytest.raises(LockedError):
            await second.ready()
        await second.stop()
        third = LedgerActor(own_valkey.settings)
        await asyncio.sleep(0.05)
        await first.stop()
        await third.ready()
        await third.stop()

    asyncio.run(scenario())


def test_a_recorder_without_its_store_says_so_and_acknowledges_nothing(
    own_valkey: Valkey,
) -> None:
    async def scenario() -> None:
        async with own_valkey.store(store_timeout_ms=200) as store:
            recorder = a_recorder(own_valkey, store)
            await recorder.append(a_decision(), a_message(), release=None)
            own_valkey.server.kill()
            for _ in range(3):
                with pytest.raises(StoreUnavailableError):
                    await recorder.append(
                        a_decision(message_id="m2", decision_id="d2"),
                        a_message(id="m2"),
                        release=None,
                    )
            await asyncio.to_thread(own_valkey.server.start)
            await asyncio.sleep(0.4)
            kept = await recorder.append(
                a_decision(message_id="m2", decision_id="d3"), a_message(id="m2"), release=None
            )
            assert await recorder.find("acme", "m2") == kept.decision
            await recorder.close()
            with pytest.raises(StoreUnavailableError):
                await recorder.append(a_decision(message_id="m3"), a_message(id="m3"), release=None)

    asyncio.run(scenario())


def test_a_full_queue_refuses_instead_of_growing(own_valkey: Valkey) -> None:
    async def scenario() -> None:
        async with own_valkey.store() as store:
            recorder = a_recorder(own_valkey, store)
            await recorder.append(a_decision(), a_message(), release=None)
            recorder._group._waiting_max = 8
            answers = await asyncio.gather(
                *(
                    recorder.append(
                        a_decision(message_id=f"m{n}", decision_id=f"d{n}"),
                        a_message(id=f"m{n}"),
                        release=None,
                    )
                    for n in range(50)
                ),
                return_exceptions=True,
            )
            refused = [each for each in answers if isinstance(each, StoreUnavailableError)]
            assert refused
            assert len(refused) < 50

    asyncio.run(scenario())
