"""The embedded server: durable, private, alone in its folder, and back after every crash."""

from __future__ import annotations

import asyncio
import itertools
import os
import signal
import stat
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from actors.keeper.actor import KeeperActor
from actors.keeper.supervisor import Supervisor
from cluster.breaker.circuit import Circuit, CircuitBreakerConfig
from cluster.breaker.registry import CORE_SERVICES
from cluster.clock import SystemClock
from cluster.errors import ConfigurationError, StoreUnavailableError
from cluster.settings import Settings
from cluster.store import process
from cluster.store.client import Call, Script
from cluster.store.connect import open_store
from cluster.store.embedded import EmbeddedValkey, Life
from cluster.store.folder import Folder
from cluster.store.redis_store import RedisStore
from cluster.store.tail import StoreDamagedError


@pytest.fixture
def data_dir(tmp_path: Path) -> Iterator[Path]:
    yield tmp_path
    for folder in (tmp_path, *tmp_path.iterdir()):
        for pid in Folder(folder).holders():
            os.kill(pid, signal.SIGKILL)


@asynccontextmanager
async def _store(data_dir: Path, *, circuit: Circuit | None = None) -> AsyncIterator[RedisStore]:
    circuit = circuit or Circuit("store", CORE_SERVICES["store"])
    settings = Settings(data_dir=data_dir, redis_url=None)
    async with open_store(settings, guard=lambda _name, call: circuit.run(call)) as store:
        yield store


@asynccontextmanager
async def _embedded(data_dir: Path, **options: float) -> AsyncIterator[EmbeddedValkey]:
    valkey = EmbeddedValkey(data_dir, **options)
    try:
        yield valkey
    finally:
        await valkey.close()


async def _fill(data_dir: Path, count: int = 3) -> None:
    async with _store(data_dir) as store:
        for number in range(count):
            await store.execute("XADD", "stream", "*", "n", number)


async def _length(data_dir: Path) -> object:
    async with _store(data_dir) as store:
        return await store.execute("XLEN", "stream")


def _log_file(valkey: EmbeddedValkey) -> Path:
    (file,) = valkey.folder.append_only.glob("*.incr.aof")
    return file


def test_it_is_private_and_durable(data_dir: Path) -> None:
    async def scenario() -> None:
        async with _embedded(data_dir) as valkey, _store(data_dir) as store:
            assert await valkey.ensure()
            assert await valkey.alive()
            assert stat.S_IMODE(valkey.folder.path.stat().st_mode) == 0o700
            assert stat.S_IMODE(valkey.folder.socket.stat().st_mode) == 0o700
            wanted = {
                "port": "0",
                "appendonly": "yes",
                "appendfsync": "always",
                "no-appendfsync-on-rewrite": "no",
                "aof-load-truncated": "no",
                "maxmemory-policy": "noeviction",
                "save": "",
            }
            for name, value in wanted.items():
                assert await store.execute("CONFIG", "GET", name) == [
                    name.encode(),
                    value.encode(),
                ]

    asyncio.run(scenario())


def test_a_running_server_is_adopted_and_not_started_twice(data_dir: Path) -> None:
    async def scenario() -> None:
        async with _embedded(data_dir) as first, _embedded(data_dir) as second:
            assert await first.ensure()
            assert not await second.ensure()
            assert len(first.folder.holders()) == 1
            assert sum(await asyncio.gather(*(v.ensure() for v in (first, second)))) == 0

    asyncio.run(scenario())


def test_of_many_starters_at_once_one_starts_and_all_are_served(data_dir: Path) -> None:
    async def scenario() -> None:
        valkeys = [EmbeddedValkey(data_dir) for _ in range(12)]
        assert sum(await asyncio.gather(*(valkey.ensure() for valkey in valkeys))) == 1
        assert len(valkeys[0].folder.holders()) == 1
        for valkey in valkeys:
            await valkey.close()

    asyncio.run(scenario())


def test_it_outlives_the_process_that_started_it(data_dir: Path) -> None:
    code = f"""
import asyncio, os, signal
from pathlib import Path
from cluster.store.embedded import EmbeddedValkey

async def start():
    await EmbeddedValkey(Path({str(data_dir)!r})).ensure()
    os.killpg(0, signal.SIGKILL)

asyncio.run(start())
"""
    done = subprocess.run([sys.executable, "-c", code], check=False, start_new_session=True)
    assert done.returncode == -signal.SIGKILL

    async def scenario() -> None:
        async with _embedded(data_dir) as valkey:
            assert await valkey.alive()
            assert not await valkey.ensure()

    asyncio.run(scenario())


