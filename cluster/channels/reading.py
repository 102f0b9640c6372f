"""The channels file: who is told, where, and of what. Understood whole, or refused."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final

from cluster import plain_yaml
from cluster.channels.plans import (
    AnyPlan,
    Channels,
    MailPlan,
    PagerPlan,
    Security,
    SlackPlan,
    WebhookPlan,
)
from cluster.channels.section import Faults, Section
from cluster.channels.webhook import key_of
from cluster.constants import CONSTITUTIONAL_HASH
from cluster.errors import ConfigurationError
from cluster.settings import Environment, Settings
from policies.message import AGENT_ID
from policies.notification import DEFAULT_STEPS, EVERY, STEPS, Interest, Kind
from policies.review import Person
from policies.roles import ROLE_SCOPES

FILE_BYTES_MAX: Final = 1 << 20
CHANNELS_MAX: Final = 32
TIMEOUT_S: Final = 10.0
SLACK_URL: Final = "https://slack.com/api"
PAGERDUTY_URL: Final = "https://events.pagerduty.com/v2/enqueue"
SECRETS_MAX: Final = 2  # the one in force, and the one before it

_NAME: Final = re.compile(r"\A[a-z][a-z0-9-]{0,31}\Z")
_TENANT: Final = re.compile(r"\A(?:\*|[a-z0-9][a-z0-9_-]{1,63})\Z")
_TIER: Final = re.compile(r"\A[a-z][a-z0-9_]{0,31}\Z")
_STEP: Final = re.compile(rf"\A(?:{'|'.join(sorted(STEPS))})\Z")
_DECIDER: Final = re.compile(
    rf"\A(?:{'|'.join(r for r, scopes in ROLE_SCOPES.items() if 'reviews:decide' in scopes)})\Z"
)
_SLACK_USER: Final = re.compile(r"\A[UW][A-Z0-9]{2,31}\Z")
_SLACK_PLACE: Final = re.compile(r"\A[CDG][A-Z0-9]{2,31}\Z")
_WORDS: Final = r"[A-Za-z0-9_%+=-]+(?:\.[A-Za-z0-9_%+=-]+)*"
_LABEL: Final = r"[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?"
_ADDRESS: Final = re.compile(
    rf"\A(?=[^@]{{1,64}}@[^@]{{1,255}}\Z){_WORDS}@{_LABEL}(?:\.{_LABEL})*\Z"
)
_HOST: Final = re.compile(r"\A[A-Za-z0-9.:-]{1,255}\Z")
_SEVERITIES: Final = ("critical", "error", "warning", "info")


def load_channels(settings: Settings, *, env: Mapping[str, str]) -> Channels:
    """Return the channels of the file that the settings name; none when they name none.

    Raises ConfigurationError with a line for each thing that is wrong, and no secret in it.
    """
    path = settings.channels_file
    if path is None:
        return Channels()
    strict = settings.env is not Environment.DEV
    faults = Faults(strict=strict, env=env)
    if strict and settings.public_url is None:
        faults.add("ACGS_PUBLIC_URL", "must be set: what people are sent leads there")
    plans = _plans(Section(_parsed(path), "channels file", faults))
    if faults.found:
        raise ConfigurationError("\n".join(f"{path}: {fault}" for fault in faults.found))
    return Channels(plans=MappingProxyType(plans), public_url=settings.public_url)


def _parsed(path: Path) -> object:
    try:
        with path.open("rb") as file:
            document = file.read(FILE_BYTES_MAX + 1)
    except OSError as error:
        raise ConfigurationError(
            f"ACGS_CHANNELS_FILE: {path} cannot be read: {error.strerror}"
        ) from None
    if len(document) > FILE_BYTES_MAX:
        raise ConfigurationError(f"ACGS_CHANNELS_FILE: {path} is over {FILE_BYTES_MAX} bytes")
    try:
        return plain_yaml.load(document)
    except plain_yaml.PlainYamlError as error:
        raise ConfigurationError(f"{path} is not unambiguous YAML: {error}") from None


def _plans(top: Section) -> dict[str, AnyPlan]:
    if top.text("constitutional_hash") != CONSTITUTIONAL_HASH:
        top.fault("constitutional_hash", f"must be {CONSTITUTIONAL_HASH}, in quotes or not")
    sections = top.parts("channels")
    top.close()
    if len(sections) > CHANNELS_MAX:
        top.fault("channels", f"must be at most {CHANNELS_MAX}")
    plans: dict[str, AnyPlan] = {}
    for name, section in sections.items():
        if _NAME.match(name) is None:
            section.faults.add(section.name, f"must be named as {_NAME.pattern} says")
        kind = Kind(section.one_of("kind", tuple(Kind)))
        plans[name] = _READERS[kind](section, _general(section, name, kind))
        section.close()
    return plans


def _general(section: Section, name: str, kind: Kind) -> dict[str, Any]:
    """Return what every plan has."""
    interest = Interest(
        channel=name,
        kind=kind,
        tenants=frozenset(section.texts("tenants", _TENANT, must="must list tenants, or '*'")),
        tiers=frozenset(section.texts("tiers", _TIER, must="must list tiers", default=())),
        agents=frozenset(section.texts("agents", AGENT_ID, must="must list agents", default=())),
        steps=frozenset(
            section.texts(
                "steps",
                _STEP,
                must=f"must list some of {', '.join(sorted(STEPS))}",
                default=sorted(DEFAULT_STEPS[kind]),
            )
        ),
    )
    return {
        "name": name,
        "interest": interest,
        "timeout_s": section.number("timeout_s", 0.1, 60, default=TIMEOUT_S),
        "ca_file": section.authority("ca_file"),
    }


def _webhook(section: Section, general: dict[str, Any]) -> WebhookPlan:
    secrets = section.secrets("secrets", most=SECRETS_MAX)
    for secret in secrets:
        try:
            key = key_of(secret.get_secret_value())
        except ValueError as error:
            if secret.get_secret_value():
                section.fault("secrets", f"holds one that is none: {error}")
        else:
            if section.faults.strict and len(set(key)) < 8:
                section.fault("secrets", "holds one that is easy to guess")
    return WebhookPlan(**general, url=section.url("url"), secrets=secrets)


def _slack(section: Section, general: dict[str, Any]) -> SlackPlan:
    deciding = section.has("people") or section.has("signing_secrets")
    secrets = section.secrets("signing_secrets", most=SECRETS_MAX) if deciding else ()
    people = section.parts("people") if deciding else {}
    tenants = general["interest"].tenants
    if deciding and (len(tenants) != 1 or EVERY in tenants):
        section.fault("tenants", "must name exactly one where people decide: theirs")
    return SlackPlan(
        **general,
        url=section.url("url", default=SLACK_URL).rstrip("/"),
        token=section.secret("token"),
        conversation=section.text(
            "conversation", _SLACK_PLACE, must="must be the id of a conversation, such as C0123ABC"
        ),
        signing_secrets=secrets,
        people=MappingProxyType({user: _person(part, user) for user, part in people.items()}),
    )


def _person(section: Section, user: str) -> Person:
    if _SLACK_USER.match(user) is None:
        section.faults.add(section.name, "must be under the id of a Slack user, such as U0123ABC")
    owner = section.text("owner", AGENT_ID, default="") if section.has("owner") else ""
    person = Person(
        name=section.text("sub", AGENT_ID, must="must be the `sub` of the person's tokens"),
        roles=frozenset(
            section.texts("roles", _DECIDER, must="must list roles that decide on reviews")
        ),
        owner=owner or None,
    )
    section.close()
    return person


def _pager(section: Section, general: dict[str, Any]) -> PagerPlan:
    return PagerPlan(
        **general,
        url=section.url("url", default=PAGERDUTY_URL),
        routing_key=section.secret("routing_key"),
        severity=section.one_of("severity", _SEVERITIES, default="warning"),
    )


def _mail(section: Section, general: dict[str, Any]) -> MailPlan:
    security = Security(section.one_of("security", tuple(Security), default=Security.STARTTLS))
    if security is Security.NONE and section.faults.strict:
        section.fault("security", "must be starttls or tls outside ACGS_ENV=dev")
    signs_in = section.has("username") or section.has("password")
    must = "must be an address, such as acgs@example.org"
    return MailPlan(
        **general,
        host=section.text("host", _HOST, must="must be the name of a host"),
        port=int(section.number("port", 1, 65_535, default=_PORTS[security])),
        security=security,
        sender=section.text("from", _ADDRESS, must=must),
        recipients=section.texts("to", _ADDRESS, must=must),
        username=section.text("username") if signs_in else None,
        password=section.secret("password") if signs_in else None,
    )


_PORTS: Final[Mapping[Security, int]] = MappingProxyType(
    {Security.STARTTLS: 587, Security.TLS: 465, Security.NONE: 25}
)
_READERS: Final[Mapping[Kind, Callable[[Section, dict[str, Any]], AnyPlan]]] = MappingProxyType(
    {
        Kind.WEBHOOK: _webhook,
        Kind.SLACK: _slack,
        Kind.PAGERDUTY: _pager,
        Kind.MAIL: _mail,
    }
)
