"""A few connections to one server, each carrying one pipeline at a time."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import TypeAlias

from hiredis import pack_command
from redis.asyncio.connection import AbstractConnection
from redis.exceptions import ConnectionError as LostConnectionError
from redis.exceptions import ReadOnlyError, RedisError, ResponseError

Command: TypeAlias = tuple[str | bytes | int | float, ...]
Dial: TypeAlias = Callable[[], Awaitable[AbstractConnection]]


class Lanes:
    """At most `size` connections to one server, made by `dial` when they are needed.

    A connection whose pipeline did not end well (an error, a deadline, a caller that went away)
    is closed, never reused: a reply left in it would answer the next caller's question.
    """

    def __init__(self, dial: Dial, *, size: int) -> None:
        self._dial = dial
        self._idle: list[AbstractConnection] = []
        self._room = asyncio.Semaphore(size)
        self._generation = 0

    async def exchange(self, commands: Sequence[Command]) -> list[object]:
        """Send all commands in one write and return one reply for each, in order.

        Refusals come as exceptions in the list, and so does a lost connection: then every
        command has it, since none is known to have been done. Raises nothing but cancellation
        (a deadline) and TypeError (a word that Redis cannot carry).
        """
        packed = [pack_command(command) for command in commands]  # type: ignore[arg-type]  # its stub allows one word
        async with self._room:
            generation = self._generation
            try:
                connection = await self._take()
            except ResponseError as error:
                # Refused at the door, as for a database that is not there: nothing was asked yet.
                return [LostConnectionError(f"cannot connect: {error}")] * len(packed)
            except (RedisError, OSError) as error:
                return [error] * len(packed)
            try:
                replies = await _talk(connection, packed)
            except (RedisError, OSError) as error:
                await connection.disconnect(nowait=True)
                return [error] * len(packed)
            except BaseException:
                await connection.disconnect(nowait=True)
                raise
            if any(isinstance(reply, ReadOnlyError) for reply in replies):
                await self.close()  # this server was demoted: dial again to find its successor
            if generation == self._generation:
                self._idle.append(connection)
            else:
                await connection.disconnect(nowait=True)
            return replies

    async def close(self) -> None:
        """Close every connection, those in use as soon as they are done; the next use dials."""
        self._generation += 1
        while self._idle:
            await self._idle.pop().disconnect(nowait=True)

    async def _take(self) -> AbstractConnection:
        while self._idle:
            connection = self._idle.pop()
            # Something to read before we asked: the server hung up, or an old reply is left over.
            if not await connection.can_read():
                return connection
            await connection.disconnect(nowait=True)
        return await self._dial()


async def _talk(connection: AbstractConnection, packed: Sequence[bytes]) -> list[object]:
    await connection.send_packed_command(packed, check_health=False)
    replies: list[object] = []
    for _ in packed:
        try:
            replies.append(await connection.read_response())
        except ResponseError as refusal:
            replies.append(refusal)
    return replies
