"""The control board refuses what operators switched off, and never forgets by accident."""

import json
import pickle
from datetime import UTC, datetime

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from policies import controls as board
from policies.controls import (
    Controls,
    DamagedControlsError,
    Kill,
    KillScope,
    RevokedError,
    controls_from_json,
    controls_to_json,
    folded,
)
from policies.errors import RefusalError

from builders import a_principal

AT = datetime(2026, 11, 23, 12, 0, tzinfo=UTC)


def a_kill(tenant: str | None = None, agent: str | None = None, tool: str | None = None) -> Kill:
    scope = KillScope(tenant=tenant, agent=agent, tool=tool)
    return Kill(scope=scope, reason="it misbehaves", by="olga", at=AT)


def a_board() -> Controls:
    return (
        Controls()
        .with_kill(a_kill("acme", "writer", "email.send"))
        .with_kill(a_kill(tenant="globex"))
        .with_kill(a_kill(tool="płatność"))
        .with_revoked_token("token-9", 1_800_000_000.5)
        .with_revoked_agent("acme", "rogue")
    )


def _code(refusal: RefusalError | None) -> tuple[str, int] | None:
    return refusal and (refusal.code, refusal.status)


def test_an_empty_board_refuses_nothing() -> None:
    assert Controls().refusal(a_principal(), "email.send") is None


@pytest.mark.parametrize(
    ("scope", "reached"),
    [
        ((None, None, None), True),
        (("acme", None, None), True),
        ((None, "writer", None), True),
        ((None, None, "email.send"), True),
        (("acme", "writer", None), True),
        (("acme", None, "email.send"), True),
        ((None, "writer", "email.send"), True),
        (("acme", "writer", "email.send"), True),
        (("globex", None, None), False),
        (("acme", "mailer", None), False),
        (("acme", "writer", "email.read"), False),
        (("globex", "writer", "email.send"), False),
        (("writer", "acme", None), False),
    ],
)
def test_a_kill_reaches_all_that_matches_every_part_it_names(
    scope: tuple[str | None, str | None, str | None], *, reached: bool
) -> None:
    controls = Controls().with_kill(a_kill(*scope))
    refusal = controls.refusal(a_principal(tenant="acme", agent="writer"), "email.send")
    assert _code(refusal) == (("control.killed", 403) if reached else None)


def test_a_kill_says_what_was_stopped_and_why() -> None:
    refusal = Controls().with_kill(a_kill("acme")).refusal(a_principal(), None)
    assert str(refusal) == "an operator stopped tenant acme: it misbehaves"
    refusal = Controls().with_kill(a_kill()).refusal(a_principal(), None)
    assert str(refusal) == "an operator stopped everything: it misbehaves"


@pytest.mark.parametrize("tool", [None, ""])
def test_a_stopped_tool_stops_nothing_else(tool: str | None) -> None:
    assert Controls().with_kill(a_kill(tool="email.send")).refusal(a_principal(), tool) is None


@pytest.mark.parametrize(
    "disguise",
    [
        "EMAIL.SEND",
        " email.send\t",
        "email\u200b.send",
        "email.send\u00ad",
        "\uff25mail.send",
        "em\x00ail.send",
        "email.\uff53end",
        "email.\u017fend",
    ],
)
def test_a_disguised_name_evades_no_kill(disguise: str) -> None:
    controls = Controls().with_kill(a_kill(tool="email.send"))
    assert _code(controls.refusal(a_principal(), disguise)) == ("control.killed", 403)


def test_a_name_too_long_to_compare_is_stopped_while_tools_are_stopped_by_name() -> None:
    name = "x" * 1_000_000
    assert Controls().with_kill(a_kill("globex")).refusal(a_principal(), name) is None
    stopped = Controls().with_kill(a_kill(tool="email.send")).refusal(a_principal(), name)
    assert _code(stopped) == ("control.killed", 403)


def test_a_revoked_token_is_refused_before_any_kill() -> None:
    controls = Controls().with_revoked_token("token-1", 2e9).with_kill(a_kill())
    refusal = controls.refusal(a_principal(token_id="token-1"), None)
    assert _code(refusal) == ("auth.revoked", 401)


