"""Nothing that was promised is lost: kills of the store, crashes of the bus, and the repair."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import timedelta
from itertools import count
from typing import TYPE_CHECKING

from contract.mailbox_office import Office, an_office, until

from actors.mailbox import redelivery
from actors.mailbox.actor import MailboxActor
from cluster.clock import SystemClock
from cluster.heartbeat import last_beat
from cluster.store import keys
from policies.errors import DependencyError

if TYPE_CHECKING:
    import pytest
    from contract.conftest import Valkey


@dataclass
class Traffic:
    """Senders and workers that note what they were told, until the store is killed."""

    tenant: str
    serial: Iterator[int] = field(default_factory=count)
    delivered: set[str] = field(default_factory=set)
    unsure_delivered: set[str] = field(default_factory=set)
    acked: list[str] = field(default_factory=list)
    unsure_acked: set[str] = field(default_factory=set)

    async def send(self, office: Office) -> None:
        for number in self.serial:
            try:
                await office.send(number, conversation_id=f"c{number % 50}")
            except DependencyError:
                self.unsure_delivered.add(f"d{number}")
                return
            self.delivered.add(f"d{number}")

    async def work(self, office: Office) -> None:
        with suppress(DependencyError):
            while True:
                for envelope in await office.mailboxes.receive(self.tenant, "mailer"):
                    self.unsure_acked.add(envelope.decision_id)
                    await office.mailboxes.ack(self.tenant, "mailer", envelope.lease_id)
                    self.unsure_acked.discard(envelope.decision_id)
                    self.acked.append(envelope.decision_id)

    async def flow(self, office: Office, enough: int, kill: Callable[[], None]) -> None:
        enough += len(self.delivered)
        tasks = [asyncio.create_task(self.send(office)) for _ in range(16)]
        tasks += [asyncio.create_task(self.work(office)) for _ in range(2)]
        await until(lambda: len(self.delivered) >= enough)
        await asyncio.to_thread(kill)
        await asyncio.gather(*tasks)


def test_what_was_acknowledged_is_there_after_a_kill_of_the_store(own_valkey: Valkey) -> None:
    async def scenario() -> None:
        traffic = Traffic(own_valkey.tenant())
        for _ in range(3):
            async with an_office(own_valkey, "mailer", tenant=traffic.tenant) as office:
                await traffic.flow(office, 300, own_valkey.server.kill)
            await asyncio.to_thread(own_valkey.server.start)
        async with an_office(own_valkey, tenant=traffic.tenant) as office:
            office.clock.forward(60)  # what was received by those who died is leased no more
            await office.store.execute("SADD", keys.TENANTS, office.tenant)
            await office.redelivery().once()
            assert await office.owed() == 0
            left = await office.read()
        assert len(left) == len(set(left))
        assert len(traffic.acked) == len(set(traffic.acked))
        assert not set(left) & set(traffic.acked)
        assert len(traffic.delivered) >= 900
        # What is in neither was acknowledged, and the store died before it could say so.
        assert traffic.delivered - set(left) - set(traffic.acked) <= traffic.unsure_acked
        assert set(left) | set(traffic.acked) <= traffic.delivered | traffic.unsure_delivered

    asyncio.run(scenario())


def test_what_was_recorded_and_not_delivered_is_repaired_exactly_once(valkey: Valkey) -> None:
    async def scenario() -> None:
        async with an_office(valkey, "mailer") as office:
            for number in range(200):
                office.clock.forward(0.001)
                await office.record(number, conversation_id="c")
            await office.send(0, conversation_id="c")  # one whose bus was only slow
            office.clock.forward(2)
            loops = [office.redelivery() for _ in range(3)]
            await asyncio.gather(*(loop.once() for loop in loops))
            for loop in loops:
                while await office.owed():
                    await loop.once()
            assert await office.read() == [f"d{number}" for number in range(200)]
            await loops[0].once()
            assert await office.read() == []

    asyncio.run(scenario())


def test_the_young_are_left_to_those_who_recorded_them(valkey: Valkey) -> None:
    async def scenario() -> None:
        async with an_office(valkey, "mailer") as office:
            await office.record(1)
            office.clock.forward(1.9)
            await office.redelivery().once()
            assert await office.owed() == 1
            assert await office.read() == []
            office.clock.forward(0.1)
            await office.redelivery().once()
            assert await office.read() == ["d1"]

    asyncio.run(scenario())


def test_what_expired_in_the_outbox_is_dead_and_owed_no_more(valkey: Valkey) -> None:
    async def scenario() -> None:
        async with an_office(valkey, "mailer") as office:
            await office.record(1, expires_at=office.clock.now() + timedelta(seconds=1))
            office.clock.forward(3)
            await office.redelivery().once()
            assert await office.dead() == [("d1", "message.expired")]
            assert await office.owed() == 0

    asyncio.run(scenario())


def test_a_damaged_parcel_is_counted_once_and_keeps_nobody_waiting(valkey: Valkey) -> None:
    async def scenario() -> None:
        async with an_office(valkey, "mailer") as office:
            await office.store.execute("HSET", keys.outbox(office.tenant), "d0", b"{")
            await office.record(1)
            await office.record(2, recipient=None)
            office.clock.forward(3)
            loop = office.redelivery()
            for _ in range(3):
                await loop.once()
            assert await office.read() == ["d1"]
            status = loop.status()
            assert status["damaged"] == 1
            assert (status["redelivered"], status["undeliverable"]) == (1, 3)
            assert await office.owed() == 2  # evidence, for people to look at

    asyncio.run(scenario())


def test_a_pass_reads_a_bounded_part_of_the_outbox_and_the_next_one_goes_on(
    valkey: Valkey, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(redelivery, "OUTBOX_SLICES", 1)

    async def scenario() -> None:
        async with an_office(valkey, "mailer") as office:
            await asyncio.gather(*(office.record(number) for number in range(500)))
            office.clock.forward(3)
            loop = office.redelivery()
            await loop.once()
            assert 0 < await office.owed() < 500
            while await office.owed():
                await loop.once()
            assert len(await office.read()) == 500

    asyncio.run(scenario())


def test_the_loop_outlives_a_kill_of_the_store(
    own_valkey: Valkey, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(redelivery, "PAUSE_S", 0.02)

    async def scenario() -> None:
        tenant = own_valkey.tenant()
        async with an_office(own_valkey, "mailer", tenant=tenant, clock=SystemClock()) as office:
            long_ago = SystemClock().now() - timedelta(seconds=10)
            loop = office.redelivery()
            running = asyncio.create_task(loop.run())
            await office.record(1, sent_at=long_ago)
            await until(office.paid)
            await asyncio.to_thread(own_valkey.server.kill)
            await until(lambda: loop.status()["failed_passes"] >= 2)
            await asyncio.to_thread(own_valkey.server.start)
            async with an_office(own_valkey, tenant=tenant, clock=SystemClock()) as other:
                await other.record(2, sent_at=long_ago)
                await until(other.paid)
                assert await other.read() == ["d1", "d2"]
            loop.stop()
            await running

    asyncio.run(asyncio.wait_for(scenario(), 30))


def test_sweeping_finds_what_is_due_and_leaves_the_rest_alone(valkey: Valkey) -> None:
    async def scenario() -> None:
        async with an_office(valkey, "ada", "bob") as office:
            await office.store.execute("SADD", keys.TENANTS, office.tenant)
            await office.send(1, recipient="ada")
            await office.send(2, recipient="bob")
            await office.mailboxes.receive(office.tenant, "ada", lease_s=1)
            loop = office.redelivery()
            await loop.once()
            swept = loop.status()["swept"]
            office.clock.forward(1)
            await loop.once()
            assert loop.status()["swept"] == swept + 1
            (again,) = await office.mailboxes.receive(office.tenant, "ada")
            assert again.attempt == 2
            office.clock.forward(9 * 86_400)
            for _ in range(3):
                await loop.once()
            assert await office.dead("ada") == []  # kept for a week after their expiry
            due = await office.store.execute("ZCARD", keys.mailbox(office.tenant, "*", "due"))
            assert due == 0

    asyncio.run(scenario())


def test_the_actor_repairs_until_it_is_stopped_and_shows_that_it_lives(valkey: Valkey) -> None:
    async def scenario() -> None:
        async with an_office(valkey, "mailer", clock=SystemClock()) as office:
            actor = MailboxActor(valkey.settings)
            await actor.ready()
            await office.record(1, sent_at=SystemClock().now() - timedelta(seconds=10))
            await until(office.paid)
            assert await office.read() == ["d1"]
            assert (await last_beat(office.store, "mailbox"))["failed_passes"] == 0
            assert (await actor.status())["redelivered"] >= 1
            await actor.stop()
            await office.record(2, sent_at=SystemClock().now() - timedelta(seconds=10))
            await asyncio.sleep(2 * redelivery.PAUSE_S)
            assert await office.owed() == 1

    asyncio.run(scenario())
