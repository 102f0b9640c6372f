"""What operators have switched off: tokens, agents, and whatever a kill reaches. It only refuses.

Laws of this file:
1. A kill that names less reaches more; one that names nothing stops everything.
2. Bytes that are not exactly a board of this build are damaged, never an empty board.
3. Tools are compared as people read their names, so that a capital letter evades no kill.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from itertools import product
from typing import Any, Final, TypeAlias

from policies.errors import GovernanceError, RefusalError
from policies.message import AGENT_ID
from policies.normalise import fold
from policies.principal import Principal
from policies.strict_json import read_object

VERSION: Final = 1
TOKENS_MAX: Final = 10_000  # every process parses the whole board, so it stays under 1 MiB
AGENTS_MAX: Final = 10_000
KILLS_MAX: Final = 1_000
TEXT_MAX: Final = 512
# Clocks differ between machines, so a revocation outlives its token by more than any leeway.
KEEP_S: Final = 600.0

Reach: TypeAlias = tuple[str | None, str | None, str | None]


class DamagedControlsError(GovernanceError):
    """These bytes are not a board that this build wrote; nobody may act on them."""

    code = "control.damaged"

    def __init__(self, detail: str) -> None:
        super().__init__(detail)
        self.detail = detail

    def __str__(self) -> str:
        return f"the control board is damaged: {self.detail}"


class RevokedError(RefusalError):
    """The token is genuine and counts no more: whose it was is known, and may be put on record."""

    def __init__(self, principal: Principal, detail: str) -> None:
        super().__init__("auth.revoked", detail, 401)
        self.args = (principal, detail)
        self.principal = principal


@dataclass(frozen=True, slots=True, kw_only=True)
class KillScope:
    """What a kill reaches: all that matches every part it names. Naming none reaches everything.

    Raises RefusalError `control.scope_invalid` for a part that could never match.
    """

    tenant: str | None = None
    agent: str | None = None
    tool: str | None = None

    def __post_init__(self) -> None:
        for name in (self.tenant, self.agent):
            if name is not None and not _is_id(name):
                raise _invalid(f"{name!r:.80} is not an agent or tenant id")
        if self.tool is not None:
            object.__setattr__(self, "tool", _foldable(self.tool))

    @property
    def reach(self) -> Reach:
        """The parts, in the order in which refusals look them up."""
        return (self.tenant, self.agent, self.tool)

    def __str__(self) -> str:
        named = [
            f"{part} {value}"
            for part, value in zip(("tenant", "agent", "tool"), self.reach, strict=True)
            if value is not None
        ]
        return ", ".join(named) or "everything"


@dataclass(frozen=True, slots=True, kw_only=True)
class Kill:
    """A scope that an operator stopped: why, who, and when (with its zone)."""

    scope: KillScope
    reason: str
    by: str
    at: datetime

    def __post_init__(self) -> None:
        for text in (self.reason, self.by):
            if not _is_text(text) or not text.strip():
                raise _invalid(f"a kill says why and who, in 1 to {TEXT_MAX} characters each")
        if self.at.tzinfo is None:
            raise _invalid("a kill says when, with its zone")


@dataclass(frozen=True, slots=True, kw_only=True)
class Controls:
    """Everything that is switched off at one moment.

    `revoked_tokens` maps a token id to when the token ends anyway, in seconds since the epoch;
    `revoked_agents` holds (tenant, agent) until they are restored; `kills` are by their reach.
    """

    revoked_tokens: Mapping[str, float] = field(default_factory=dict)
    revoked_agents: frozenset[tuple[str, str]] = frozenset()
    kills: Mapping[Reach, Kill] = field(default_factory=dict)

    def refusal(self, principal: Principal, tool: str | None) -> RefusalError | None:
        """Return why this principal may not use this tool now, or None when nothing stops it."""
        return self.revocation(principal) or self._killing(principal, tool)

    def revocation(self, principal: Principal) -> RevokedError | None:
        """Return why this token no longer proves anything, or None. Under a microsecond."""
        if principal.token_id in self.revoked_tokens:
            return RevokedError(principal, "this token was revoked; ask for a new one")
        if (principal.tenant, principal.agent) in self.revoked_agents:
            detail = f"the agent {principal.agent} was revoked; its tenant's operator restores it"
            return RevokedError(principal, detail)
        return None

    def with_kill(self, kill: Kill) -> Controls:
        """Return the board with this scope stopped; a kill that stands already keeps its reason."""
        if kill.scope.reach not in self.kills:
            _require_room(len(self.kills), KILLS_MAX, "kills; release some or stop a wider scope")
        return replace(self, kills={kill.scope.reach: kill, **self.kills})

    def without_kill(self, scope: KillScope) -> Controls:
        """Return the board with exactly this scope released; narrower and wider kills stand."""
        left = {reach: kill for reach, kill in self.kills.items() if reach != scope.reach}
        return replace(self, kills=left)

    def with_revoked_token(self, token_id: str, until_s: float) -> Controls:
        """Return the board without this token; `until_s` is at least when the token ends."""
        if not _is_text(token_id) or not _is_moment(until_s):
            raise _invalid("a revoked token is named by its jti and by when it ends")
        if token_id not in self.revoked_tokens:
            _require_room(len(self.revoked_tokens), TOKENS_MAX, "revoked tokens; revoke the agent")
        until_s = max(float(until_s), self.revoked_tokens.get(token_id, 0.0))
        return replace(self, revoked_tokens={**self.revoked_tokens, token_id: until_s})

    def with_revoked_agent(self, tenant: str, agent: str) -> Controls:
        """Return the board without any token of this agent, whenever it was issued."""
        if not _is_id(tenant) or not _is_id(agent):
            raise _invalid("a revoked agent is named by its tenant's id and its own")
        if (tenant, agent) not in self.revoked_agents:
            _require_room(len(self.revoked_agents), AGENTS_MAX, "revoked agents; kill the tenant")
        return replace(self, revoked_agents=self.revoked_agents | {(tenant, agent)})

    def without_revoked_agent(self, tenant: str, agent: str) -> Controls:
        """Return the board with the agent restored; its tokens that live still work again."""
        return replace(self, revoked_agents=self.revoked_agents - {(tenant, agent)})

    def pruned(self, now_s: float) -> Controls:
        """Return the board without revocations of tokens that ended long ago."""
        kept = {jti: end for jti, end in self.revoked_tokens.items() if end + KEEP_S > now_s}
        return self if len(kept) == len(self.revoked_tokens) else replace(self, revoked_tokens=kept)

    def is_stopped(self, tenant: str, agent: str) -> bool:
        """Say whether this agent is revoked, or stopped in all that it does."""
        if (tenant, agent) in self.revoked_agents:
            return True
        return any(reach in self.kills for reach in product((None, tenant), (None, agent), (None,)))

    def _killing(self, principal: Principal, tool: str | None) -> RefusalError | None:
        if not self.kills:
            return None
        if (
            tool
            and len(tool) > 4 * TEXT_MAX
            and any(kill.scope.tool for kill in self.kills.values())
        ):
            # Folding a megabyte on every message would be an attack of its own.
            detail = "operators stopped tools by name, and this name is too long to compare"
            return RefusalError("control.killed", detail, 403)
        tools = (None, folded(tool)) if tool else (None,)
        for reach in product((None, principal.tenant), (None, principal.agent), tools):
            kill = self.kills.get(reach)
            if kill is not None:
                detail = f"an operator stopped {kill.scope}: {kill.reason}"
                return RefusalError("control.killed", detail, 403)
        return None


def folded(tool: str) -> str:
    """Return a tool's name as people read it: no case, no look-alikes, nothing invisible."""
    read = fold(fold(tool).casefold())
    return "".join(character for character in read if character.isprintable()).strip()


