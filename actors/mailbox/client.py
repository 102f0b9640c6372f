"""Mailboxes as the bus and the API use them; `Mailboxes` is the bus's Courier."""

from __future__ import annotations

import asyncio
import secrets
from datetime import datetime
from typing import Final, Protocol

import structlog

from actors.mailbox.mailbox import (
    LEASE_MAX_S,
    REASON_MAX,
    RECEIVE_MAX,
    RETRY_ASKED_MAX_S,
    DeadLetter,
    Envelope,
    Lease,
    MailboxFullError,
    Profile,
    Registration,
    Terms,
    agent_unknown,
    check_agent_id,
    lease_lost,
    lease_unknown,
    millis,
    retry_delay_s,
    time_of,
)
from actors.mailbox.reading import dead_letter, envelopes, registration
from actors.mailbox.store import Address, Item, MailboxStore
from cluster.clock import Clock
from cluster.store import keys
from cluster.store.client import Call, Store
from policies.errors import DependencyError, RefusalError
from policies.message import BROADCAST, Message

CURSOR_DIGITS_MAX: Final = 18  # what the store can count to
FAN_HOP: Final = 128  # recipients of a broadcast that are under way at the same time
KNOWN_S: Final = 1.0  # how long a registered agent is believed to be registered
KNOWN_MAX: Final = 16_384
LISTEN_S: Final = 5.0  # how long a lost ring can go unnoticed
WAIT_MAX_S: Final = 60.0

log = structlog.get_logger(__name__)


class Listener(Protocol):
    """Waits for a bell (`cluster.store.bell`)."""

    async def wait(self, channel: str, timeout_s: float) -> bool:
        """Return True when it rang, False when the time is over."""
        ...


