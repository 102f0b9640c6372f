"""Mailboxes under a wall clock that jumps backwards."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import TYPE_CHECKING

from contract.mailbox_office import an_office

from actors.mailbox.redelivery import AGE_S

if TYPE_CHECKING:
    from contract.conftest import Valkey

BACK = timedelta(hours=1)


def test_what_was_promised_before_the_jump_is_delivered_without_waiting_it_out(
    valkey: Valkey,
) -> None:
    async def scenario() -> None:
        async with an_office(valkey, "mailer") as office:
            await office.record(1)
            await office.redelivery().once()
            assert not await office.paid(), "it is in the hands of who recorded it"
            office.clock.time -= BACK
            await office.redelivery().once()
            assert await office.paid()
            assert await office.read() == ["d1"]

    asyncio.run(scenario())


def test_a_lease_from_before_the_jump_is_settled_by_its_holder_and_given_to_nobody_else(
    valkey: Valkey,
) -> None:
    async def scenario() -> None:
        async with an_office(valkey, "mailer") as office:
            await office.send(1)
            (envelope,) = await office.mailboxes.receive(office.tenant, "mailer", lease_s=30)
            office.clock.time -= BACK
            assert await office.mailboxes.receive(office.tenant, "mailer") == []
            await office.mailboxes.ack(office.tenant, "mailer", envelope.lease_id)
            office.clock.forward(BACK.total_seconds() + AGE_S + 30)
            assert await office.read() == []

    asyncio.run(scenario())
