"""What the store acknowledged is there after kills, torn files, broken and full disks.

Ended processes are not a lost power supply: only a machine that loses its power proves that.
"""

from __future__ import annotations

import asyncio
import itertools
import os
import shutil
import signal
import subprocess
import time
from contextlib import suppress
from pathlib import Path

import pytest
from contract.conftest import embedded_at, open_at
from structlog.testing import capture_logs

from actors.keeper.supervisor import Supervisor
from cluster.breaker.circuit import Circuit, CircuitBreakerConfig
from cluster.clock import SystemClock
from cluster.errors import StoreUnavailableError
from cluster.store import embedded
from cluster.store.client import Call, Script
from cluster.store.embedded import EmbeddedValkey, Life
from cluster.store.folder import Folder
from cluster.store.redis_store import RedisStore
from cluster.store.tail import StoreDamagedError


async def _fill(data_dir: Path, count: int = 3) -> None:
    async with open_at(data_dir) as store:
        for number in range(count):
            await store.execute("XADD", "stream", "*", "n", number)


async def _length(data_dir: Path) -> object:
    async with open_at(data_dir) as store:
        return await store.execute("XLEN", "stream")


def _log_file(valkey: EmbeddedValkey) -> Path:
    (file,) = valkey.folder.append_only.glob("*.incr.aof")
    return file


@pytest.mark.parametrize("torn", [b"*3\r\n$4\r\nXADD\r\n$6\r\nstr", b"\0" * 5000])
def test_a_torn_tail_is_cut_kept_and_logged_and_the_server_starts(
    data_dir: Path, torn: bytes
) -> None:
    async def scenario() -> None:
        async with embedded_at(data_dir) as valkey:
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
        async with embedded_at(data_dir) as valkey:
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


async def _survive_five_kills(data_dir: Path) -> tuple[int, int, list[float]]:
    """Return how many writes were acknowledged, how many of them are gone, and each outage."""
    kept: dict[str, set[int]] = {f"stream{writer}": set() for writer in range(24)}
    steadfast = Circuit("store", CircuitBreakerConfig(fail_max=1_000_000))
    async with (
        embedded_at(data_dir) as valkey,
        open_at(data_dir) as store,
        open_at(data_dir, circuit=steadfast) as single,
    ):
        supervisor = Supervisor(valkey, clock=SystemClock())
        await supervisor.start()
        watching = asyncio.create_task(supervisor.watch())
        keys = list(kept)
        writing = [asyncio.create_task(_write_pipelines(store, k, kept[k])) for k in keys[:8]]
        writing += [asyncio.create_task(_write_one_by_one(single, k, kept[k])) for k in keys[8:]]
        outages = await _kill_five_times(valkey, store)
        assert not any(task.done() for task in writing), "a script's caller saw an error"
        for _ in range(500):  # the fifth is served before it is counted
            if supervisor.status().restarts == 5:
                break
            await asyncio.sleep(0.01)
        assert supervisor.status().restarts == 5
        for task in (*writing, watching):
            task.cancel()
        await asyncio.gather(*writing, watching, return_exceptions=True)
        lost = 0
        for key, acknowledged in kept.items():
            assert len(acknowledged) > 50
            rows = await store.execute("XRANGE", key, "-", "+")
            assert isinstance(rows, list)
            lost += len(acknowledged - {int(fields[1]) for _, fields in rows})
    return sum(map(len, kept.values())), lost, outages


@pytest.mark.timeout(120)
def test_acknowledged_writes_survive_five_kills_and_each_is_over_soon(data_dir: Path) -> None:
    acknowledged, lost, outages = asyncio.run(_survive_five_kills(data_dir))
    assert lost == 0
    assert acknowledged > 5000
    assert max(outages) < 1.9, outages


@pytest.mark.timeout(120)
def test_that_test_would_notice_a_store_that_forgets(
    data_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(embedded, "_PROMISES", {})
    monkeypatch.setattr(embedded, "_OPTIONS", {"port": "0", "save": "", "appendonly": "no"})
    _, lost, _ = asyncio.run(_survive_five_kills(data_dir))
    assert lost > 1000


@pytest.mark.skipif(shutil.which("strace") is None, reason="strace breaks the disk")
def test_a_write_that_the_disk_did_not_take_is_not_acknowledged(data_dir: Path) -> None:
    async def scenario() -> None:
        async with embedded_at(data_dir) as valkey, open_at(data_dir) as store:
            await valkey.ensure()
            await _fill(data_dir)
            (pid,) = valkey.folder.holders()
            broken = "inject=fdatasync:error=EIO:when=3+"
            command = ["strace", "-f", "-p", str(pid), "-e", "trace=fdatasync", "-e", broken]
            strace = await asyncio.create_subprocess_exec(*command, stderr=subprocess.PIPE)
            assert strace.stderr is not None
            if b"attached" not in await strace.stderr.readline():
                pytest.skip("tracing is not allowed here")
            acknowledged = 3
            with suppress(StoreUnavailableError):
                while True:
                    await store.execute("XADD", "stream", "*", "n", "x")
                    acknowledged += 1
            await strace.communicate()
            assert acknowledged == 5
            # It ended rather than go on with a file that it can no longer trust.
            assert await valkey.life() is Life.ABSENT
            await valkey.ensure()
            length = await _length(data_dir)
            assert length in {acknowledged, acknowledged + 1}

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
        async with embedded_at(disk) as valkey, open_at(disk) as store:
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
