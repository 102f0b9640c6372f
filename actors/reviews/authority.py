"""Who may decide on reviews beyond their own roles: delegations, shifts on call, critics.

Laws: a change is in the ledger's stream, or it was not made; what is over or damaged grants
nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from importlib.resources import files
from secrets import token_hex
from typing import Any, Final, NamedTuple, Protocol

import structlog

from actors.reviews.record import timestamp
from actors.reviews.standing import (
    DamagedAuthorityError,
    Found,
    Granted,
    delegation_field,
    facts_of,
    field_of,
    pack,
    unpack_critic,
    unpack_delegation,
    unpack_shift,
)
from cluster.clock import Clock
from cluster.store import keys
from cluster.store.client import Call, Script, Store
from policies.errors import DependencyError, RefusalError
from policies.panel import Seat
from policies.standin import EACH_MAX, GIVEN_MAX, Critic, Delegation, Shift, Standing, seats

NAMED_MAX: Final = 1024
_SCRIPTS: Final = files("actors.reviews") / "scripts"
_CHANGE: Final = Script((_SCRIPTS / "authority.lua").read_text())
_STANDING: Final = Script((_SCRIPTS / "standing.lua").read_text())
_BENCH: Final = Script("""
local flat, bench = redis.call('HGETALL', KEYS[1]), {}
for i = 1, #flat, 2 do
  bench[#bench + 1] = { flat[i], flat[i + 1], redis.call('HEXISTS', KEYS[2], flat[i]) }
end
return bench
""")
_DELEGATIONS: Final = "delegations"
_SHIFTS: Final = "shifts"
_CRITICS: Final = "critics"
_MARKS: Final = "authority"

log = structlog.get_logger(__name__)


class Notary(Protocol):
    """Makes records for the ledger; LedgerNotary is one."""

    def authority_note(self, tenant: str, facts: Mapping[str, object]) -> tuple[bytes, bytes]:
        """Return the body and the MAC of a record of one change of who may decide."""
        ...


class Seated(NamedTuple):
    """A critic, and whether its agent is registered: only then it is called."""

    critic: Critic
    is_registered: bool


class _Change(NamedTuple):
    """One change: what it is called, in which hash, of which field, to what (None: away)."""

    word: str
    part: str
    field: str
    granted: Granted | None
    facts: Mapping[str, object]
    unknown: RefusalError
    registered: str = ""
    giver: str = ""


class Authority:
    """What a tenant's people gave to one another, and whom they put on call and on panels.

    Every method raises DependencyError when the store cannot be reached; a change also when the
    tenant's log takes no records: then nothing has changed. Belongs to one event loop.
    """

    def __init__(self, store: Store, *, clock: Clock, notary: Notary) -> None:
        self._store = store
        self._clock = clock
        self._notary = notary
        self._tenants: set[str] = set()
        self._damaged: set[tuple[str, str, bytes]] = set()

    @property
    def damaged(self) -> int:
        """How many damaged fields were seen."""
        return len(self._damaged)

    # -- reading -------------------------------------------------------------------------------

    async def standing(self, tenant: str, name: str = "") -> Standing:
        """Return what was given to somebody and is not over, and their shifts; of all if empty."""
        parts = (_MARKS, _DELEGATIONS, _SHIFTS)
        now_ms = int(self._clock.now().timestamp() * 1000)
        call = Call(_STANDING, [keys.reviews(tenant, part) for part in parts], [name, now_ms])
        mark, given, planned = await self._run(call)
        delegations = self._sound(tenant, _DELEGATIONS, given, unpack=unpack_delegation)
        shifts = self._sound(tenant, _SHIFTS, planned, unpack=unpack_shift)
        return Standing(
            delegations=tuple(sorted(delegations, key=lambda one: (one.giver, one.to))),
            shifts=tuple(sorted(shifts, key=lambda one: (one.starts_at, one.shift_id))),
            as_of=mark.decode(),
        )

    async def bench(self, tenant: str) -> tuple[Seated, ...]:
        """Return every critic, by name."""
        names = [keys.reviews(tenant, _CRITICS), keys.agents(tenant)]
        found: list[Seated] = []
        for field, packed, is_registered in await self._run(Call(_BENCH, names, [])):
            sound = self._sound(tenant, _CRITICS, [field, packed], unpack=unpack_critic)
            found += [Seated(critic, bool(is_registered)) for critic in sound]
        return tuple(sorted(found, key=lambda one: one.critic.agent))

    async def critics(self, tenant: str) -> tuple[Seat, ...]:
        """Return the seats of a panel that is called now: registered critics, weightiest first."""
        return seats(one.critic for one in await self.bench(tenant) if one.is_registered)

    # -- changing ------------------------------------------------------------------------------

    async def give(self, tenant: str, delegation: Delegation) -> None:
        """Let somebody decide in the giver's stead; what was given to them before is replaced.

        Raises RefusalError `standin.full` (409).
        """
        await self._put(tenant, "give", delegation, by=delegation.giver)

    async def withdraw(self, tenant: str, giver: str, to: str, *, by: str) -> None:
        """Take back what was given. Raises RefusalError `standin.unknown` (404)."""
        change = _Change(
            word="withdraw",
            part=_DELEGATIONS,
            field=delegation_field(giver, to),
            granted=None,
            facts={"delegation": {"giver": giver, "to": to}},
            unknown=_unknown(f"{giver} has let {to} decide nothing, or not any more"),
        )
        await self._change(tenant, change, by=by)

    async def plan(self, tenant: str, shift: Shift, *, by: str) -> None:
        """Plan a shift; another of the same id is replaced. Raises RefusalError `standin.full`."""
        await self._put(tenant, "plan", shift, by=by)

    async def unplan(self, tenant: str, shift_id: str, *, by: str) -> None:
        """Take a shift away. Raises RefusalError `standin.unknown` (404)."""
        change = _Change(
            word="unplan",
            part=_SHIFTS,
            field=shift_id,
            granted=None,
            facts={"shift": {"shift_id": shift_id}},
            unknown=_unknown(f"no shift {shift_id!r} is planned here, or it is over"),
        )
        await self._change(tenant, change, by=by)

    async def seat(self, tenant: str, critic: Critic, *, by: str) -> None:
        """Let an agent be called to panels; RefusalError `agent.unknown` (404), `standin.full`."""
        await self._put(tenant, "seat", critic, by=by, registered=critic.agent)

    async def unseat(self, tenant: str, agent: str, *, by: str) -> None:
        """Call an agent to no more panels. Raises RefusalError `critic.unknown` (404)."""
        change = _Change(
            word="unseat",
            part=_CRITICS,
            field=agent,
            granted=None,
            facts={"critic": {"agent": agent}},
            unknown=RefusalError("critic.unknown", f"{agent!r} is no critic here", 404),
        )
        await self._change(tenant, change, by=by)

    # -- parts ---------------------------------------------------------------------------------

    async def _put(
        self, tenant: str, word: str, granted: Granted, *, by: str, registered: str = ""
    ) -> None:
        part, name = _NAMES[type(granted)]
        change = _Change(
            word=word,
            part=part,
            field=field_of(granted),
            granted=granted,
            facts={name: facts_of(granted)},
            unknown=RefusalError(
                "agent.unknown", f"no agent {registered!r} is registered here", 404
            ),
            registered=registered,
            giver=granted.giver if isinstance(granted, Delegation) else "",
        )
        await self._change(tenant, change, by=by)

    async def _change(self, tenant: str, change: _Change, *, by: str) -> None:
        now = self._clock.now()
        facts = {
            "tenant": tenant,
            "change": change.word,
            "by": by,
            "at": timestamp(now),
            **change.facts,
        }
        note = self._notary.authority_note(tenant, facts)
        await self._introduce(tenant)
        call = Call(
            _CHANGE,
            [
                keys.reviews(tenant, change.part),
                keys.reviews(tenant, _MARKS),
                keys.wal(tenant),
                keys.halted(tenant),
                keys.agents(tenant),
            ],
            [
                token_hex(8),
                change.field,
                b"" if change.granted is None else pack(change.granted),
                *note,
                int(now.timestamp() * 1000),
                EACH_MAX,
                change.registered,
                change.giver and delegation_field(change.giver, ""),
                GIVEN_MAX,
            ],
        )
        match await self._run(call):
            case [1]:
                log.info("authority.changed", tenant=tenant, change=change.word, by=by)
            case [3, bytes() as reason]:
                raise DependencyError("ledger", reason.decode())
            case [4]:
                most = f"{GIVEN_MAX} of one giver, {EACH_MAX} of all" if change.giver else EACH_MAX
                detail = f"there are as many as there may be ({most}); take some away first"
                raise RefusalError("standin.full", detail, 409)
            case _:
                raise change.unknown

    async def _introduce(self, tenant: str) -> None:
        """Tell the sequencer about a tenant before its first record."""
        if tenant not in self._tenants:
            await self._store.execute("SADD", keys.TENANTS, tenant)
            self._tenants.add(tenant)

    async def _run(self, call: Call) -> Any:
        return await self._store.run(call)

    def _sound(
        self,
        tenant: str,
        part: str,
        flat: Sequence[bytes],
        *,
        unpack: Callable[[bytes, bytes], Found],
    ) -> list[Found]:
        """Return what can be read; the rest grants nothing and is named once."""
        found: list[Found] = []
        for field, packed in zip(flat[::2], flat[1::2], strict=True):
            try:
                found.append(unpack(field, packed))
            except DamagedAuthorityError as error:
                self._name(tenant, part, field, error=error)
        return found

    def _name(self, tenant: str, part: str, field: bytes, *, error: DamagedAuthorityError) -> None:
        damage = tenant, part, field
        if damage in self._damaged or len(self._damaged) >= NAMED_MAX:
            return
        self._damaged.add(damage)
        log.error(
            "authority.damaged", tenant=tenant, part=part, field=repr(field)[:200], error=str(error)
        )


_NAMES: Final[Mapping[type[Granted], tuple[str, str]]] = {
    Delegation: (_DELEGATIONS, "delegation"),
    Shift: (_SHIFTS, "shift"),
    Critic: (_CRITICS, "critic"),
}


def _unknown(detail: str) -> RefusalError:
    return RefusalError("standin.unknown", detail, 404)