def test_a_revoked_agent_is_refused_in_its_own_tenant_only() -> None:
    controls = Controls().with_revoked_agent("acme", "writer")
    assert _code(controls.refusal(a_principal(), None)) == ("auth.revoked", 401)
    assert controls.refusal(a_principal(tenant="globex"), None) is None
    assert controls.without_revoked_agent("acme", "writer").refusal(a_principal(), None) is None


def test_a_revocation_says_whose_token_it_was_however_far_it_travels() -> None:
    refusal = Controls().with_revoked_agent("acme", "writer").revocation(a_principal())
    assert isinstance(refusal, RevokedError)
    there = pickle.loads(pickle.dumps(refusal))
    for error in (refusal, there):
        assert error.principal == a_principal()
        assert (error.code, error.status, str(error)) == ("auth.revoked", 401, str(refusal))


def test_a_kill_is_no_revocation() -> None:
    # Else an operator whose own tenant is stopped could not prove who they are to release it.
    assert Controls().with_kill(a_kill()).revocation(a_principal()) is None


def test_a_release_reaches_exactly_its_scope() -> None:
    controls = Controls().with_kill(a_kill("acme")).with_kill(a_kill("acme", "writer"))
    left = controls.without_kill(KillScope(tenant="acme"))
    assert list(left.kills) == [("acme", "writer", None)]
    assert left.without_kill(KillScope(tenant="acme")) == left


def test_a_second_kill_of_a_scope_keeps_the_first_reason() -> None:
    second = Kill(scope=KillScope(tenant="acme"), reason="cover-up", by="mallory", at=AT)
    kills = Controls().with_kill(a_kill("acme")).with_kill(second).kills
    assert [kill.by for kill in kills.values()] == ["olga"]


def test_a_revocation_is_never_shortened() -> None:
    controls = Controls().with_revoked_token("t", 2_000.0).with_revoked_token("t", 1_000.0)
    assert controls.revoked_tokens == {"t": 2_000.0}
    assert controls.with_revoked_token("t", 3_000.0).revoked_tokens == {"t": 3_000.0}


def test_a_revocation_is_kept_past_the_end_of_its_token_by_more_than_clocks_differ() -> None:
    controls = Controls().with_revoked_token("t", 1_000.0)
    assert controls.pruned(1_000.0 + board.KEEP_S - 1) is controls
    assert controls.pruned(1_000.0 + board.KEEP_S).revoked_tokens == {}


@pytest.mark.parametrize(
    "scope",
    [
        {"tenant": "ACME"},
        {"tenant": ""},
        {"tenant": 7},
        {"agent": "*"},
        {"agent": "a" * 65},
        {"tool": ""},
        {"tool": " \u200b"},
        {"tool": "x" * 513},
        {"tool": ["email.send"]},
    ],
)
def test_a_scope_that_could_never_match_is_refused(scope: dict[str, str]) -> None:
    with pytest.raises(RefusalError) as caught:
        KillScope(**scope)
    assert _code(caught.value) == ("control.scope_invalid", 422)


@pytest.mark.parametrize(
    ("reason", "by", "at"),
    [
        ("", "olga", AT),
        ("  ", "olga", AT),
        ("why", "", AT),
        ("x" * 513, "olga", AT),
        ("why", "olga", AT.replace(tzinfo=None)),
    ],
)
def test_a_kill_without_who_why_and_when_is_refused(reason: str, by: str, at: datetime) -> None:
    with pytest.raises(RefusalError):
        Kill(scope=KillScope(), reason=reason, by=by, at=at)


@pytest.mark.parametrize(
    ("token", "until"),
    [("", 1.0), ("x" * 513, 1.0), (7, 1.0), ("t", float("nan")), ("t", True), ("t", 10**400)],
)
def test_a_revocation_names_its_token_and_its_end(token: str, until: float) -> None:
    with pytest.raises(RefusalError):
        Controls().with_revoked_token(token, until)


@pytest.mark.parametrize("pair", [("ACME", "writer"), ("acme", ""), ("acme", "*")])
def test_a_revoked_agent_is_named_by_two_ids(pair: tuple[str, str]) -> None:
    with pytest.raises(RefusalError):
        Controls().with_revoked_agent(*pair)