def test_a_second_server_is_refused_the_folder(data_dir: Path) -> None:
    async def scenario() -> None:
        async with _embedded(data_dir) as valkey:
            await valkey.ensure()
            folder = valkey.folder
            assert folder.lock() is None
            assert not folder.is_free()
            # Not even when the first one's socket is gone and it cannot be found.
            folder.socket.unlink()
            with pytest.raises(StoreUnavailableError, match="absent after"):
                async with _embedded(data_dir) as second:
                    await second.ensure(timeout_s=0.5)
            assert len(folder.holders()) == 1

    asyncio.run(scenario())


def test_the_lock_is_free_when_the_server_is_gone_however_it_went(data_dir: Path) -> None:
    async def scenario() -> None:
        async with _embedded(data_dir) as valkey:
            await valkey.ensure()
            valkey.kill()
            for _ in range(200):
                if valkey.folder.is_free():
                    break
                await asyncio.sleep(0.01)
            lock = valkey.folder.lock()
            assert lock is not None
            os.close(lock)

    asyncio.run(scenario())


def test_the_orphan_of_a_killed_server_does_not_keep_the_folder(data_dir: Path) -> None:
    async def scenario() -> None:
        async with _embedded(data_dir) as valkey, _store(data_dir) as store:
            await valkey.ensure()
            await _fill(data_dir, 50)
            for number in range(50):
                await store.execute("SET", f"key{number}", number)
            await store.execute("CONFIG", "SET", "rdb-key-save-delay", 1_000_000)
            await store.execute("BGREWRITEAOF")
            for _ in range(200):
                if len(valkey.folder.holders()) == 2:
                    break
                await asyncio.sleep(0.01)
            (server,) = [pid for pid in valkey.folder.holders() if process.is_leader(pid)]
            os.kill(server, signal.SIGKILL)
            began = time.monotonic()
            assert await valkey.ensure()
            assert time.monotonic() - began < 1.2
            assert await _length(data_dir) == 50

    asyncio.run(scenario())


def test_a_stopped_server_is_gone_and_its_data_is_not(data_dir: Path) -> None:
    async def scenario() -> None:
        async with _embedded(data_dir) as valkey:
            await valkey.ensure()
            await _fill(data_dir)
            await valkey.stop()
            assert valkey.folder.is_free()
            assert await valkey.life() is Life.ABSENT
            assert await valkey.ensure()
            assert await _length(data_dir) == 3

    asyncio.run(scenario())


def test_a_server_that_does_not_listen_is_stopped_by_force(data_dir: Path) -> None:
    async def scenario() -> None:
        async with _embedded(data_dir) as valkey:
            await valkey.ensure()
            os.kill(valkey.folder.holders()[0], signal.SIGSTOP)
            assert await valkey.life() is Life.SILENT
            await valkey.stop(grace_s=0.3)
            assert valkey.folder.is_free()

    asyncio.run(scenario())


def test_a_silent_server_is_killed_and_started_again(data_dir: Path) -> None:
    async def scenario() -> None:
        async with _embedded(data_dir, silent_max_s=1.5) as valkey:
            await valkey.ensure()
            await _fill(data_dir)
            os.kill(valkey.folder.holders()[0], signal.SIGSTOP)
            assert await valkey.ensure()
            assert await _length(data_dir) == 3

    asyncio.run(scenario())


def test_a_server_that_is_only_slow_is_left_alone(data_dir: Path) -> None:
    async def scenario() -> None:
        async with _embedded(data_dir) as valkey:
            await valkey.ensure()
            (pid,) = valkey.folder.holders()
            os.kill(pid, signal.SIGSTOP)
            asyncio.get_running_loop().call_later(1.3, os.kill, pid, signal.SIGCONT)
            assert not await valkey.ensure()
            assert valkey.folder.holders() == [pid]

    asyncio.run(scenario())


def test_another_server_on_our_socket_is_not_taken_for_ours(data_dir: Path) -> None:
    async def scenario() -> None:
        async with _embedded(data_dir / "a") as ours, _embedded(data_dir / "b") as theirs:
            await theirs.ensure()
            ours.folder.prepare()
            ours.folder.socket.symlink_to(theirs.folder.socket)
            with pytest.raises(ConfigurationError, match="keeps its data in"):
                await ours.ensure()
            await ours.stop(grace_s=0.2)
            assert await theirs.alive()

    asyncio.run(scenario())


def test_an_adopted_server_is_held_to_the_promises(data_dir: Path) -> None:
    async def scenario() -> None:
        async with _embedded(data_dir) as valkey, _store(data_dir) as store:
            await valkey.ensure()
            await store.execute("CONFIG", "SET", "appendfsync", "everysec")
            async with _embedded(data_dir) as second:
                with capture_logs() as logs:
                    assert not await second.ensure()
            assert logs[0]["event"] == "store.promise_restored"
            assert await store.execute("CONFIG", "GET", "appendfsync") == [
                b"appendfsync",
                b"always",
            ]

    asyncio.run(scenario())