def controls_to_json(controls: Controls) -> bytes:
    """Write the board down; `controls_from_json` gives it back equal."""
    return json.dumps(
        {
            "v": VERSION,
            "tokens": dict(controls.revoked_tokens),
            "agents": sorted(map(list, controls.revoked_agents)),
            "kills": [_kill_to_plain(kill) for kill in controls.kills.values()],
        },
        separators=(",", ":"),
        allow_nan=False,
    ).encode()


def controls_from_json(raw: bytes) -> Controls:
    """Return the board that was written. Raises DamagedControlsError for anything else."""
    try:
        plain = read_object(raw)
        if set(plain) != {"v", "tokens", "agents", "kills"} or plain["v"] != VERSION:
            raise DamagedControlsError(f"it is not of version {VERSION}")
        return _controls_from_plain(plain)
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise DamagedControlsError(f"{type(error).__name__}: {error}"[:200]) from error
    except RefusalError as error:
        raise DamagedControlsError(error.detail) from error


def _controls_from_plain(plain: Mapping[str, Any]) -> Controls:
    if not isinstance(plain["agents"], list) or not isinstance(plain["kills"], list):
        raise TypeError("agents and kills are lists")
    tokens = {jti: float(until) for jti, until in plain["tokens"].items() if _is_moment(until)}
    agents = frozenset((tenant, agent) for tenant, agent in plain["agents"])
    if len(tokens) != len(plain["tokens"]) or not all(map(_is_text, tokens)):
        raise ValueError("a revoked token has no end")
    if not all(_is_id(tenant) and _is_id(agent) for tenant, agent in agents):
        raise ValueError("a revoked agent has no id")
    kills = [_kill_from_plain(kill) for kill in plain["kills"]]
    by_reach = {kill.scope.reach: kill for kill in kills}
    return Controls(revoked_tokens=tokens, revoked_agents=agents, kills=by_reach)


def _kill_to_plain(kill: Kill) -> dict[str, object]:
    tenant, agent, tool = kill.scope.reach
    return {
        "tenant": tenant,
        "agent": agent,
        "tool": tool,
        "reason": kill.reason,
        "by": kill.by,
        "at": kill.at.isoformat(),
    }


def _kill_from_plain(plain: Mapping[str, Any]) -> Kill:
    if set(plain) != {"tenant", "agent", "tool", "reason", "by", "at"}:
        raise ValueError("a kill has other parts than ours")
    scope = KillScope(tenant=plain["tenant"], agent=plain["agent"], tool=plain["tool"])
    at = datetime.fromisoformat(plain["at"])
    return Kill(scope=scope, reason=plain["reason"], by=plain["by"], at=at)


def _is_id(value: object) -> bool:
    return isinstance(value, str) and AGENT_ID.match(value) is not None


def _is_text(value: object) -> bool:
    return isinstance(value, str) and 0 < len(value) <= TEXT_MAX


def _is_moment(value: object) -> bool:
    # A comparison, because it also holds for NaN, infinities and integers beyond any float.
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < 1e12


def _foldable(tool: object) -> str:
    if not isinstance(tool, str) or len(tool) > TEXT_MAX or not folded(tool):
        raise _invalid(f"a tool is named by 1 to {TEXT_MAX} characters")
    return folded(tool)


def _require_room(used: int, most: int, what: str) -> None:
    if used >= most:
        raise RefusalError("control.board_full", f"the board already holds {most} {what}", 409)


def _invalid(detail: str) -> RefusalError:
    return RefusalError("control.scope_invalid", detail, 422)
