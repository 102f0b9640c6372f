"""Where the processes of one node keep their counts: prometheus-client's multiprocess files."""

from __future__ import annotations

import os
import struct
import time
from pathlib import Path
from typing import Final

import prometheus_client
import prometheus_client.values
from prometheus_client.multiprocess import MultiProcessCollector

VARIABLE: Final = "PROMETHEUS_MULTIPROC_DIR"
_READS_MAX: Final = 20
_GRACE_S: Final = 60.0


def directory() -> Path | None:
    """Return where this process counts, or None if it counts for itself."""
    named = os.environ.get(VARIABLE)
    return Path(named) if named else None


def move_in() -> None:
    """Make metrics that are made from now on go where the environment says.

    prometheus-client asks once, when it is first imported; that may be long before `prepare`.
    """
    place = directory()
    if place is None:
        return
    place.mkdir(mode=0o700, parents=True, exist_ok=True)
    # Levels of a dead process that had our id would else be ours.
    for path in place.glob(f"gauge_live*_{os.getpid()}.db"):
        _remove_unless_written(path, grace_s=0)
    # Never twice in one directory: after a fork, two maps of one file overwrite each other.
    if not prometheus_client.values.ValueClass._multiprocess:  # noqa: SLF001  # no other way to ask
        _renew()


def prepare(place: Path) -> None:
    """Clear what dead processes left in `place`, and make new metrics go there."""
    place = place.absolute()
    place.mkdir(mode=0o700, parents=True, exist_ok=True)
    for path in place.glob("*.db"):
        if path.stem.endswith(f"_{os.getpid()}"):
            path.unlink(missing_ok=True)
        else:
            _remove_unless_written(path, grace_s=0)
    os.environ[VARIABLE] = str(place)
    _renew()


def read_all(place: Path) -> bytes:
    """Return the sum of all processes as Prometheus reads it."""
    for left in reversed(range(_READS_MAX)):
        _bury(place)
        registry = prometheus_client.CollectorRegistry()
        MultiProcessCollector(registry, str(place))  # type: ignore[no-untyped-call]  # theirs
        try:
            return prometheus_client.generate_latest(registry)
        except (struct.error, FileNotFoundError):  # a file was just made, or just removed
            if not left:
                raise
            time.sleep(0.005)
    raise AssertionError("the last attempt returns or raises")


def _renew() -> None:
    values = prometheus_client.values
    values.ValueClass = values.get_value_class()  # type: ignore[no-untyped-call]  # theirs


def _bury(place: Path) -> None:
    """Remove the levels of dead processes, and files that one died making. Counts stay."""
    for path in place.glob("*.db"):
        try:
            unfinished = path.stat().st_size == 0
        except FileNotFoundError:
            continue
        if unfinished or path.name.startswith("gauge_live"):
            _remove_unless_written(path, grace_s=_GRACE_S)


def _remove_unless_written(path: Path, *, grace_s: float) -> None:
    if not _is_written(path, grace_s=grace_s):
        path.unlink(missing_ok=True)


def _is_written(path: Path, *, grace_s: float) -> bool:
    """Say whether the process that a file is named after lives, and has the file mapped.

    A process that lives and has not mapped it may be about to, for `grace_s`; after that it is
    another one with the same id.
    """
    pid = path.stem.rpartition("_")[2]
    try:
        maps = Path(f"/proc/{pid}/maps").read_bytes()
        age_s = time.time() - path.stat().st_mtime
    except (FileNotFoundError, ProcessLookupError):
        return not Path("/proc/self/maps").exists() and _lives(pid)
    except PermissionError:
        return True
    # A zombie's map is empty.
    return bool(maps) and (os.fsencode(path.resolve()) in maps or age_s < grace_s)


def _lives(pid: str) -> bool:
    try:
        os.kill(int(pid), 0)
    except (ValueError, ProcessLookupError):
        return False
    except PermissionError:
        return True
    return True
