"""The embedded store: a real Valkey server of our own, on a private socket, with a durable log.

It outlives whoever started it: `ensure` finds a running one by its socket and adopts it. Two
servers can never share a folder, because each holds the folder's lock, inherited from its starter
and freed by the kernel when the last process that has it is gone.
"""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Awaitable, Callable
from enum import Enum
from pathlib import Path
from typing import Final

import structlog
from redis.asyncio.connection import AbstractConnection
from redis.exceptions import BusyLoadingError, ResponseError

from cluster.clock import Clock, SystemClock
from cluster.errors import ConfigurationError, StoreUnavailableError
from cluster.store.address import Address, Kind
from cluster.store.dial import ask_once, dial_socket
from cluster.store.folder import Folder
from cluster.store.lanes import Lanes
from cluster.store.process import Launch, is_leader, launch, program, send_signal
from cluster.store.tail import cut, find_tail

log = structlog.get_logger(__name__)

# What durability rests on: set at the start, and set right on a server that we adopt.
_PROMISES: Final = {
    "appendonly": "yes",
    "appendfsync": "always",
    "no-appendfsync-on-rewrite": "no",  # yes would suspend `always` for whole seconds
    "aof-load-truncated": "no",  # cluster.store.tail cuts instead, and says so
    "maxmemory-policy": "noeviction",
}
_ANSWER_S: Final = 0.4
_POLL_S: Final = 0.01
_BIRTH_S: Final = 0.2
_OPTIONS: Final = {
    **_PROMISES,
    "port": "0",  # no network at all
    "save": "",
    "aof-timestamp-enabled": "no",
    "always-show-logo": "no",
}


class Life(Enum):
    """What the server shows of itself."""

    SERVING = "serving"
    LOADING = "loading"  # it reads its data, and will serve
    SILENT = "silent"  # it is there and does not answer: stopped, or very slow
    ABSENT = "absent"


