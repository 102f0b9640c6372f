"""The mailbox's scripts, and what their replies mean. Times are milliseconds since the epoch."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.resources import files
from typing import Any, Final, NamedTuple, cast

from actors.mailbox.mailbox import Lease, Terms
from cluster import metrics
from cluster.store import keys
from cluster.store.batching import GroupCommit
from cluster.store.client import Call, Script, Store

REPLY_BYTES_MAX: Final = 4 << 20
EVERYONE: Final = "*"  # no agent has this name: parts that belong to the whole tenant

_SCRIPTS: Final = files("actors.mailbox") / "scripts"


def _script(name: str, *, of_a_box: bool = True) -> Script:
    source = (_SCRIPTS / f"{name}.lua").read_text()
    return Script((_SCRIPTS / "box.lua").read_text() + source if of_a_box else source)


DELIVER: Final = _script("deliver")
RECEIVE: Final = _script("receive")
ACK: Final = _script("ack")
NACK: Final = _script("nack")
EXTEND: Final = _script("extend")
SWEEP: Final = _script("sweep")
REDRIVE: Final = _script("redrive")
DEAD_LETTERS: Final = _script("dead_letters")
FAN_OUT: Final = _script("fan_out", of_a_box=False)
REGISTER: Final = _script("register", of_a_box=False)
UNREGISTER: Final = _script("unregister", of_a_box=False)
HEARTBEAT: Final = _script("heartbeat", of_a_box=False)


class Address(NamedTuple):
    """Whose mailbox."""

    tenant: str
    agent: str


class Item(NamedTuple):
    """What the scripts must know of a message whose parcel is in the outbox."""

    decision_id: str
    message_id: str
    conversation_id: str
    priority: int
    expires_ms: int


class Leased(NamedTuple):
    """One message that was received."""

    lease: Lease
    decision_id: str
    parcel: bytes


class Received(NamedTuple):
    """What was received; `pause_ms` says when time alone may bring more, None for never."""

    leased: list[Leased]
    pause_ms: int | None


class Letter(NamedTuple):
    """One dead letter as it is stored."""

    cursor: str
    decision_id: str
    code: str
    reason: str
    attempts: int
    died_ms: int
    parcel: bytes


class Entry(NamedTuple):
    """One registration as it is stored."""

    agent: str
    since_ms: int
    seen_ms: int
    profile: bytes


class MailboxStore:
    """One script for each operation; each is atomic, and harmless when it is repeated."""

    def __init__(self, store: Store, terms: Terms) -> None:
        self._store = store
        self._commits = GroupCommit(store)
        self._terms = terms

    async def close(self) -> None:
        """Return when every call that was accepted is answered."""
        await self._commits.close()

    async def deliver(self, to: Address, item: Item, now_ms: int, *, fan: bool) -> str:
        """Return delivered, again, full, or the code under which it was dead-lettered."""
        call = self.deliver_call(to, item, now_ms, fan=fan)
        return self.delivered(await self._commits.run(call))

    def deliver_call(self, to: Address, item: Item, now_ms: int, *, fan: bool) -> Call:
        """Return the call that `deliver` makes, for whoever lets it follow the record."""
        tenant, decision_id = to.tenant, item.decision_id
        lacking = (_fan(tenant, decision_id),) if fan else ()
        return _call(
            DELIVER,
            to,
            now_ms,
            more_keys=(keys.outbox(tenant), *lacking),
            args=(
                decision_id,
                item.message_id,
                item.conversation_id,
                item.priority,
                item.expires_ms,
                self._terms.entries_max,
                self._terms.bytes_max,
            ),
        )

    def delivered(self, reply: object) -> str:
        """Count and return what such a call replied."""
        outcome = cast("bytes", reply).decode()
        if outcome == "delivered":
            metrics.MAILBOX_DELIVERED.inc()
        return outcome

    async def fan_out(self, tenant: str, sender: str, decision_id: str) -> list[str]:
        """Return who has not yet got this broadcast; who gets it is fixed by the first call."""
        reply = await self._commits.run(
            Call(
                FAN_OUT,
                [
                    keys.agents(tenant),
                    keys.outbox(tenant),
                    _fan(tenant, decision_id),
                ],
                [sender, decision_id],
            )
        )
        return sorted(agent.decode() for agent in cast("list[bytes]", reply))

    async def receive(
        self, of: Address, now_ms: int, *, at_most: int, lease_ms: int, tag: str
    ) -> Received | None:
        """Lease the next messages; None when the agent is not registered."""
        limits = (at_most, lease_ms, self._terms.max_retries, REPLY_BYTES_MAX, tag)
        reply: Any = await self._store.run(_call(RECEIVE, of, now_ms, args=limits))
        if isinstance(reply, bytes):
            return None
        tag, pause_ms = reply[0].decode(), reply[1]
        leased = [
            Leased(Lease(entry.decode(), attempt, tag), decision.decode(), parcel)
            for entry, attempt, decision, parcel in reply[2:]
        ]
        metrics.MAILBOX_REDELIVERED.inc(sum(one.lease.attempt > 1 for one in leased))
        return Received(leased, None if pause_ms < 0 else pause_ms)

    async def ack(self, of: Address, lease: Lease, now_ms: int) -> str:
        """Return acked, again, lost or unknown."""
        outcome = await self._commit(ACK, of, now_ms, args=lease_args(lease))
        if outcome == "acked":
            metrics.MAILBOX_ACKED.inc()
        return outcome

    async def nack(
        self, of: Address, lease: Lease, now_ms: int, *, retry_ms: int, reason: str
    ) -> str:
        """Return waiting, dead, again, lost or unknown."""
        args = (*lease_args(lease), self._terms.max_retries, retry_ms, reason)
        outcome = await self._commit(NACK, of, now_ms, args=args)
        if outcome in {"waiting", "dead"}:
            metrics.MAILBOX_NACKED.inc()
        return outcome

    async def extend(self, of: Address, lease: Lease, now_ms: int, *, lease_ms: int) -> str:
        """Return extended, lost or unknown."""
        return await self._commit(EXTEND, of, now_ms, args=(*lease_args(lease), lease_ms))

    async def sweep(self, of: Address, now_ms: int) -> tuple[bool, int]:
        """Do one bounded part of what is due; return whether more is, and how much was done."""
        args = (self._terms.max_retries,)
        more, moved = cast("list[int]", await self._store.run(_call(SWEEP, of, now_ms, args=args)))
        return bool(more), moved

    async def due(self, tenant: str, now_ms: int, at_most: int) -> list[str]:
        """Return the agents whose mailboxes must be swept now."""
        reply = await self._store.execute(
            "ZRANGEBYSCORE", _due(tenant), "-inf", now_ms, "LIMIT", 0, at_most
        )
        return [agent.decode() for agent in cast("list[bytes]", reply)]

    async def dead_letters(self, of: Address, after: str, at_most: int) -> list[Letter]:
        """Return the letters behind `after`, oldest first; fewer when they are large."""
        args = (after, at_most, REPLY_BYTES_MAX)
        reply: Any = await self._store.run(_call(DEAD_LETTERS, of, 0, args=args))
        return [
            Letter(
                cursor.decode(),
                decision.decode(),
                code.decode(),
                reason.decode(errors="replace"),
                int(attempts),
                int(died),
                parcel,
            )
            for cursor, decision, code, reason, attempts, died, parcel in reply
        ]

    async def redrive(self, of: Address, message_id: str, now_ms: int) -> str:
        """Return redriven, again, unknown, expired or unregistered."""
        return await self._commit(REDRIVE, of, now_ms, args=(message_id,))

    async def knows(self, of: Address) -> bool:
        """Say whether the agent is registered."""
        return await self._store.execute("HEXISTS", keys.agents(of.tenant), of.agent) == 1

    async def register(self, agent: Address, profile: str, now_ms: int) -> tuple[str, int]:
        """Return created, updated or full, and since when it has been registered."""
        call = Call(
            REGISTER,
            [keys.agents(agent.tenant), _seen(agent.tenant)],
            [now_ms, agent.agent, profile, self._terms.agents_max],
        )
        state, since = cast("list[bytes]", await self._store.run(call))
        return state.decode(), int(since)

    async def unregister(self, agent: Address) -> bool:
        """Forget the agent, and say whether it was known. `sweep` then empties its mailbox."""
        tenant = agent.tenant
        parts = [keys.agents(tenant), _seen(tenant), _due(tenant)]
        return await self._store.run(Call(UNREGISTER, parts, [agent.agent])) == 1

    async def heartbeat(self, agent: Address, now_ms: int) -> bool:
        """Note that the agent lives; False when it is not registered."""
        parts = [keys.agents(agent.tenant), _seen(agent.tenant)]
        return await self._commits.run(Call(HEARTBEAT, parts, [now_ms, agent.agent])) == 1

    async def names(self, tenant: str) -> list[str]:
        """Return the ids of all agents, sorted."""
        reply = cast("list[bytes]", await self._store.execute("HKEYS", keys.agents(tenant)))
        return sorted(agent.decode() for agent in reply)

    async def entries(self, tenant: str, agents: Sequence[str]) -> list[Entry]:
        """Return the registrations of these agents, as far as they have one."""
        if not agents:
            return []
        found: Any = await self._store.execute("HMGET", keys.agents(tenant), *agents)
        seen: Any = await self._store.execute("HMGET", _seen(tenant), *agents)
        entries: list[Entry] = []
        for agent, packed, seen_ms in zip(agents, found, seen, strict=True):
            if packed is not None:
                since, _, profile = packed.partition(b" ")
                entries.append(Entry(agent, int(since), int(seen_ms or since), profile))
        return entries

    async def outbox(
        self, tenant: str, cursor: str, at_most: int
    ) -> tuple[str, list[tuple[str, bytes]]]:
        """Return some decision ids and their parcels, and where to go on.

        The cursor "0" is the start, and the end.
        """
        reply: Any = await self._store.execute(
            "HSCAN", keys.outbox(tenant), cursor, "COUNT", at_most
        )
        decisions = [decision.decode() for decision in reply[1][::2]]
        return reply[0].decode(), list(zip(decisions, reply[1][1::2], strict=True))

    async def tenants(self) -> list[str]:
        """Return every tenant that ever had a decision recorded."""
        reply = cast("list[bytes]", await self._store.execute("SMEMBERS", keys.TENANTS))
        return sorted(tenant.decode() for tenant in reply)

    async def _commit(
        self,
        script: Script,
        box: Address,
        now_ms: int,
        *,
        args: Sequence[str | bytes | int],
    ) -> str:
        call = _call(script, box, now_ms, args=args)
        return cast("bytes", await self._commits.run(call)).decode()


def lease_args(lease: Lease) -> tuple[str, int, str]:
    """The lease as the scripts take it."""
    return lease.entry, lease.attempt, lease.tag


def _call(
    script: Script,
    box: Address,
    now_ms: int,
    *,
    args: Sequence[str | bytes | int],
    more_keys: Sequence[str] = (),
) -> Call:
    tenant, agent = box
    return Call(
        script,
        [keys.mailbox(tenant, agent, ""), keys.agents(tenant), _due(tenant), *more_keys],
        [now_ms, agent, keys.bell(tenant, agent), *args],
    )


def _due(tenant: str) -> str:
    return keys.mailbox(tenant, EVERYONE, "due")


def _seen(tenant: str) -> str:
    return keys.mailbox(tenant, EVERYONE, "seen")


def _fan(tenant: str, decision_id: str) -> str:
    return keys.mailbox(tenant, EVERYONE, f"fan:{decision_id}")
