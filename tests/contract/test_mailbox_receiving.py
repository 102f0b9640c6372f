"""Receiving: order, leases, retries, and many workers of one agent at the same time."""

from __future__ import annotations

import asyncio
import random
import time
from collections import Counter, defaultdict
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import pytest
from contract.mailbox_office import an_office, refusal

from cluster.clock import SystemClock
from cluster.store import keys
from cluster.store.bell import Bell
from cluster.store.connect import open_bell
from policies.errors import RefusalError
from policies.message import Priority

if TYPE_CHECKING:
    from contract.conftest import Valkey


def test_the_most_urgent_comes_first_then_the_first_to_arrive(valkey: Valkey) -> None:
    async def scenario() -> None:
        async with an_office(valkey, "mailer") as office:
            urgencies = [Priority.LOW, Priority.CRITICAL, Priority.NORMAL, Priority.CRITICAL]
            for number, priority in enumerate([*urgencies, Priority.HIGH]):
                await office.send(number, priority=priority)
            assert await office.read() == ["d1", "d3", "d4", "d2", "d0"]

    asyncio.run(scenario())


def test_a_conversation_keeps_its_order_across_priorities(valkey: Valkey) -> None:
    async def scenario() -> None:
        async with an_office(valkey, "mailer") as office:
            await office.send(1, conversation_id="c", priority=Priority.LOW)
            await office.send(2, conversation_id="c", priority=Priority.CRITICAL)
            await office.send(3, priority=Priority.NORMAL)
            assert await office.read() == ["d3", "d1", "d2"]

    asyncio.run(scenario())


def test_the_next_of_a_conversation_waits_for_the_end_of_the_one_before(valkey: Valkey) -> None:
    async def scenario() -> None:
        async with an_office(valkey, "mailer") as office:
            tenant, boxes = office.tenant, office.mailboxes
            await office.send(1, conversation_id="c")
            await office.send(2, conversation_id="c")
            for attempt in (1, 2, 3):
                (held,) = await boxes.receive(tenant, "mailer")
                assert (held.decision_id, held.attempt) == ("d1", attempt)
                assert await boxes.receive(tenant, "mailer") == []
                await boxes.nack(tenant, "mailer", held.lease_id, reason="busy", retry_in_s=5)
                if attempt < 3:
                    assert await boxes.receive(tenant, "mailer") == []  # delayed, and still head
                office.clock.forward(5)
            assert await office.dead() == [("d1", "mailbox.retries_exhausted")]
            assert await office.read() == ["d2"]

    asyncio.run(scenario())


def test_after_three_failed_attempts_a_message_is_dead_with_its_reason(valkey: Valkey) -> None:
    async def scenario() -> None:
        async with an_office(valkey, "mailer") as office:
            await office.send(1)
            waits = []
            for attempt in (1, 2, 3):
                while not (found := await office.mailboxes.receive(office.tenant, "mailer")):
                    office.clock.forward(0.5)
                    waits.append(attempt)
                lease_id = found[0].lease_id
                reason = f"attempt {attempt} \ud800"
                await office.mailboxes.nack(office.tenant, "mailer", lease_id, reason=reason)
                await office.mailboxes.nack(office.tenant, "mailer", lease_id, reason="again")
            assert Counter(waits) == {2: 2, 3: 4}  # 1 s, then 2 s
            (letter,) = await office.mailboxes.dead_letters(office.tenant, "mailer")
            assert (letter.code, letter.attempts) == ("mailbox.retries_exhausted", 3)
            assert letter.reason == "attempt 3 ?"
            assert letter.died_at == office.clock.now()
            assert letter.message.id == "m1"

    asyncio.run(scenario())


def test_a_redriven_message_starts_anew_behind_its_conversation(valkey: Valkey) -> None:
    async def scenario() -> None:
        async with an_office(valkey, "mailer") as office:
            await office.send(1, conversation_id="c")
            await office.send(2, conversation_id="c")
            for _ in range(3):
                (held,) = await office.mailboxes.receive(office.tenant, "mailer")
                assert held.decision_id == "d1"
                office.clock.forward(30)
            (held,) = await office.mailboxes.receive(office.tenant, "mailer")
            assert held.decision_id == "d2"
            (letter,) = await office.mailboxes.dead_letters(office.tenant, "mailer")
            assert letter.reason == "the lease ended without an answer"
            await office.mailboxes.redrive(office.tenant, "mailer", "m1")
            await office.mailboxes.ack(office.tenant, "mailer", held.lease_id)
            (again,) = await office.mailboxes.receive(office.tenant, "mailer")
            assert (again.decision_id, again.attempt) == ("d1", 1)

    asyncio.run(scenario())


