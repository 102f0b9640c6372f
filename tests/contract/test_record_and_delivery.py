"""The record and the delivery of what it allows leave together, and only a record lets it leave."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from typing import TYPE_CHECKING

import pytest
from contract.mailbox_office import Office, an_office, refusal
from contract.test_ledger_road import a_pair, a_recorder, put

from actors.ledger.client import LedgerRecorder, Sequel
from actors.mailbox.client import Mailboxes
from actors.mailbox.mailbox import Terms
from actors.mailbox.store import DELIVER
from cluster.store import keys
from cluster.store.client import Call, Store
from policies.decision import Decision, Effect
from policies.errors import DependencyError
from policies.message import BROADCAST, Message

if TYPE_CHECKING:
    from contract.conftest import Valkey


@pytest.fixture
def valkey(own_valkey: Valkey) -> Valkey:
    # One test empties the server's memory of scripts.
    return own_valkey


@dataclass
class Counting:
    """A real store that remembers how many scripts each round trip carried."""

    store: Store
    flights: list[int] = field(default_factory=list)

    async def execute(self, *command: str | bytes | float) -> object:
        return await self.store.execute(*command)

    async def run(self, call: Call) -> object:
        return (await self.run_many([call]))[0]

    async def run_many(self, calls: Sequence[Call]) -> list[object]:
        self.flights.append(len(calls))
        return await self.store.run_many(calls)


@dataclass
class Deliveries:
    """What follows an allowed record here: its delivery."""

    mailboxes: Mailboxes

    def sequel(self, decision: Decision, release: Message) -> Sequel | None:
        if decision.effect is not Effect.ALLOW:
            return None
        call = self.mailboxes.onward(release, decision.decision_id)
        return call and Sequel(call, partial(self.mailboxes.carried, release))


@dataclass
class Road:
    """A recorder whose allowed messages go on into the mailboxes of one office."""

    office: Office
    recorder: LedgerRecorder
    counting: Counting

    def pair(self, **changes: object) -> tuple[Decision, Message]:
        decision, message = a_pair(self.office.tenant, **changes)
        now = self.office.clock.now()
        return decision, replace(message, sent_at=now, expires_at=now.replace(year=now.year + 1))


@asynccontextmanager
async def a_road(valkey: Valkey, *agents: str, terms: Terms | None = None) -> AsyncIterator[Road]:
    async with an_office(valkey, *agents, terms=terms) as office:
        counting = Counting(office.store)
        recorder = a_recorder(counting, onward=Deliveries(office.mailboxes))
        yield Road(office, recorder, counting)
        await recorder.close()


def test_one_round_trip_records_and_delivers(valkey: Valkey) -> None:
    async def scenario() -> None:
        async with a_road(valkey, "mailer") as road:
            await put(road.recorder, *road.pair())  # the first one learns scripts and keys
            road.counting.flights.clear()
            decision, message = road.pair()
            recorded = await put(road.recorder, decision, message)
            assert road.counting.flights == [2]
            assert recorded.carried_out
            assert await road.office.owed() == 0
            assert (await road.office.read())[1:] == [decision.decision_id]

    asyncio.run(scenario())


def test_a_repetition_is_recorded_and_delivered_once(valkey: Valkey) -> None:
    async def scenario() -> None:
        async with a_road(valkey, "mailer") as road:
            decision, message = road.pair()
            again = replace(decision, decision_id=f"{decision.decision_id}-again")
            first, *others = await asyncio.gather(
                put(road.recorder, decision, message),
                *(put(road.recorder, again, message) for _ in range(5)),
            )
            assert not first.replayed
            assert all(other.replayed and not other.carried_out for other in others)
            assert await road.office.read() == [decision.decision_id]

    asyncio.run(scenario())


def test_what_the_record_refuses_is_not_delivered(valkey: Valkey) -> None:
    async def scenario() -> None:
        async with a_road(valkey, "mailer") as road:
            decision, message = road.pair()
            await put(road.recorder, decision, message)
            other, changed = road.pair(content={"text": "something else"})
            reused = put(
                road.recorder,
                replace(other, message_id=message.id),
                replace(changed, id=message.id),
            )
            assert await refusal(reused) == ("message.id_reused", 409)
            await road.office.store.execute("SET", keys.halted(road.office.tenant), "a fork")
            with pytest.raises(DependencyError, match="a fork"):
                await put(road.recorder, *road.pair())
            assert await road.office.read() == [decision.decision_id]
            assert await road.office.owed() == 0

    asyncio.run(scenario())


def test_an_erased_sender_gets_a_new_key_and_its_message_leaves_once(valkey: Valkey) -> None:
    async def scenario() -> None:
        async with a_road(valkey, "mailer") as road:
            await put(road.recorder, *road.pair())
            # Another replica erased the subject, so the key that this one remembers is void.
            await road.office.store.execute("DEL", keys.subject_keys(road.office.tenant))
            recorded = await put(road.recorder, *road.pair())
            assert recorded.carried_out
            assert len(await road.office.read()) == 2

    asyncio.run(scenario())


@pytest.mark.parametrize("effect", [Effect.REVIEW, Effect.DENY])
def test_nothing_follows_what_is_not_allowed(valkey: Valkey, effect: Effect) -> None:
    async def scenario() -> None:
        async with a_road(valkey, "mailer") as road:
            decision, message = road.pair()
            recorded = await put(road.recorder, replace(decision, effect=effect), message)
            assert not recorded.carried_out
            assert road.counting.flights[-1] == 1
            assert await road.office.read() == []

    asyncio.run(scenario())


def test_a_full_mailbox_leaves_the_recorded_message_in_the_outbox(valkey: Valkey) -> None:
    async def scenario() -> None:
        async with a_road(valkey, "mailer", terms=Terms(entries_max=1)) as road:
            decisions = []
            for _ in range(2):
                decision, message = road.pair()
                decisions.append(decision.decision_id)
                assert (await put(road.recorder, decision, message)).carried_out
            assert await road.office.owed() == 1
            assert await road.office.read() == decisions[:1]
            road.office.clock.forward(3)
            await road.office.redelivery().once()
            assert await road.office.read() == decisions[1:]

    asyncio.run(scenario())


def test_a_broadcast_is_left_to_who_can_fan_it_out(valkey: Valkey) -> None:
    async def scenario() -> None:
        async with a_road(valkey, "ada", "bob") as road:
            decision, message = road.pair(recipient=BROADCAST)
            assert not (await put(road.recorder, decision, message)).carried_out
            assert await road.office.owed() == 1
            await road.office.mailboxes.deliver(message, decision.decision_id)
            for agent in ("ada", "bob"):
                assert await road.office.read(agent) == [decision.decision_id]

    asyncio.run(scenario())


def test_a_delivery_that_overtakes_its_record_does_nothing_and_says_so(valkey: Valkey) -> None:
    """A server that knows only the second script runs it first: the first is sent again, whole."""

    async def scenario() -> None:
        async with a_road(valkey, "mailer") as road:
            await road.office.store.execute("SCRIPT", "FLUSH")
            await road.office.store.execute("SCRIPT", "LOAD", DELIVER.source)
            decision, message = road.pair()
            recorded = await put(road.recorder, decision, message)
            assert not recorded.carried_out
            assert not recorded.replayed
            assert await road.office.owed() == 1
            await road.office.mailboxes.deliver(message, decision.decision_id)
            assert await road.office.read() == [decision.decision_id]

    asyncio.run(scenario())
