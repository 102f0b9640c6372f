"""What a command finds around it: the settings, where the bus answers, and as whom to speak."""

from __future__ import annotations

import os
from typing import Final

from cluster.clock import SystemClock
from cluster.errors import ConfigurationError
from cluster.identity.devkeys import may_mint, mint_token
from cluster.logs import configure
from cluster.settings import Settings, load_settings
from serve_app.cli.client import Client

URL: Final = "ACGS_URL"
TOKEN: Final = "ACGS_TOKEN"  # noqa: S105  # the variable's name
_TTL_S: Final = 3600


def quiet_settings() -> Settings:
    """Return the settings, with logs on stderr and only what went wrong, unless asked for more."""
    settings = load_settings()
    is_asked = "log_level" in settings.model_fields_set
    configure(settings if is_asked else settings.model_copy(update={"log_level": "warning"}))
    return settings


def base_url(settings: Settings) -> str:
    """Where the bus answers: ACGS_URL, or the host and port of the settings."""
    given = os.environ.get(URL)
    if not given:
        return own_url(settings)
    if not given.startswith(("http://", "https://")):
        raise ConfigurationError(f"{URL} is {given!r}, and must begin with http:// or https://")
    return given.rstrip("/")


def own_url(settings: Settings) -> str:
    """Where a bus under these settings answers to this machine."""
    everywhere = {"0.0.0.0": "127.0.0.1", "::": "[::1]"}  # noqa: S104  # to connect, not to bind
    return f"http://{everywhere.get(settings.http_host, settings.http_host)}:{settings.http_port}"


def token_for(
    settings: Settings, *, tenant: str, agent: str, roles: tuple[str, ...], ttl_s: int = _TTL_S
) -> str:
    """Return ACGS_TOKEN, or on a laptop a fresh token of this identity."""
    given = os.environ.get(TOKEN)
    if given:
        return given.strip()
    if not may_mint(settings):
        raise ConfigurationError(
            f"set {TOKEN} to a token of your identity provider: only ACGS_ENV=dev without a JWKS "
            "mints its own"
        )
    return mint_token(
        settings, tenant=tenant, agent=agent, roles=roles, ttl_s=ttl_s, now=SystemClock().now()
    )


def connect(tenant: str, agent: str, *roles: str) -> Client:
    """Return a connection to the bus as this agent (role `agent` unless others are named)."""
    settings = quiet_settings()
    token = token_for(settings, tenant=tenant, agent=agent, roles=roles or ("agent",))
    return Client(base_url(settings), token)
