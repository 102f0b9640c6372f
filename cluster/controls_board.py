"""The control board: one copy in the store for all, and a fresh one in every process.

Laws of this file:
1. A change is a compare-and-swap on what it was made from, so no operator loses another's.
2. A board that could not be read for GRACE_S is not believed: `current` raises, nothing passes.
3. The board only moves forward. When the store has forgotten it, or fell back to an older one
   (a flush, a failover, a restored backup), a process that knows the newer one puts it back.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable
from dataclasses import dataclass
from secrets import token_hex
from types import TracebackType
from typing import Final, Self

import structlog
from redis.exceptions import RedisError

from cluster.clock import Clock
from cluster.store.client import Call, Script, Store
from cluster.store.keys import CONTROLS
from policies.controls import (
    Controls,
    DamagedControlsError,
    Kill,
    KillScope,
    controls_from_json,
    controls_to_json,
)
from policies.errors import DependencyError, GovernanceError

REFRESH_S: Final = 0.3  # a revocation works everywhere within a second
GRACE_S: Final = 5.0  # outlives a failover of the store
SWAPS_MAX: Final = 64  # of those who race, one succeeds in every round

_VERSION: Final = re.compile(rb"\A([0-9]{1,18})-[0-9a-f]{16}\Z")

# An unchanged board is not sent again. A hash without a version is damage, not absence.
_READ: Final = Script("""
local version = redis.call('HGET', KEYS[1], 'version')
if version == ARGV[1] then return {version} end
if version then return {version, redis.call('HGET', KEYS[1], 'state') or ''} end
if redis.call('EXISTS', KEYS[1]) == 1 then return {'', ''} end
return {}
""")
_SWAP: Final = Script("""
local version = redis.call('HGET', KEYS[1], 'version') or ''
if version ~= ARGV[1] then return 0 end
redis.call('HSET', KEYS[1], 'version', ARGV[2], 'state', ARGV[3])
return 1
""")

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Copy:
    """A board and its version: how many changes made it, and which of several such it is."""

    version: bytes
    controls: Controls

    @property
    def serial(self) -> int:
        return _serial(self.version)


_EMPTY: Final = _Copy(version=b"", controls=Controls())


class ControlsBoard:
    """The switches in force, as one process sees them. Use as an async context manager.

    Changing methods return when the change is in the store; every process follows within
    REFRESH_S and a round trip. They raise RefusalError for a change that cannot be made, and
    DependencyError when the store does not say that it was (made again, it does no harm).
    """

    def __init__(
        self, store: Store, *, clock: Clock, refresh_s: float = REFRESH_S, grace_s: float = GRACE_S
    ) -> None:
        self._store = store
        self._clock = clock
        self._refresh_s = refresh_s
        self._grace_s = grace_s
        self._copy: _Copy | None = None
        self._read_at_s = float("-inf")
        self._trouble = "it was never read"
        self._is_troubled = False
        self._task: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        await self.refresh()
        self._task = asyncio.create_task(self._keep_fresh(), name="controls refresh")
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        assert self._task is not None, "it is left only after it was entered"
        self._task.cancel()
        await asyncio.wait([self._task])

    def current(self) -> Controls:
        """Return the switches in force. Raises DependencyError when they are not known any more."""
        if self._copy is None or self._clock.monotonic_s() - self._read_at_s > self._grace_s:
            raise DependencyError("control board", self._trouble)
        return self._copy.controls

    async def refresh(self) -> bool:
        """Read the board now; False, and logged once, when that did not work."""
        try:
            await self._read()
        except (GovernanceError, RedisError) as error:
            # Callers see this; the text of an error may carry an address.
            self._trouble = f"it cannot be read ({type(error).__name__})"
            if not self._is_troubled:
                log.warning("controls.unreadable", error=f"{type(error).__name__}: {error}"[:300])
            self._is_troubled = True
            return False
        if self._is_troubled:
            log.info("controls.readable")
        self._is_troubled = False
        return True

    async def kill(self, scope: KillScope, *, reason: str, by: str) -> Kill:
        """Stop a scope and return the kill in force: an earlier one of the same scope stands."""
        kill = Kill(scope=scope, reason=reason, by=by, at=self._clock.now())
        after = await self._change(lambda controls: controls.with_kill(kill))
        log.warning("control.killed", scope=str(scope), by=by, reason=reason)
        return after.kills[scope.reach]

    async def release(self, scope: KillScope) -> bool:
        """Release exactly this scope; False when it was not stopped."""
        was_stopped = False

        def released(controls: Controls) -> Controls:
            nonlocal was_stopped
            was_stopped = scope.reach in controls.kills
            return controls.without_kill(scope)

        await self._change(released)
        log.warning("control.released", scope=str(scope), was_stopped=was_stopped)
        return was_stopped

    async def revoke_token(self, token_id: str, until_s: float) -> None:
        """Revoke a token by its id; `until_s`, since the epoch, is not before its end."""
        await self._change(lambda controls: controls.with_revoked_token(token_id, until_s))
        log.warning("control.token_revoked", token_id=token_id)

    async def revoke_agent(self, tenant: str, agent: str) -> None:
        """Revoke every token of an agent, also those that are issued later."""
        await self._change(lambda controls: controls.with_revoked_agent(tenant, agent))
        log.warning("control.agent_revoked", tenant=tenant, agent=agent)

    async def restore_agent(self, tenant: str, agent: str) -> None:
        """Believe an agent's tokens again."""
        await self._change(lambda controls: controls.without_revoked_agent(tenant, agent))
        log.warning("control.agent_restored", tenant=tenant, agent=agent)

    async def _keep_fresh(self) -> None:
        while True:
            await asyncio.sleep(self._refresh_s)
            await self.refresh()

    async def _change(self, edit: Callable[[Controls], Controls]) -> Controls:
        now_s = self._clock.now().timestamp()
        for _ in range(SWAPS_MAX):
            before = await self._from_store()
            after = edit(before.controls.pruned(now_s))
            if after == before.controls:
                return after
            copy = _Copy(version=_next_version(before.serial), controls=after)
            if await self._swap(before.version, copy):
                self._adopt(copy)
                return after
        raise DependencyError("control board", f"others changed it {SWAPS_MAX} times meanwhile")

    async def _from_store(self) -> _Copy:
        try:
            return await self._read()
        except (DamagedControlsError, RedisError) as error:
            detail = f"it cannot be read ({type(error).__name__})"
            raise DependencyError("control board", detail) from error

    async def _read(self) -> _Copy:
        """Return the board as the store has it, or as it has it again."""
        asked_at_s = self._clock.monotonic_s()
        known = self._copy or _EMPTY
        found = _found(await self._store.run(Call(_READ, [CONTROLS], [known.version])), known)
        if found.serial < known.serial and await self._swap(found.version, known):
            log.error("controls.restored", found=found.serial, restored=known.serial)
            found = known
        self._adopt(found)
        self._read_at_s = max(self._read_at_s, asked_at_s)
        return found

    async def _swap(self, expected: bytes, copy: _Copy) -> bool:
        state = controls_to_json(copy.controls)
        reply = await self._store.run(Call(_SWAP, [CONTROLS], [expected, copy.version, state]))
        return reply == 1

    def _adopt(self, copy: _Copy) -> None:
        # An answer that was under way while we changed the board is older than what we know.
        if self._copy is None or copy.serial >= self._copy.serial:
            self._copy = copy


def _found(reply: object, known: _Copy) -> _Copy:
    match reply:
        case []:
            return _EMPTY
        case [bytes(version)] if version == known.version:
            return known
        case [bytes(version), bytes(state)] if _VERSION.match(version):
            return _Copy(version=version, controls=controls_from_json(state))
        case _:
            raise DamagedControlsError("it has no version")


def _serial(version: bytes) -> int:
    return int(version.partition(b"-")[0] or b"0")


def _next_version(serial: int) -> bytes:
    # The random part tells two boards apart that were made from the same one.
    return f"{serial + 1}-{token_hex(8)}".encode()
