"""A bell: callers wait for a ring on a channel instead of asking again and again."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Final

import structlog
from redis.asyncio.connection import AbstractConnection
from redis.exceptions import ConnectionError as LostConnectionError
from redis.exceptions import RedisError

from cluster.store.lanes import Dial

log = structlog.get_logger(__name__)

_SILENCE_S: Final = 15.0  # then the server is asked whether it is still there
_ANSWER_S: Final = 5.0
_PAUSE_MIN_S: Final = 0.05
_PAUSE_MAX_S: Final = 2.0


@dataclass(slots=True)
class _Channel:
    waiters: set[asyncio.Future[bool]] = field(default_factory=set)
    rang: bool = False
    lingering: asyncio.TimerHandle | None = None

    def ring(self) -> None:
        """Wake those who wait; with nobody there, the next to come."""
        waiting = [waiter for waiter in self.waiters if not waiter.done()]
        for waiter in waiting:
            waiter.set_result(True)
        self.rang = not waiting


class Bell:
    """Waits for `PUBLISH` on many channels over one connection, which mends itself.

    A hint, never a fact: a ring can be missed (the store restarts, a connection breaks) and can
    be one too many (a new channel rings once when it is listened to, and all ring after a
    reconnect). So a caller looks, waits, and looks again, and its timeout bounds what a missed
    ring costs. A ring between a look and the wait is not missed while the channel is listened to:
    it is kept for the next who waits, for `linger_s` after the last one left.

    With `waiters_max` callers waiting, further ones sleep for their timeout: they poll.
    """

    def __init__(self, dial: Dial, *, waiters_max: int = 10_000, linger_s: float = 30.0) -> None:
        self._dial = dial
        self._waiters_max = waiters_max
        self._linger_s = linger_s
        self._channels: dict[str, _Channel] = {}
        self._waiting = 0
        self._connection: AbstractConnection | None = None
        self._listener: asyncio.Task[None] | None = None
        self._goodbyes: set[asyncio.Task[None]] = set()
        self.turned_away = 0

    async def wait(self, channel: str, timeout_s: float) -> bool:
        """Return True when the channel rang, or may have; False after `timeout_s` of silence."""
        if self._waiting >= self._waiters_max:
            self.turned_away += 1
            await asyncio.sleep(timeout_s)
            return False
        listened = self._channels.get(channel)
        if listened is not None and listened.rang:
            listened.rang = False
            return True
        return await self._wait(channel, timeout_s)

    async def close(self) -> None:
        """Stop listening; those who wait get False."""
        if self._listener is not None:
            self._listener.cancel()
            with suppress(asyncio.CancelledError):
                await self._listener
            self._listener = None
        for channel in self._channels.values():
            if channel.lingering is not None:
                channel.lingering.cancel()
            for waiter in channel.waiters:
                _settle(waiter, False)  # noqa: FBT003
        self._channels.clear()

    async def _wait(self, name: str, timeout_s: float) -> bool:
        loop = asyncio.get_running_loop()
        waiter: asyncio.Future[bool] = loop.create_future()
        timer = loop.call_later(timeout_s, _settle, waiter, False)  # noqa: FBT003
        self._waiting += 1
        channel = self._channels.get(name) or _Channel()
        channel.waiters.add(waiter)
        try:
            await self._listen(name, channel)
            return await waiter
        finally:
            timer.cancel()
            self._waiting -= 1
            channel.waiters.discard(waiter)
            if not channel.waiters and self._channels.get(name) is channel:
                self._linger(name, channel)

    async def _listen(self, name: str, channel: _Channel) -> None:
        if channel.lingering is not None:
            channel.lingering.cancel()
            channel.lingering = None
        if self._listener is None or self._listener.done():
            self._listener = asyncio.create_task(self._keep_hearing())
        if name not in self._channels:
            self._channels[name] = channel
            await self._say("SUBSCRIBE", name)

    def _linger(self, name: str, channel: _Channel) -> None:
        crowded = len(self._channels) > self._waiters_max
        channel.lingering = asyncio.get_running_loop().call_later(
            0 if crowded else self._linger_s, self._leave, name, channel
        )

    def _leave(self, name: str, channel: _Channel) -> None:
        if not channel.waiters and self._channels.get(name) is channel:
            del self._channels[name]
            task = asyncio.create_task(self._say_goodbye(name))
            self._goodbyes.add(task)
            task.add_done_callback(self._goodbyes.discard)

    async def _say_goodbye(self, name: str) -> None:
        if name not in self._channels:  # nobody came in between
            await self._say("UNSUBSCRIBE", name)

    async def _say(self, *words: str) -> None:
        """Tell the server; when that fails the listener notices, and says everything again."""
        if self._connection is not None:
            with suppress(RedisError, OSError):
                await self._connection.send_command(*words, check_health=False)

    async def _keep_hearing(self) -> None:
        pause_s = _PAUSE_MIN_S
        while True:
            try:
                async with asyncio.timeout(_ANSWER_S):
                    connection = await self._dial()
                try:
                    await self._start(connection)
                    pause_s = _PAUSE_MIN_S
                    await self._hear(connection)
                finally:
                    self._connection = None
                    await connection.disconnect(nowait=True)
            except (RedisError, OSError) as error:
                log.warning("bell.lost", error=str(error), retry_in_s=pause_s)
            await asyncio.sleep(pause_s)
            pause_s = min(2 * pause_s, _PAUSE_MAX_S)

    async def _start(self, connection: AbstractConnection) -> None:
        self._connection = connection
        if self._channels:
            await connection.send_command("SUBSCRIBE", *self._channels, check_health=False)

    async def _hear(self, connection: AbstractConnection) -> None:
        while True:
            heard = await connection.read_response(timeout=_SILENCE_S)
            if heard is None:
                await connection.send_command("PING", check_health=False)
                heard = await connection.read_response(timeout=_ANSWER_S)
            match heard:
                case None:
                    raise LostConnectionError("the server is silent")
                case [b"message" | b"subscribe", bytes(name), _]:
                    # A subscription rings as well: what came before it was missed.
                    channel = self._channels.get(name.decode())
                    if channel is not None:
                        channel.ring()
                case _:
                    pass  # an answer to PING or UNSUBSCRIBE


def _settle(waiter: asyncio.Future[bool], rang: bool) -> None:  # noqa: FBT001
    if not waiter.done():
        waiter.set_result(rang)
