"""Ending the HAProxy that Ray may leave behind: only ours, known by its configuration file."""

from __future__ import annotations

import os
import signal
import time
from contextlib import suppress
from pathlib import Path
from typing import Final

from cluster.settings import Settings

_GRACE_S: Final = 2.0
_POLL_S: Final = 0.02
_LAST_BREATH_S: Final = 1.5


def end_haproxy(settings: Settings) -> int:
    """End every haproxy that runs from this data folder's configuration; return how many.

    When it returns they are gone, and so are their ports.
    """
    found = _ours(settings)
    for number in (signal.SIGTERM, signal.SIGKILL):
        _signal(_ours(settings), number)
        deadline_s = time.monotonic() + _GRACE_S
        while _ours(settings) and time.monotonic() < deadline_s:
            time.sleep(_POLL_S)
    return len(found)


def end_orphans(settings: Settings) -> None:
    """End what a bus on this folder left behind when its driver was killed.

    Its Ray lives on for a second, and may start another in place of the one that was ended.
    """
    while end_haproxy(settings):
        time.sleep(_LAST_BREATH_S)


def _ours(settings: Settings) -> list[int]:
    folder = str(settings.data_dir / "run" / "haproxy") + "/"
    found = []
    for process in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            words = process.read_bytes().split(b"\0")
        except OSError:
            continue
        program = Path(os.fsdecode(words[0])).name
        if program == "haproxy" and any(os.fsdecode(word).startswith(folder) for word in words[1:]):
            found.append(int(process.parent.name))
    return found


def _signal(pids: list[int], number: signal.Signals) -> None:
    for pid in pids:
        with suppress(ProcessLookupError):
            os.kill(pid, number)