def test_a_path_too_long_for_a_socket_gets_a_short_one(data_dir: Path) -> None:
    long = data_dir / ("a folder with a long name " * 4) / ("and 'another' \\ one ä" * 3)

    async def scenario() -> None:
        async with _embedded(long) as valkey:
            assert len(os.fsencode(valkey.folder.path)) > 108
            assert len(os.fsencode(valkey.folder.socket)) < 104
            assert await valkey.ensure()
            assert stat.S_IMODE(valkey.folder.socket.parent.stat().st_mode) == 0o700
            await _fill(long)
            valkey.kill()
            await valkey.ensure()
            assert await _length(long) == 3
            await valkey.stop()

    asyncio.run(scenario())


def test_a_volume_that_was_opened_to_a_group_is_closed_again(data_dir: Path) -> None:
    async def scenario() -> None:
        async with _embedded(data_dir) as valkey:
            await valkey.ensure()
            valkey.folder.path.chmod(0o2770)
            await valkey.ensure()
            assert stat.S_IMODE(valkey.folder.path.stat().st_mode) == 0o700

    asyncio.run(scenario())


@pytest.mark.parametrize("torn", [b"*3\r\n$4\r\nXADD\r\n$6\r\nstr", b"\0" * 5000])
def test_a_torn_tail_is_cut_kept_and_logged_and_the_server_starts(
    data_dir: Path, torn: bytes
) -> None:
    async def scenario() -> None:
        async with _embedded(data_dir) as valkey:
            await valkey.ensure()
            await _fill(data_dir)
            await valkey.stop()
            file = _log_file(valkey)
            size = file.stat().st_size
            with file.open("ab") as log:
                log.write(torn)
            with capture_logs() as logs:
                assert await valkey.ensure()
            assert await _length(data_dir) == 3
            (event,) = [entry for entry in logs if entry["event"] == "store.tail_cut"]
            assert event["cut_bytes"] == len(torn)
            assert event["offset"] == size
            (kept,) = valkey.folder.torn.iterdir()
            assert (event["kept_in"], kept.read_bytes()) == (str(kept), torn)
            await _fill(data_dir)
            valkey.kill()
            await valkey.ensure()
            assert await _length(data_dir) == 6

    asyncio.run(scenario())


