"""The end of the append-only file after a crash: what may be cut, and what must not.

The server runs with `appendfsync always` and answers only after the fsync, so whatever it has
acknowledged lies whole before the last fsync. A crash can therefore tear only bytes that nobody
was promised: the beginning of a command, or of a transaction without its end, or zeros that a file
system put where data never arrived. These we cut off, so that a restart needs no human, and never
in silence: the bytes are kept in `torn/`, counted and logged.

Anything else is not a torn write. Garbage in the middle, or after a whole command, means a disk
or a person changed what was promised; then we refuse to start and say so. The server's own
`aof-load-truncated yes` would cut without a word and without a copy, so it is off. Two losses
cannot be seen here: a file cut exactly between two commands, and bytes exchanged for others of
the same length. The ledger sees these: by the MAC of each entry and its checkpoint's high water.
"""

from __future__ import annotations

import os
import re
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from cluster.errors import StoreUnavailableError
from cluster.store.folder import Folder

_ANALYSIS: Final = re.compile(rb"size=(\d+), ok_up_to=(\d+),")
_LAST_FILE: Final = re.compile(r"^file (\S+) seq \d+ type i", re.MULTILINE)
_NUMBER: Final = re.compile(rb"[*$]([0-9]{1,10})\r\n")
_PARTIAL_NUMBER: Final = re.compile(rb"(?:[*$](?:[0-9]{1,10}\r?)?)?\Z")
_COMMAND: Final = re.compile(rb"\r\n\*[0-9]{1,10}\r\n\$[0-9]{1,10}\r\n")
_MULTI: Final = b"*1\r\n$5\r\nMULTI\r\n"
_EXEC: Final = b"*1\r\n$4\r\nEXEC\r\n"
_LINE_MAX: Final = 13
_TAIL_MAX: Final = 64 << 20  # no single write of ours is larger; more is not one torn write
_CHECK_TIMEOUT_S: Final = 120.0


@dataclass(frozen=True, slots=True)
class Tail:
    """What follows the last whole command of an append-only file."""

    file: Path
    offset: int
    size: int


class StoreDamagedError(StoreUnavailableError):
    """What was promised may be gone; a human must decide."""

    code = "store.damaged"
    retryable = False

    def __init__(self, file: str, offset: int, size: int) -> None:
        super().__init__(
            f"{file} is damaged at byte {offset}: the {size} bytes from there are no torn write, "
            "so acknowledged decisions may be among them. Restore its folder from a backup; or "
            f"keep a copy, accept that they are lost, and run: truncate -s {offset} {file}"
        )
        self.args = (file, offset, size)


def find_tail(folder: Folder, *, server: Path) -> Tail | None:
    """Return what follows the last whole command; None when nothing does, or nothing is there.

    The server's own checker reads the file: the same program under another name.
    """
    file = _last_file(folder)
    if file is None:
        return None
    found = _ANALYSIS.search(_check(file, server))
    if found is None or found[1] == found[2]:
        return None
    return Tail(file, int(found[2]), int(found[1]) - int(found[2]))


def _check(file: Path, server: Path) -> bytes:
    try:
        return subprocess.run(  # noqa: S603  # our own binary and file
            ["valkey-check-aof", str(file)],  # noqa: S607  # a name for it to see; see executable
            executable=server,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=_CHECK_TIMEOUT_S,
            check=False,
        ).stdout
    except subprocess.TimeoutExpired as error:
        detail = f"{file} was not read to its end within {_CHECK_TIMEOUT_S:.0f} s"
        raise StoreUnavailableError(detail) from error


def is_torn(tail: bytes) -> bool:
    """Say whether bytes after the last whole command are one unfinished write and nothing else."""
    data = tail.rstrip(b"\0")
    in_transaction = data.startswith(_MULTI)
    start = end = 0
    try:
        while end < len(data):
            start = end
            end = _skip_command(data, start)
            if not in_transaction or (start and data.startswith((_MULTI, _EXEC), start)):
                return False
    except _UnfinishedError:
        # Commands behind an unfinished one: its length was damaged, nothing was torn.
        return _COMMAND.search(data, start + 1) is None
    except _MalformedError:
        return False
    return True


class _UnfinishedError(Exception):
    """The bytes end before the command does."""


class _MalformedError(Exception):
    """The bytes are no command."""


def _skip_command(data: bytes, at: int) -> int:
    count, at = _read_number(data, at, b"*")
    for _ in range(count):
        length, at = _read_number(data, at, b"$")
        ending = data[at + length : at + length + 2]
        at += length + 2
        if not b"\r\n".startswith(ending):
            raise _MalformedError
        if at > len(data):
            raise _UnfinishedError
    return at


def _read_number(data: bytes, at: int, mark: bytes) -> tuple[int, int]:
    line = data[at : at + _LINE_MAX]
    whole = _NUMBER.match(line)
    if whole is None:
        unfinished = at + len(line) == len(data) and _PARTIAL_NUMBER.match(line)
        raise _UnfinishedError if unfinished and mark.startswith(line[:1]) else _MalformedError
    if not line.startswith(mark):
        raise _MalformedError
    return int(whole[1]), at + whole.end()


def cut(folder: Folder, tail: Tail) -> Path:
    """Cut a torn tail off and return where its bytes are kept.

    Raises StoreDamagedError, and changes nothing, when it is not torn. The folder must be locked.
    """
    with tail.file.open("r+b") as file:
        file.seek(tail.offset)
        data = file.read(_TAIL_MAX + 1)
        if len(data) > _TAIL_MAX or not is_torn(data):
            raise StoreDamagedError(str(tail.file), tail.offset, tail.size)
        copy = _keep(folder, tail, data)
        file.truncate(tail.offset)
        os.fsync(file.fileno())
    return copy


def _keep(folder: Folder, tail: Tail, data: bytes) -> Path:
    folder.torn.mkdir(mode=0o700, exist_ok=True)
    copy = folder.torn / f"{tail.file.name}.at-{tail.offset}"
    with copy.open("wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    for parent in (folder.torn, folder.path):
        _sync_folder(parent)
    return copy


def _last_file(folder: Folder) -> Path | None:
    """Return the file that the server appends to, as its manifest names it."""
    try:
        manifest = (folder.append_only / "appendonly.aof.manifest").read_text()
    except FileNotFoundError:
        return None
    names = _LAST_FILE.findall(manifest)
    return folder.append_only / names[-1] if names else None


def _sync_folder(folder: Path) -> None:
    file = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(file)
    finally:
        os.close(file)