def test_a_full_board_refuses_more_and_still_repeats(monkeypatch: pytest.MonkeyPatch) -> None:
    for bound in ("TOKENS_MAX", "AGENTS_MAX", "KILLS_MAX"):
        monkeypatch.setattr(board, bound, 1)
    full = (
        Controls()
        .with_kill(a_kill("acme"))
        .with_revoked_token("t", 1.0)
        .with_revoked_agent("acme", "writer")
    )
    assert full.with_kill(a_kill("acme")) == full
    assert full.with_revoked_token("t", 1.0) == full
    assert full.with_revoked_agent("acme", "writer") == full
    for more in (
        lambda: full.with_kill(a_kill("globex")),
        lambda: full.with_revoked_token("u", 1.0),
        lambda: full.with_revoked_agent("acme", "mailer"),
    ):
        with pytest.raises(RefusalError, match="already holds 1 ") as caught:
            more()
        assert _code(caught.value) == ("control.board_full", 409)


def test_a_board_comes_back_equal() -> None:
    assert controls_from_json(controls_to_json(a_board())) == a_board()
    assert controls_from_json(controls_to_json(Controls())) == Controls()


def _damaged(**changes: object) -> bytes:
    return json.dumps({**json.loads(controls_to_json(a_board())), **changes}).encode()


_KILL = {"tenant": None, "agent": None, "tool": None, "reason": "r", "by": "b", "at": str(AT)}


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"null",
        b"{}",
        b"[]",
        b'["v","tokens","agents","kills"]',
        b"\xff\xfe",
        b"[" * 100_000,
        b'{"v":1,"v":1,"tokens":{},"agents":[],"kills":[]}',
        b'{"v":1,"tokens":{"t":1,"t":2},"agents":[],"kills":[]}',
        b'{"v":1,"tokens":{"t":NaN},"agents":[],"kills":[]}',
        b'{"v":1,"tokens":{"t":1e999},"agents":[],"kills":[]}',
        b'{"v":1,"tokens":{"t":' + b"9" * 400 + b'},"agents":[],"kills":[]}',
        b'{"v":1,"tokens":{"t":' + b"9" * 5_000 + b'},"agents":[],"kills":[]}',
        _damaged(v=2),
        _damaged(more={}),
        _damaged(tokens=[]),
        _damaged(tokens={"t": "soon"}),
        _damaged(tokens={"t": True}),
        _damaged(tokens={"": 1}),
        _damaged(agents=[["acme"]]),
        _damaged(agents=[["acme", "WRITER"]]),
        _damaged(agents=[["acme", ["writer"]]]),
        _damaged(agents={"acme": "writer"}),
        _damaged(agents={}),
        _damaged(kills={}),
        _damaged(kills=[{}]),
        _damaged(kills=[{**_KILL, "extra": 1}]),
        _damaged(kills=[{**_KILL, "tenant": "ACME"}]),
        _damaged(kills=[{**_KILL, "reason": ""}]),
        _damaged(kills=[{**_KILL, "at": "yesterday"}]),
        _damaged(kills=[{**_KILL, "at": "2026-11-23T12:00:00"}]),
        _damaged(kills=[{**_KILL, "at": 5}]),
    ],
)
def test_anything_else_is_damaged_and_never_an_empty_board(raw: bytes) -> None:
    with pytest.raises(DamagedControlsError):
        controls_from_json(raw)


def test_damage_is_told_with_its_cause() -> None:
    with pytest.raises(DamagedControlsError, match=r"the control board is damaged: .*version"):
        controls_from_json(_damaged(v=2))


_plain = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


@given(st.binary() | _plain.map(lambda value: json.dumps(value).encode()))
def test_garbage_is_always_damaged(raw: bytes) -> None:
    with pytest.raises(DamagedControlsError):
        controls_from_json(raw)


@given(st.fixed_dictionaries({"tokens": _plain, "agents": _plain, "kills": _plain}))
@example({"tokens": {}, "agents": [], "kills": ""})
def test_a_half_right_board_is_read_or_damaged_and_nothing_else(parts: dict[str, object]) -> None:
    try:
        controls = controls_from_json(json.dumps({"v": 1, **parts}).encode())
    except DamagedControlsError:
        return
    assert controls_from_json(controls_to_json(controls)) == controls


@given(st.text(max_size=60))
def test_folding_a_name_twice_changes_nothing(name: str) -> None:
    assert folded(folded(name)) == folded(name)
