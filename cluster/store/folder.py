"""The folder of the embedded store: its paths, its one lock, and who holds it."""

from __future__ import annotations

import fcntl
import hashlib
import os
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from cluster.errors import ConfigurationError

# sockaddr_un holds 108 bytes on Linux and 104 on macOS, the last one a zero.
_SOCKET_PATH_MAX: Final = 103
# Not gettempdir(): processes with a different TMPDIR must find the same socket.
_PROC: Final = Path("/proc/self")
_SHORT_ROOT: Final = Path("/tmp")  # noqa: S108  # a private folder inside, checked below


class Folder:
    """Where one embedded server keeps its data: `<data_dir>/store`, readable by its user only."""

    def __init__(self, data_dir: Path) -> None:
        # Resolved, so that two names of one folder lead to one socket.
        self.path: Final = data_dir.expanduser().resolve() / "store"
        self.append_only: Final = self.path / "appendonlydir"
        self.log: Final = self.path / "valkey.log"
        self.pid_file: Final = self.path / "valkey.pid"
        self.torn: Final = self.path / "torn"
        self._lock: Final = self.path / "lock"

    @property
    def socket(self) -> Path:
        """The server's socket: in the folder, or under /tmp when that path is too long for one."""
        plain = self.path / "valkey.sock"
        if len(os.fsencode(plain)) <= _SOCKET_PATH_MAX:
            return plain
        name = hashlib.sha256(os.fsencode(self.path)).hexdigest()[:24]
        return _SHORT_ROOT / f"acgs-{os.getuid()}" / f"{name}.sock"

    def prepare(self) -> None:
        """Make the folders, private; raises ConfigurationError when one belongs to another."""
        for folder in (self.path, self.socket.parent):
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            make_private(folder)

    def lock(self) -> int | None:
        """Lock the folder and return the open file, None when it is locked.

        The lock belongs to the open file: whoever inherits it holds it, and the kernel frees it
        when the last of them is gone, however it went.
        """
        file = os.open(self._lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(file)
            return None
        return file

    def is_free(self) -> bool:
        """Say whether nobody holds the lock."""
        file = self.lock()
        if file is None:
            return False
        os.close(file)
        return True

    def holders(self) -> list[int]:
        """Return the server processes that hold the lock.

        Where there is no /proc, the server that last said its number, while the lock is held.
        """
        if not _PROC.exists():
            return [] if self.is_free() else self._last_known()
        try:
            lock = self._lock.stat()
        except FileNotFoundError:
            return []
        return [pid for pid in _servers() if _has_open(pid, lock)]

    def _last_known(self) -> list[int]:
        try:
            return [int(self.pid_file.read_text())]
        except (OSError, ValueError):
            return []


def make_private(folder: Path) -> None:
    """Close a folder to other users; raises ConfigurationError when it is not ours to close.

    Closed again rather than refused: Kubernetes opens volumes to a pod's group at each mount.
    """
    facts = folder.lstat()
    if not stat.S_ISDIR(facts.st_mode) or facts.st_uid != os.getuid():
        raise ConfigurationError(f"{folder} is not a folder of this user; remove or rename it")
    if stat.S_IMODE(facts.st_mode) != 0o700:
        folder.chmod(0o700)


def _servers() -> Iterator[int]:
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            program = (entry / "exe").readlink().name
        except OSError:
            continue  # it ended, or belongs to somebody else
        if program.startswith("valkey-server"):
            yield int(entry.name)


def _has_open(pid: int, wanted: os.stat_result) -> bool:
    for entry in Path(f"/proc/{pid}/fd").glob("*"):
        try:
            if os.path.samestat(entry.stat(), wanted):
                return True
        except OSError:
            continue  # closed in between
    return False