class EmbeddedValkey:
    """The one Valkey server of a data folder.

    A server that is silent for `silent_max_s` while it is wanted is killed and started again: what
    it acknowledged is on the disk. `clock` and `sleep` are the real ones unless a test says.
    """

    def __init__(
        self,
        data_dir: Path,
        *,
        silent_max_s: float = 10.0,
        clock: Clock | None = None,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self.folder: Final = Folder(data_dir)
        self._silent_max_s = silent_max_s
        self._clock = clock or SystemClock()
        self._sleep = sleep
        self._control = Lanes(self._dial, size=1)
        self._launch: Launch | None = None
        self._ensuring = asyncio.Lock()

    async def alive(self) -> bool:
        """Say whether our server answers and takes calls."""
        return await self.life() is Life.SERVING

    async def life(self) -> Life:
        """Return what the server shows within 0.4 s.

        Raises ConfigurationError when another server listens on our socket.
        """
        try:
            async with asyncio.timeout(_ANSWER_S):
                (reply,) = await self._control.exchange([("PING",)])
        except TimeoutError:
            return Life.SILENT
        if isinstance(reply, BusyLoadingError):
            return Life.LOADING
        # A refusal is an answer: a long script keeps it busy, a full disk keeps it from writing.
        if not isinstance(reply, Exception) or isinstance(reply, ResponseError):
            return Life.SERVING
        return Life.ABSENT

    async def ensure(self, *, timeout_s: float = 30.0) -> bool:
        """Return once our server serves: True if this call started it, False if it was there.

        Loading takes as long as it takes. A tail that a crash tore off the append-only file is
        cut, kept and logged (see `tail`). Raises StoreDamagedError when the file was damaged in
        another way, StoreUnavailableError when the server does not start in time.
        """
        async with self._ensuring:
            return await self._ensure(timeout_s)

    async def _ensure(self, timeout_s: float) -> bool:
        self.folder.prepare()
        started = False
        begun_s = heard_s = self._clock.monotonic_s()
        while (life := await self.life()) is not Life.SERVING:
            now_s = self._clock.monotonic_s()
            match life:
                case Life.LOADING:
                    begun_s = heard_s = now_s
                case Life.SILENT:
                    await self._end_orphans()
                    if now_s - heard_s > self._silent_max_s:
                        log.error("store.killed", silent_s=round(now_s - heard_s, 1))
                        self.kill()
                case Life.ABSENT:
                    heard_s = now_s
                    started = await self._revive() or started
            if now_s - begun_s > timeout_s:
                raise StoreUnavailableError(
                    f"the embedded server is {life.value} after {timeout_s:.0f} s; "
                    f"read {self.folder.log}"
                )
            await self._sleep(_POLL_S)
        if self._launch is not None:
            self._launch.served = True
        return started

    def kill(self) -> None:
        """End every process of the server at once; nothing it acknowledged is lost."""
        send_signal(self.folder.holders(), signal.SIGKILL)

    async def stop(self, *, grace_s: float = 5.0) -> None:
        """Stop the server: by its own command, then by SIGTERM, then by SIGKILL.

        Returns when its folder is free; raises StoreUnavailableError when it does not go.
        """
        try:
            async with asyncio.timeout(grace_s):
                await self._control.exchange([("SHUTDOWN", "NOSAVE")])
        except (TimeoutError, ConfigurationError):
            pass  # it does not listen, or is not ours to command: the signals go to our own
        for number in (None, signal.SIGTERM, signal.SIGKILL):
            if number is not None:
                send_signal(self.folder.holders(), number)
            if await self._is_gone(grace_s):
                await self._control.close()
                return
        raise StoreUnavailableError(f"the embedded server holds {self.folder.path} and stays")

    async def close(self) -> None:
        """Let go of the server, which goes on."""
        await self._control.close()

    async def _is_gone(self, grace_s: float) -> bool:
        begun_s = self._clock.monotonic_s()
        while not self.folder.is_free():
            if self._clock.monotonic_s() - begun_s > grace_s:
                return False
            await self._sleep(_POLL_S)
        return True

    async def _revive(self) -> bool:
        """Do what an absent server needs next; True when that was to start it."""
        lock = self.folder.lock()
        if lock is None:  # it is on its way, or on its way out
            await self._end_orphans()
            return False
        failed, self._launch = self._launch, None
        self._launch = await asyncio.to_thread(self._start, lock, failed)
        return True

    def _start(self, lock: int, last: Launch | None) -> Launch:
        """Start the server, once more after a start that failed; closes our hold on the lock.

        In a thread, which a cancelled caller leaves to finish what it began.
        """
        try:
            failed = last is not None and not last.served
            if last is not None and failed:
                self._mend(last)
            return launch(self.folder, lock, options=_OPTIONS, again=failed)
        finally:
            os.close(lock)

    async def _end_orphans(self) -> None:
        """End the helpers (such as a log rewrite) of a server that is gone.

        They hold its lock, and its clients' connections, which would not notice its end.
        """
        orphans = self._leaderless()
        if orphans:
            await self._sleep(_BIRTH_S)  # a server that is being born has no leader for a moment
            if self._leaderless() == orphans:
                send_signal(orphans, signal.SIGKILL)

    def _leaderless(self) -> list[int]:
        holders = self.folder.holders()
        return [] if any(is_leader(pid) for pid in holders) else holders

    def _mend(self, failed: Launch) -> None:
        """Cut off what may have kept a server from starting, or raise what a human must know."""
        if failed.again:
            raise StoreUnavailableError(f"the embedded server did not start: {failed.words()}")
        tail = find_tail(self.folder, server=program())
        if tail is None:
            return  # perhaps it was only killed at its start
        copy = cut(self.folder, tail)
        log.error(
            "store.tail_cut",
            file=str(tail.file),
            offset=tail.offset,
            cut_bytes=tail.size,
            kept_in=str(copy),
        )

    async def _dial(self) -> AbstractConnection:
        """Connect, and make sure that the server is ours and keeps our promises."""
        address = Address(kind=Kind.SOCKET, path=self.folder.socket)
        connection = await dial_socket(address)()
        try:
            await self._verify(connection)
        except BaseException:
            await connection.disconnect(nowait=True)
            raise
        return connection

    async def _verify(self, connection: AbstractConnection) -> None:
        words = await ask_once(connection, "CONFIG", "GET", "dir", *_PROMISES)
        texts = [word.decode() for word in words]
        found = dict(zip(texts[::2], texts[1::2], strict=True))
        if Path(found["dir"]) != self.folder.path:
            raise ConfigurationError(
                f"the server on {self.folder.socket} keeps its data in {found['dir']}, not in "
                f"{self.folder.path}; stop it, or set another ACGS_DATA_DIR"
            )
        for name, value in _PROMISES.items():
            if found.get(name) != value:
                log.error("store.promise_restored", option=name, was=found.get(name), now=value)
                await ask_once(connection, "CONFIG", "SET", name, value)
