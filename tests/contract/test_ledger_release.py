"""Letting go what is held, on the real store: once, on record, whoever asks how often."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from contract.mailbox_office import refusal
from contract.test_ledger_road import CLOCK, a_pair, a_recorder, a_sequencer, put

from actors.ledger.client import LedgerRecorder, Sequel
from actors.ledger.entry import answers
from cluster.clock import new_id
from cluster.store import keys
from cluster.store.client import Call, Script, Store
from policies.decision import Decision, Effect
from policies.errors import DependencyError
from policies.message import Message
from policies.parcel import open_parcel

if TYPE_CHECKING:
    from pathlib import Path

    from contract.conftest import Valkey

_LOOK = Script("return redis.call('HGET', KEYS[1], ARGV[1])")


@pytest.fixture
def valkey(own_valkey: Valkey) -> Valkey:
    # The set of tenants belongs to one ledger, so each test has a server.
    return own_valkey


class Beside:
    """Leaves something beside what is held, and looks at it in the same breath."""

    def __init__(self, held_max: int = 100) -> None:
        self.held_max = held_max
        self.seen: list[object] = []

    def sequel(self, decision: Decision, release: Message) -> Sequel | None:
        if decision.effect is not Effect.REVIEW:
            return None
        look = Call(_LOOK, [keys.held(decision.tenant)], [f"{decision.decision_id}:review"])

        def carried(reply: object) -> bool:
            self.seen.append(reply)
            return True

        return Sequel(look, carried, beside=release.id.encode(), held_max=self.held_max)


@asynccontextmanager
async def a_ledger(
    valkey: Valkey, onward: Beside | None = None
) -> AsyncIterator[tuple[Store, LedgerRecorder, str]]:
    async with valkey.store() as store:
        recorder = a_recorder(store, onward=onward)
        yield store, recorder, valkey.tenant()
        await recorder.close()


def held_pair(tenant: str) -> tuple[Decision, Message]:
    decision, message = a_pair(tenant)
    return replace(decision, effect=Effect.REVIEW), message


def release_of(held: Decision, effect: Effect = Effect.ALLOW) -> Decision:
    return replace(
        held,
        decision_id=new_id(CLOCK.now()),
        effect=effect,
        review_id=held.decision_id,
        approvers=("rita", "rob") if effect is Effect.ALLOW else (),
    )


def test_what_waits_beside_the_held_message_is_there_in_the_same_breath(valkey: Valkey) -> None:
    async def scenario() -> None:
        beside = Beside()
        async with a_ledger(valkey, beside) as (store, recorder, tenant):
            held, message = held_pair(tenant)
            recorded = await put(recorder, held, message)
            assert recorded.carried_out
            assert beside.seen == [message.id.encode()]
            parcel = await store.execute("HGET", keys.held(tenant), held.decision_id)
            assert isinstance(parcel, bytes)
            assert open_parcel(parcel) == message

    asyncio.run(scenario())


def test_a_release_moves_the_message_from_the_held_to_the_outbox_on_record(valkey: Valkey) -> None:
    async def scenario() -> None:
        async with a_ledger(valkey) as (store, recorder, tenant):
            held, message = held_pair(tenant)
            await put(recorder, held, message)
            release = release_of(held)
            recorded = await put(recorder, release, message)
            assert not recorded.replayed
            assert recorded.decision == release
            assert not await store.execute("HEXISTS", keys.held(tenant), held.decision_id)
            assert await store.execute("HEXISTS", keys.outbox(tenant), release.decision_id)
            found = await recorder.decision(tenant, release.decision_id)
            assert found is not None
            assert found.decision == release
            # The message itself is still answered by the decision that held it.
            assert await recorder.find(tenant, message.id) == held
            assert await recorder.find(tenant, answers(message.id, held.decision_id)) == release

    asyncio.run(scenario())


def test_two_who_release_at_the_same_time_get_the_same_release(valkey: Valkey) -> None:
    async def scenario() -> None:
        async with a_ledger(valkey) as (store, recorder, tenant):
            held, message = held_pair(tenant)
            await put(recorder, held, message)
            several = [release_of(held) for _ in range(8)]
            got = await asyncio.gather(*(put(recorder, each, message) for each in several))
            assert len({each.decision.decision_id for each in got}) == 1
            assert sum(not each.replayed for each in got) == 1
            assert await store.execute("HLEN", keys.outbox(tenant)) == 1

    asyncio.run(scenario())


def test_what_is_not_held_cannot_be_released(valkey: Valkey) -> None:
    async def scenario() -> None:
        async with a_ledger(valkey) as (store, recorder, tenant):
            held, message = held_pair(tenant)
            await put(recorder, held, message)
            await store.execute("HDEL", keys.held(tenant), held.decision_id)  # it was cancelled
            assert await refusal(put(recorder, release_of(held), message)) == (
                "review.not_held",
                409,
            )
            assert await store.execute("HLEN", keys.outbox(tenant)) == 0
            assert await recorder.find(tenant, answers(message.id, held.decision_id)) is None

    asyncio.run(scenario())


def test_a_release_that_the_law_denies_takes_the_message_out_too(valkey: Valkey) -> None:
    async def scenario() -> None:
        async with a_ledger(valkey) as (store, recorder, tenant):
            held, message = held_pair(tenant)
            await put(recorder, held, message)
            denial = release_of(held, Effect.DENY)
            await recorder.append(denial, message, release=None)
            assert await store.execute("HLEN", keys.held(tenant)) == 0
            assert await store.execute("HLEN", keys.outbox(tenant)) == 0
            # Who comes late with another opinion gets the one that is on record.
            late = await put(recorder, release_of(held), message)
            assert late.replayed
            assert late.decision == denial

    asyncio.run(scenario())


def test_no_more_is_held_than_there_is_room_for(valkey: Valkey) -> None:
    async def scenario() -> None:
        async with a_ledger(valkey, Beside(held_max=1)) as (_, recorder, tenant):
            await put(recorder, *held_pair(tenant))
            with pytest.raises(DependencyError, match="wait for their review"):
                await put(recorder, *held_pair(tenant))
            await put(recorder, *a_pair(tenant))  # what is not held needs no room there

    asyncio.run(scenario())


def test_a_release_is_found_and_proved_after_it_left_the_store(
    valkey: Valkey, tmp_path: Path
) -> None:
    async def scenario() -> None:
        async with a_ledger(valkey) as (store, recorder, tenant):
            held, message = held_pair(tenant)
            await put(recorder, held, message)
            release = release_of(held)
            receipt = (await put(recorder, release, message)).receipt
            async with a_sequencer(store, tmp_path / "ledger") as sequencer:
                await sequencer.round()
            again = await put(recorder, release_of(held), message)
            assert again.replayed
            assert again.decision == release
            assert again.receipt.leaf_hash == receipt.leaf_hash
            assert again.receipt.leaf_index == 1
            first = await recorder.decision(tenant, held.decision_id)
            assert first is not None
            assert first.receipt.leaf_index == 0

    asyncio.run(scenario())
