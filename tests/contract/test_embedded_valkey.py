"""The embedded server: durable, private, alone in its folder, and back after every crash."""

from __future__ import annotations

import asyncio
import os
import signal
import stat
import subprocess
import sys
import time
from pathlib import Path

import pytest
from contract.conftest import embedded_at, open_at
from structlog.testing import capture_logs

from actors.keeper.actor import KeeperActor
from cluster.errors import ConfigurationError, StoreUnavailableError
from cluster.settings import Settings
from cluster.store import process
from cluster.store.embedded import EmbeddedValkey, Life
from cluster.store.folder import Folder


async def _fill(data_dir: Path, count: int = 3) -> None:
    async with open_at(data_dir) as store:
        for number in range(count):
            await store.execute("XADD", "stream", "*", "n", number)


async def _length(data_dir: Path) -> object:
    async with open_at(data_dir) as store:
        return await store.execute("XLEN", "stream")


def test_it_is_private_and_durable(data_dir: Path) -> None:
    async def scenario() -> None:
        async with embedded_at(data_dir) as valkey, open_at(data_dir) as store:
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
        async with embedded_at(data_dir) as first, embedded_at(data_dir) as second:
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
        async with embedded_at(data_dir) as valkey:
            assert await valkey.alive()
            assert not await valkey.ensure()

    asyncio.run(scenario())


def test_a_second_server_is_refused_the_folder(data_dir: Path) -> None:
    async def scenario() -> None:
        async with embedded_at(data_dir) as valkey:
            await valkey.ensure()
            folder = valkey.folder
            assert folder.lock() is None
            assert not folder.is_free()
            # Not even when the first one's socket is gone and it cannot be found.
            folder.socket.unlink()
            with pytest.raises(StoreUnavailableError, match="absent after"):
                async with embedded_at(data_dir) as second:
                    await second.ensure(timeout_s=0.5)
            assert len(folder.holders()) == 1

    asyncio.run(scenario())


def test_the_lock_is_free_when_the_server_is_gone_however_it_went(data_dir: Path) -> None:
    async def scenario() -> None:
        async with embedded_at(data_dir) as valkey:
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
        async with embedded_at(data_dir) as valkey, open_at(data_dir) as store:
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


def test_a_server_that_is_killed_while_it_loads_is_started_again(data_dir: Path) -> None:
    async def scenario() -> None:
        async with embedded_at(data_dir) as valkey:
            await valkey.ensure()
            await _fill(data_dir)
            valkey.kill()
            valkey.folder.pid_file.unlink()
            starting = asyncio.create_task(valkey.ensure())
            for _ in range(5000):  # it writes its number when it is on its own
                if valkey.folder.pid_file.exists() and valkey.folder.pid_file.read_text().strip():
                    break
                await asyncio.sleep(0.001)
            valkey.kill()
            await starting
            assert await _length(data_dir) == 3

    asyncio.run(scenario())


def test_a_stopped_server_is_gone_and_its_data_is_not(data_dir: Path) -> None:
    async def scenario() -> None:
        async with embedded_at(data_dir) as valkey:
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
        async with embedded_at(data_dir) as valkey:
            await valkey.ensure()
            os.kill(valkey.folder.holders()[0], signal.SIGSTOP)
            assert await valkey.life() is Life.SILENT
            await valkey.stop(grace_s=0.3)
            assert valkey.folder.is_free()

    asyncio.run(scenario())


def test_a_silent_server_is_killed_and_started_again(data_dir: Path) -> None:
    async def scenario() -> None:
        async with embedded_at(data_dir, silent_max_s=1.5) as valkey:
            await valkey.ensure()
            await _fill(data_dir)
            os.kill(valkey.folder.holders()[0], signal.SIGSTOP)
            assert await valkey.ensure()
            assert await _length(data_dir) == 3

    asyncio.run(scenario())


def test_a_server_that_is_only_slow_is_left_alone(data_dir: Path) -> None:
    async def scenario() -> None:
        async with embedded_at(data_dir) as valkey:
            await valkey.ensure()
            (pid,) = valkey.folder.holders()
            os.kill(pid, signal.SIGSTOP)
            asyncio.get_running_loop().call_later(1.3, os.kill, pid, signal.SIGCONT)
            assert not await valkey.ensure()
            assert valkey.folder.holders() == [pid]

    asyncio.run(scenario())


def test_another_server_on_our_socket_is_not_taken_for_ours(data_dir: Path) -> None:
    async def scenario() -> None:
        async with embedded_at(data_dir / "a") as ours, embedded_at(data_dir / "b") as theirs:
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
        async with embedded_at(data_dir) as valkey, open_at(data_dir) as store:
            await valkey.ensure()
            await store.execute("CONFIG", "SET", "appendfsync", "everysec")
            async with embedded_at(data_dir) as second:
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
        async with embedded_at(long) as valkey:
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
        async with embedded_at(data_dir) as valkey:
            await valkey.ensure()
            valkey.folder.path.chmod(0o2770)
            await valkey.ensure()
            assert stat.S_IMODE(valkey.folder.path.stat().st_mode) == 0o700

    asyncio.run(scenario())


def test_a_server_that_cannot_start_says_why(data_dir: Path) -> None:
    async def scenario() -> None:
        async with embedded_at(data_dir) as valkey:
            await valkey.ensure()
            await valkey.stop()
            (base,) = valkey.folder.append_only.glob("*.base.rdb")
            base.write_bytes(b"not a database")
            with pytest.raises(StoreUnavailableError, match="did not start: "):
                await valkey.ensure()

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
