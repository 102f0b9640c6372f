"""What the channels file says, once it is understood."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from types import MappingProxyType
from typing import TypeAlias

from pydantic import SecretStr

from policies.notification import Interest
from policies.review import Person


class Security(StrEnum):
    """How a mail server is spoken to."""

    STARTTLS = "starttls"
    TLS = "tls"
    NONE = "none"


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What every channel has: its name, what it wants to hear, and how long it may take."""

    name: str
    interest: Interest
    timeout_s: float
    ca_file: Path | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class WebhookPlan(Plan):
    """An address, and the secrets that sign: the newest first, two while they are changed."""

    url: str
    secrets: tuple[SecretStr, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class SlackPlan(Plan):
    """A conversation in Slack. `people` may decide there: by the id of a Slack user.

    With `people` there is one tenant, theirs, and `signing_secrets` prove what Slack sends us.
    """

    url: str
    token: SecretStr
    conversation: str
    signing_secrets: tuple[SecretStr, ...] = ()
    people: Mapping[str, Person] = field(default_factory=lambda: MappingProxyType({}))

    @property
    def tenant(self) -> str | None:
        """The one tenant of the people who may decide here; None when nobody may."""
        return next(iter(self.interest.tenants)) if self.people else None


@dataclass(frozen=True, slots=True, kw_only=True)
class PagerPlan(Plan):
    """A service of PagerDuty."""

    url: str
    routing_key: SecretStr
    severity: str


@dataclass(frozen=True, slots=True, kw_only=True)
class MailPlan(Plan):
    """A mail server, and who is written to."""

    host: str
    port: int
    security: Security
    sender: str
    recipients: tuple[str, ...]
    username: str | None = None
    password: SecretStr | None = None


AnyPlan: TypeAlias = WebhookPlan | SlackPlan | PagerPlan | MailPlan


@dataclass(frozen=True, slots=True, kw_only=True)
class Channels:
    """Every channel of an installation, by its name, and its public address for links."""

    plans: Mapping[str, AnyPlan] = field(default_factory=lambda: MappingProxyType({}))
    public_url: str | None = None

    def interests(self) -> tuple[Interest, ...]:
        """Return what the channels want to hear."""
        return tuple(plan.interest for plan in self.plans.values())

    def slack(self) -> tuple[SlackPlan, ...]:
        """Return the conversations in which people may decide."""
        found = (plan for plan in self.plans.values() if isinstance(plan, SlackPlan))
        return tuple(plan for plan in found if plan.people)