def test_a_lease_that_ended_settles_nothing_any_more(valkey: Valkey) -> None:
    async def scenario() -> None:
        async with an_office(valkey, "mailer") as office:
            tenant, boxes = office.tenant, office.mailboxes
            await office.send(1)
            (first,) = await boxes.receive(tenant, "mailer", lease_s=10)
            assert (first.expires_at - office.clock.now()).total_seconds() == 10
            office.clock.forward(9.999)
            ends = await boxes.extend(tenant, "mailer", first.lease_id, lease_s=10)
            assert (ends - office.clock.now()).total_seconds() == 10
            office.clock.forward(10)
            calls = [
                lambda held: boxes.ack(tenant, "mailer", held.lease_id),
                lambda held: boxes.nack(tenant, "mailer", held.lease_id, reason="late"),
                lambda held: boxes.extend(tenant, "mailer", held.lease_id),
            ]
            for call in calls:
                assert await refusal(call(first)) == ("mailbox.lease_lost", 409)
            (second,) = await boxes.receive(tenant, "mailer")
            assert second.attempt == 2
            for call in calls:
                assert await refusal(call(first)) == ("mailbox.lease_lost", 409)
            await boxes.ack(tenant, "mailer", second.lease_id)
            await boxes.ack(tenant, "mailer", second.lease_id)
            assert await refusal(calls[0](first)) == ("mailbox.lease_lost", 409)
            assert await refusal(calls[1](second)) == ("mailbox.lease_lost", 409)
            unknown = boxes.ack(tenant, "mailer", "1-1-1-0123456789abcdef")
            assert await refusal(unknown) == ("mailbox.lease_unknown", 404)

    asyncio.run(scenario())


def test_what_expires_while_it_waits_or_is_delayed_is_dead_without_being_read(
    valkey: Valkey,
) -> None:
    async def scenario() -> None:
        async with an_office(valkey, "mailer") as office:
            await office.send(1, conversation_id="c")
            await office.send(2, conversation_id="c")
            (held,) = await office.mailboxes.receive(office.tenant, "mailer")
            await office.mailboxes.nack(
                office.tenant, "mailer", held.lease_id, reason="later", retry_in_s=3600
            )
            office.clock.forward(3600)
            await office.redelivery().once()
            assert await office.dead() == []  # nobody recorded anything for this tenant yet
            await office.store.execute("SADD", keys.TENANTS, office.tenant)
            loop = office.redelivery()
            await loop.once()
            assert await office.dead() == [("d1", "message.expired"), ("d2", "message.expired")]
            assert loop.status()["moved"] >= 2

    asyncio.run(scenario())


def test_a_message_that_expires_while_it_is_leased_can_still_be_acknowledged(
    valkey: Valkey,
) -> None:
    async def scenario() -> None:
        async with an_office(valkey, "mailer") as office:
            await office.send(1)
            (held,) = await office.mailboxes.receive(office.tenant, "mailer", lease_s=3600)
            office.clock.forward(1800)
            await office.mailboxes.extend(office.tenant, "mailer", held.lease_id, lease_s=3600)
            office.clock.forward(1800)
            await office.store.execute("SADD", keys.TENANTS, office.tenant)
            await office.redelivery().once()
            assert await office.dead() == []
            await office.mailboxes.ack(office.tenant, "mailer", held.lease_id)
            await office.redelivery().once()
            assert await office.dead() == []

    asyncio.run(scenario())


def test_many_workers_share_a_mailbox_and_lose_and_double_nothing(valkey: Valkey) -> None:
    async def scenario() -> None:
        chance = random.Random(5)
        async with an_office(valkey, "mailer") as office:
            tenant, boxes = office.tenant, office.mailboxes
            total = 600
            await asyncio.gather(
                *(
                    office.send(n, conversation_id=f"c{n % 25}", content={"n": n})
                    for n in range(total)
                )
            )
            acked: list[int] = []

            async def work() -> None:
                while len(acked) < total:
                    found = await boxes.receive(tenant, "mailer", at_most=chance.randint(1, 20))
                    chance.shuffle(found)
                    for envelope in found:
                        await asyncio.sleep(0)
                        if envelope.attempt < 3 and chance.random() < 0.1:
                            await boxes.nack(
                                tenant, "mailer", envelope.lease_id, reason="-", retry_in_s=0
                            )
                        else:
                            await boxes.ack(tenant, "mailer", envelope.lease_id)
                            acked.append(int(envelope.message.id[1:]))

            await asyncio.gather(*(work() for _ in range(8)))
            assert sorted(acked) == list(range(total))
            order: dict[int, list[int]] = defaultdict(list)
            for number in acked:
                order[number % 25].append(number)
            assert all(numbers == sorted(numbers) for numbers in order.values())

    asyncio.run(scenario())


def test_leases_that_end_all_at_once_hide_nothing(valkey: Valkey) -> None:
    async def scenario() -> None:
        async with an_office(valkey, "mailer") as office:
            await office.send_all(range(1200))
            while await office.mailboxes.receive(office.tenant, "mailer", at_most=100):
                pass
            office.clock.forward(30)  # more than one run of the script moves
            found = await office.mailboxes.receive(office.tenant, "mailer", at_most=100)
            assert [envelope.decision_id for envelope in found] == [f"d{n}" for n in range(100)]

    asyncio.run(scenario())


