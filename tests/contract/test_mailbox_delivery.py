"""What is allowed reaches its mailbox once: deliveries, broadcasts, dead ends and full boxes."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import pytest
from contract.mailbox_office import Office, an_office, refusal

from actors.mailbox.client import FAN_HOP
from actors.mailbox.mailbox import MailboxFullError, Terms
from cluster.store import keys
from policies.message import BROADCAST

if TYPE_CHECKING:
    from contract.conftest import Valkey


def test_defect_5_a_second_message_with_equal_content_is_delivered_too(valkey: Valkey) -> None:
    async def scenario() -> None:
        async with an_office(valkey, "mailer") as office:
            await office.send(1)
            await office.send(2)
            assert await office.read() == ["d1", "d2"]

    asyncio.run(scenario())


def test_a_decision_is_delivered_once_however_often_it_is_delivered(valkey: Valkey) -> None:
    async def scenario() -> None:
        async with an_office(valkey, "mailer") as office:
            await office.record(1)
            await asyncio.gather(*(office.send(1) for _ in range(20)))
            assert await office.read() == ["d1"]
            await office.send(1)
            assert await office.read() == []

    asyncio.run(scenario())


def test_what_was_never_promised_is_never_delivered(valkey: Valkey) -> None:
    async def scenario() -> None:
        async with an_office(valkey, "mailer") as office:
            await office.mailboxes.deliver(office.message(1), "d1")
            await office.mailboxes.deliver(office.message(2, recipient=BROADCAST), "d2")
            assert await office.read() == []
            assert await office.dead() == []

    asyncio.run(scenario())


def test_the_delivery_and_the_end_of_its_promise_are_one_step(valkey: Valkey) -> None:
    async def scenario() -> None:
        async with an_office(valkey, "mailer") as office:
            await office.record(1)
            assert await office.owed() == 1
            await office.send(1)
            assert await office.owed() == 0
            assert await office.read() == ["d1"]

    asyncio.run(scenario())


def test_what_comes_for_an_agent_that_left_is_a_dead_letter_it_can_redrive(valkey: Valkey) -> None:
    async def scenario() -> None:
        async with an_office(valkey) as office:
            await office.record(1)
            await office.send(1)
            assert await office.owed() == 0
            assert await office.dead() == [("d1", "agent.not_found")]
            redrive = office.mailboxes.redrive(office.tenant, "mailer", "m1")
            assert await refusal(redrive) == ("agent.unknown", 404)
            await office.join("mailer")
            assert await office.read() == []
            await office.mailboxes.redrive(office.tenant, "mailer", "m1")
            await office.mailboxes.redrive(office.tenant, "mailer", "m1")  # the reply was lost
            assert await office.read() == ["d1"]
            assert await office.dead() == []

    asyncio.run(scenario())


def test_what_expired_before_its_delivery_is_never_delivered(valkey: Valkey) -> None:
    async def scenario() -> None:
        async with an_office(valkey, "mailer") as office:
            await office.send(1, expires_at=office.clock.now())
            assert await office.read() == []
            assert await office.dead() == [("d1", "message.expired")]
            redrive = office.mailboxes.redrive(office.tenant, "mailer", "m1")
            assert await refusal(redrive) == ("message.expired", 409)

    asyncio.run(scenario())


def test_unregistering_dead_letters_what_waits_in_order_of_arrival(valkey: Valkey) -> None:
    async def scenario() -> None:
        async with an_office(valkey, "mailer") as office:
            # More than one run of the script moves.
            await office.send_all(range(700), conversations=7)
            (held,) = await office.mailboxes.receive(office.tenant, "mailer", at_most=1)
            assert await office.mailboxes.unregister(office.tenant, "mailer")
            assert not await office.mailboxes.unregister(office.tenant, "mailer")
            settled = office.mailboxes.ack(office.tenant, "mailer", held.lease_id)
            assert await refusal(settled) == ("mailbox.lease_lost", 409)
            received = office.mailboxes.receive(office.tenant, "mailer")
            assert await refusal(received) == ("agent.unknown", 404)
            found: list[str] = []
            cursor = ""
            while letters := await office.mailboxes.dead_letters(
                office.tenant, "mailer", after=cursor, limit=99
            ):
                assert {letter.code for letter in letters} == {"agent.unregistered"}
                found += [letter.decision_id for letter in letters]
                cursor = letters[-1].cursor
            assert found == [f"d{number}" for number in range(700)]

    asyncio.run(scenario())


def test_an_agent_that_left_without_a_trace_leaves_no_keys(valkey: Valkey) -> None:
    async def scenario() -> None:
        async with an_office(valkey, "mailer") as office:
            await office.send(1)
            await office.read()
            await office.mailboxes.unregister(office.tenant, "mailer")
            assert not await office.store.execute("KEYS", keys.mailbox(office.tenant, "*", "*"))

    asyncio.run(scenario())


def test_a_full_mailbox_postpones_and_loses_nothing(valkey: Valkey) -> None:
    async def scenario() -> None:
        async with an_office(valkey, "mailer", terms=Terms(entries_max=2)) as office:
            for number in (1, 2, 3):
                await office.record(number)
            await office.send(1)
            await office.send(2)
            with pytest.raises(MailboxFullError):
                await office.send(3)
            assert await office.owed() == 1
            assert await office.read() == ["d1", "d2"]
            office.clock.forward(3)
            await office.redelivery().once()
            assert await office.owed() == 0
            assert await office.read() == ["d3"]

    asyncio.run(scenario())


def test_a_mailbox_is_bounded_in_bytes_too(valkey: Valkey) -> None:
    async def scenario() -> None:
        async with an_office(valkey, "mailer", terms=Terms(bytes_max=50_000)) as office:
            large = {"text": "x" * 30_000}
            await office.send(1, content=large)
            with pytest.raises(MailboxFullError):
                await office.send(2, content=large)
            await office.send(3)
            assert await office.read() == ["d1", "d3"]
            await office.send(2, content=large)
            office.clock.forward(3600)
            await office.read()
            await office.send(4, content=large)  # in place of the dead letter, which has expired
            assert await office.read() == ["d4"]

    asyncio.run(scenario())


def test_a_broadcast_reaches_everyone_but_its_sender_once(valkey: Valkey) -> None:
    async def scenario() -> None:
        everyone = [f"agent-{number}" for number in range(FAN_HOP + 10)]
        async with an_office(valkey, *everyone) as office:
            await office.record(1)
            for _ in range(2):
                await office.send(1, recipient=BROADCAST, sender="agent-0")
            await office.join("late")
            await office.send(1, recipient=BROADCAST, sender="agent-0")
            assert await office.owed() == 0
            assert await office.read("agent-0") == []
            assert await office.read("late") == []
            for agent in everyone[1:]:
                assert await office.read(agent) == ["d1"], agent

    asyncio.run(scenario())


def test_a_broadcast_to_nobody_is_done(valkey: Valkey) -> None:
    async def scenario() -> None:
        async with an_office(valkey, "writer") as office:
            await office.record(1)
            await office.send(1, recipient=BROADCAST)
            assert await office.owed() == 0

    asyncio.run(scenario())


def test_a_broadcast_that_was_cut_short_goes_on_with_those_who_lack_it(valkey: Valkey) -> None:
    async def scenario() -> None:
        async with an_office(valkey, "ada", "bob", "cyd") as office:
            await office.record(1, recipient=BROADCAST)
            tenant, boxes = office.tenant, office.mailboxes._boxes
            assert await boxes.fan_out(tenant, "writer", "d1") == ["ada", "bob", "cyd"]
            deliver, hits = boxes.deliver, 0

            async def crash_after_one(*args: Any, **kwargs: Any) -> str:
                nonlocal hits
                hits += 1
                if hits > 1:
                    raise MailboxFullError("the process died here")
                return await deliver(*args, **kwargs)

            boxes.deliver = crash_after_one  # type: ignore[method-assign]
            with pytest.raises(MailboxFullError):
                await office.send(1, recipient=BROADCAST)
            boxes.deliver = deliver  # type: ignore[method-assign]
            assert await office.owed() == 1
            await office.mailboxes.unregister(tenant, "cyd")
            office.clock.forward(3)
            await office.redelivery().once()
            assert await office.owed() == 0
            assert [await office.read(agent) for agent in ("ada", "bob")] == [["d1"], ["d1"]]
            assert await office.dead("cyd") == [("d1", "agent.not_found")]

    asyncio.run(scenario())


def test_one_full_mailbox_does_not_keep_a_broadcast_from_the_others(valkey: Valkey) -> None:
    async def scenario() -> None:
        async with an_office(valkey, "ada", "bob", terms=Terms(entries_max=1)) as office:
            await office.send(1, recipient="ada")
            await office.record(2, recipient=BROADCAST)
            with pytest.raises(MailboxFullError):
                await office.send(2, recipient=BROADCAST)
            assert await office.read("bob") == ["d2"]
            assert await office.read("ada") == ["d1"]
            office.clock.forward(3)
            await office.redelivery().once()
            assert [await office.read(agent) for agent in ("ada", "bob")] == [["d2"], []]
            assert await office.owed() == 0

    asyncio.run(scenario())


def test_tenants_know_nothing_of_each_other(valkey: Valkey) -> None:
    async def scenario() -> None:
        async with (
            an_office(valkey, "mailer", "writer") as ours,
            an_office(valkey, "mailer") as theirs,
        ):
            await ours.send(1)
            await theirs.send(2, recipient=BROADCAST)
            (held,) = await ours.mailboxes.receive(ours.tenant, "mailer")
            assert held.decision_id == "d1"
            for call in (
                theirs.mailboxes.ack(theirs.tenant, "mailer", held.lease_id),
                theirs.mailboxes.nack(theirs.tenant, "mailer", held.lease_id, reason="mine"),
                theirs.mailboxes.extend(theirs.tenant, "mailer", held.lease_id),
            ):
                assert await refusal(call) == ("mailbox.lease_unknown", 404)
            assert await theirs.read() == ["d2"]
            for call in (
                theirs.mailboxes.ack(theirs.tenant, "mailer", held.lease_id),
                ours.mailboxes.ack(ours.tenant, "writer", held.lease_id),
                theirs.mailboxes.redrive(theirs.tenant, "mailer", "m1"),
            ):
                code, status = await refusal(call)
                assert (code.rpartition("_")[2], status) == ("unknown", 404)
            assert await theirs.mailboxes.knows(theirs.tenant, "mailer")
            assert not await theirs.mailboxes.knows(theirs.tenant, "writer")
            assert [one.agent for one in await theirs.mailboxes.agents(theirs.tenant)] == ["mailer"]
            await ours.mailboxes.ack(ours.tenant, "mailer", held.lease_id)

    asyncio.run(scenario())


def test_a_message_without_a_recipient_is_a_mistake_of_ours(valkey: Valkey) -> None:
    async def scenario() -> None:
        async with an_office(valkey) as office:
            with pytest.raises(ValueError, match="no recipient"):
                await office.send(1, recipient=None)

    asyncio.run(scenario())


def test_receiving_looks_at_nothing_but_what_it_returns(valkey: Valkey) -> None:
    """The number of commands inside the script does not grow with what is blocked or waits."""

    async def commands(office: Office) -> dict[str, int]:
        reply = await office.store.execute("INFO", "commandstats")
        assert isinstance(reply, bytes)
        calls = {}
        for line in reply.decode().splitlines():
            name, _, facts = line.removeprefix("cmdstat_").partition(":calls=")
            if facts:
                calls[name] = int(facts.partition(",")[0])
        return calls

    async def cost(office: Office) -> int:
        before = await commands(office)
        (held,) = await office.mailboxes.receive(office.tenant, "mailer", at_most=1)
        await office.mailboxes.ack(office.tenant, "mailer", held.lease_id)
        after = await commands(office)
        return sum(after.values()) - sum(before.values())

    async def send(office: Office, numbers: Sequence[int], conversation: str) -> None:
        await asyncio.gather(*(office.send(n, conversation_id=conversation) for n in numbers))

    async def scenario() -> None:
        async with an_office(valkey, "mailer") as office:
            await send(office, range(10), "long")
            await send(office, range(10, 20), "other")
            few = await cost(office)
            await send(office, range(20, 2020), "long")
            await office.send_all(range(2020, 4020))
            many = await cost(office)
            assert many <= few + 2

    asyncio.run(scenario())
