"""A log's files: written whole or not at all, and true once the checkpoint is replaced."""

from __future__ import annotations

import fcntl
import os
import shutil
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import Final, Protocol

from actors.ledger.errors import LockedError, StorageFailedError, TamperedError
from actors.ledger.tiles import CHECKPOINT, WIDTH, Tile

BLOBS: Final = "blob"
ROTATIONS: Final = "rotation"
LOCK: Final = ".lock"

_TOGETHER: Final = 64  # files that are on their way to the disk at once
_SYNCERS: Final = ThreadPoolExecutor(8, thread_name_prefix="fsync")

Step = Callable[[str, str], None]
"""Hears of every write before it happens: what, and on which path. Tests fail the write there."""


class Source(Protocol):
    """Where a log can be read: a folder, or a server."""

    def fetch(self, path: str) -> bytes | None:
        """Return the bytes at a path below the log's prefix, or None when there are none."""
        ...


def no_step(_what: str, _path: str) -> None:
    """Let every write happen."""


class Folder:
    """One log's folder.

    Every write goes to a temporary file, is fsynced, and is renamed over the old one; the folder
    is fsynced after. Raises StorageFailedError when the disk refuses: the process must then end,
    because what an fsync that failed has left on the disk is unknown.
    """

    def __init__(self, folder: Path, *, step: Step = no_step) -> None:
        self.folder = folder
        self._step = step

    def fetch(self, path: str) -> bytes | None:
        """Return a file's bytes, or None when it is not there."""
        try:
            return (self.folder / path).read_bytes()
        except (FileNotFoundError, NotADirectoryError, IsADirectoryError):
            return None

    def read(self, tile: Tile) -> bytes:
        """Return a tile or bundle. Raises TamperedError `ledger.tile_missing`."""
        data = self.fetch(tile.path)
        if data is None:
            raise TamperedError("ledger.tile_missing", "the file is missing", path=tile.path)
        return data

    def write(self, files: Iterable[tuple[str, bytes]]) -> None:
        """Put every file, durably; none of them counts before the checkpoint says so."""
        folders: set[Path] = set()
        rest = iter(files)
        while some := list(islice(rest, _TOGETHER)):
            self._put(some, folders)
        self._sync([(folder, str(folder)) for folder in folders], "fsync folder", os.O_DIRECTORY)

    def publish(self, note: str) -> None:
        """Replace the checkpoint: the one moment at which the log becomes longer."""
        self.write([(CHECKPOINT, note.encode())])

    def refuse_fork(self, writes: Iterable[tuple[Tile, bytes]]) -> None:
        """Raise TamperedError `ledger.forked` if a full tile is there already, and another one."""
        for tile, data in writes:
            if tile.width == WIDTH and (self.fetch(tile.path) or data) != data:
                raise TamperedError(
                    "ledger.forked", "another tile is there already", path=tile.path
                )

    def tidy(self, writes: Sequence[tuple[Tile, bytes]], *, kept: Mapping[Tile, int]) -> None:
        """Remove the partial tiles that these writes made needless.

        A partial tile is the beginning of every wider one, so the widest can stand for all;
        `kept` holds the widths of the checkpoint before, for those who have just read that.
        """
        for tile, _ in writes:
            partials = self.folder / f"{tile.full.path}.p"
            if tile.width == WIDTH:
                shutil.rmtree(partials, ignore_errors=True)
                continue
            needed = {str(tile.width), str(kept.get(tile.full, tile.width))}
            for partial in list(partials.iterdir()):
                if partial.name not in needed:
                    partial.unlink(missing_ok=True)

    def _put(self, files: Sequence[tuple[str, bytes]], folders: set[Path]) -> None:
        drafts = {path: self._draft(path, data, folders) for path, data in files}
        self._sync([(draft, path) for path, draft in drafts.items()], "fsync", 0)
        for path, draft in drafts.items():
            with _ending(path):
                self._step("rename", path)
                draft.replace(self.folder / path)

    def _draft(self, path: str, data: bytes, folders: set[Path]) -> Path:
        target = self.folder / path
        draft = target.with_name(f".{target.name}.tmp")
        with _ending(path):
            self._make(target.parent, folders)
            self._step("write", path)
            draft.write_bytes(data)
        folders.add(target.parent)
        return draft

    def _make(self, folder: Path, folders: set[Path]) -> None:
        missing = folder
        while not missing.exists():
            folders.add(missing)
            missing = missing.parent
            folders.add(missing)
        folder.mkdir(parents=True, exist_ok=True)

    def _sync(self, places: Sequence[tuple[Path, str]], step: str, flags: int) -> None:
        """Fsync them all, several at the same time: the disk takes them in one go."""
        flights = []
        for place, path in places:
            with _ending(path):
                self._step(step, path)
            flights.append((path, _SYNCERS.submit(_fsync, place, os.O_RDONLY | flags)))
        for path, flight in flights:
            with _ending(path):
                flight.result()


@contextmanager
def _ending(path: str) -> Iterator[None]:
    """Turn what the disk says into the error that ends the process."""
    try:
        yield
    except OSError as error:
        raise StorageFailedError(path, str(error)) from error


def _fsync(place: Path, flags: int) -> None:
    # Linux tells a handle that is opened later of a write error that nobody has been told of yet.
    handle = os.open(place, flags)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def blob_path(digest: str) -> str:
    """Return where ciphertext too large for an entry lies, by its `sha256:<hex>`."""
    name = digest.removeprefix("sha256:")
    if len(name) != 64 or not set(name) <= set("0123456789abcdef"):
        raise ValueError(f"{digest!r} is not a SHA-256 digest")
    return f"{BLOBS}/{name[:2]}/{name}"


class Lock:
    """The right to be the one sequencer of a ledger's folder; ends with the process."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._file = (folder / LOCK).open("w")
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            self._file.close()
            raise LockedError(str(folder)) from error

    def release(self) -> None:
        """Let another process be the sequencer."""
        self._file.close()
