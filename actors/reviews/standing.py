"""Delegations, shifts and critics as the store and the ledger have them; each comes back equal."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from math import ceil
from typing import Any, Final, TypeAlias, TypeVar

import orjson

from actors.reviews.record import moment, timestamp
from policies.errors import GovernanceError, RefusalError
from policies.standin import Critic, Delegation, Shift

VERSION: Final = 1
NEVER: Final = "-"  # when what has no end is over

Granted: TypeAlias = Delegation | Shift | Critic
Found = TypeVar("Found", Delegation, Shift, Critic)

_EPOCH: Final = datetime.fromisoformat("1970-01-01T00:00:00Z")
_MILLISECOND: Final = timedelta(milliseconds=1)


class DamagedAuthorityError(GovernanceError):
    """These bytes are nothing that this build packed; they grant nothing."""

    code = "authority.damaged"

    def __init__(self, detail: str) -> None:
        super().__init__(detail)
        self.detail = detail

    def __str__(self) -> str:
        return f"what was granted is damaged: {self.detail}"


def field_of(granted: Granted) -> str:
    """Return its name within its hash; no id has the colon."""
    match granted:
        case Delegation():
            return delegation_field(granted.giver, granted.to)
        case Shift():
            return granted.shift_id
        case Critic():
            return granted.agent


def delegation_field(giver: str, to: str) -> str:
    """Return the name of what one gave to the other."""
    return f"{giver}:{to}"


def facts_of(granted: Granted) -> dict[str, object]:
    """Return every field of it as a JSON value."""
    match granted:
        case Delegation():
            return {
                "giver": granted.giver,
                "giver_owner": granted.giver_owner,
                "to": granted.to,
                "roles": sorted(granted.roles),
                "reason": granted.reason,
                "made_at": timestamp(granted.made_at),
                "until": timestamp(granted.until),
            }
        case Shift():
            return {
                "shift_id": granted.shift_id,
                "person": granted.person,
                "starts_at": timestamp(granted.starts_at),
                "ends_at": timestamp(granted.ends_at),
            }
        case Critic():
            return {"agent": granted.agent, "weight": granted.weight}


def pack(granted: Granted) -> bytes:
    """Return it for the store: when it is over and whom it is about, for the scripts, and JSON."""
    match granted:
        case Delegation():
            head = f"{_ms(granted.until)} {granted.to}"
        case Shift():
            head = f"{_ms(granted.ends_at)} {granted.person}"
        case Critic():
            head = f"{NEVER} {granted.agent}"
    return head.encode() + b"\n" + orjson.dumps({"v": VERSION, **facts_of(granted)})


def unpack_delegation(field: bytes, packed: bytes) -> Delegation:
    """Return what was packed under that name. Raises DamagedAuthorityError for anything else."""
    try:
        facts = _facts(packed)
        times = {name: moment(facts[name]) for name in ("made_at", "until")}
        found = Delegation(**{**facts, **times, "roles": frozenset(facts["roles"])})
    except _WRONG as error:
        raise DamagedAuthorityError(repr(error)) from error
    return _checked(found, field, packed)


def unpack_shift(field: bytes, packed: bytes) -> Shift:
    """Return what was packed under that name. Raises DamagedAuthorityError for anything else."""
    try:
        facts = _facts(packed)
        times = {name: moment(facts[name]) for name in ("starts_at", "ends_at")}
        found = Shift(**{**facts, **times})
    except _WRONG as error:
        raise DamagedAuthorityError(repr(error)) from error
    return _checked(found, field, packed)


def unpack_critic(field: bytes, packed: bytes) -> Critic:
    """Return what was packed under that name. Raises DamagedAuthorityError for anything else."""
    try:
        found = Critic(**_facts(packed))
    except _WRONG as error:
        raise DamagedAuthorityError(repr(error)) from error
    return _checked(found, field, packed)


_WRONG: Final = (AttributeError, KeyError, TypeError, ValueError, RefusalError)


def _facts(packed: bytes) -> Mapping[str, Any]:
    facts: dict[str, Any] = orjson.loads(packed.partition(b"\n")[2])
    if facts.pop("v") != VERSION:
        raise ValueError("it is of another version")
    return facts


def _checked(found: Found, field: bytes, packed: bytes) -> Found:
    # Under another name, or behind a first line of another, it is not what somebody granted.
    if field != field_of(found).encode() or packed != pack(found):
        raise DamagedAuthorityError("it lies under another name, or is written otherwise")
    return found


def _ms(at: datetime) -> int:
    # Rounded up, so that nothing is swept before it is over.
    return ceil((at - _EPOCH) / _MILLISECOND)
