"""Tables that are made again under a new name, so that nobody reads one that is half made.

A file of SQLite must not be replaced under its name while others have it open. So each table that
is made again is a new file, and `index` (or `root`) beside it says which one counts.
"""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final, TypeVar

from policies.errors import DependencyError

_ATTEMPTS: Final = 10
_PAUSE_S: Final = 0.005

Table = TypeVar("Table")


def current(folder: Path, name: str) -> Path | None:
    """Return the file that counts, or None before there is one."""
    try:
        said = (folder / name).read_text()
    except FileNotFoundError:
        return None
    path = folder / said
    return path if said.startswith(f"{name}-") and path.parent == folder else None


def fresh(folder: Path, name: str) -> Path:
    """Return a file name that was never used here."""
    folder.mkdir(parents=True, exist_ok=True)
    numbers = [
        int(number)
        for path in folder.glob(f"{name}-*.sqlite")
        if (number := path.stem.removeprefix(f"{name}-")).isdigit()
    ]
    return folder / f"{name}-{max(numbers, default=0) + 1}.sqlite"


def publish(path: Path, name: str) -> None:
    """Let this file count, and remove the ones before it."""
    draft = path.with_name(f".{name}.tmp")
    draft.write_text(path.name)
    draft.replace(path.with_name(name))
    for old in path.parent.glob(f"{name}-*"):
        if not old.name.startswith(path.name):
            old.unlink(missing_ok=True)


Mark = tuple[int, int]


def mark(folder: Path, name: str) -> Mark | None:
    """Return what changes when another file counts; None before there is one."""
    try:
        found = (folder / name).stat()
    except FileNotFoundError:
        return None
    return found.st_ino, found.st_mtime_ns  # the number alone may be used again


def open_current(folder: Path, name: str, open_: Callable[[Path], Table]) -> Table | None:
    """Return the table that counts, open, or None before there is one.

    Its writer may make another one count at this moment, so a refusal is tried again. Raises
    DependencyError when it stays.
    """
    for attempt in range(1, _ATTEMPTS + 1):
        path = current(folder, name)
        if path is None:
            return None
        try:
            return open_(path)
        except sqlite3.OperationalError as error:
            if attempt == _ATTEMPTS:
                raise DependencyError("ledger index", f"{path}: {error}") from error
            time.sleep(_PAUSE_S)
    raise AssertionError("the last attempt returns or raises")


def connect(path: Path, schema: str, *, writes: bool) -> sqlite3.Connection:
    """Open a table's file: one process writes it, and any number read it meanwhile."""
    mode = "rwc" if writes else "rw"  # never `ro`: a reader must be able to mend a killed writer's
    connection = sqlite3.connect(
        f"file:{path}?mode={mode}", uri=True, isolation_level=None, check_same_thread=False
    )
    if writes:
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = OFF")  # it can be made again
        connection.executescript(schema)
    else:
        connection.execute("PRAGMA query_only = ON")
        connection.execute("SELECT 1 FROM sqlite_master").fetchone()  # opens the file itself
    return connection