def test_large_messages_come_a_few_at_a_time(valkey: Valkey) -> None:
    async def scenario() -> None:
        async with an_office(valkey, "mailer") as office:
            for number in range(9):
                await office.send(number, content={"text": "x" * (1 << 20)})
            first = await office.mailboxes.receive(office.tenant, "mailer", at_most=100)
            assert [envelope.decision_id for envelope in first] == ["d0", "d1", "d2"]
            second = await office.mailboxes.receive(office.tenant, "mailer", at_most=100)
            assert [envelope.decision_id for envelope in second] == ["d3", "d4", "d5"]

    asyncio.run(scenario())


def test_a_parcel_that_cannot_be_read_does_not_jam_the_mailbox(valkey: Valkey) -> None:
    async def scenario() -> None:
        async with an_office(valkey, "mailer") as office:
            await office.send(1)
            stream = keys.mailbox(office.tenant, "mailer", "p1")
            for command in (
                ("XDEL", stream, "1-1"),
                ("DEL", stream),
                ("XADD", stream, "1-1", "m", "m1", "d", "d1", "b", b"\xff{"),
            ):
                await office.store.execute(*command)
            await office.send(2)
            assert await office.read() == ["d2"]
            for _ in range(3):
                office.clock.forward(30)
                assert await office.read() == []
            await office.send(3, expires_at=office.clock.now())
            assert await office.dead() == [("d3", "message.expired")]

    asyncio.run(scenario())


@pytest.mark.parametrize(
    "asked", [{"at_most": 0}, {"at_most": 101}, {"lease_s": 0.5}, {"lease_s": 3601}, {"wait_s": 61}]
)
def test_what_is_asked_for_has_bounds(valkey: Valkey, asked: dict[str, Any]) -> None:
    async def scenario() -> None:
        async with an_office(valkey, "mailer") as office:
            received = office.mailboxes.receive(office.tenant, "mailer", **asked)
            assert await refusal(received) == ("mailbox.out_of_range", 422)

    asyncio.run(scenario())


@pytest.mark.parametrize("cursor", ["x", "1", "1-1", "-0", "1-0\n", "(1-0", "+-0"])
def test_a_foreign_cursor_is_refused(valkey: Valkey, cursor: str) -> None:
    async def scenario() -> None:
        async with an_office(valkey, "mailer") as office:
            page = office.mailboxes.dead_letters(office.tenant, "mailer", after=cursor)
            assert await refusal(page) == ("mailbox.bad_cursor", 422)

    asyncio.run(scenario())


@asynccontextmanager
async def a_bell(valkey: Valkey) -> AsyncIterator[Bell]:
    bell = open_bell(valkey.settings)
    yield bell
    await bell.close()


def test_who_waits_is_woken_by_a_message_a_promotion_and_the_end_of_a_delay(
    valkey: Valkey,
) -> None:
    async def scenario() -> None:
        async with (
            a_bell(valkey) as bell,
            an_office(valkey, "mailer", bell=bell, clock=SystemClock()) as office,
        ):
            tenant, boxes = office.tenant, office.mailboxes

            async def wait() -> tuple[Any, float]:
                started = time.monotonic()
                found = await boxes.receive(tenant, "mailer", wait_s=20)
                return found[0], time.monotonic() - started

            async def later(call: Any) -> None:
                await asyncio.sleep(0.3)
                await call

            (first, took_s), _ = await asyncio.gather(
                wait(), later(office.send(1, conversation_id="c"))
            )
            assert took_s < 2
            await office.send(2, conversation_id="c")
            (second, took_s), _ = await asyncio.gather(
                wait(), later(boxes.ack(tenant, "mailer", first.lease_id))
            )
            assert (second.decision_id, took_s < 2) == ("d2", True)
            nack = boxes.nack(tenant, "mailer", second.lease_id, reason="busy", retry_in_s=0.5)
            (third, took_s), _ = await asyncio.gather(wait(), later(nack))
            assert (third.attempt, took_s >= 0.7, took_s < 3) == (2, True, True)
            await boxes.ack(tenant, "mailer", third.lease_id)
            started = time.monotonic()
            assert await boxes.receive(tenant, "mailer", wait_s=0.4) == []
            assert 0.4 <= time.monotonic() - started < 2

    asyncio.run(scenario())


def test_the_end_of_a_lease_wakes_who_waits(valkey: Valkey) -> None:
    async def scenario() -> None:
        async with (
            a_bell(valkey) as bell,
            an_office(valkey, "mailer", bell=bell, clock=SystemClock()) as office,
        ):
            await office.send(1)
            await office.mailboxes.receive(office.tenant, "mailer", lease_s=1)
            (again,) = await office.mailboxes.receive(office.tenant, "mailer", wait_s=10)
            assert again.attempt == 2

    asyncio.run(scenario())


def test_nobody_receives_without_being_registered(valkey: Valkey) -> None:
    async def scenario() -> None:
        async with an_office(valkey) as office:
            with pytest.raises(RefusalError, match="PUT /v1/agents/mailer"):
                await office.mailboxes.receive(office.tenant, "mailer")

    asyncio.run(scenario())
