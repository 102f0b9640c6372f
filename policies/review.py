"""A held decision that waits for people: what it is, and everything that can happen to it.

`TRANSITIONS` is the whole state machine; `policies.reviewing` makes its steps.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from types import MappingProxyType
from typing import Final, TypeAlias

from policies.decision import Impact, Reason
from policies.panel import Choice, Panel, Seat

LEVEL_MAX: Final = 3
REASON_MAX: Final = 2000
VOTES_MAX: Final = 32


class State(StrEnum):
    """Where a review stands."""

    DELIBERATING = "deliberating"
    PENDING = "pending"
    CLAIMED = "claimed"
    APPROVED = "approved"
    REJECTED = "rejected"
    EXPIRED = "expired"
    CANCELLED = "cancelled"
    CONSUMED = "consumed"


class Step(StrEnum):
    """What can happen to one."""

    CONVENE = "convene"
    OPINE = "opine"
    HAND_OVER = "hand_over"
    CLAIM = "claim"
    UNCLAIM = "unclaim"
    VOTE = "vote"
    ESCALATE = "escalate"
    BREAK_GLASS = "break_glass"
    LAPSE = "lapse"
    EXPIRE = "expire"
    CANCEL = "cancel"
    CONSUME = "consume"
    OVERRULE = "overrule"


_OPEN: Final[Mapping[Step, frozenset[State]]] = MappingProxyType(
    {
        Step.CLAIM: frozenset({State.CLAIMED}),
        Step.VOTE: frozenset({State.PENDING, State.APPROVED, State.REJECTED}),
        Step.ESCALATE: frozenset({State.PENDING}),
        Step.BREAK_GLASS: frozenset({State.PENDING, State.APPROVED}),
        Step.EXPIRE: frozenset({State.EXPIRED}),
        Step.CANCEL: frozenset({State.CANCELLED}),
    }
)
_DELIBERATING: Final[Mapping[Step, frozenset[State]]] = MappingProxyType(
    {
        **_OPEN,
        Step.BREAK_GLASS: frozenset({State.PENDING}),
        Step.CONVENE: frozenset({State.DELIBERATING, State.PENDING}),
        Step.OPINE: frozenset({State.DELIBERATING, State.PENDING, State.APPROVED, State.REJECTED}),
        Step.HAND_OVER: frozenset({State.PENDING}),
    }
)
_CLAIMED: Final[Mapping[Step, frozenset[State]]] = MappingProxyType(
    {
        **_OPEN,
        Step.UNCLAIM: frozenset({State.PENDING}),
        Step.LAPSE: frozenset({State.PENDING}),
    }
)
_APPROVED: Final[Mapping[Step, frozenset[State]]] = MappingProxyType(
    {
        Step.CONSUME: frozenset({State.CONSUMED}),
        Step.OVERRULE: frozenset({State.REJECTED}),
        Step.EXPIRE: frozenset({State.EXPIRED}),
        Step.CANCEL: frozenset({State.CANCELLED}),
    }
)
_NOTHING: Final[Mapping[Step, frozenset[State]]] = MappingProxyType({})

TRANSITIONS: Final[Mapping[State, Mapping[Step, frozenset[State]]]] = MappingProxyType(
    {
        State.DELIBERATING: _DELIBERATING,
        State.PENDING: _OPEN,
        State.CLAIMED: _CLAIMED,
        State.APPROVED: _APPROVED,
        State.REJECTED: _NOTHING,
        State.EXPIRED: _NOTHING,
        State.CANCELLED: _NOTHING,
        State.CONSUMED: _NOTHING,
    }
)

OPEN: Final = frozenset({State.DELIBERATING, State.PENDING, State.CLAIMED})
ENDED: Final = frozenset(state for state, steps in TRANSITIONS.items() if not steps)


class Rule(StrEnum):
    """How many rejections end a review: one (`veto`), or as many as approve it (`majority`)."""

    VETO = "veto"
    MAJORITY = "majority"


@dataclass(frozen=True, slots=True, kw_only=True)
class Absent:
    """Somebody who let another decide in their stead, and the roles that they had then."""

    name: str
    owner: str | None
    roles: frozenset[str]

    @property
    def names(self) -> frozenset[str]:
        """Every name under which they count."""
        return frozenset({self.name, self.owner or self.name})


@dataclass(frozen=True, slots=True, kw_only=True)
class Person:
    """A verified identity of the review's own tenant, as far as a review must know it.

    `owner` is who answers for it: of an agent its person, of a person usually nobody else.
    `stands_for` are those whose stead it may take now, and `as_of` names the state of the tenant's
    stand-ins and shifts by which that is so; empty where nothing hangs on it.
    """

    name: str
    owner: str | None = None
    roles: frozenset[str] = frozenset()
    stands_for: tuple[Absent, ...] = ()
    as_of: str = ""

    @property
    def answers(self) -> str:
        """Who this is when people are counted."""
        return self.owner or self.name

    @property
    def names(self) -> frozenset[str]:
        """Every name under which it counts."""
        return frozenset({self.name, self.answers})


@dataclass(frozen=True, slots=True, kw_only=True)
class Quorum:
    """How many people must approve, in which roles; with `each`, every role among them."""

    needed: int
    roles: tuple[str, ...]
    each: bool = False
    rule: Rule = Rule.VETO


@dataclass(frozen=True, slots=True, kw_only=True)
class Vote:
    """One person's word. `roles` are those of the quorum that the voter held.

    `in_stead_of` are the names of who let the voter decide for them, when the roles are theirs.
    """

    by: str
    answers: str
    roles: tuple[str, ...]
    choice: Choice
    reason: str
    at: datetime
    in_stead_of: tuple[str, ...] = ()

    @property
    def names(self) -> frozenset[str]:
        """Everybody whose word this was."""
        return frozenset({self.by, self.answers, *self.in_stead_of})


@dataclass(frozen=True, slots=True, kw_only=True)
class Glass:
    """How many people in which roles may let it go at once, without its quorum; who did so far."""

    needed: int
    roles: tuple[str, ...]
    broken: tuple[Vote, ...] = ()

    @property
    def is_broken(self) -> bool:
        """Whether enough of them did."""
        return len(self.broken) >= self.needed


@dataclass(frozen=True, slots=True, kw_only=True)
class Claim:
    """Somebody looks at it, so that no two do; it ends by itself."""

    by: str
    until: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Ladder:
    """Who may vote as time goes on: at level n the roles of `adds[:n - 1]` too.

    `level` starts at 1 and rises every `step_s` seconds, or when somebody asks for it.
    """

    level: int
    step_s: float
    next_at: datetime | None
    adds: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Closing:
    """How it ended: a stable code, in words, by whom (None: by time or by the law)."""

    code: str
    reason: str
    by: str | None
    at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Review:
    """One held decision and what people said about it; `version` counts what happened.

    An approval holds for exactly what `action_digest` covers. `delivers` says whether the bus
    delivers what is approved, or the agent consumes it. `released_by` is the decision that let
    the action go, or overruled its approval, once there is one.

    `panel` are the critics who may decide it before people do. What went through broken `glass`
    is looked at afterwards, in a review that `follows` this one, by others than the `barred`.
    `shape` is a digest of what arguments it has, without their values.
    """

    review_id: str
    tenant: str
    decision_id: str
    message_id: str
    agent: str
    owner: str | None
    agent_roles: tuple[str, ...]
    recipient: str | None
    action: str
    tool: str
    resource: str
    action_digest: str
    policy_revision: str
    constitution_digest: str
    impact: Impact
    reasons: tuple[Reason, ...]
    tier: str
    quorum: Quorum
    ladder: Ladder
    delivers: bool
    opened_at: datetime
    expires_at: datetime
    state: State = State.PENDING
    claim: Claim | None = None
    votes: tuple[Vote, ...] = ()
    closing: Closing | None = None
    released_by: str | None = None
    version: int = 1
    panel: Panel | None = None
    glass: Glass | None = None
    follows: str | None = None
    barred: frozenset[str] = frozenset()
    shape: str = ""

    @property
    def eligible(self) -> frozenset[str]:
        """The roles that may vote now."""
        return frozenset(self.quorum.roles) | frozenset(self.ladder.adds[: self.ladder.level - 1])

    @property
    def due_at(self) -> datetime | None:
        """When time alone changes it next; None when it has ended."""
        if self.state in ENDED:
            return None
        moments = [self.expires_at]
        if self.claim is not None:
            moments.append(self.claim.until)
        if self.state is State.DELIBERATING and self.panel is not None:
            # A panel that was not called yet is called at once.
            moments.append(self.opened_at if self.panel.seats is None else self.panel.closes_at)
        elif self.state in OPEN and self.ladder.next_at is not None:
            moments.append(self.ladder.next_at)
        return min(moments)


@dataclass(frozen=True, slots=True, kw_only=True)
class Claimed:
    """Somebody looks at it from now on, for `seconds`; again by the same one, for longer."""

    by: Person
    seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Unclaimed:
    """Who had claimed it lets go."""

    by: Person


@dataclass(frozen=True, slots=True, kw_only=True)
class Voted:
    """Somebody votes; `digest` is what they were shown, None when they did not say."""

    by: Person
    choice: Choice
    reason: str
    digest: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Escalated:
    """Somebody wants others to look."""

    by: Person
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Convened:
    """The critics of the tenant are called: these are all that there are."""

    critics: tuple[Seat, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Opined:
    """A critic says what it thinks; `digest` is what it was shown, None when it did not say."""

    by: Person
    choice: Choice
    reason: str
    digest: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class GlassBroken:
    """Somebody who may wants it to go at once, without its quorum."""

    by: Person
    reason: str
    digest: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class TimePassed:
    """Nobody did anything, and it is later now."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Cancelled:
    """Who asked for the action does not want it any more."""

    by: Person
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Consumed:
    """What was approved went, under the decision `released_by`."""

    released_by: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Overruled:
    """At the moment of use the law said no to what people had approved, by that decision."""

    code: str
    reason: str
    released_by: str


Event: TypeAlias = (
    Convened
    | Opined
    | Claimed
    | Unclaimed
    | Voted
    | Escalated
    | GlassBroken
    | TimePassed
    | Cancelled
    | Consumed
    | Overruled
)
