"""A bell rings for all who wait, over one connection, and mends itself."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import pytest

from cluster.store import bell as bell_module
from cluster.store import keys
from cluster.store.bell import Bell
from cluster.store.connect import store_address
from cluster.store.dial import dial_socket

if TYPE_CHECKING:
    from contract.conftest import Valkey


@asynccontextmanager
async def _bell(valkey: Valkey, **options: float) -> AsyncIterator[Bell]:
    bell = Bell(dial_socket(store_address(valkey.settings)), **options)
    try:
        yield bell
    finally:
        await bell.close()


def _channel(valkey: Valkey) -> str:
    return keys.bell(valkey.tenant(), "agent")


async def _listened(bell: Bell, channel: str) -> None:
    """A new channel rings once, when it is listened to."""
    assert await bell.wait(channel, 5)


def test_a_ring_wakes_every_waiter_and_silence_ends_in_time(valkey: Valkey) -> None:
    async def scenario() -> None:
        async with _bell(valkey) as bell, valkey.store() as store:
            channel, other = _channel(valkey), _channel(valkey)
            await _listened(bell, channel)
            await _listened(bell, other)
            waiting = [asyncio.create_task(bell.wait(channel, 5)) for _ in range(50)]
            began = time.monotonic()
            silent = asyncio.create_task(bell.wait(other, 0.2))
            await asyncio.sleep(0.02)
            await store.execute("PUBLISH", channel, "1")
            assert await asyncio.gather(*waiting) == [True] * 50
            assert not await silent
            assert 0.19 < time.monotonic() - began < 4

    asyncio.run(scenario())


def test_a_ring_between_a_look_and_the_wait_is_kept_once(valkey: Valkey) -> None:
    async def scenario() -> None:
        async with _bell(valkey) as bell, valkey.store() as store:
            channel = _channel(valkey)
            await _listened(bell, channel)
            await store.execute("PUBLISH", channel, "1")
            await asyncio.sleep(0.05)
            assert await bell.wait(channel, 5)
            assert not await bell.wait(channel, 0.05)

    asyncio.run(scenario())


def test_however_many_wait_there_is_one_connection(own_valkey: Valkey) -> None:
    async def scenario() -> None:
        async with _bell(own_valkey) as bell, own_valkey.store() as store:
            channels = [_channel(own_valkey) for _ in range(300)]
            assert all(await asyncio.gather(*(bell.wait(channel, 5) for channel in channels)))
            clients = await store.execute("CLIENT", "LIST", "TYPE", "PUBSUB")
            assert isinstance(clients, bytes)
            assert clients.count(b"\n") == 1
            assert b" sub=300 " in clients

    asyncio.run(scenario())


def test_a_channel_that_nobody_wants_is_left(valkey: Valkey) -> None:
    async def scenario() -> None:
        async with _bell(valkey, linger_s=0.05) as bell, valkey.store() as store:
            channel = _channel(valkey)
            await _listened(bell, channel)
            numbers = await store.execute("PUBSUB", "NUMSUB", channel)
            assert numbers == [channel.encode(), 1]
            await asyncio.sleep(0.15)
            numbers = await store.execute("PUBSUB", "NUMSUB", channel)
            assert numbers == [channel.encode(), 0]
            await _listened(bell, channel)

    asyncio.run(scenario())


def test_a_broken_connection_mends_itself_and_rings_for_what_was_missed(valkey: Valkey) -> None:
    async def scenario() -> None:
        async with _bell(valkey) as bell, valkey.store() as store:
            channel = _channel(valkey)
            await _listened(bell, channel)
            waiting = asyncio.create_task(bell.wait(channel, 5))
            await asyncio.sleep(0.02)
            assert await store.execute("CLIENT", "KILL", "TYPE", "PUBSUB")
            assert await waiting
            waiting = asyncio.create_task(bell.wait(channel, 5))
            await asyncio.sleep(0.02)
            await store.execute("PUBLISH", channel, "1")
            assert await waiting

    asyncio.run(scenario())


def test_it_comes_back_with_a_server_that_was_killed(own_valkey: Valkey) -> None:
    async def scenario() -> None:
        async with _bell(own_valkey) as bell, own_valkey.store() as store:
            channel = _channel(own_valkey)
            await _listened(bell, channel)
            own_valkey.server.kill()
            assert not await bell.wait(channel, 0.2)
            await asyncio.to_thread(own_valkey.server.start)
            assert await bell.wait(channel, 5)
            waiting = asyncio.create_task(bell.wait(channel, 5))
            await asyncio.sleep(0.02)
            await store.execute("PUBLISH", channel, "1")
            assert await waiting

    asyncio.run(scenario())


def test_a_server_that_fell_silent_is_left(
    own_valkey: Valkey, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bell_module, "_SILENCE_S", 0.05)
    monkeypatch.setattr(bell_module, "_ANSWER_S", 0.2)

    async def scenario() -> None:
        async with _bell(own_valkey) as bell, own_valkey.store() as store:
            channel = _channel(own_valkey)
            await _listened(bell, channel)
            await asyncio.sleep(0.3)  # asked several times whether it is there, and it is
            assert not await bell.wait(channel, 0.05)
            os.kill(own_valkey.pid(), signal.SIGSTOP)
            await asyncio.sleep(0.5)
            os.kill(own_valkey.pid(), signal.SIGCONT)
            assert await bell.wait(channel, 5)
            await store.execute("PUBLISH", channel, "1")
            assert await bell.wait(channel, 5)

    asyncio.run(scenario())


def test_beyond_the_bound_callers_poll(valkey: Valkey) -> None:
    async def scenario() -> None:
        async with _bell(valkey, waiters_max=2) as bell:
            channel = _channel(valkey)
            await _listened(bell, channel)
            waiting = [asyncio.create_task(bell.wait(channel, 0.3)) for _ in range(2)]
            await asyncio.sleep(0.01)
            began = time.monotonic()
            assert not await bell.wait(channel, 0.1)
            assert time.monotonic() - began > 0.09
            assert bell.turned_away == 1
            assert await asyncio.gather(*waiting) == [False, False]

    asyncio.run(scenario())


def test_a_waiter_that_goes_away_leaves_nothing(valkey: Valkey) -> None:
    async def scenario() -> None:
        async with _bell(valkey, waiters_max=1) as bell:
            channel = _channel(valkey)
            await _listened(bell, channel)
            for _ in range(3):
                waiting = asyncio.create_task(bell.wait(channel, 5))
                await asyncio.sleep(0.01)
                waiting.cancel()
                await asyncio.gather(waiting, return_exceptions=True)
            assert not await bell.wait(channel, 0.01)
            assert bell.turned_away == 0

    asyncio.run(scenario())


def test_closing_wakes_those_who_wait(valkey: Valkey) -> None:
    async def scenario() -> None:
        async with _bell(valkey) as bell:
            channel = _channel(valkey)
            await _listened(bell, channel)
            waiting = asyncio.create_task(bell.wait(channel, 5))
            await asyncio.sleep(0.01)
            await bell.close()
            assert not await waiting

    asyncio.run(scenario())


def test_a_channel_that_is_wanted_again_as_it_is_left_still_rings(valkey: Valkey) -> None:
    async def scenario() -> None:
        async with _bell(valkey, linger_s=0) as bell, valkey.store() as store:
            channel = _channel(valkey)
            for turn in range(200):
                await bell.wait(channel, 0.0005)
                for _ in range(turn % 4):
                    await asyncio.sleep(0)
            bell._linger_s = 30
            for _ in range(3):
                waiting = asyncio.create_task(bell.wait(channel, 5))
                await asyncio.sleep(0.05)
                await store.execute("PUBLISH", channel, "1")
                assert await waiting

    asyncio.run(scenario())
