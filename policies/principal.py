"""Who asks: the identity that a verified token proves."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Principal:
    """A verified identity; nothing in a request body outranks it.

    `tenant` and `agent` match `AGENT_ID`; `roles` are as in API.md; `scopes` are what the token
    may do; `token_id` is the `jti`; `expires_at_s` is seconds since the epoch; `owner` is who
    answers for the agent, where the token says so.
    """

    tenant: str
    agent: str
    roles: frozenset[str]
    scopes: frozenset[str]
    token_id: str
    expires_at_s: float
    owner: str | None = None
