"""Roles grant what their table says, and nothing else does."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from policies.errors import RefusalError
from policies.principal import Principal
from policies.roles import ROLE_SCOPES, SCOPES, granted_scopes, known_roles, require_scope

_ROLES = [
    "agent",
    "critic",
    "reviewer",
    "policy_author",
    "auditor",
    "operator",
    "tenant_admin",
    "platform_admin",
    "executive",
    "legislative",
    "judicial",
]
_ACTING = {"messages:send", "decisions:make"}


def test_the_roles_are_those_of_the_api() -> None:
    assert set(ROLE_SCOPES) == set(_ROLES)


def test_every_scope_is_carried_by_some_role_and_every_carried_scope_exists() -> None:
    assert frozenset().union(*ROLE_SCOPES.values()) == SCOPES
    assert len(SCOPES) == 14


@pytest.mark.parametrize("role", ["agent", "executive", "legislative", "judicial"])
def test_agents_may_send_receive_and_ask(role: str) -> None:
    wanted = {"messages:send", "messages:receive", "decisions:make", "decisions:read"}
    assert granted_scopes([role], None) == wanted


@pytest.mark.parametrize("role", _ROLES)
def test_no_role_both_writes_and_activates_policies(role: str) -> None:
    assert not ROLE_SCOPES[role] >= {"policies:write", "policies:activate"}


@pytest.mark.parametrize("role", _ROLES)
def test_no_role_both_acts_and_decides_reviews(role: str) -> None:
    assert not (ROLE_SCOPES[role] & _ACTING and "reviews:decide" in ROLE_SCOPES[role])


@pytest.mark.parametrize("scope", ["ops:control", "tenants:admin"])
def test_what_reaches_every_tenant_is_for_those_who_run_the_platform(scope: str) -> None:
    holders = {role for role, scopes in ROLE_SCOPES.items() if scope in scopes}
    assert holders <= {"operator", "platform_admin"}


def test_the_table_cannot_be_changed_at_run_time() -> None:
    with pytest.raises(TypeError):
        ROLE_SCOPES["agent"] = SCOPES  # type: ignore[index]


@pytest.mark.parametrize("role", ["root", "Agent", "agent ", "ADMIN", "", "\u0430gent"])
def test_an_unknown_role_grants_nothing_and_is_not_kept(role: str) -> None:
    assert known_roles([role]) == frozenset()
    assert granted_scopes([role], None) == frozenset()
    assert granted_scopes([role], SCOPES) == frozenset()


def test_what_is_known_cannot_be_changed_afterwards() -> None:
    assert type(known_roles(["agent", "root"])) is frozenset
    assert type(granted_scopes(["agent"], None)) is frozenset
    assert type(granted_scopes(["agent"], ["messages:send"])) is frozenset


def test_asking_for_nothing_grants_nothing() -> None:
    assert granted_scopes(["tenant_admin"], []) == frozenset()


def test_two_roles_carry_what_either_carries() -> None:
    assert granted_scopes(["agent", "auditor"], None) == (
        ROLE_SCOPES["agent"] | ROLE_SCOPES["auditor"]
    )


@given(
    roles=st.lists(st.sampled_from([*_ROLES, "root"])),
    asked=st.none() | st.lists(st.sampled_from([*sorted(SCOPES), "openid", "*"])),
)
def test_asking_never_widens(roles: list[str], asked: list[str] | None) -> None:
    granted = granted_scopes(roles, asked)
    assert granted <= granted_scopes(roles, None) <= SCOPES
    if asked is not None:
        assert granted <= set(asked)


def _principal(scopes: frozenset[str]) -> Principal:
    return Principal(
        tenant="acme",
        agent="writer",
        roles=frozenset({"agent"}),
        scopes=scopes,
        token_id="t-1",
        expires_at_s=0.0,
    )


def test_a_missing_scope_is_named_in_a_403() -> None:
    with pytest.raises(RefusalError, match="ledger:read") as caught:
        require_scope(_principal(frozenset({"messages:send"})), "ledger:read")
    assert (caught.value.code, caught.value.status) == ("auth.scope_missing", 403)


def test_a_scope_that_is_there_passes() -> None:
    require_scope(_principal(frozenset({"messages:send"})), "messages:send")
