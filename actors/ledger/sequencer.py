"""The sequencer: rounds that bring every tenant's write-ahead records into signed trees."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Protocol

import structlog

from actors.ledger import checkpoint as notes
from actors.ledger import report
from actors.ledger.checkpoint import Checkpoint
from actors.ledger.entry import timestamp
from actors.ledger.errors import LedgerError, LockedError, StorageFailedError
from actors.ledger.keys import ROOT, log_folder, log_origin, signers
from actors.ledger.opening import TrackOpening, open_track
from actors.ledger.report import LogStatus, SequencerReport, show_logs
from actors.ledger.root import RootLog
from actors.ledger.store import Folder, Lock, Step, no_step
from actors.ledger.track import Track
from actors.ledger.writer import Opening, raise_mark_call
from cluster.clock import Clock, SystemClock
from cluster.errors import StoreUnavailableError
from cluster.keyring import load_keyring
from cluster.settings import Settings
from cluster.store import keys
from cluster.store.client import Store
from policies.message import AGENT_ID

log = structlog.get_logger("ledger")

ROUND_S: Final = 0.04  # how long a batch may fill up
IDLE_S_MAX: Final = 0.4  # how long a silent tenant may wait for a look: within the merge delay
LOCK_WAIT_S: Final = 15.0  # a process that was just replaced may still be ending
TENANTS_S: Final = 0.4  # how often new tenants are looked for
ROOT_S: Final = 0.5  # how often the root log covers what has changed
LOOKED_AT_MAX: Final = 32  # tenants whose records are read in one round trip
TOGETHER_MAX: Final = 8  # tenants whose files are written at the same time


class SequencerKeys(Protocol):
    """What the sequencer needs to know."""

    @property
    def wal_key(self) -> bytes:
        """Authenticates write-ahead records."""
        ...

    @property
    def ledger_seeds(self) -> Sequence[bytes]:
        """The Ed25519 seeds of checkpoints, newest last: that one signs, all of them verify."""
        ...


@dataclass(slots=True)
class _Turn:
    """When a tenant is looked at next: a silent one less and less often."""

    due_s: float = 0.0
    pause_s: float = ROUND_S


class Sequencer:
    """One ledger's only writer. Belongs to one event loop, and holds the folder's lock.

    `start` refuses a ledger that does not verify. StorageFailedError out of `round` or `run` must
    end the process.
    """

    def __init__(
        self,
        store: Store,
        folder: Path,
        secrets: SequencerKeys,
        *,
        origin: str,
        clock: Clock,
        step: Step | None = None,
        lock_wait_s: float = 0.0,
    ) -> None:
        self._store = store
        self._folder = folder
        self._secrets = secrets
        self._origin = origin
        self._clock = clock
        self._step = step or no_step
        self._tracks: dict[str, Track] = {}
        self._turns: dict[str, _Turn] = {}
        self._stopped: dict[str, LedgerError] = {}
        self._root: RootLog | None = None
        self._root_due_s = 0.0
        self._tenants_due_s = 0.0
        self._mark: Checkpoint | None = None
        self._lock: Lock | None = None
        self._lock_wait_s = lock_wait_s
        self._report_due_s = 0.0
        self._stopping = asyncio.Event()

    async def start(self) -> None:
        """Take the lock and verify every log; a store that is away is waited for.

        Raises LockedError, or the first log's TamperedError: such a ledger is not served.
        """
        self._lock = await self._take_lock()
        while not self._stopping.is_set():
            try:
                await self._open_all()
                break
            except StoreUnavailableError as error:
                log.warning("ledger.waiting", reason=str(error))
                await self._rest(IDLE_S_MAX)
        log.info("ledger.opened", logs=len(self._tracks), origin=self._origin)

    async def round(self) -> int:
        """Bring in what has been recorded; return how many records that was."""
        now_s = self._clock.monotonic_s()
        await self._meet_newcomers(now_s)
        due = [
            track
            for tenant, track in self._tracks.items()
            if tenant not in self._stopped and self._turns[tenant].due_s <= now_s
        ]
        count = await self._all_turns(due, now_s)
        if now_s >= self._root_due_s:
            await self._cover()
            self._root_due_s = now_s + ROOT_S
        if now_s >= self._report_due_s:
            await self._report()
            self._report_due_s = now_s + report.REPORT_S
        return count

    async def run(self) -> None:
        """Go round until `stop`; a last round then takes in what is still on its way."""
        if self._root is None:
            return  # stopped before it could start
        while not self._stopping.is_set():
            started_s = self._clock.monotonic_s()
            count = await self._round_or_wait()
            rest_s = ROUND_S - (self._clock.monotonic_s() - started_s)
            if rest_s > 0 and count < _FULL:
                await self._rest(rest_s)
        for turn in self._turns.values():
            turn.due_s = 0.0
        self._root_due_s = 0.0
        await self._round_or_wait()

    def stop(self) -> None:
        """Ask `run` to end after a last round."""
        self._stopping.set()

    def close(self) -> None:
        """Let go of files and the lock."""
        for track in self._tracks.values():
            track.close()
        if self._root is not None:
            self._root.close()
        if self._lock is not None:
            self._lock.release()

    def status(self) -> Mapping[str, LogStatus]:
        """Return how each log stands, by tenant; the root log under the empty name."""
        now_ms = int(self._clock.now().timestamp() * 1000)
        found = {
            tenant: self._track_status(track, now_ms) for tenant, track in self._tracks.items()
        }
        for tenant, error in self._stopped.items():
            if tenant not in found:
                found[tenant] = LogStatus(
                    origin=log_origin(self._origin, tenant),
                    size=0,
                    root="",
                    last_id="",
                    lag_s=0.0,
                    stopped=str(error),
                    stopped_code=error.code,
                )
        if self._root is not None:
            head = self._root.writer.log
            found[ROOT] = LogStatus(
                origin=self._origin, size=head.size, root=head.root.hex(), last_id="", lag_s=0.0
            )
        return found

    async def _take_lock(self) -> Lock:
        patience_s = self._clock.monotonic_s() + self._lock_wait_s
        while True:
            try:
                return Lock(self._folder)
            except LockedError:
                if self._clock.monotonic_s() >= patience_s:
                    raise
            await self._rest(IDLE_S_MAX)

    async def _open_all(self) -> None:
        if self._root is None:
            self._root = await asyncio.to_thread(self._open_root, await self._remembered(ROOT))
        for tenant in sorted(await self._tenants()):
            if tenant not in self._tracks:
                await self._open(tenant)

    async def _report(self) -> None:
        """Leave word for the gateways' readiness: that we run, and which logs have stopped."""
        show_logs(self.status())
        said = SequencerReport(
            at_s=self._clock.now().timestamp(),
            stopped={
                tenant: f"{status.stopped_code}: {status.stopped}"
                for tenant, status in self.status().items()
                if status.stopped is not None
            },
        )
        for tenant, error in self._stopped.items():
            await self._store.execute("SET", keys.halted(tenant), f"{error.code}: {error}")
        await self._store.execute("SET", keys.SEQUENCER, said.to_json(), "EX", report.REPORT_KEPT_S)

    def _track_status(self, track: Track, now_ms: int) -> LogStatus:
        since, error = track.waiting_since_ms, self._stopped.get(track.tenant)
        return LogStatus(
            origin=log_origin(self._origin, track.tenant),
            size=track.writer.log.size,
            root=track.writer.log.root.hex(),
            last_id=track.writer.last_id,
            lag_s=0.0 if since is None else max(0.0, (now_ms - since) / 1000),
            stopped=None if error is None else str(error),
            stopped_code=None if error is None else error.code,
        )

    async def _all_turns(self, due: Sequence[Track], now_s: float) -> int:
        count = 0
        for first in range(0, len(due), LOOKED_AT_MAX):
            some = due[first : first + LOOKED_AT_MAX]
            replies = await self._store.run_many([track.read_call() for track in some])
            count += await self._some_turns(some, replies, now_s=now_s)
        return count

    async def _some_turns(
        self, some: Sequence[Track], replies: Sequence[object], *, now_s: float
    ) -> int:
        gate = asyncio.Semaphore(TOGETHER_MAX)
        turns = [
            self._turn(track, reply, gate=gate, now_s=now_s)
            for track, reply in zip(some, replies, strict=True)
        ]
        # Every turn ends before anything is raised, or the next round would meet it half-way.
        ends = await asyncio.gather(*turns, return_exceptions=True)
        for end in sorted(ends, key=lambda end: not isinstance(end, StorageFailedError)):
            if isinstance(end, BaseException):
                raise end
        return sum(end for end in ends if isinstance(end, int))

    async def _turn(
        self, track: Track, reply: object, *, gate: asyncio.Semaphore, now_s: float
    ) -> int:
        turn = self._turns[track.tenant]
        if isinstance(reply, Exception):
            raise reply
        assert isinstance(reply, list), "the script answers a list"
        async with gate:
            try:
                count = await track.round(self._store, reply)
            except StorageFailedError:
                raise
            except LedgerError as error:
                await self._halt(track.tenant, error)
                return 0
        turn.pause_s = 0.0 if count else min(max(turn.pause_s * 2, ROUND_S), IDLE_S_MAX)
        turn.due_s = now_s + turn.pause_s
        return count

    async def _halt(self, tenant: str, error: LedgerError) -> None:
        """Stop a tenant's log, and let its gateways refuse rather than promise."""
        self._stopped[tenant] = error
        log.critical("ledger.stopped", tenant=tenant, code=error.code, reason=str(error))
        await self._store.execute("SET", keys.halted(tenant), f"{error.code}: {error}")

    async def _meet_newcomers(self, now_s: float) -> None:
        if now_s < self._tenants_due_s:
            return
        self._tenants_due_s = now_s + TENANTS_S
        for tenant in await self._tenants():
            if tenant in self._tracks or tenant in self._stopped:
                continue
            try:
                await self._open(tenant)
            except StorageFailedError:
                raise
            except LedgerError as error:
                await self._halt(tenant, error)

    async def _tenants(self) -> set[str]:
        reply = await self._store.execute("SMEMBERS", keys.TENANTS)
        assert isinstance(reply, list | set), "SMEMBERS answers a collection"
        known = {name.decode(errors="replace") for name in reply}
        kept = self._folder / "t"
        if kept.is_dir():
            known |= {path.name for path in kept.iterdir()}
        return {name for name in known if AGENT_ID.match(name)}

    async def _remembered(self, tenant: str) -> list[Checkpoint]:
        name = keys.high_water(log_origin(self._origin, tenant))
        mark = await self._store.execute("GET", name)
        found = [notes.parse(mark.decode())] if isinstance(mark, bytes) else []
        covered = None
        if tenant and self._root is not None:
            covered = self._root.remembered(log_origin(self._origin, tenant))
        return found if covered is None else [*found, covered]

    async def _open(self, tenant: str) -> None:
        opening = TrackOpening(
            tenant=tenant,
            origin=log_origin(self._origin, tenant),
            signers=self._signers(tenant),
            wal_key=self._secrets.wal_key,
            at=timestamp(self._clock.now()),
            remembered=await self._remembered(tenant),
            progress=_Reporter(tenant),
        )
        track = await asyncio.to_thread(
            open_track, self._folder / log_folder(tenant), opening, step=self._step
        )
        self._tracks[tenant] = track
        self._turns[tenant] = _Turn()
        try:
            await track.recover(self._store)
            await self._store.execute("DEL", keys.halted(tenant))
        except StorageFailedError:
            raise
        except LedgerError as error:
            await self._halt(tenant, error)

    def _open_root(self, remembered: Sequence[Checkpoint]) -> RootLog:
        opening = Opening(origin=self._origin, signers=self._signers(ROOT), remembered=remembered)
        root = RootLog.open(Folder(self._folder, step=self._step), opening)
        root.writer.hand_over(at=timestamp(self._clock.now()))
        return root

    async def _cover(self) -> None:
        """Bring what has changed under the root, and remember the root outside."""
        assert self._root is not None, "start opens the root log"
        changed = [track.writer.checkpoint for track in self._tracks.values()]
        found = [checkpoint for checkpoint in changed if checkpoint is not None]
        self._mark = await asyncio.to_thread(self._root.cover, found) or self._mark
        if self._mark is not None:
            await self._store.run(raise_mark_call(self._mark))
            self._mark = None

    def _signers(self, tenant: str) -> list[notes.Signer]:
        return signers(self._secrets.ledger_seeds, origin=self._origin, tenant=tenant)

    async def _round_or_wait(self) -> int:
        try:
            return await self.round()
        except StoreUnavailableError as error:
            log.warning("ledger.waiting", reason=str(error))
            await self._rest(IDLE_S_MAX)
            return 0

    async def _rest(self, seconds: float) -> None:
        try:
            async with asyncio.timeout(seconds):
                await self._stopping.wait()
        except TimeoutError:
            return


def open_sequencer(store: Store, settings: Settings) -> Sequencer:
    """Return the sequencer of these settings' ledger. Raises ConfigurationError for its keys."""
    return Sequencer(
        store,
        settings.data_dir / "ledger",
        load_keyring(settings),
        origin=settings.ledger_origin,
        clock=SystemClock(),
        lock_wait_s=LOCK_WAIT_S,
    )


_FULL: Final = 256  # records in a round after which the next one starts at once


class _Reporter:
    """Says how far the verification of a long log has come, once a second."""

    def __init__(self, tenant: str) -> None:
        self._tenant = tenant
        self._next_s = time.monotonic() + 1.0

    def __call__(self, done: int, size: int) -> None:
        if time.monotonic() >= self._next_s:
            self._next_s = time.monotonic() + 1.0
            log.info("ledger.verifying", tenant=self._tenant, done=done, size=size)
