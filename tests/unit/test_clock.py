"""Ids: fresh, in order of time, and never shared between threads or processes."""

from __future__ import annotations

import subprocess
import sys
import uuid
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cluster.clock import new_id

NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)


def test_an_id_is_a_version_7_uuid_of_its_millisecond() -> None:
    parsed = uuid.UUID(new_id(NOW))
    assert parsed.version == 7
    assert parsed.variant == uuid.RFC_4122
    assert parsed.int >> 80 == int(NOW.timestamp() * 1000)


def test_ids_are_never_the_same_twice_in_any_thread() -> None:
    with ThreadPoolExecutor(8) as pool:
        ids = [one for many in pool.map(lambda _: _many(), range(8)) for one in many]
    assert len(set(ids)) == len(ids)


FORK = """
import os
from datetime import UTC, datetime
from cluster.clock import new_id
now = datetime(2026, 11, 23, 12, tzinfo=UTC)
new_id(now)  # now this process has randomness in hand
child = os.fork()
os.write(1, new_id(now).encode() + b" ")
if child == 0:
    os._exit(0)
os.waitpid(child, 0)
"""


def test_a_forked_process_does_not_repeat_what_its_parent_says() -> None:
    # In a process of its own: to fork one that has threads is deprecated.
    root = Path(__file__).resolve().parents[2]
    command = [sys.executable, "-c", FORK]
    said = subprocess.run(command, cwd=root, capture_output=True, text=True, check=True)
    ids = said.stdout.split()
    assert len(ids) == 2
    assert ids[0] != ids[1]


def test_later_ids_sort_later() -> None:
    assert new_id(NOW) < new_id(NOW + timedelta(milliseconds=1))


def _many() -> list[str]:
    return [new_id(NOW) for _ in range(2_000)]
