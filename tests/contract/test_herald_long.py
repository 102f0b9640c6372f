"""The herald over a long while: chance fails it, kills it and doubles it; and as an actor."""

from __future__ import annotations

import asyncio
import json
import random
from collections import defaultdict
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from contract.herald_hall import Ear, Hall, a_hall, a_herald, a_plan
from contract.mailbox_office import until
from contract.reviews_room import Room, a_room
from contract.test_channels import verify
from receivers import a_receiver

from actors.herald.actor import HeraldActor
from actors.reviews.reading import review_in
from cluster.channels.channel import RetryLaterError
from cluster.clock import SystemClock
from cluster.constants import CONSTITUTIONAL_HASH
from cluster.heartbeat import last_beat
from cluster.store import keys
from policies.errors import DependencyError, RefusalError
from policies.notification import Notification
from policies.panel import Choice

from builders import a_person

if TYPE_CHECKING:
    from contract.conftest import Valkey

ROUNDS = 60
HOOK = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"


class Weather:
    """What goes wrong, by chance, until the sky clears."""

    def __init__(self, seed: int) -> None:
        self.chance = random.Random(seed)
        self.is_clear = False

    def answer(self, _: Notification) -> str | None:
        if not self.is_clear and self.chance.random() < 0.25:
            raise RetryLaterError("hook", "it rains")
        if not self.is_clear and self.chance.random() < 0.05:
            raise RuntimeError("a bug")
        return None

    def herald(self, hall: Hall, ear: Ear) -> Hall:
        """A herald that dies now and then, before or after what it says to the store."""
        herald = a_herald(hall.room, {"hook": a_plan()}, ears={"hook": ear})
        for name in ("enqueue", "settle"):
            setattr(herald.store, name, self._dying(getattr(herald.store, name)))
        return herald

    def _dying(self, call: Any) -> Any:
        async def dies(*args: Any, **how: Any) -> Any:
            fate = 1.0 if self.is_clear else self.chance.random()
            if fate < 0.05:
                raise asyncio.CancelledError
            reply = await call(*args, **how)
            if fate < 0.1:
                raise asyncio.CancelledError
            return reply

        return dies


async def act(hall: Hall, weather: Weather, opened: list[str]) -> None:
    """Do something to some review, if it may be done."""
    chance = weather.chance
    if not opened or chance.random() < 0.4:
        opened.append(f"r{len(opened)}")
        await hall.room.open(len(opened) - 1)
        return
    review_id = chance.choice(opened)
    try:
        if chance.random() < 0.5:
            await hall.room.claim(review_id, a_person(chance.choice(("rita", "uma"))))
        else:
            choice = chance.choice((Choice.REJECT, Choice.ABSTAIN))
            await hall.room.vote(review_id, choice, a_person(chance.choice(("rita", "uma"))))
    except (RefusalError, DependencyError):
        pass  # a machine that is busy enough makes the store late


@pytest.mark.parametrize("seed", range(12))
def test_whatever_fails_each_review_is_told_whole_and_in_order(valkey: Valkey, seed: int) -> None:
    async def scenario() -> None:
        weather = Weather(seed)
        async with a_hall(valkey) as hall:
            ear, opened = Ear(answering=weather.answer), list[str]()
            heralds = [weather.herald(hall, ear) for _ in range(2)]
            for _ in range(ROUNDS):
                await act(hall, weather, opened)
                hall.room.clock.forward(weather.chance.choice((0, 1, 20)))
                number = weather.chance.randrange(2)
                try:
                    await heralds[number].turn()
                except (asyncio.CancelledError, DependencyError):
                    heralds[number] = weather.herald(hall, ear)
            weather.is_clear = True
            for _ in range(200):
                await hall.room.reviews.tick(hall.room.tenant, 100)
                for herald in heralds:
                    await herald.turn()
                if await hall.waiting("hook") == 0:
                    break
                hall.room.clock.forward(60)
            assert await hall.dead() == []
            first: dict[str, dict[str, int]] = defaultdict(dict)
            for one in ear.told:
                first[one.review_id].setdefault(one.id, one.version)
            happened = await hall.room.steps()
            for review_id in opened:
                versions = [version for named, _, version in happened if named == review_id]
                assert list(first[review_id].values()) == versions, review_id

    asyncio.run(scenario())


