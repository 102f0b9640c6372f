"""Stopping a bus, killing its driver, and starting again on the same folder."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from integration.refusing import refused_start
from integration.traffic import Books, receive_all, recorded_in_time, traffic
from running import RunningBus, started

from actors.ledger.tiles import WIDTH, unbundle
from serve_app.cli.exits import Exit
from serve_app.cli.ledger import own_key, verify_folder

GONE_WITHIN_S = 20.0
LOAD_S = 1.5
WAIT_S = 4  # a long poll that is under way when the bus is told to stop


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One data folder, on which bus after bus runs in this file, in order."""
    return tmp_path_factory.mktemp("restarted")


def load(bus: RunningBus, books: Books, seconds: float = LOAD_S) -> None:
    async def scenario() -> None:
        async with traffic(bus, books):
            await asyncio.sleep(seconds)

    asyncio.run(scenario())
    assert books.refused == books.conflicting == []
    assert books.acknowledged


def left_behind(find: Callable[[], list[tuple[int, bytes]]]) -> list[tuple[int, bytes]]:
    """Processes that are still there when they should be gone."""
    deadline_s = time.monotonic() + GONE_WITHIN_S
    while True:
        left = [(pid, line) for pid, line in find() if line]
        if not left or time.monotonic() > deadline_s:
            return left
        time.sleep(0.1)


def naming(folder: Path) -> list[tuple[int, bytes]]:
    """Processes that name the folder in their command line; pytest may be one itself."""
    found = []
    for entry in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):
            line = entry.read_bytes()
            if os.fsencode(folder) in line and int(entry.parent.name) != os.getpid():
                found.append((int(entry.parent.name), line))
    return found


@pytest.mark.timeout(500)
def test_a_driver_that_is_killed_leaves_a_folder_on_which_the_next_bus_comes_up(
    folder: Path,
) -> None:
    books = Books("orphan")
    with started(folder) as first:
        first.register("planner", "tools")
        load(first, books)
        everybody = first.processes()
        first.process.kill()  # no drain, no farewell: the store and HAProxy are orphans now
        first.process.wait()
        store = [pid for pid, line in everybody if b"valkey-server" in line]
        haproxies = [pid for pid, line in everybody if b"/haproxy\0" in line]
        assert store
        assert haproxies
    with started(folder, ACGS_HTTP_PORT=str(first.settings.http_port)) as second:
        assert second.pids("store") == store, "the orphan store serves on"
        assert set(haproxies).isdisjoint(pid for pid, _ in naming(folder)), "its HAProxy is gone"
        found = recorded_in_time(second, "orphan-", expected=len(books.acknowledged))
        assert Counter(found) == Counter(books.decisions.items())
        delivered = receive_all(second, "tools", "orphan-", expected=len(books.ids("allow")))
        assert Counter(delivered) == Counter(books.ids("allow"))
        assert verify_folder(second.ledger_dir, own_key(second.settings))

        status, words = refused_start(folder)
        assert status == Exit.USAGE
        assert f"another bus (process {second.process.pid}) runs on {folder}" in words
        assert "Traceback" not in words
        port = str(second.settings.http_port)
        status, words = refused_start(folder / "another", ACGS_HTTP_PORT=port)
        assert status == Exit.USAGE
        assert f"port {port} of 127.0.0.1 is taken" in words
        load(second, Books("still"), seconds=0.2)


@pytest.mark.timeout(400)
def test_a_stop_drains_what_is_under_way_and_leaves_nothing_behind(folder: Path) -> None:
    books = Books("drained")
    with started(folder) as bus, ThreadPoolExecutor(1) as callers:
        receive_all(bus, "tools", "", expected=0)
        load(bus, books)
        receive_all(bus, "tools", "", expected=0)
        with bus.client("tools") as waiting:
            poll = callers.submit(waiting.get, "/v1/mailbox", params={"wait_s": WAIT_S})
            time.sleep(0.5)  # it is under way; nothing shows that from outside
            bus.process.send_signal(signal.SIGINT)
            answer = poll.result(60)
        assert answer.status_code == 200, answer.text
        assert answer.json() == {"messages": []}
        assert bus.process.wait(60) == 0, bus.log.read_text()[-4000:]
        assert "Traceback" not in bus.log.read_text()
        assert left_behind(bus.processes) == []
        found = recorded_in_time(bus, "drained-", expected=len(books.acknowledged), within_s=0)
        assert Counter(found) == Counter(books.decisions.items()), "all of it is in the tree"
        assert verify_folder(bus.ledger_dir, own_key(bus.settings))


@pytest.mark.timeout(400)
def test_a_ledger_that_was_changed_on_disk_is_not_served_and_its_leaf_is_named(
    folder: Path,
) -> None:
    bundle = max((folder / "ledger/t/acme/tile/entries").rglob("*[0-9]"), key=_newest)
    data = bundle.read_bytes()
    number = int(bundle.parent.stem if bundle.parent.suffix == ".p" else bundle.name)
    leaf = number * WIDTH + len(unbundle(data)) - 1
    place = data.rindex(b'"effect":"allow"')
    bundle.chmod(0o600)
    bundle.write_bytes(data[:place] + b'"effect":"deny!"' + data[place + 16 :])
    status, words = refused_start(folder)
    assert status == Exit.TAMPERED, words
    assert "acgs.local/t/acme" in words
    assert f"leaf {leaf}" in words
    assert "Traceback" not in words
    assert left_behind(lambda: naming(folder)) == []


def _newest(bundle: Path) -> int:
    return bundle.stat().st_mtime_ns if bundle.is_file() else 0
