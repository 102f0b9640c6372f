"""A herald on the real store, beside the room of reviews whose events it reads."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from contract.reviews_room import Room, a_room

from actors.herald.client import Notifications
from actors.herald.feed import Feed
from actors.herald.herald import Herald
from actors.herald.sender import Means, Sender
from actors.herald.store import HeraldStore
from actors.reviews.reading import review_in
from cluster.breaker.circuit import Circuit
from cluster.channels.opening import CIRCUIT
from cluster.channels.plans import Plan
from cluster.store import keys
from cluster.store.client import Store
from policies.notification import DEFAULT_STEPS, EVERY, Interest, Kind, Notification

if TYPE_CHECKING:
    from contract.conftest import Valkey


def a_plan(name: str = "hook", kind: Kind = Kind.WEBHOOK, **changes: Any) -> Any:
    """A plan of a channel that is never opened: only what it wants to hear counts."""
    interest = Interest(
        channel=name,
        kind=kind,
        tenants=frozenset({EVERY}),
        steps=DEFAULT_STEPS[kind],
    )
    return Plan(name=name, interest=replace(interest, **changes), timeout_s=5.0)


@dataclass
class Ear:
    """A channel that keeps what it is told, or does as `answering` says."""

    told: list[Notification] = field(default_factory=list)
    traces: list[str | None] = field(default_factory=list)
    answering: Callable[[Notification], str | None] = lambda _: None
    closed: bool = False

    async def send(self, notification: Notification, trace: str | None) -> str | None:
        answer = self.answering(notification)
        self.told.append(notification)
        self.traces.append(trace)
        return answer

    async def close(self) -> None:
        self.closed = True

    def heard(self) -> list[tuple[str, str, int]]:
        return [(one.review_id, one.step, one.version) for one in self.told]


@dataclass
class Hall:
    """One herald, and the channels that hear it."""

    room: Room
    herald: Herald
    feed: Feed
    store: HeraldStore
    ears: Mapping[str, Ear]
    senders: Mapping[str, Sender]
    chances: list[float]

    async def turn(self) -> None:
        """Read what is new of this tenant, and send what is due."""
        self.herald._tenants = [self.room.tenant]
        await self.herald._serve(self.room.tenant)
        for sender in self.senders.values():
            await self.herald.send(sender)

    def operator(self) -> Notifications:
        """Who looks at the dead letters, with the same channels file."""
        interests = [sender._plan.interest for sender in self.senders.values()]
        return Notifications(self.room.store, interests=interests, clock=self.room.clock)

    async def waiting(self, channel: str) -> int:
        key = keys.herald(self.room.tenant, f"jobs:{channel}")
        count = await self.room.store.execute("HLEN", key)
        assert isinstance(count, int)
        return count

    async def dead(self) -> list[tuple[str, str]]:
        letters = await self.store.letters(self.room.tenant, "", 100)
        return [(letter.id, letter.code) for letter in letters]


def a_herald(
    room: Room,
    plans: Mapping[str, Any],
    *,
    shelf: HeraldStore | None = None,
    ears: Mapping[str, Ear] | None = None,
) -> Hall:
    shelf = shelf or HeraldStore(room.store)
    chances = [0.5]
    ears = ears or {name: Ear() for name in plans}
    means = Means(store=shelf, clock=room.clock, chance=lambda: chances[0], read=review_in)
    feed = Feed(
        shelf,
        [plan.interest for plan in plans.values()],
        read=review_in,
        clock=room.clock,
        public_url="https://bus.example.org",
    )
    senders = {
        name: Sender(
            plan,
            ears[name],
            means,
            circuit=Circuit(f"channel.{name}", CIRCUIT, clock=room.clock),
        )
        for name, plan in plans.items()
    }
    herald = Herald(shelf, feed, list(senders.values()), clock=room.clock)
    return Hall(room, herald, feed, shelf, ears, senders, chances)


@asynccontextmanager
async def a_hall(
    valkey: Valkey,
    *plans: Any,
    through: Callable[[Store], Store] = lambda store: store,
    **bounds: int,
) -> AsyncIterator[Hall]:
    """A herald of these channels (one webhook if none), at the beginning of a new tenant."""
    async with a_room(valkey) as room:
        named = {plan.name: plan for plan in plans or (a_plan(),)}
        hall = a_herald(room, named, shelf=HeraldStore(through(room.store), **bounds))
        await room.store.execute("SET", keys.HERALD_SINCE, 0)
        yield hall
