"""The store keeps its promises on a real Valkey, and fails loudly when it cannot."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from typing import TYPE_CHECKING

import pytest
from redis.exceptions import ResponseError

from cluster.breaker.circuit import Circuit, CircuitBreakerConfig, CircuitState
from cluster.errors import StoreUnavailableError
from cluster.store import keys
from cluster.store.client import Call, Script

if TYPE_CHECKING:
    from contract.conftest import Valkey

_PUT = Script("redis.call('SET', KEYS[1], ARGV[1]); return redis.call('GET', KEYS[1])")
_NEXT = Script("return redis.call('INCR', KEYS[1])")
_REFUSE = Script("return redis.error_reply('NOTYOURS go away')")
_SLOW = Script("local n = 0; for i = 1, ARGV[1] do n = n + i % 7 end; return n")


def test_a_script_runs_whether_or_not_the_server_knows_it(valkey: Valkey) -> None:
    async def scenario() -> None:
        async with valkey.store() as store:
            key = keys.outbox(valkey.tenant())
            await store.execute("SCRIPT", "FLUSH")
            assert await store.run(Call(_PUT, [key], ["1"])) == b"1"
            assert await store.run(Call(_PUT, [key], [b"\xff\x00"])) == b"\xff\x00"
            assert await store.run(Call(_PUT, [key], [7])) == b"7"

    asyncio.run(scenario())


def test_many_scripts_answer_in_their_order_and_fail_one_by_one(valkey: Valkey) -> None:
    async def scenario() -> None:
        async with valkey.store() as store:
            key = keys.outbox(valkey.tenant())
            await store.execute("SCRIPT", "FLUSH")
            for _ in range(2):  # unknown to the server, then known
                calls = [Call(_NEXT, [key], []), Call(_REFUSE, [key], []), Call(_NEXT, [key], [])]
                first, refused, second = await store.run_many(calls)
                assert isinstance(first, int)
                assert second == first + 1
                assert isinstance(refused, ResponseError)
                assert str(refused).startswith("NOTYOURS")
            assert await store.run_many([]) == []

    asyncio.run(scenario())


def test_a_script_that_the_store_refuses_is_not_an_outage(valkey: Valkey) -> None:
    async def scenario() -> None:
        circuit = Circuit("store", CircuitBreakerConfig(fail_max=1))
        async with valkey.store(circuit=circuit) as store:
            with pytest.raises(ResponseError, match="NOTYOURS"):
                await store.run(Call(_REFUSE, [], []))
            with pytest.raises(ResponseError, match="unknown command"):
                await store.execute("NONSENSE")
            assert circuit.state is CircuitState.CLOSED

    asyncio.run(scenario())


def test_streams_are_written_and_read_as_plain_values(valkey: Valkey) -> None:
    async def scenario() -> None:
        async with valkey.store() as store:
            wal = keys.wal(valkey.tenant())
            first = await store.execute("XADD", wal, "*", "entry", b"\x00a")
            second = await store.execute("XADD", wal, "*", "entry", "b")
            rows = [[first, [b"entry", b"\x00a"]], [second, [b"entry", b"b"]]]
            assert await store.execute("XRANGE", wal, "-", "+", "COUNT", 10) == rows
            assert await store.execute("XREAD", "COUNT", 10, "STREAMS", wal, "0") == [
                [wal.encode(), rows]
            ]
            assert await store.execute("XREAD", "STREAMS", wal, "$") is None

    asyncio.run(scenario())


def test_large_and_many_replies_are_read_whole(valkey: Valkey) -> None:
    async def scenario() -> None:
        async with valkey.store() as store:
            key = keys.outbox(valkey.tenant())
            big = os.urandom(3 << 20)
            replies = await store.run_many([Call(_PUT, [key], [big])] * 4)
            assert replies == [big] * 4
            assert len(await store.run_many([Call(_NEXT, [key + "n"], [])] * 5000)) == 5000

    asyncio.run(scenario())


def test_a_caller_that_goes_away_does_not_answer_for_the_next(valkey: Valkey) -> None:
    async def scenario() -> None:
        async with valkey.store() as store:
            await store.execute("PING")
            slow = [asyncio.create_task(store.run(Call(_SLOW, [], [3_000_000]))) for _ in range(8)]
            await asyncio.sleep(0.005)
            for task in slow:
                task.cancel()
            assert await store.execute("ECHO", "mine") == b"mine"
            echoes = await asyncio.gather(*(store.execute("ECHO", str(i)) for i in range(100)))
            assert echoes == [str(i).encode() for i in range(100)]

    asyncio.run(scenario())


def test_a_word_that_redis_cannot_carry_is_a_bug_and_harms_nobody(valkey: Valkey) -> None:
    async def scenario() -> None:
        async with valkey.store() as store:
            with pytest.raises(TypeError):
                await store.execute("SET", "key", None)  # type: ignore[arg-type]
            assert await store.execute("PING") == b"PONG"

    asyncio.run(scenario())


def test_a_restart_within_the_deadline_costs_time_and_no_error(own_valkey: Valkey) -> None:
    async def scenario() -> None:
        async with own_valkey.store() as store:
            key = keys.outbox(own_valkey.tenant())
            assert await store.run(Call(_PUT, [key], ["kept"])) == b"kept"
            own_valkey.server.kill()
            waiting = [asyncio.create_task(store.execute("GET", key)) for _ in range(50)]
            waiting += [asyncio.create_task(store.run(Call(_PUT, [key], ["kept"])))]
            await asyncio.sleep(0.1)
            await asyncio.to_thread(own_valkey.server.start)
            assert set(await asyncio.gather(*waiting)) == {b"kept"}

    asyncio.run(scenario())


def test_a_dead_store_is_unavailable_within_the_deadline(own_valkey: Valkey) -> None:
    async def scenario() -> None:
        async with own_valkey.store(store_timeout_ms=200) as store:
            await store.execute("PING")
            own_valkey.server.kill()
            began = time.monotonic()
            with pytest.raises(StoreUnavailableError, match=r"within 200 ms; last: .*refused"):
                await store.execute("PING")
            assert time.monotonic() - began < 1.5

    asyncio.run(scenario())


def test_a_stopped_store_opens_the_circuit_and_a_running_one_closes_it(own_valkey: Valkey) -> None:
    async def scenario() -> None:
        circuit = Circuit("store", CircuitBreakerConfig(fail_max=3, reset_timeout=0.3))
        async with own_valkey.store(circuit=circuit, store_timeout_ms=100) as store:
            await store.execute("PING")
            os.kill(own_valkey.pid(), signal.SIGSTOP)
            for _ in range(3):
                with pytest.raises(StoreUnavailableError, match="no answer within 100 ms"):
                    await store.run(Call(_NEXT, [keys.outbox("t")], []))
            assert circuit.state is CircuitState.OPEN
            with pytest.raises(StoreUnavailableError, match="circuit is open"):
                await store.execute("PING")
            os.kill(own_valkey.pid(), signal.SIGCONT)
            await asyncio.sleep(0.35)
            assert await store.execute("PING") == b"PONG"
            assert circuit.state is CircuitState.CLOSED

    asyncio.run(scenario())


def test_a_database_that_is_not_there_is_an_outage_not_a_refusal(valkey: Valkey) -> None:
    async def scenario() -> None:
        async with valkey.store(redis_db=99, store_timeout_ms=200) as store:
            with pytest.raises(StoreUnavailableError, match="DB index"):
                await store.execute("PING")

    asyncio.run(scenario())


def test_a_full_memory_is_an_outage_and_reads_go_on(own_valkey: Valkey) -> None:
    async def scenario() -> None:
        async with own_valkey.store() as store:
            key = keys.outbox(own_valkey.tenant())
            await store.run(Call(_PUT, [key], ["kept"]))
            await store.execute("CONFIG", "SET", "maxmemory", "1")
            with pytest.raises(StoreUnavailableError, match="OutOfMemory"):
                await store.run(Call(_PUT, [key], ["more"]))
            assert await store.execute("GET", key) == b"kept"
            await store.execute("CONFIG", "SET", "maxmemory", "0")
            assert await store.run(Call(_PUT, [key], ["more"])) == b"more"

    asyncio.run(scenario())


def test_a_replica_that_refuses_writes_is_an_outage(own_valkey: Valkey) -> None:
    async def scenario() -> None:
        async with own_valkey.store() as store:
            await store.execute("REPLICAOF", "127.0.0.1", "1")
            with pytest.raises(StoreUnavailableError, match="ReadOnly"):
                await store.run(Call(_NEXT, [keys.outbox("t")], []))
            await store.execute("REPLICAOF", "NO", "ONE")
            assert await store.run(Call(_NEXT, [keys.outbox("t")], [])) == 1

    asyncio.run(scenario())


def test_a_store_that_is_busy_with_a_script_is_an_outage(own_valkey: Valkey) -> None:
    async def scenario() -> None:
        async with own_valkey.store() as store, own_valkey.store() as other:
            await store.execute("CONFIG", "SET", "busy-reply-threshold", "20")
            endless = asyncio.create_task(store.run(Call(Script("while true do end"), [], [])))
            await asyncio.sleep(0.2)
            with pytest.raises(StoreUnavailableError, match="BUSY"):
                await other.execute("PING")
            await other.execute("SCRIPT", "KILL")
            with pytest.raises(ResponseError):
                await endless

    asyncio.run(scenario())


@pytest.mark.parametrize(
    "answer",
    [
        pytest.param(b"HTTP/1.1 400 Bad Request\r\n\r\n", id="another protocol"),
        pytest.param(b"", id="hangs up"),
        pytest.param(b"$5\r\nhel", id="hangs up in the middle"),
        pytest.param(b"*-7\r\n", id="an impossible length"),
        pytest.param(b"-LOADING reading my data\r\n", id="still loading"),
        pytest.param(b"-WRONGPASS who are you\r\n", id="does not know us"),
    ],
)
def test_a_wrong_answer_is_an_outage(valkey: Valkey, tmp_path: object, answer: bytes) -> None:
    async def answers(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(1000)
        writer.write(answer)
        await writer.drain()
        writer.close()

    async def scenario() -> None:
        path = f"{tmp_path}/wrong.sock"
        async with await asyncio.start_unix_server(answers, path):
            url = _secret(f"unix://{path}")
            async with valkey.store(redis_url=url, store_timeout_ms=200) as store:
                with pytest.raises(StoreUnavailableError):
                    await store.execute("GET", "key")
                with pytest.raises(StoreUnavailableError):
                    await store.run_many([Call(_NEXT, ["key"], [])] * 3)

    asyncio.run(scenario())


def test_an_answer_too_many_is_not_given_to_the_next_caller(
    valkey: Valkey, tmp_path: object
) -> None:
    async def answers(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while line := await reader.readline():
            if line == b"PING\r\n":
                writer.write(b"+PONG\r\n")
            elif line == b"GET\r\n":
                writer.write(b"$1\r\n1\r\n$5\r\nother\r\n")
        writer.close()

    async def scenario() -> None:
        path = f"{tmp_path}/chatty.sock"
        async with await asyncio.start_unix_server(answers, path):
            async with valkey.store(redis_url=_secret(f"unix://{path}")) as store:
                for _ in range(10):
                    assert await store.execute("GET", "key") == b"1"
                    await asyncio.sleep(0.001)
            await asyncio.sleep(0.05)  # the server hears that we left

    asyncio.run(scenario())


def _secret(url: str) -> object:
    from pydantic import SecretStr

    return SecretStr(url)
