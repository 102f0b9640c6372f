"""The store on `redis.asyncio`: every call within one deadline and behind one circuit."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from hashlib import sha1
from types import TracebackType
from typing import Final, Protocol, Self, TypeVar

from redis.exceptions import (
    AskError,
    ClusterDownError,
    MovedError,
    NoScriptError,
    OutOfMemoryError,
    ReadOnlyError,
    RedisError,
    ResponseError,
    TryAgainError,
)

from cluster import metrics
from cluster.errors import CircuitOpenError, StoreUnavailableError
from cluster.store.client import Call
from cluster.store.lanes import Command

T = TypeVar("T")

CIRCUIT: Final = "store"

# Commands that change nothing, so that asking twice is asking once.
_READS: Final = frozenset(
    {"DBSIZE", "EXISTS", "GET", "INFO", "LLEN", "LRANGE", "MGET", "PING", "PTTL", "STRLEN"}
    | {"HEXISTS", "HGET", "HGETALL", "HKEYS", "HLEN", "HMGET", "HVALS", "HSCAN"}
    | {"SCAN", "SCARD", "SISMEMBER", "SMEMBERS", "SMISMEMBER", "SSCAN", "TIME", "TTL", "TYPE"}
    | {"XINFO", "XLEN", "XPENDING", "XRANGE", "XREAD", "XREVRANGE"}
    | {"ZCARD", "ZCOUNT", "ZRANGE", "ZRANGEBYSCORE", "ZRANK", "ZSCAN", "ZSCORE"}
)

# Refusals that say "not now, nothing was done" and may be different on another connection.
_ELSEWHERE: Final = (AskError, ClusterDownError, MovedError, ReadOnlyError, TryAgainError)
# Refusals for which redis-py has no class: the disk, the replicas or a long script say not now.
_NOT_NOW: Final = ("MISCONF", "NOREPLICAS", "BUSY ")


class Wire(Protocol):
    """Carries commands to the servers that hold their keys."""

    async def exchange(self, commands: Sequence[Command]) -> list[object]:
        """Return one reply for each command; refusals and lost connections as exceptions."""
        ...

    async def close(self) -> None:
        """Close every connection; a later exchange opens new ones."""
        ...


class Guard(Protocol):
    """Makes a call through the circuit of that name, or raises CircuitOpenError instead."""

    def __call__(self, name: str, call: Callable[[], Awaitable[T]], /) -> Awaitable[T]:
        """Return what the call returns; an exception from it counts against the circuit."""
        ...


class RedisStore:
    """The `Store` of production: a real Redis or Valkey behind a deadline and a circuit.

    What is lost on the way (a broken connection, a demoted primary) is asked once more, within
    the same deadline, when asking twice does no harm: for scripts, which are idempotent by the
    law of this house, and for reads. Any other command is asked once.

    A refusal by the store itself (`redis.ResponseError`) is a bug of ours: it does not count
    against the circuit. Belongs to one event loop.
    """

    def __init__(self, wire: Wire, *, timeout_s: float, guard: Guard) -> None:
        self._wire = wire
        self._timeout_s = timeout_s
        self._guard = guard
        self._shas: dict[str, str] = {}

    async def execute(self, *command: str | bytes | float) -> object:
        """Run one command and return its reply.

        It must not block (`XREAD BLOCK`): it would hold a connection that others need until the
        deadline ends it. `Bell` is for waiting.
        """
        again = str(command[0]).upper() in _READS
        return _value((await self._ask([command], again=again))[0])

    async def run(self, call: Call) -> object:
        """Run one script, atomically; it may run twice if its first reply was lost."""
        return _value((await self.run_many([call]))[0])

    async def run_many(self, calls: Sequence[Call]) -> list[object]:
        """Run scripts in one round trip, each atomic; one that failed returns its exception.

        There is no transaction around them. They run in order, except that those which the
        server does not know yet follow in a second round trip, the first time after its start.
        Raises StoreUnavailableError when none of them was answered.
        """
        if not calls:
            return []
        replies = await self._ask([self._evalsha(call) for call in calls], again=True)
        unknown = [i for i, reply in enumerate(replies) if isinstance(reply, NoScriptError)]
        if unknown:
            answers = await self._ask([_eval(calls[i]) for i in unknown], again=True)
            for i, answer in zip(unknown, answers, strict=True):
                replies[i] = answer
        return replies

    async def close(self) -> None:
        """Close every connection."""
        await self._wire.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.close()

    async def _ask(self, commands: Sequence[Command], *, again: bool) -> list[object]:
        started_s = time.perf_counter()
        try:
            return await self._guard(CIRCUIT, partial(self._within_deadline, commands, again=again))
        except CircuitOpenError as error:
            raise StoreUnavailableError(error.detail) from error
        finally:
            metrics.STORE_ROUNDTRIP.observe(time.perf_counter() - started_s)

    async def _within_deadline(self, commands: Sequence[Command], *, again: bool) -> list[object]:
        try:
            async with asyncio.timeout(self._timeout_s):
                replies = await self._wire.exchange(commands)
                lost = [i for i, reply in enumerate(replies) if again and _is_lost(reply)]
                if lost:
                    answers = await self._wire.exchange([commands[i] for i in lost])
                    for i, answer in zip(lost, answers, strict=True):
                        replies[i] = answer
        except TimeoutError as error:
            detail = f"no answer within {self._timeout_s * 1000:.0f} ms{_reason(error)}"
            raise StoreUnavailableError(detail) from error
        outages = [_outage(reply) for reply in replies]
        if outages[0] is not None and all(outages):
            raise outages[0]
        return [outage or reply for outage, reply in zip(outages, replies, strict=True)]

    def _evalsha(self, call: Call) -> Command:
        source = call.script.source
        sha = self._shas.get(source)
        if sha is None:
            sha = self._shas[source] = sha1(source.encode(), usedforsecurity=False).hexdigest()
        return ("EVALSHA", sha, len(call.keys), *call.keys, *call.args)


def _eval(call: Call) -> Command:
    # The server remembers the script from here on.
    return ("EVAL", call.script.source, len(call.keys), *call.keys, *call.args)


def _value(reply: object) -> object:
    if isinstance(reply, Exception):
        raise reply
    return reply


def _is_lost(reply: object) -> bool:
    """Say whether a reply means that another connection might do better."""
    if isinstance(reply, ResponseError):
        return isinstance(reply, _ELSEWHERE)
    return isinstance(reply, Exception)


def _outage(reply: object) -> StoreUnavailableError | None:
    """Return what to raise for a reply that is no answer; None for an answer or a refusal."""
    if not isinstance(reply, Exception):
        return None
    if isinstance(reply, ResponseError):
        not_now = isinstance(reply, (*_ELSEWHERE, OutOfMemoryError))
        if not not_now and not str(reply).startswith(_NOT_NOW):
            return None
    error = StoreUnavailableError(f"{type(reply).__name__}: {reply}")
    error.__cause__ = reply
    return error


def _reason(error: BaseException) -> str:
    """Say what was being waited out when the deadline came."""
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, RedisError):
            return f"; last: {cause}"
        cause = cause.__cause__ or cause.__context__
    return ""
