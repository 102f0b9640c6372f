"""Mailboxes on the real store, for the contract tests of their room."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest

from actors.mailbox.client import Listener, Mailboxes
from actors.mailbox.mailbox import Profile, Terms
from actors.mailbox.redelivery import Redelivery
from cluster.clock import Clock
from cluster.store import keys
from cluster.store.redis_store import RedisStore
from policies.errors import RefusalError
from policies.message import Message
from policies.parcel import parcel

from builders import a_message
from fakes import FakeClock

if TYPE_CHECKING:
    from contract.conftest import Valkey


class Silence:
    """A bell for tests in which nobody waits."""

    async def wait(self, channel: str, timeout_s: float) -> bool:
        raise AssertionError


@dataclass
class Office:
    """One tenant's mailboxes on the real store."""

    store: RedisStore
    mailboxes: Mailboxes
    clock: Any  # a FakeClock unless a test brought its own
    tenant: str
    promised: set[int] = field(default_factory=set)

    def message(self, number: int, **changes: Any) -> Message:
        return a_message(
            **{
                "id": f"m{number}",
                "tenant": self.tenant,
                "conversation_id": f"c{number}",
                "sent_at": self.clock.now(),
                "expires_at": self.clock.now() + timedelta(hours=1),
                **changes,
            }
        )

    async def send(self, number: int, **changes: Any) -> None:
        """Deliver, and before that promise it, as the ledger does, if nothing has yet."""
        await self.promise(number, **changes)
        await self.mailboxes.deliver(self.message(number, **changes), f"d{number}")

    async def send_all(self, numbers: Sequence[int], *, conversations: int = 1 << 30) -> None:
        """Send these in this order, in as few round trips as the store needs."""
        changes = {number: {"conversation_id": f"c{number % conversations}"} for number in numbers}
        for number in numbers:
            await self.promise(number, **changes[number])
        await asyncio.gather(*(self.send(number, **changes[number]) for number in numbers))

    async def record(self, number: int, **changes: Any) -> None:
        """Leave what the ledger leaves, and let the repair loops see it."""
        await self.store.execute("SADD", keys.TENANTS, self.tenant)
        await self.promise(number, **changes)

    async def promise(self, number: int, **changes: Any) -> None:
        """Put the message into the outbox, once for a decision."""
        if number in self.promised:
            return
        packed = parcel(self.message(number, **changes), f"d{number}")
        await self.store.execute("HSET", keys.outbox(self.tenant), f"d{number}", packed)
        self.promised.add(number)

    async def owed(self) -> int:
        reply = await self.store.execute("HLEN", keys.outbox(self.tenant))
        assert isinstance(reply, int)
        return reply

    async def paid(self) -> bool:
        return await self.owed() == 0

    async def join(self, *agents: str) -> None:
        for agent in agents:
            await self.mailboxes.register(self.tenant, agent, Profile())

    async def read(self, agent: str = "mailer") -> list[str]:
        """Receive and acknowledge until nothing is left; return the decisions."""
        decisions: list[str] = []
        while envelopes := await self.mailboxes.receive(self.tenant, agent, at_most=100):
            for envelope in envelopes:
                decisions.append(envelope.decision_id)
                await self.mailboxes.ack(self.tenant, agent, envelope.lease_id)
        return decisions

    async def dead(self, agent: str = "mailer") -> list[tuple[str, str]]:
        letters = await self.mailboxes.dead_letters(self.tenant, agent)
        return [(letter.decision_id, letter.code) for letter in letters]

    def redelivery(self) -> Redelivery:
        return Redelivery(self.mailboxes, self.mailboxes._boxes, self.clock)


@asynccontextmanager
async def an_office(
    valkey: Valkey,
    *agents: str,
    terms: Terms | None = None,
    tenant: str = "",
    bell: Listener | None = None,
    clock: Clock | None = None,
) -> AsyncIterator[Office]:
    async with valkey.store() as store:
        clock = clock or FakeClock()
        mailboxes = Mailboxes(store, bell=bell or Silence(), clock=clock, terms=terms)
        office = Office(store, mailboxes, clock, tenant or valkey.tenant())
        await office.join(*agents)
        yield office
        await mailboxes.close()


async def until(condition: Callable[[], Awaitable[bool] | bool]) -> None:
    """Return when the condition holds; the test's own timeout bounds the wait."""
    while True:
        holds = condition()
        if holds if isinstance(holds, bool) else await holds:
            return
        await asyncio.sleep(0.01)


async def refusal(call: Any) -> tuple[str, int]:
    with pytest.raises(RefusalError) as error:
        await call
    return error.value.code, error.value.status
