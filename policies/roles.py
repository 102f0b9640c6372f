"""Who may do what: the scopes of the API and the ones that each role carries.

Laws of this file:
1. A role or scope that is not in these tables grants nothing; it is not even kept.
2. What a token asks for can only narrow what its roles carry.
3. No single role both writes policies and activates them, or both acts and reviews actions.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import Final

from policies.errors import RefusalError
from policies.principal import Principal

SCOPES: Final = frozenset(
    {
        "messages:send",
        "messages:receive",
        "decisions:make",
        "decisions:read",
        "agents:manage",
        "reviews:read",
        "reviews:decide",
        "policies:read",
        "policies:write",
        "policies:activate",
        "ledger:read",
        "usage:read",
        "ops:control",
        "tenants:admin",
    }
)

# What acting through the bus takes. Agents learn of rules through decisions, not by reading them.
_ACTS: Final = frozenset({"messages:send", "messages:receive", "decisions:make", "decisions:read"})

ROLE_SCOPES: Final[Mapping[str, frozenset[str]]] = MappingProxyType(
    {
        "agent": _ACTS,
        # The constitutional roles are agents too; what separates them is policy, not scope.
        "executive": _ACTS,
        "legislative": _ACTS,
        "judicial": _ACTS,
        # A critic is asked, reads and votes; it starts nothing, so it cannot judge its own acts.
        "critic": frozenset(
            {"messages:receive", "decisions:read", "reviews:read", "reviews:decide"}
        ),
        "reviewer": frozenset(
            {"decisions:read", "reviews:read", "reviews:decide", "policies:read"}
        ),
        # Shadowing and replaying a draft shows past decisions. Somebody else activates it.
        "policy_author": frozenset({"policies:read", "policies:write", "decisions:read"}),
        "auditor": frozenset(
            {"decisions:read", "reviews:read", "policies:read", "ledger:read", "usage:read"}
        ),
        # Runs the platform, kill switches and recovery; sees no tenant's decisions.
        "operator": frozenset({"ops:control", "usage:read", "policies:read"}),
        # Governs its own tenant. Not ops:control: that reaches circuits that all tenants share.
        "tenant_admin": frozenset(
            {
                "agents:manage",
                "decisions:read",
                "reviews:read",
                "reviews:decide",
                "policies:read",
                "policies:activate",
                "ledger:read",
                "usage:read",
            }
        ),
        # Governs the set of tenants, not what happens inside one.
        "platform_admin": frozenset(
            {"tenants:admin", "agents:manage", "ops:control", "policies:read", "usage:read"}
        ),
    }
)

ON_CALL: Final = "on_call"  # a shift's, never a token's: it is in no table, so it is not kept


def known_roles(claimed: Iterable[str]) -> frozenset[str]:
    """Return the claimed roles that exist here.

    Others are left out rather than refused: an identity provider hands one token to several
    applications and puts their roles in it too. Left out, no policy can ever match on one.
    """
    return frozenset(role for role in claimed if role in ROLE_SCOPES)


def granted_scopes(roles: Iterable[str], asked: Iterable[str] | None) -> frozenset[str]:
    """Return what the roles carry, narrowed to what was asked for; None asks for all of it."""
    carried = frozenset[str]().union(*(ROLE_SCOPES.get(role, frozenset()) for role in roles))
    return carried if asked is None else carried & frozenset(asked)


def decides(role: str) -> bool:
    """Say whether a token with this role may decide on reviews."""
    return "reviews:decide" in ROLE_SCOPES.get(role, frozenset())


def require_scope(principal: Principal, scope: str) -> None:
    """Raise RefusalError `auth.scope_missing` (403) unless the principal has the scope."""
    if scope not in principal.scopes:
        raise RefusalError(
            "auth.scope_missing",
            f"this needs the scope {scope}; ask for a token whose role carries it",
            403,
        )