def a_file(url: str) -> dict[str, Any]:
    channel = {
        "kind": "webhook",
        "tenants": ["*"],
        "url": url,
        "secrets": [{"secret_env": "HOOK_KEY"}],
    }
    return {"constitutional_hash": CONSTITUTIONAL_HASH, "channels": {"hook": channel}}


async def has_begun(room: Room) -> bool:
    return await room.store.execute("EXISTS", keys.HERALD_SINCE) == 1


def test_the_actor_tells_until_it_is_stopped_and_shows_that_it_lives(
    own_valkey: Valkey, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOOK_KEY", HOOK)
    path = tmp_path / "channels.yaml"

    async def scenario(url: str, heard: list[Any]) -> None:
        path.write_text(json.dumps(a_file(url)))
        settings = own_valkey.settings.model_copy(update={"channels_file": path})
        async with a_room(own_valkey, clock=SystemClock()) as room:
            actor = HeraldActor(settings, review_in)
            await actor.ready()
            await until(partial(has_begun, room))
            await room.open(1)
            await until(lambda: len(heard) == 1)
            assert verify(heard[0], HOOK)["subject"] == "r1"

            async def is_noted() -> bool:
                channels: Any = (await actor.status())["channels"]
                return bool(channels["hook"]["sent"] == 1)

            await until(is_noted)
            beat = await last_beat(room.store, "herald")
            assert beat["failed_passes"] == 0
            await actor.stop()
            await room.open(2)
            again = HeraldActor(settings, review_in)  # as Ray makes it again after a crash
            await until(lambda: len(heard) == 2)
            assert verify(heard[1], HOOK)["subject"] == "r2"
            await again.stop()
            await asyncio.sleep(0.05)  # `asyncio.run` does not wait for connections to close

    with a_receiver() as receiver:
        asyncio.run(asyncio.wait_for(scenario(receiver.url, receiver.heard), 50))


def test_the_actor_outlives_a_kill_of_the_store(
    own_valkey: Valkey, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOOK_KEY", HOOK)
    path = tmp_path / "channels.yaml"

    async def scenario(url: str, heard: list[Any]) -> None:
        path.write_text(json.dumps(a_file(url)))
        settings = own_valkey.settings.model_copy(update={"channels_file": path})
        tenant = own_valkey.tenant()
        actor = HeraldActor(settings, review_in)
        async with a_room(own_valkey, tenant=tenant, clock=SystemClock()) as room:
            await until(partial(has_begun, room))
            await room.open(1)
            await until(lambda: len(heard) == 1)
            await asyncio.to_thread(own_valkey.server.kill)

            async def has_noticed() -> bool:
                failed: Any = (await actor.status())["failed_passes"]
                return bool(failed >= 2)

            await until(has_noticed)
            await asyncio.to_thread(own_valkey.server.start)
        async with a_room(own_valkey, tenant=tenant, clock=SystemClock()) as room:
            await room.open(2)
            await until(lambda: len(heard) == 2)
            assert [verify(each, HOOK)["subject"] for each in heard] == ["r1", "r2"]
        await actor.stop()
        await asyncio.sleep(0.05)  # `asyncio.run` does not wait for connections to close

    with a_receiver() as receiver:
        asyncio.run(asyncio.wait_for(scenario(receiver.url, receiver.heard), 50))


def test_an_actor_without_channels_is_idle_and_lives(own_valkey: Valkey) -> None:
    async def scenario() -> None:
        async with a_room(own_valkey, clock=SystemClock()) as room:
            await room.open(1)
            actor = HeraldActor(own_valkey.settings, review_in)
            await actor.ready()

            async def has_passed() -> bool:
                status = await actor.status()
                return isinstance(status["passes"], int) and status["passes"] > 1

            await until(has_passed)
            assert (await last_beat(room.store, "herald"))["channels"] == {}
            assert await room.store.execute("EXISTS", keys.HERALD_SINCE) == 0
            await actor.stop()

    asyncio.run(asyncio.wait_for(scenario(), 30))
