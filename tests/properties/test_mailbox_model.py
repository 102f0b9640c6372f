"""Any history of calls on real mailboxes goes as it does in a model that is too simple to err."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Coroutine, Iterator
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, Final, TypeVar, cast

import pytest
from contract.conftest import Server, Valkey
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from actors.mailbox.client import Mailboxes
from actors.mailbox.mailbox import MailboxFullError, Profile, Terms, millis, retry_delay_s
from actors.mailbox.store import Address
from cluster.store import keys
from cluster.store.redis_store import RedisStore
from policies.errors import RefusalError
from policies.message import Message, Priority
from policies.parcel import parcel

from builders import a_message
from fakes import FakeClock

T = TypeVar("T")
TERMS: Final = Terms(max_retries=2, entries_max=20)
REMEMBERED_MS: Final = 900_000
KEPT_MS: Final = 7 * 86_400_000
SECONDS: Final = (0.1, 0.9, 1, 1, 2, 2, 2, 2, 30, 30, 30, 400, 900, 900, 8 * 86_400)
TTLS_S: Final = (-1, 1.5, 60, *[86_400] * 7)
LEASES_S: Final = (1, 30, 30, 3600)
RETRIES_S: Final = (None, 0, 0, 2, 400)
# How often each thing happens, so that much waits, much is leased and some of it goes wrong.
KINDS: Final = (
    *["deliver"] * 8,
    *["receive"] * 8,
    *["ack"] * 5,
    *["nack"] * 4,
    *["time_passes"] * 4,
    *["deliver_again"] * 2,
    *["redeliver"] * 2,
    *["redrive"] * 3,
    *["extend"] * 2,
    *["sweep"] * 2,
    "settle_another_s",
    "register",
    "unregister",
)
CHOICE: Final = st.integers(0, 999)
HISTORIES: Final = st.lists(
    st.tuples(st.sampled_from(KINDS), CHOICE, CHOICE, CHOICE), min_size=60, max_size=100
)


class Silence:
    """Nobody waits in these histories."""

    async def wait(self, channel: str, timeout_s: float) -> bool:
        raise AssertionError


@dataclass(eq=False)
class Sent:
    """A message in the model. `until` is when its lease or its delay ends."""

    decision_id: str
    message: Message
    attempts: int = 0
    state: str = "waiting"
    until: int = 0

    @property
    def expires(self) -> int:
        return millis(self.message.expires_at)


@dataclass(eq=False)
class Letter:
    sent: Sent
    code: str


@dataclass
class Lease:
    """One attempt, and how it was settled."""

    box: Box
    life: int
    sent: Sent
    attempt: int
    settled: str = ""
    settled_at: int = 0


@dataclass(eq=False)
class Box:
    """A mailbox as a list in order of arrival. `life` counts how often it was forgotten."""

    waiting: list[Sent] = field(default_factory=list)
    dead: list[Letter] = field(default_factory=list)
    redriven: dict[str, int] = field(default_factory=dict)
    life: int = 0
    seen: Counter[str] = field(default_factory=Counter)

    def bury(self, sent: Sent, code: str) -> None:
        self.seen[code] += 1
        self.waiting.remove(sent)
        self.dead.append(Letter(sent, code))

    def fail(self, sent: Sent, now: int, retry_at: int) -> None:
        if sent.attempts >= TERMS.max_retries:
            self.bury(sent, "mailbox.retries_exhausted")
        elif sent.expires <= now:
            self.bury(sent, "message.expired")
        else:
            sent.state = "delayed" if retry_at > now else "waiting"
            sent.until = retry_at

    def turn(self, now: int) -> None:
        for sent in list(self.waiting):
            if sent.state == "leased" and sent.until <= now:
                self.fail(sent, now, now)
            elif sent.state == "delayed" and sent.until <= now:
                sent.state = "waiting"

    def next(self) -> Sent | None:
        heads: dict[str, Sent] = {}
        for sent in self.waiting:
            heads.setdefault(sent.message.conversation_id, sent)
        ready = [sent for sent in heads.values() if sent.state == "waiting"]
        first = {id(sent): -place for place, sent in enumerate(self.waiting)}
        best = max(ready, key=lambda s: (s.message.priority, first[id(s)]), default=None)
        return cast("Sent | None", best)

    def receive(self, now: int, at_most: int, until: int) -> list[Sent]:
        self.turn(now)
        received: list[Sent] = []
        while len(received) < at_most and (sent := self.next()):
            if sent.expires <= now:
                self.bury(sent, "message.expired")
                continue
            sent.attempts += 1
            sent.state, sent.until = "leased", until
            received.append(sent)
        return received

    def sweep(self, now: int) -> None:
        self.turn(now)
        for sent in list(self.waiting):
            if sent.state != "leased" and sent.expires <= now:
                self.bury(sent, "message.expired")
        self.dead = [letter for letter in self.dead if letter.sent.expires > now - KEPT_MS]

    def make_room(self, now: int) -> bool:
        while len(self.waiting) + len(self.dead) >= TERMS.entries_max:
            stale = [letter for letter in self.dead if letter.sent.expires <= now]
            if not stale:
                return False
            self.dead.remove(min(stale, key=lambda letter: letter.sent.expires))
        return True

    def forget(self) -> None:
        if not self.dead:
            self.life += 1
            self.redriven.clear()


class History:
    """Two tenants with agents of the same names, and everything that may happen to them.

    Each step takes numbers and makes of them what fits the moment. One mailbox gets most of it,
    so that much happens there; the others watch that they do not notice.
    """

    def __init__(self, store: RedisStore, tenants: tuple[str, str], seen: Counter[str]) -> None:
        self.store = store
        self.seen = seen
        self.clock = FakeClock()
        self.mailboxes = Mailboxes(store, bell=Silence(), clock=self.clock, terms=TERMS)
        busy, other = Address(tenants[0], "ada"), Address(tenants[0], "bob")
        self.addresses = [*[busy] * 8, other, Address(tenants[1], "ada")]
        self.boxes = {address: Box(seen=seen) for address in self.addresses}
        self.registered: set[Address] = set()
        self.accepted: dict[str, tuple[Address, Message]] = {}
        self.postponed: dict[str, tuple[Address, Message]] = {}
        self.acked: list[str] = []
        self.given: dict[str, Lease] = {}
        self.serial = 0

    @property
    def now(self) -> int:
        return millis(self.clock.now())

    async def run(self, steps: list[tuple[str, int, int, int]]) -> None:
        for address in self.boxes:
            await self.put(address)
        for kind, a, b, c in steps:
            touched = await getattr(self, kind)(a, b, c)
            if touched is not None:
                await self.compare(touched)
        for address in self.boxes:
            await self.compare(address)
        await self.drain()
        await self.mailboxes.close()

    async def refusal(self, call: Coroutine[Any, Any, object]) -> str:
        try:
            await call
        except RefusalError as error:
            return error.code
        return ""

    def at(self, choice: int) -> Address:
        return self.addresses[choice % len(self.addresses)]

    def note(self, what: str) -> None:
        self.seen[what] += 1

    # -- what may happen

    async def time_passes(self, a: int, _b: int, _c: int) -> None:
        self.clock.forward(SECONDS[a % len(SECONDS)])

    async def register(self, a: int, _b: int, _c: int) -> Address:
        await self.put(self.at(a))
        return self.at(a)

    async def put(self, address: Address) -> None:
        _, created = await self.mailboxes.register(*address, Profile())
        assert created == (address not in self.registered)
        self.registered.add(address)

    async def unregister(self, a: int, b: int, c: int) -> Address:
        address = self.at(a if c % 3 == 0 else 8 + a % 2)
        known = await self.mailboxes.unregister(*address)
        assert known == (address in self.registered)
        self.registered.discard(address)
        box = self.boxes[address]
        for sent in list(box.waiting):
            box.bury(sent, "agent.unregistered")
        box.sweep(self.now)
        box.forget()
        if b % 3:  # else little would ever wait for long
            await self.put(address)
        return address

    async def deliver(self, a: int, b: int, c: int) -> Address:
        address = self.at(a)
        for number in range(1 + b % 4):
            self.serial += 1
            ttl_s = TTLS_S[(b // 4 + number) % len(TTLS_S)]
            message = a_message(
                id=f"m{self.serial}",
                tenant=address.tenant,
                recipient=address.agent,
                conversation_id="aabc"[(c + number) % 4],
                priority=Priority((c // 4 + 3 * number) % 4),
                content={"n": self.serial},
                # No two expire together, so that it is clear which letter makes room first.
                expires_at=self.clock.now() + timedelta(seconds=ttl_s, milliseconds=self.serial),
            )
            await self.hand_in(address, message, f"d{self.serial}")
        return address

    async def hand_in(self, address: Address, message: Message, decision_id: str) -> None:
        outbox = keys.outbox(address.tenant)
        box = self.boxes[address]
        again = decision_id in self.accepted
        if not again:
            await self.store.execute("HSET", outbox, decision_id, parcel(message, decision_id))
        fits = again or box.make_room(self.now)
        try:
            await self.mailboxes.deliver(message, decision_id)
        except MailboxFullError:
            self.note("full")
            assert not fits
            assert await self.store.execute("HEXISTS", outbox, decision_id) == 1
            self.postponed[decision_id] = (address, message)
            return
        assert fits
        assert await self.store.execute("HEXISTS", outbox, decision_id) == 0
        self.postponed.pop(decision_id, None)
        if again:
            return
        self.accepted[decision_id] = (address, message)
        sent = Sent(decision_id, message)
        if address not in self.registered:
            box.dead.append(Letter(sent, "agent.not_found"))
        elif sent.expires <= self.now:
            box.dead.append(Letter(sent, "message.expired"))
        else:
            box.waiting.append(sent)

    async def deliver_again(self, a: int, _b: int, _c: int) -> Address | None:
        if not self.accepted:
            return None
        decision_id = sorted(self.accepted)[a % len(self.accepted)]
        await self.hand_in(*self.accepted[decision_id], decision_id)
        return self.accepted[decision_id][0]

    async def redeliver(self, a: int, _b: int, _c: int) -> Address | None:
        if not self.postponed:
            return None
        decision_id = sorted(self.postponed)[a % len(self.postponed)]
        address, message = self.postponed[decision_id]
        await self.hand_in(address, message, decision_id)
        return address

    async def receive(self, a: int, b: int, c: int) -> Address:
        address, at_most, lease_s = self.at(a), 1 + b % 3, LEASES_S[c % len(LEASES_S)]
        call = self.mailboxes.receive(*address, at_most=at_most, lease_s=lease_s)
        if address not in self.registered:
            assert await self.refusal(call) == "agent.unknown"
            return address
        envelopes = await call
        box = self.boxes[address]
        expected = box.receive(self.now, at_most, self.now + lease_s * 1000)
        assert [(e.decision_id, e.attempt) for e in envelopes] == [
            (sent.decision_id, sent.attempts) for sent in expected
        ]
        for envelope, sent in zip(envelopes, expected, strict=True):
            assert envelope.message == sent.message
            assert envelope.message.expires_at > self.clock.now()
            assert envelope.lease_id not in self.given
            self.given[envelope.lease_id] = Lease(box, box.life, sent, sent.attempts)
            self.note("received again" if sent.attempts > 1 else "received")
        return address

    def lease(self, choice: int) -> tuple[Address, str] | None:
        """Mostly a lease that holds, else one of the last that were given; and who got it."""
        if not self.given:
            return None
        held = [name for name in self.given if self.holds(name)]
        among = held if held and choice % 4 else list(self.given)[-6:]
        lease_id = among[choice // 4 % len(among)]
        box = self.given[lease_id].box
        return next(address for address, found in self.boxes.items() if found is box), lease_id

    def holds(self, lease_id: str) -> bool:
        lease = self.given[lease_id]
        return (
            lease.life == lease.box.life
            and lease.sent in lease.box.waiting
            and lease.sent.state == "leased"
            and lease.sent.attempts == lease.attempt
            and lease.sent.until > self.now
        )

    def verdict(self, address: Address, lease_id: str, how: str) -> str:
        """What the model says to a call on this lease by this agent."""
        lease, box = self.given[lease_id], self.boxes[address]
        if lease.box is not box or lease.life != box.life:
            return "mailbox.lease_unknown"
        if self.holds(lease_id):
            return how
        if how == lease.settled and lease.settled_at > self.now - REMEMBERED_MS:
            return "again"
        return "mailbox.lease_lost"

    async def judge(self, expected: str, call: Coroutine[Any, Any, object]) -> bool:
        """Make the call and compare; say whether it took effect."""
        self.note(expected)
        refused = expected.startswith("mailbox.")
        assert await self.refusal(call) == (expected if refused else "")
        return not refused and expected != "again"

    async def ack(self, a: int, _b: int, _c: int) -> Address | None:
        if (found := self.lease(a)) is None:
            return None
        address, lease_id = found
        expected = self.verdict(address, lease_id, "acked")
        if await self.judge(expected, self.mailboxes.ack(*address, lease_id)):
            lease = self.given[lease_id]
            lease.settled, lease.settled_at = "acked", self.now
            lease.box.waiting.remove(lease.sent)
            self.acked.append(lease.sent.decision_id)
        return address

    async def nack(self, a: int, b: int, _c: int) -> Address | None:
        if (found := self.lease(a)) is None:
            return None
        address, lease_id = found
        retry_in_s = RETRIES_S[b % len(RETRIES_S)]
        expected = self.verdict(address, lease_id, "nacked")
        call = self.mailboxes.nack(*address, lease_id, reason="no", retry_in_s=retry_in_s)
        if await self.judge(expected, call):
            lease = self.given[lease_id]
            lease.settled, lease.settled_at = "nacked", self.now
            delay_s = retry_delay_s(lease.attempt) if retry_in_s is None else retry_in_s
            lease.box.fail(lease.sent, self.now, self.now + int(delay_s * 1000))
        return address

    async def extend(self, a: int, _b: int, _c: int) -> Address | None:
        if (found := self.lease(a)) is None:
            return None
        address, lease_id = found
        expected = self.verdict(address, lease_id, "extended")
        if await self.judge(expected, self.mailboxes.extend(*address, lease_id, lease_s=60)):
            self.given[lease_id].sent.until = self.now + 60_000
        return address

    async def settle_another_s(self, a: int, b: int, _c: int) -> Address | None:
        if (found := self.lease(a)) is None:
            return None
        address, lease_id = self.at(b + 8), found[1]
        if address != found[0]:
            for call in (
                self.mailboxes.ack(*address, lease_id),
                self.mailboxes.nack(*address, lease_id, reason="no"),
                self.mailboxes.extend(*address, lease_id),
            ):
                await self.judge("mailbox.lease_unknown", call)
        return found[0]

    async def sweep(self, a: int, _b: int, _c: int) -> Address:
        address = self.at(a)
        more, _ = await self.mailboxes._boxes.sweep(address, self.now)
        assert not more
        box = self.boxes[address]
        box.sweep(self.now)
        if address not in self.registered:
            box.forget()
        return address

    async def redrive(self, a: int, b: int, _c: int) -> Address | None:
        address = self.at(a)
        box = self.boxes[address]
        names = [letter.sent.message.id for letter in box.dead] + list(box.redriven)
        message_id = names[b % len(names)] if names else "m1"
        letter = next((found for found in box.dead if found.sent.message.id == message_id), None)
        code = await self.refusal(self.mailboxes.redrive(*address, message_id))
        if address not in self.registered:
            assert code == "agent.unknown"
        elif letter is None:
            lately = box.redriven.get(message_id, -REMEMBERED_MS) > self.now - REMEMBERED_MS
            assert code == ("" if lately else "mailbox.letter_unknown")
        elif letter.sent.expires <= self.now:
            assert code == "message.expired"
        else:
            assert code == ""
            self.note("redriven")
            box.dead.remove(letter)
            box.waiting.append(Sent(letter.sent.decision_id, letter.sent.message))
            box.redriven[message_id] = self.now
        return address

    # -- what always holds

    async def compare(self, address: Address) -> None:
        box = self.boxes[address]
        letters = await self.mailboxes.dead_letters(*address)
        assert sorted((x.decision_id, x.code, x.attempts) for x in letters) == sorted(
            (x.sent.decision_id, x.code, x.sent.attempts) for x in box.dead
        )
        assert all(x.message == self.accepted[x.decision_id][1] for x in letters)
        assert len(self.acked) == len(set(self.acked))

        async def size(command: str, part: str) -> int:
            reply = await self.store.execute(command, keys.mailbox(*address, part))
            return cast("int", reply)

        heads = {sent.message.conversation_id for sent in box.waiting}
        leased = await size("ZCARD", "leased")
        scheduled = leased + await size("ZCARD", "ready") + await size("ZCARD", "delayed")
        assert await size("HLEN", "info") == len(box.waiting)
        assert sum([await size("XLEN", f"p{p}") for p in range(4)]) == len(box.waiting)
        assert scheduled == await size("HLEN", "heads") == len(heads)
        assert await size("ZCARD", "blocked") == len(box.waiting) - len(heads)
        assert await size("ZCARD", "expiry") == len(box.waiting) - leased
        for command, part in (("XLEN", "dead"), ("ZCARD", "letters"), ("ZCARD", "stale")):
            assert await size(command, part) == len(box.dead), part
        self.seen["most waiting"] = max(self.seen["most waiting"], len(box.waiting))

    async def drain(self) -> None:
        """In the end everything that was accepted is acknowledged, dead, or dropped as expired."""
        self.clock.forward(3601)  # every lease and delay is over
        for address, box in self.boxes.items():
            await self.put(address)
            while box.waiting:
                for envelope, sent in zip(
                    await self.mailboxes.receive(*address, at_most=100),
                    box.receive(self.now, 100, self.now + 30_000),
                    strict=True,
                ):
                    assert envelope.decision_id == sent.decision_id
                    await self.mailboxes.ack(*address, envelope.lease_id)
                    box.waiting.remove(sent)
                    self.acked.append(sent.decision_id)
            await self.compare(address)
            held = await self.store.execute("HGET", keys.mailbox(*address, "meta"), "bytes")
            letters = await self.mailboxes._boxes.dead_letters(address, "0-0", 100)
            assert int(cast("bytes", held or b"0")) == sum(len(x.parcel) for x in letters)


@pytest.fixture(scope="module")
def valkey(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Valkey]:
    server = Server(tmp_path_factory.mktemp("valkey"))
    server.start()
    yield Valkey(server)
    server.kill()


# A history in which nothing happens proves nothing: each of these must have been met.
MET: Final = (
    "received",
    "received again",
    "acked",
    "nacked",
    "extended",
    "again",
    "redriven",
    "full",
    "mailbox.lease_lost",
    "mailbox.lease_unknown",
    "mailbox.retries_exhausted",
    "message.expired",
    "agent.unregistered",
)


@pytest.mark.timeout(300)
def test_any_history_goes_as_it_does_in_the_model(valkey: Valkey) -> None:
    seen: Counter[str] = Counter()

    @settings(max_examples=50, deadline=None, suppress_health_check=list(HealthCheck))
    @given(HISTORIES)
    def play(steps: list[tuple[str, int, int, int]]) -> None:
        async def scenario() -> None:
            async with valkey.store() as store:
                await History(store, (valkey.tenant(), valkey.tenant()), seen).run(steps)

        asyncio.run(scenario())

    for _ in range(4):  # the rarest may want more than one walk to be met so often
        play()
        if all(seen[what] >= 10 for what in MET):
            break
    for what in MET:
        assert seen[what] >= 10, (what, seen)
    assert seen["most waiting"] >= 8
