"""The values of a mailbox: what was leased, what died, who is registered."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Final, Self

from cluster.constants import DEFAULT_MAX_RETRIES
from cluster.settings import Settings
from policies.errors import DependencyError, RefusalError
from policies.message import AGENT_ID, Message

RETRY_FIRST_S: Final = 1.0
RETRY_MAX_S: Final = 300.0
RETRY_ASKED_MAX_S: Final = 3600.0
LEASE_MAX_S: Final = 3600.0
RECEIVE_MAX: Final = 100
REASON_MAX: Final = 1024
PROFILE_BYTES_MAX: Final = 8192

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MILLISECOND: Final = timedelta(milliseconds=1)
_LEASE_ID: Final = re.compile(r"\A([0-9]{1,16}-[0-3])-([1-9][0-9]{0,8})-([0-9a-f]{16})\Z")


@dataclass(frozen=True, slots=True, kw_only=True)
class Terms:
    """What a mailbox holds and for how long.

    `entries_max` and `bytes_max` count waiting messages and dead letters of one mailbox together.
    """

    max_retries: int = DEFAULT_MAX_RETRIES
    agents_max: int = 4096
    entries_max: int = 100_000
    bytes_max: int = 256 << 20

    @classmethod
    def of(cls, settings: Settings) -> Self:
        """Return the terms that the settings give."""
        return cls(max_retries=settings.max_retries)


@dataclass(frozen=True, slots=True, kw_only=True)
class Profile:
    """What an agent says about itself. Descriptive only: its rights are in its token."""

    agent_type: str = "default"
    capabilities: Sequence[str] = ()
    roles: Sequence[str] = ()
    metadata: Mapping[str, object] = field(default_factory=dict)

    def pack(self) -> str:
        """Return it as JSON. Raises RefusalError `agent.profile_too_large` past 8 KiB."""
        packed = json.dumps(
            {
                "agent_type": self.agent_type,
                "capabilities": list(self.capabilities),
                "roles": list(self.roles),
                "metadata": dict(self.metadata),
            },
            separators=(",", ":"),
        )
        if len(packed) > PROFILE_BYTES_MAX:
            raise RefusalError(
                "agent.profile_too_large",
                f"the registration takes {len(packed)} bytes of at most {PROFILE_BYTES_MAX}; "
                "keep large things elsewhere and refer to them",
                422,
            )
        return packed

    @classmethod
    def unpack(cls, packed: str | bytes) -> Self:
        """Return what was packed."""
        return cls(**json.loads(packed))


@dataclass(frozen=True, slots=True, kw_only=True)
class Registration:
    """An agent that can be written to."""

    tenant: str
    agent: str
    profile: Profile
    registered_at: datetime
    last_seen: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Envelope:
    """A message in the hands of its recipient, until `expires_at`, when its lease ends."""

    message: Message
    decision_id: str
    lease_id: str
    attempt: int
    expires_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class DeadLetter:
    """A message that will not be delivered unless it is redriven, and why.

    `code` is message.expired, mailbox.retries_exhausted, agent.not_found or agent.unregistered;
    `cursor` names its place in the list.
    """

    message: Message
    decision_id: str
    code: str
    reason: str
    attempts: int
    died_at: datetime
    cursor: str


@dataclass(frozen=True, slots=True)
class Lease:
    """What a lease id says: which entry, which attempt, and whose mailbox by a random tag."""

    entry: str
    attempt: int
    tag: str

    def __str__(self) -> str:
        return f"{self.entry}-{self.attempt}-{self.tag}"

    @classmethod
    def parse(cls, lease_id: str) -> Self:
        """Read a lease id. Raises RefusalError `mailbox.lease_unknown` for anything else."""
        found = _LEASE_ID.match(lease_id)
        if found is None:
            raise lease_unknown(lease_id)
        return cls(found[1], int(found[2]), found[3])


class MailboxFullError(DependencyError):
    """The mailbox has no room; the message stays in the outbox and is delivered when it has."""

    code = "mailbox.full"

    def __init__(self, agent: str) -> None:
        super().__init__("mailbox", f"that of {agent!r} is full")
        self.args = (agent,)


def lease_unknown(lease_id: str) -> RefusalError:
    """The refusal of a lease that this mailbox never gave; others' leases look the same."""
    return RefusalError(
        "mailbox.lease_unknown", f"no lease {lease_id[:80]!r} was given by this mailbox", 404
    )


def lease_lost(lease_id: str) -> RefusalError:
    """The refusal of a lease that ended, or whose message was given to another attempt."""
    return RefusalError(
        "mailbox.lease_lost",
        f"the lease {lease_id!r} has ended; receive the message again, and extend in time",
        409,
    )


def agent_unknown(agent: str) -> RefusalError:
    """The refusal of an agent that is not registered."""
    return RefusalError(
        "agent.unknown",
        f"no agent {agent!r} is registered here; register it with PUT /v1/agents/{agent}",
        404,
    )


def check_agent_id(agent: str) -> None:
    """Raise RefusalError `agent.bad_id` unless this can name an agent."""
    if AGENT_ID.match(agent) is None:
        raise RefusalError("agent.bad_id", f"an agent id matches {AGENT_ID.pattern}", 422)


def retry_delay_s(attempt: int) -> float:
    """How long to wait after this failed attempt: 1 s, doubled each time, 300 s at most."""
    return min(RETRY_FIRST_S * 2.0 ** min(attempt - 1, 30), RETRY_MAX_S)


def millis(moment: datetime) -> int:
    """Return whole milliseconds since the epoch, as the scripts count."""
    return (moment - _EPOCH) // _MILLISECOND


def time_of(milliseconds: int) -> datetime:
    """Return the moment that `millis` counted."""
    return _EPOCH + milliseconds * _MILLISECOND
