"""Who may decide in whose stead, who is on call, and which critics there are.

Laws of this file:
1. Nobody gives away what their own token does not carry, so what was given goes no further.
2. Nobody stands for somebody of their own house: that would count one person twice.
3. What is over grants nothing, whether or not anybody has swept it away.
4. Critics speak on panels, for themselves: they stand in for nobody, and nobody for them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final

from policies.errors import RefusalError
from policies.message import AGENT_ID
from policies.panel import SEATS_MAX, WEIGHT_MAX, Seat
from policies.principal import Principal
from policies.review import Absent, Person
from policies.roles import ON_CALL, decides

DELEGATION_MAX: Final = timedelta(days=14)
SHIFT_MAX: Final = timedelta(days=31)
AHEAD_MAX: Final = timedelta(days=366)
REASON_MAX: Final = 512
GIVEN_MAX: Final = 20  # how many may decide in the stead of one person
EACH_MAX: Final = 1000  # delegations, shifts and critics of a tenant, of each so many
_CRITIC: Final = "critic"


@dataclass(frozen=True, slots=True, kw_only=True)
class Delegation:
    """`giver` lets `to` decide in these roles in their stead, until then.

    `giver_owner` is who answers for the giver, where their token says so. Raises RefusalError
    `standin.*` for one that nobody could give.
    """

    giver: str
    giver_owner: str | None
    to: str
    roles: frozenset[str]
    reason: str
    made_at: datetime
    until: datetime

    def __post_init__(self) -> None:
        _require_ids(self.giver, self.to, *([self.giver_owner] if self.giver_owner else []))
        if self.to in self.names:
            raise _own_house()
        if not self.roles or not all(map(_for_people, self.roles)):
            raise _role_missing()
        object.__setattr__(self, "reason", _said(self.reason))
        _require_period(self.made_at, self.until, DELEGATION_MAX)

    @property
    def names(self) -> frozenset[str]:
        """Every name under which the giver counts."""
        return frozenset({self.giver, self.giver_owner or self.giver})

    def is_live(self, now: datetime) -> bool:
        """Say whether it counts at this moment."""
        return now < self.until


@dataclass(frozen=True, slots=True, kw_only=True)
class Shift:
    """`person` is on call from then until then. Raises RefusalError `standin.*` for no shift."""

    shift_id: str
    person: str
    starts_at: datetime
    ends_at: datetime

    def __post_init__(self) -> None:
        _require_ids(self.shift_id, self.person)
        _require_period(self.starts_at, self.ends_at, SHIFT_MAX)

    def is_now(self, now: datetime) -> bool:
        """Say whether it has begun and is not over."""
        return self.starts_at <= now < self.ends_at


@dataclass(frozen=True, slots=True, kw_only=True)
class Critic:
    """An agent that may be called to a panel, and how much its word weighs there."""

    agent: str
    weight: int

    def __post_init__(self) -> None:
        _require_ids(self.agent)
        if type(self.weight) is not int or not 1 <= self.weight <= WEIGHT_MAX:
            detail = f"a critic's word weighs from 1 to {WEIGHT_MAX}, in whole numbers"
            raise RefusalError("critic.weight", detail, 422)


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """What may let somebody decide beyond their own roles: what was given to them, their shifts.

    `as_of` names the state of the tenant that it was read from.
    """

    delegations: tuple[Delegation, ...] = ()
    shifts: tuple[Shift, ...] = ()
    as_of: str = field(default="", compare=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Gift:
    """What somebody asks for who lets another decide; None gives all roles that they can give."""

    to: str
    roles: frozenset[str] | None
    reason: str
    until: datetime


def delegated(principal: Principal, gift: Gift, *, now: datetime) -> Delegation:
    """Return the delegation that the principal may give.

    Raises RefusalError: 403 for roles that are not theirs to give and for their own house, 422 for
    a reason that is none and for a time that is over or further off than `DELEGATION_MAX`.
    """
    own = frozenset(filter(_for_people, principal.roles))
    roles = own if gift.roles is None else gift.roles
    if not roles or not roles <= own:
        raise _role_missing()
    return Delegation(
        giver=principal.agent,
        giver_owner=principal.owner,
        to=gift.to,
        roles=roles,
        reason=gift.reason,
        made_at=now,
        until=gift.until,
    )


def planned(shift: Shift, *, now: datetime) -> Shift:
    """Return the shift if it can be planned now; RefusalError 422 for one that is over or far."""
    if shift.ends_at <= now or shift.starts_at > now + AHEAD_MAX:
        detail = f"plan what is not over yet and begins within {AHEAD_MAX.days} days"
        raise RefusalError("standin.period", detail, 422)
    return shift


def on_call(shifts: Iterable[Shift], now: datetime) -> tuple[str, ...]:
    """Return who is on call now, by name."""
    return tuple(sorted({shift.person for shift in shifts if shift.is_now(now)}))


def person_of(
    principal: Principal,
    standing: Standing,
    *,
    stopped: Callable[[str], bool],
    now: datetime,
) -> Person:
    """Return who decides: with the role of who is on call, and those whose stead they may take.

    `stopped` says whether operators revoked or stopped somebody: nobody stands for those. Neither
    counts for who has no role of their own that decides, beyond that of a critic.
    """
    roles = principal.roles - {ON_CALL}  # no token can carry it
    names = frozenset({principal.agent, principal.owner or principal.agent})
    if not any(map(_for_people, roles)):
        return Person(name=principal.agent, owner=principal.owner, roles=roles)
    if principal.agent in on_call(standing.shifts, now):
        roles |= {ON_CALL}
    given = [
        Absent(name=one.giver, owner=one.giver_owner, roles=one.roles)
        for one in standing.delegations
        if one.to == principal.agent
        and one.is_live(now)
        and not names & one.names
        and not any(map(stopped, one.names))
    ]
    return Person(
        name=principal.agent,
        owner=principal.owner,
        roles=roles,
        stands_for=tuple(sorted(given, key=lambda absent: absent.name)),
        as_of=standing.as_of if given or ON_CALL in roles else "",
    )


def seats(critics: Iterable[Critic]) -> tuple[Seat, ...]:
    """Return the seats of a panel: the weightiest first, then by name, no more than there are."""
    order = sorted(critics, key=lambda critic: (-critic.weight, critic.agent))
    return tuple(Seat(agent=one.agent, weight=one.weight) for one in order[:SEATS_MAX])


def _for_people(role: str) -> bool:
    return role != _CRITIC and decides(role)


def _require_ids(*names: str) -> None:
    for name in names:
        if AGENT_ID.match(name) is None:
            raise RefusalError("standin.invalid", f"{name!r:.80} is no id", 422)


def _require_period(begin: datetime, end: datetime, longest: timedelta) -> None:
    zoned = begin.tzinfo is not None and end.tzinfo is not None
    if not zoned or not timedelta() < end - begin <= longest:
        detail = f"it ends after it begins, and at most {longest.days} days later"
        raise RefusalError("standin.period", detail, 422)


def _said(reason: str) -> str:
    reason = reason.strip()
    seen = any(letter.isprintable() and not letter.isspace() for letter in reason)
    if not seen or len(reason) > REASON_MAX:
        detail = f"say why, in 1 to {REASON_MAX} characters"
        raise RefusalError("standin.reason_required", detail, 422)
    return reason


def _own_house() -> RefusalError:
    detail = "nobody stands in for themselves, nor for the agents that they answer for"
    return RefusalError("standin.own_house", detail, 403)


def _role_missing() -> RefusalError:
    detail = "give roles of your own token that decide on reviews, and no critic's"
    return RefusalError("standin.role_missing", detail, 403)