class Mailboxes:
    """Who is registered, and what waits for them.

    Every method raises DependencyError when the store cannot be reached. No agent can see,
    settle or learn of the messages of another.
    """

    def __init__(
        self, store: Store, *, bell: Listener, clock: Clock, terms: Terms | None = None
    ) -> None:
        self._terms = terms or Terms()
        self._boxes = MailboxStore(store, self._terms)
        self._bell = bell
        self._clock = clock
        self._known: dict[Address, float] = {}

    async def close(self) -> None:
        """Return when every call that was accepted is answered."""
        await self._boxes.close()

    # -- the Courier ---------------------------------------------------------------------------

    async def knows(self, tenant: str, agent: str) -> bool:
        """Say whether the agent is registered; a yes may be a second old."""
        address, now_s = Address(tenant, agent), self._clock.monotonic_s()
        if now_s < self._known.get(address, 0.0):
            return True
        if not await self._boxes.knows(address):
            return False
        if len(self._known) >= KNOWN_MAX:
            self._known.clear()
        self._known[address] = now_s + KNOWN_S
        return True

    async def deliver(self, message: Message, decision_id: str) -> None:
        """Move the message from the outbox into its mailbox; nothing if it is not there any more.

        A broadcast goes to every agent that is registered at its first delivery, except its
        sender. What cannot be delivered any more becomes a dead letter. Raises MailboxFullError,
        with the message still in the outbox, when there is no room.
        """
        item = _item(message, decision_id)
        if message.recipient == BROADCAST:
            await self._broadcast(message, item)
            return
        to = _recipient(message)
        _check_room(to, await self._boxes.deliver(to, item, self._now_ms(), fan=False))

    def onward(self, message: Message, decision_id: str) -> Call | None:
        """Return the one call that delivers, None for a broadcast, which takes several.

        It may leave right behind the record, unseen: it delivers only what the outbox holds.
        """
        if message.recipient == BROADCAST:
            return None
        item = _item(message, decision_id)
        return self._boxes.deliver_call(_recipient(message), item, self._now_ms(), fan=False)

    def carried(self, message: Message, reply: object) -> bool:
        """Say whether that call, by its reply, leaves nothing to do for who made it."""
        if isinstance(reply, Exception):
            return False
        outcome = self._boxes.delivered(reply)
        try:
            _check_room(_recipient(message), outcome)
        except MailboxFullError as error:
            log.warning("delivery.postponed", message_id=message.id, error=str(error))
        return outcome != "again"

    async def _broadcast(self, message: Message, item: Item) -> None:
        tenant = message.tenant
        waiting = await self._boxes.fan_out(tenant, message.sender, item.decision_id)
        failures: list[DependencyError] = []
        for start in range(0, len(waiting), FAN_HOP):
            hop = waiting[start : start + FAN_HOP]
            outcomes = await asyncio.gather(
                *(self._fan(Address(tenant, agent), item) for agent in hop),
                return_exceptions=True,
            )
            for outcome in outcomes:
                if isinstance(outcome, DependencyError):
                    failures.append(outcome)
                elif isinstance(outcome, BaseException):
                    raise outcome
        if failures:
            raise failures[0]

    async def _fan(self, to: Address, item: Item) -> None:
        _check_room(to, await self._boxes.deliver(to, item, self._now_ms(), fan=True))

    # -- receiving -----------------------------------------------------------------------------

    async def receive(
        self,
        tenant: str,
        agent: str,
        *,
        at_most: int = 10,
        lease_s: float = 30.0,
        wait_s: float = 0.0,
    ) -> list[Envelope]:
        """Lease the next messages, waiting up to `wait_s` for the first of them.

        The most urgent first, then in order of arrival; a conversation keeps its order, so that
        its next message comes only after this one is acknowledged or dead. Fewer than `at_most`
        when they are large. Raises RefusalError `agent.unknown` when nobody is registered.
        """
        _check("max", at_most, low=1, high=RECEIVE_MAX)
        _check("lease_s", lease_s, low=1, high=LEASE_MAX_S)
        _check("wait_s", wait_s, low=0, high=WAIT_MAX_S)
        of = Address(tenant, agent)
        check_agent_id(agent)
        until_s = self._clock.monotonic_s() + wait_s
        while True:
            now_ms, lease_ms = self._now_ms(), int(lease_s * 1000)
            received = await self._boxes.receive(
                of, now_ms, at_most=at_most, lease_ms=lease_ms, tag=secrets.token_hex(8)
            )
            if received is None:
                raise agent_unknown(agent)
            if found := envelopes(received, now_ms + lease_ms):
                return found
            if received.pause_ms == 0:
                continue  # one run moved as much as it may, and there is more
            left_s = until_s - self._clock.monotonic_s()
            if left_s <= 0:
                return []
            pause_s = LISTEN_S if received.pause_ms is None else received.pause_ms / 1000
            await self._bell.wait(keys.bell(tenant, agent), min(left_s, pause_s, LISTEN_S))

    async def ack(self, tenant: str, agent: str, lease_id: str) -> None:
        """Say that the message is done; repeating it is fine.

        Raises RefusalError `mailbox.lease_lost` when the lease had ended before, and
        `mailbox.lease_unknown` when this mailbox never gave it.
        """
        lease = Lease.parse(lease_id)
        _check_held(await self._boxes.ack(Address(tenant, agent), lease, self._now_ms()), lease_id)

    async def nack(
        self,
        tenant: str,
        agent: str,
        lease_id: str,
        *,
        reason: str,
        retry_in_s: float | None = None,
    ) -> None:
        """Say that this attempt failed; the message comes again later, or becomes a dead letter.

        Without `retry_in_s` the delay doubles with each attempt. Raises as `ack` does.
        """
        lease = Lease.parse(lease_id)
        delay_s = retry_delay_s(lease.attempt) if retry_in_s is None else retry_in_s
        _check("retry_in_s", delay_s, low=0, high=RETRY_ASKED_MAX_S)
        outcome = await self._boxes.nack(
            Address(tenant, agent),
            lease,
            self._now_ms(),
            retry_ms=int(delay_s * 1000),
            reason=_plain(reason),
        )
        _check_held(outcome, lease_id)

    async def extend(
        self, tenant: str, agent: str, lease_id: str, *, lease_s: float = 30.0
    ) -> datetime:
        """Hold the message for `lease_s` from now; return when the lease ends. Raises as `ack`."""
        _check("lease_s", lease_s, low=1, high=LEASE_MAX_S)
        lease, now_ms, lease_ms = Lease.parse(lease_id), self._now_ms(), int(lease_s * 1000)
        outcome = await self._boxes.extend(Address(tenant, agent), lease, now_ms, lease_ms=lease_ms)
        _check_held(outcome, lease_id)
        return time_of(now_ms + lease_ms)

    # -- dead letters --------------------------------------------------------------------------

    async def dead_letters(
        self, tenant: str, agent: str, *, after: str = "", limit: int = 100
    ) -> list[DeadLetter]:
        """Return the dead letters behind the cursor `after`, oldest first.

        Fewer than `limit` when they are large; none means that there are no more.
        """
        _check("limit", limit, low=1, high=RECEIVE_MAX)
        place, dash, rest = (after or "0-0").partition("-")
        sound = place.isdecimal() and place.isascii() and len(place) <= CURSOR_DIGITS_MAX
        if not (dash and sound and rest == "0"):
            raise RefusalError("mailbox.bad_cursor", "this is no cursor of this list", 422)
        cursor = f"{place}-0"
        while letters := await self._boxes.dead_letters(Address(tenant, agent), cursor, limit):
            readable = [found for letter in letters if (found := dead_letter(letter))]
            if readable:
                return readable
            cursor = letters[-1].cursor
        return []

    async def redrive(self, tenant: str, agent: str, message_id: str) -> None:
        """Put a dead letter back into the mailbox, as if it had just arrived.

        Raises RefusalError `message.expired` (409) when its time is over, `mailbox.letter_unknown`
        (404) when there is none, `agent.unknown` (404) when nobody is registered.
        """
        outcome = await self._boxes.redrive(Address(tenant, agent), message_id, self._now_ms())
        match outcome:
            case "unregistered":
                raise agent_unknown(agent)
            case "unknown":
                detail = f"there is no dead letter of message {message_id[:80]!r}"
                raise RefusalError("mailbox.letter_unknown", detail, 404)
            case "expired":
                detail = "the message has expired; send a new one if it still matters"
                raise RefusalError("message.expired", detail, 409)
            case _:
                return

    # -- agents --------------------------------------------------------------------------------

    async def register(
        self, tenant: str, agent: str, profile: Profile
    ) -> tuple[Registration, bool]:
        """Register the agent or replace its profile; the flag says whether it is new.

        Raises RefusalError `agent.too_many` when the tenant has as many as it may.
        """
        check_agent_id(agent)
        now_ms = self._now_ms()
        address = Address(tenant, agent)
        state, since_ms = await self._boxes.register(address, profile.pack(), now_ms)
        if state == "full":
            raise RefusalError(
                "agent.too_many",
                f"{self._terms.agents_max} agents are registered already; "
                "unregister those that are gone",
                409,
            )
        registration = Registration(
            tenant=tenant,
            agent=agent,
            profile=profile,
            registered_at=time_of(since_ms),
            last_seen=time_of(now_ms),
        )
        return registration, state == "created"

    async def unregister(self, tenant: str, agent: str) -> bool:
        """Forget the agent, and say whether it was registered.

        What waits for it becomes dead letters with the code `agent.unregistered`, which it finds
        if it registers again; leases that it holds are lost.
        """
        address = Address(tenant, agent)
        check_agent_id(agent)
        self._known.pop(address, None)
        known = await self._boxes.unregister(address)
        more = True
        while more:
            more, _ = await self._boxes.sweep(address, self._now_ms())
        return known

    async def heartbeat(self, tenant: str, agent: str) -> datetime:
        """Note that the agent lives. Raises RefusalError `agent.unknown`."""
        now_ms = self._now_ms()
        if not await self._boxes.heartbeat(Address(tenant, agent), now_ms):
            raise agent_unknown(agent)
        return time_of(now_ms)

    async def agent(self, tenant: str, agent: str) -> Registration:
        """Return the registration. Raises RefusalError `agent.unknown`."""
        found = await self._boxes.entries(tenant, [agent])
        if not found:
            raise agent_unknown(agent)
        return registration(tenant, found[0])

    async def agents(self, tenant: str, *, after: str = "", limit: int = 100) -> list[Registration]:
        """Return the registrations behind the agent `after`, by id."""
        _check("limit", limit, low=1, high=1000)
        names = [name for name in await self._boxes.names(tenant) if name > after]
        found = await self._boxes.entries(tenant, names[:limit])
        return [registration(tenant, entry) for entry in found]

    def _now_ms(self) -> int:
        return millis(self._clock.now())


def _item(message: Message, decision_id: str) -> Item:
    return Item(
        decision_id=decision_id,
        message_id=message.id,
        conversation_id=message.conversation_id,
        priority=int(message.priority),
        expires_ms=millis(message.expires_at),
    )


def _recipient(message: Message) -> Address:
    if message.recipient is None:
        raise ValueError(f"message {message.id!r} has no recipient")
    return Address(message.tenant, message.recipient)


def _check_room(to: Address, outcome: str) -> None:
    if outcome == "full":
        raise MailboxFullError(to.agent)
    if outcome not in {"delivered", "again"}:
        log.info("message.undeliverable", code=outcome, agent=to.agent, tenant=to.tenant)


def _check_held(outcome: str, lease_id: str) -> None:
    if outcome == "unknown":
        raise lease_unknown(lease_id)
    if outcome == "lost":
        raise lease_lost(lease_id)


def _check(name: str, value: float, *, low: float, high: float) -> None:
    if not low <= value <= high:
        raise RefusalError("mailbox.out_of_range", f"{name} is from {low:g} to {high:g}", 422)


def _plain(text: str) -> str:
    """What UTF-8 can carry of it, and no more than is worth keeping."""
    return text[:REASON_MAX].encode(errors="replace").decode()