def test_a_damaged_file_is_refused_unchanged_and_the_error_says_what_to_do(data_dir: Path) -> None:
    async def scenario() -> None:
        async with _embedded(data_dir) as valkey:
            await valkey.ensure()
            await _fill(data_dir, 20)
            await valkey.stop()
            file = _log_file(valkey)
            data = bytearray(file.read_bytes())
            # One bit of one length: everything behind it looks like the inside of one long word.
            place = data.index(b"$6\r\nstream", len(data) // 2)
            data[place : place + 2] = b"$99999"[:2]
            file.write_bytes(data)
            with pytest.raises(StoreDamagedError, match="truncate -s"):
                await valkey.ensure()
            assert file.read_bytes() == data
            assert valkey.folder.is_free()

    asyncio.run(scenario())


def test_a_server_that_cannot_start_says_why(data_dir: Path) -> None:
    async def scenario() -> None:
        async with _embedded(data_dir) as valkey:
            await valkey.ensure()
            await valkey.stop()
            (base,) = valkey.folder.append_only.glob("*.base.rdb")
            base.write_bytes(b"not a database")
            with pytest.raises(StoreUnavailableError, match="did not start: .*"):
                await valkey.ensure()

    asyncio.run(scenario())


_APPEND = Script("return redis.call('XADD', KEYS[1], '*', 'n', ARGV[1])")


async def _write_pipelines(store: RedisStore, key: str, acknowledged: set[int]) -> None:
    """Scripts are asked again when their reply is lost, so a kill is no error to them."""
    for start in itertools.count(step=16):
        numbers = range(start, start + 16)
        replies = await store.run_many([Call(_APPEND, [key], [number]) for number in numbers])
        acknowledged.update(n for n, reply in zip(numbers, replies, strict=True) if reply)


async def _write_one_by_one(store: RedisStore, key: str, acknowledged: set[int]) -> None:
    """Plain commands may have been done when their reply is lost, so they are not asked again."""
    for number in itertools.count():
        with suppress(StoreUnavailableError):
            await store.execute("XADD", key, "*", "n", number)
            acknowledged.add(number)


async def _kill_five_times(valkey: EmbeddedValkey, probe: RedisStore) -> list[float]:
    outages = []
    for _ in range(5):
        await asyncio.sleep(0.5)
        valkey.kill()
        began = time.monotonic()
        await asyncio.sleep(0.002)  # for the connections to break
        await probe.execute("PING")
        outages.append(time.monotonic() - began)
    return outages


@pytest.mark.timeout(120)
def test_acknowledged_writes_survive_five_kills_and_each_is_over_soon(data_dir: Path) -> None:
    kept: dict[str, set[int]] = {f"stream{writer}": set() for writer in range(24)}

    async def scenario() -> None:
        steadfast = Circuit("store", CircuitBreakerConfig(fail_max=1_000_000))
        async with (
            _embedded(data_dir) as valkey,
            _store(data_dir) as store,
            _store(data_dir, circuit=steadfast) as single,
        ):
            supervisor = Supervisor(valkey, clock=SystemClock())
            await supervisor.start()
            watching = asyncio.create_task(supervisor.watch())
            keys = list(kept)
            piped = [asyncio.create_task(_write_pipelines(store, k, kept[k])) for k in keys[:8]]
            plain = [asyncio.create_task(_write_one_by_one(single, k, kept[k])) for k in keys[8:]]
            outages = await _kill_five_times(valkey, store)
            assert max(outages) < 1.9, outages
            assert not any(task.done() for task in (*piped, *plain)), "an error that was not due"
            for task in (*piped, *plain, watching):
                task.cancel()
            await asyncio.gather(*piped, *plain, watching, return_exceptions=True)
            assert supervisor.status().restarts == 5
            for key, acknowledged in kept.items():
                rows = await store.execute("XRANGE", key, "-", "+")
                assert len(acknowledged) > 50
                assert acknowledged <= {int(fields[1]) for _, fields in rows}

    asyncio.run(scenario())


def test_the_keeper_adopts_the_running_server_after_its_own_death(data_dir: Path) -> None:
    settings = Settings(data_dir=data_dir, redis_url=None)
    code = f"""
import asyncio
from cluster.settings import Settings
from actors.keeper.actor import KeeperActor

async def keep():
    keeper = KeeperActor(Settings(data_dir={str(data_dir)!r}, redis_url=None))
    await keeper.ready()
    print("ready", flush=True)
    await asyncio.sleep(60)

asyncio.run(keep())
"""
    first = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE)
    assert first.stdout is not None
    while first.stdout.readline() != b"ready\n":
        pass
    first.kill()
    first.wait()
    first.stdout.close()
    holders = Folder(data_dir).holders()
    assert len(holders) == 1

    async def scenario() -> None:
        keeper = KeeperActor(settings)
        await asyncio.sleep(0.4)  # it looks after the server before anybody asks
        assert (await keeper.status())["life"] == "serving"
        await keeper.ready()
        assert Folder(data_dir).holders() == holders
        os.kill(holders[0], signal.SIGKILL)
        await asyncio.sleep(0.5)
        await keeper.ready()
        status = await keeper.status()
        assert (status["restarts"], status["life"]) == (1, "serving")
        await keeper.stop()
        assert Folder(data_dir).is_free()

    asyncio.run(scenario())


@pytest.mark.skipif(os.getuid() != 0, reason="mounts a small disk, which needs root")
def test_a_full_disk_loses_nothing_and_is_over_when_there_is_room(data_dir: Path) -> None:
    disk = data_dir / "disk"
    disk.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=2m", "none", disk], check=False, capture_output=True
    )
    if mounted.returncode != 0:
        pytest.skip("mounting is not allowed here")
    ballast = disk / "ballast"

    async def scenario() -> None:
        async with _embedded(disk) as valkey, _store(disk) as store:
            supervisor = Supervisor(valkey, clock=SystemClock())
            await supervisor.start()
            watching = asyncio.create_task(supervisor.watch())
            acknowledged = 0
            ballast.write_bytes(b"\0" * (1 << 20))
            with suppress(StoreUnavailableError):
                while True:
                    await store.execute("XADD", "stream", "*", "n", "x" * 1000)
                    acknowledged += 1
            assert acknowledged > 100
            ballast.unlink()
            for _ in range(100):
                await asyncio.sleep(0.1)
                with suppress(StoreUnavailableError):
                    await store.execute("XADD", "stream", "*", "n", "after")
                    break
            length = await store.execute("XLEN", "stream")
            assert isinstance(length, int)
            assert acknowledged + 1 <= length <= acknowledged + 2
            watching.cancel()
            await asyncio.gather(watching, return_exceptions=True)
            await valkey.stop()

    try:
        asyncio.run(scenario())
    finally:
        for pid in Folder(disk).holders():
            os.kill(pid, signal.SIGKILL)
        subprocess.run(["umount", "-l", disk], check=True)
