"""What people outside are told of a review: which step goes to which channel, and what it says.

Laws of this file:
1. Nothing of what the message says or carries leaves this way: no content, no arguments, and no
   words of those who decided. What leaves may be read by anybody who reads the channel.
2. One step of one review is one notification of a channel, under one id, however often it is made.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from types import MappingProxyType
from typing import Final

from policies.findings import scan
from policies.redaction import redact
from policies.review import ENDED, Review, State, Step

OPENED: Final = "open"  # the step of which every review is born
WAITING: Final = "waiting"  # in a filter: whatever step asks people to decide, or asks others too
DECIDED: Final = "decided"  # in a filter: whatever step makes that nobody need decide any more
TEST: Final = "test"
EVERY: Final = "*"
STEPS: Final = frozenset({OPENED, WAITING, DECIDED, *(step.value for step in Step)})
TEXT_MAX: Final = 200
REASONS_MAX: Final = 8

ATTEMPTS_MAX: Final = 14  # about four hours and a half
RETRY_FIRST_S: Final = 5.0
RETRY_MAX_S: Final = 3600.0
AGE_MAX_S: Final = 86_400.0  # what is older helps nobody, however few attempts there were


class Kind(StrEnum):
    """How a channel speaks."""

    WEBHOOK = "webhook"
    SLACK = "slack"
    PAGERDUTY = "pagerduty"
    MAIL = "mail"


# Steps that ask people, when they leave the review with people: critics may come before them.
_ASKS: Final = frozenset(
    {
        OPENED,
        *(Step.CONVENE, Step.OPINE, Step.HAND_OVER),
        *(Step.ESCALATE, Step.BREAK_GLASS),
    }
)
_PEOPLE: Final = frozenset({WAITING, DECIDED})
DEFAULT_STEPS: Final[Mapping[Kind, frozenset[str]]] = MappingProxyType(
    {
        Kind.WEBHOOK: STEPS - {WAITING, DECIDED},
        Kind.SLACK: _PEOPLE,
        Kind.PAGERDUTY: _PEOPLE | {Step.CLAIM.value},
        Kind.MAIL: _PEOPLE,
    }
)
# What the list of reviews says of a step that nobody saw being taken.
_MISSED: Final[Mapping[State, str]] = MappingProxyType(
    {
        State.APPROVED: Step.VOTE.value,
        State.REJECTED: Step.VOTE.value,
        State.EXPIRED: Step.EXPIRE.value,
        State.CANCELLED: Step.CANCEL.value,
        State.CONSUMED: Step.CONSUME.value,
    }
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Happening:
    """One step that some review took; `step` is a `Step`, or `open`."""

    review_id: str
    step: str
    state: State
    version: int
    at: datetime

    @property
    def is_over(self) -> bool:
        """Whether nobody need decide any more."""
        return is_over(self.state)

    @property
    def asks(self) -> bool:
        """Whether people are asked to decide, for the first time or more of them."""
        return self.step in _ASKS and self.state is State.PENDING


@dataclass(frozen=True, slots=True, kw_only=True)
class Interest:
    """What a channel wants to hear of. Empty `tiers` or `agents` stand for all of them.

    `tenants` holds `*` for all; empty, it is none.
    """

    channel: str
    kind: Kind
    tenants: frozenset[str]
    steps: frozenset[str]
    tiers: frozenset[str] = frozenset()
    agents: frozenset[str] = frozenset()

    def concerns(self, tenant: str) -> bool:
        """Say whether anything of this tenant may go there."""
        return EVERY in self.tenants or tenant in self.tenants

    def wants(self, happening: Happening, review: Review) -> bool:
        """Say whether this step of this review goes there."""
        named = (
            happening.step in self.steps
            or (DECIDED in self.steps and happening.is_over)
            or (WAITING in self.steps and happening.asks)
        )
        return (
            named
            and self.concerns(review.tenant)
            and (not self.tiers or review.tier in self.tiers)
            and (not self.agents or review.agent in self.agents)
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Ground:
    """Why it is held: the code of a reason, and its message."""

    code: str
    message: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Notification:
    """What one channel is told of one step.

    `id` is the same whenever it is sent, so that a receiver can drop what it has. `asks` says that
    people are asked to decide, `over` that nobody need any more; `code` how it ended, once it has.
    `link` leads to the console, where there is a public address.
    """

    id: str
    channel: str
    tenant: str
    review_id: str
    step: str
    state: str
    version: int
    asks: bool
    over: bool
    at: datetime
    agent: str
    action: str
    tier: str
    impact: float
    grounds: tuple[Ground, ...]
    needed: int
    roles: tuple[str, ...]
    action_digest: str
    expires_at: datetime
    code: str | None = None
    link: str | None = None


def is_over(state: State) -> bool:
    """Say whether nobody need decide on such a review any more."""
    return state is State.APPROVED or state in ENDED


def notification_of(
    happening: Happening, review: Review, *, channel: str, public_url: str | None
) -> Notification:
    """Return what this channel is told of this step. The review may have moved on since."""
    closing = review.closing if happening.state in ENDED else None
    link = None if public_url is None else f"{public_url}/console/reviews/{review.review_id}"
    return Notification(
        id=notification_id(review.review_id, happening.version, channel=channel),
        channel=channel,
        tenant=review.tenant,
        review_id=review.review_id,
        step=happening.step,
        state=happening.state.value,
        version=happening.version,
        asks=happening.asks,
        over=happening.is_over,
        at=happening.at,
        agent=review.agent,
        action=safe(review.tool or review.action),
        tier=review.tier,
        impact=round(review.impact.score, 4),
        grounds=tuple(
            Ground(code=plain(reason.code), message=safe(reason.message))
            for reason in review.reasons[:REASONS_MAX]
        ),
        needed=review.quorum.needed,
        roles=review.quorum.roles,
        action_digest=review.action_digest,
        expires_at=review.expires_at,
        code=None if closing is None else plain(closing.code),
        link=link,
    )


def notification_id(review_id: str, version: int, *, channel: str) -> str:
    """Return the id of the notification of that step.

    Without a full stop, which stands between the id and what follows it where a webhook is signed.
    """
    return f"{review_id}_{version}_{channel}"


def first_known(review: Review) -> Happening:
    """Return what stands for the steps of a review that nobody can read any more.

    Of one that waits for people, that it was opened, under the id of its opening; of one that does
    not, that it is over.
    """
    if not is_over(review.state):
        is_with_critics = review.state is State.DELIBERATING
        return Happening(
            review_id=review.review_id,
            step=OPENED,
            state=State.DELIBERATING if is_with_critics else State.PENDING,
            version=1,
            at=review.opened_at,
        )
    at = review.opened_at if review.closing is None else review.closing.at
    return Happening(
        review_id=review.review_id,
        step=_MISSED[review.state],
        state=review.state,
        version=review.version,
        at=at,
    )


def is_moot(notification: Notification, kind: Kind, now_state: State | None) -> bool:
    """Say whether it calls people to what nobody need decide any more.

    `now_state` is where the review stands now, None when it is not kept any more. A webhook is
    told every step that it asked for: a program may follow them.
    """
    if kind is Kind.WEBHOOK or notification.over or notification.step == TEST:
        return False
    return now_state is None or is_over(now_state)


def retry_delay_s(attempt: int, chance: float, asked_s: float | None = None) -> float:
    """Return how long to wait after this failed attempt, the first being 1.

    Doubled each time from 5 s to an hour at most, between half of it and all of it by `chance`
    (from 0 to 1), so that many do not come back at the same moment; and no sooner than was asked
    for, an hour at most.
    """
    full = min(RETRY_FIRST_S * 2.0 ** min(attempt - 1, 30), RETRY_MAX_S)
    return max(full * (0.5 + chance / 2), min(asked_s or 0.0, RETRY_MAX_S))


def safe(text: str) -> str:
    """Return what an agent may have written, without what is private in it, and leading nowhere.

    What a message calls its tool is the agent's own text, and it goes to other houses.
    """
    content = {"text": text}
    clean = redact(content, scan(content))["text"]
    return plain(str(clean).replace("://", "[:]//"))


def plain(text: str) -> str:
    r"""Return one line of text in which nothing hides, `\u202e` for what would, 200 characters."""
    seen = "".join(
        character if character.isprintable() else f"\\u{ord(character):04x}"
        for character in text[: TEXT_MAX + 1]
    )
    return seen if len(seen) <= TEXT_MAX else seen[: TEXT_MAX - 1] + "…"
