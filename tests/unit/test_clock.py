"""Ids: fresh, in order of time, and never shared between threads or processes."""

from __future__ import annotations

import os
import uuid
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta

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


def test_a_forked_process_does_not_repeat_what_its_parent_would_say() -> None:
    new_id(NOW)  # now this thread has randomness in hand
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        os.write(writer, new_id(NOW).encode())
        os._exit(0)
    os.waitpid(child, 0)
    assert os.read(reader, 36).decode() != new_id(NOW)
    os.close(reader)
    os.close(writer)


def test_later_ids_sort_later() -> None:
    assert new_id(NOW) < new_id(NOW + timedelta(milliseconds=1))


def _many() -> list[str]:
    return [new_id(NOW) for _ in range(2_000)]
