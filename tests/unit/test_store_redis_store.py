"""What the store asks twice, what it counts as an outage, and what it hands to its callers."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import TypeVar

import pytest
from redis.exceptions import (
    BusyLoadingError,
    ClusterDownError,
    InvalidResponse,
    NoScriptError,
    OutOfMemoryError,
    ReadOnlyError,
    ResponseError,
)
from redis.exceptions import ConnectionError as LostConnectionError

from cluster.errors import CircuitOpenError, StoreUnavailableError
from cluster.store.client import Call, Script
from cluster.store.lanes import Command
from cluster.store.redis_store import RedisStore

T = TypeVar("T")

_SCRIPT = Script("return 1")
_SHA = "e0e1f9fabfc9d4800c877a703b823ac0578ff8db"
_LOST = LostConnectionError("gone")


class Wire:
    """Answers each exchange with the next of its scripted replies."""

    def __init__(self, *rounds: Sequence[object]) -> None:
        self.rounds = list(rounds)
        self.asked: list[list[Command]] = []

    async def exchange(self, commands: Sequence[Command]) -> list[object]:
        self.asked.append(list(commands))
        replies = list(self.rounds.pop(0))
        if replies == ["never"]:
            await asyncio.sleep(60)
        return replies

    async def close(self) -> None:
        self.asked.append([("closed",)])


class Guard:
    def __init__(self) -> None:
        self.failures = 0
        self.names: set[str] = set()

    async def __call__(self, name: str, call: Callable[[], Awaitable[T]], /) -> T:
        self.names.add(name)
        try:
            return await call()
        except Exception:
            self.failures += 1
            raise


def _store(wire: Wire, guard: Guard | None = None) -> RedisStore:
    return RedisStore(wire, timeout_s=0.05, guard=guard or Guard())


def _calls(count: int) -> list[Call]:
    return [Call(_SCRIPT, [f"k{number}"], ["a"]) for number in range(count)]


def _evalsha(number: int) -> Command:
    return ("EVALSHA", _SHA, 1, f"k{number}", "a")


def test_only_what_was_lost_is_asked_again_and_only_once() -> None:
    wire = Wire([1, _LOST, ReadOnlyError("READONLY")], [2, _LOST])
    one, two, three = asyncio.run(_store(wire).run_many(_calls(3)))
    assert (one, two) == (1, 2)
    assert isinstance(three, StoreUnavailableError)
    assert wire.asked == [[_evalsha(0), _evalsha(1), _evalsha(2)], [_evalsha(1), _evalsha(2)]]


def test_an_unknown_script_is_sent_whole_once() -> None:
    wire = Wire([1, NoScriptError("NOSCRIPT")], [2], [3])
    store = _store(wire)
    assert asyncio.run(store.run_many(_calls(2))) == [1, 2]
    assert asyncio.run(store.run(_calls(1)[0])) == 3
    assert wire.asked[1:] == [[("EVAL", "return 1", 1, "k1", "a")], [_evalsha(0)]]


def test_a_read_is_asked_again_and_a_write_is_not() -> None:
    wire = Wire([_LOST], [b"x"], [_LOST])
    store = _store(wire)
    assert asyncio.run(store.execute("get", "k")) == b"x"
    with pytest.raises(StoreUnavailableError, match="gone"):
        asyncio.run(store.execute("XADD", "k", "*", "a", "b"))
    assert wire.asked == [[("get", "k")], [("get", "k")], [("XADD", "k", "*", "a", "b")]]


@pytest.mark.parametrize(
    "error",
    [
        _LOST,
        OSError("broken"),
        InvalidResponse("Protocol error"),
        BusyLoadingError("LOADING"),
        ClusterDownError("CLUSTERDOWN"),
        ReadOnlyError("READONLY"),
        OutOfMemoryError("OOM"),
        ResponseError("MISCONF errors writing to the AOF file"),
        ResponseError("NOREPLICAS not enough good replicas"),
        ResponseError("BUSY Valkey is busy running a script"),
    ],
)
def test_no_answer_is_an_outage_and_counts_against_the_circuit(error: Exception) -> None:
    guard = Guard()
    store = _store(Wire([error], [error], [error, error], [error, error]), guard)
    with pytest.raises(StoreUnavailableError) as caught:
        asyncio.run(store.execute("SET", "k", "v"))
    assert caught.value.__cause__ is error
    assert guard.failures == 1
    assert guard.names == {"store"}


def test_a_refusal_is_a_bug_of_ours_and_does_not_count() -> None:
    guard = Guard()
    refusal = ResponseError("WRONGTYPE")
    store = _store(Wire([refusal], [1, refusal]), guard)
    with pytest.raises(ResponseError, match="WRONGTYPE"):
        asyncio.run(store.execute("GET", "k"))
    assert asyncio.run(store.run_many(_calls(2))) == [1, refusal]
    assert guard.failures == 0


def test_it_counts_only_when_nothing_was_answered() -> None:
    guard = Guard()
    store = _store(Wire([1, _LOST], [_LOST], [_LOST, _LOST], [_LOST, _LOST]), guard)
    replies = asyncio.run(store.run_many(_calls(2)))
    assert [type(reply) for reply in replies] == [int, StoreUnavailableError]
    assert guard.failures == 0
    with pytest.raises(StoreUnavailableError):
        asyncio.run(store.run_many(_calls(2)))
    assert guard.failures == 1


def test_a_deadline_is_kept_and_counts() -> None:
    guard = Guard()
    with pytest.raises(StoreUnavailableError, match="no answer within 50 ms"):
        asyncio.run(_store(Wire(["never"]), guard).execute("GET", "k"))
    assert guard.failures == 1


def test_an_open_circuit_is_an_unavailable_store() -> None:
    async def refuse(name: str, _call: Callable[[], Awaitable[T]], /) -> T:
        raise CircuitOpenError(name, 2.0)

    store = RedisStore(Wire(), timeout_s=1, guard=refuse)
    with pytest.raises(StoreUnavailableError, match=r"circuit is open; retry in 2.0 s"):
        asyncio.run(store.run(_calls(1)[0]))


def test_nothing_asked_is_nothing_sent() -> None:
    wire = Wire()
    assert asyncio.run(_store(wire).run_many([])) == []
    assert wire.asked == []


def test_leaving_the_store_closes_it() -> None:
    wire = Wire()

    async def scenario() -> None:
        async with _store(wire):
            pass

    asyncio.run(scenario())
    assert wire.asked == [[("closed",)]]
