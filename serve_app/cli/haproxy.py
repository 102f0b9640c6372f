"""Ending the HAProxy that Ray may leave behind: only ours, known by its configuration file."""

from __future__ import annotations

import os
import signal
from pathlib import Path

from cluster.settings import Settings


def end_haproxy(settings: Settings) -> int:
    """End every haproxy that runs from this data folder's configuration; return how many."""
    folder = str(settings.data_dir / "run" / "haproxy")
    ended = 0
    for process in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            words = process.read_bytes().split(b"\0")
        except OSError:
            continue
        if b"haproxy" in Path(os.fsdecode(words[0])).name.encode() and any(
            os.fsdecode(word).startswith(folder) for word in words[1:]
        ):
            os.kill(int(process.parent.name), signal.SIGTERM)
            ended += 1
    return ended
