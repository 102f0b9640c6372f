"""Which review a held decision needs: how many people, in which roles, and for how long.

Laws of this file:
1. What a policy asks for can only make a review stricter, in whatever order it is said; what cannot
   be understood, or would let somebody decide whom the constitution does not trust with it, counts
   as the gravest tier.
2. Two reviews of the same action under the same law have the same digest; any other has another.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from hashlib import sha256
from itertools import pairwise
from typing import Final, Self

from policies.clause import Clause
from policies.decision import Decision
from policies.panel import Panel
from policies.panel_law import panel_demands, panel_of
from policies.review import LEVEL_MAX, VOTES_MAX, Glass, Ladder, Quorum, Review, Rule, State
from policies.roles import ON_CALL, decides

REQUIRE_REVIEW: Final = "require_review"
TTL_MAX_S: Final = 30 * 86_400
_ASKS: Final = frozenset({"quorum", "roles", "ttl"})
_RULES: Final = frozenset(rule.value for rule in Rule)


@dataclass(frozen=True, slots=True, kw_only=True)
class Tier:
    """What a held action of at least this impact needs."""

    name: str
    from_impact: float
    quorum: Quorum
    ttl_s: float
    escalate_s: float
    panel: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class GlassLaw:
    """How many people in which roles may let something go without its quorum.

    `afterwards_s` is how long others have to say what they think of it then.
    """

    needed: int
    roles: tuple[str, ...]
    afterwards_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class ReviewLaw:
    """The tiers, the gravest first, and what all reviews share.

    `adds` are the roles that join the voters, at level 2 and at level 3; `claim_s` is how long a
    claim lasts; `open_max` is how many reviews of one tenant may be open.
    """

    tiers: tuple[Tier, ...]
    adds: tuple[str, ...]
    claim_s: float
    open_max: int
    glass: GlassLaw

    @classmethod
    def from_mapping(cls, section: object) -> Self:
        """Read the constitution's `reviews:`. Raises ValueError for a law that is none."""
        clause = Clause(section, "reviews")
        law = cls(
            tiers=_tiers(clause.part("tiers")),
            adds=_roles(clause, "escalation_adds"),
            claim_s=clause.number("claim_s", 1, 86_400),
            open_max=clause.count("open_max", 1, 1_000_000),
            glass=_glass(clause.part("break_glass")),
        )
        clause.close()
        if len(law.adds) >= LEVEL_MAX:
            raise ValueError(f"reviews.escalation_adds must have at most {LEVEL_MAX - 1} roles")
        return law

    def tier(self, score: float) -> Tier:
        """Return the tier of an impact; a score that is no number is the gravest."""
        return next((tier for tier in self.tiers if not score < tier.from_impact), self.tiers[0])


@dataclass(frozen=True, slots=True, kw_only=True)
class Terms:
    """What one held decision needs, and until when it may wait for it."""

    tier: str
    quorum: Quorum
    ladder: Ladder
    expires_at: datetime
    panel: Panel | None


def terms_of(decision: Decision, law: ReviewLaw) -> Terms:
    """Return the terms of the decision's review, by its impact and its obligations.

    A review never outlives the message: what expired is not delivered, approved or not.
    """
    demands = [
        _demand(obligation.properties)
        for obligation in decision.obligations
        if obligation.type == REQUIRE_REVIEW
    ]
    wanted = panel_demands(decision)
    # What cannot be understood is as grave whatever it asked for.
    unclear = [None] if None in wanted else []
    tier, quorum = _quorum(law.tier(decision.impact.score), [*demands, *unclear], law)
    needed = [demand.needed for demand in demands if demand is not None]
    lasts = [demand.ttl_s for demand in demands if demand is not None]
    ends = decision.decided_at + timedelta(seconds=min([tier.ttl_s, *lasts]))
    expires_at = min(ends, decision.expires_at)
    may_panel = tier.panel and not demands
    return Terms(
        tier=tier.name,
        quorum=replace(quorum, needed=max([quorum.needed, *needed])),
        ladder=Ladder(
            level=1,
            step_s=tier.escalate_s,
            next_at=decision.decided_at + timedelta(seconds=tier.escalate_s),
            adds=_joining(law.adds, demands),
        ),
        expires_at=expires_at,
        panel=panel_of(decision, wanted, expires_at) if may_panel else None,
    )


def review_of(decision: Decision, law: ReviewLaw, *, shape: str = "") -> Review:
    """Return the review that a decision to hold opens; it has the decision's id.

    `shape` is a digest of what arguments the message has, without their values.
    """
    terms = terms_of(decision, law)
    return Review(
        review_id=decision.decision_id,
        tenant=decision.tenant,
        decision_id=decision.decision_id,
        message_id=decision.message_id,
        agent=decision.agent,
        owner=decision.owner,
        agent_roles=decision.roles,
        recipient=decision.recipient,
        action=decision.action,
        tool=decision.tool,
        resource=decision.resource,
        action_digest=action_digest(decision),
        policy_revision=decision.policy_revision,
        constitution_digest=decision.constitution_digest,
        impact=decision.impact,
        reasons=decision.reasons,
        tier=terms.tier,
        quorum=terms.quorum,
        ladder=terms.ladder,
        delivers=decision.delivers,
        opened_at=decision.decided_at,
        expires_at=terms.expires_at,
        state=State.PENDING if terms.panel is None else State.DELIBERATING,
        panel=terms.panel,
        glass=Glass(needed=law.glass.needed, roles=law.glass.roles),
        shape=shape,
    )


def action_digest(decision: Decision) -> str:
    """Return `sha256:<hex>` of exactly what people approve.

    It covers tenant, agent, recipient, type of message, action, tool, resource, content,
    arguments, policy revision, constitution, and whether the bus delivers it.
    """
    covered = [
        decision.tenant,
        decision.agent,
        decision.recipient,
        decision.message_type,
        decision.action,
        decision.tool,
        decision.resource,
        decision.content_digest,
        decision.args_digest,
        decision.policy_revision,
        decision.constitution_digest,
        decision.delivers,
    ]
    text = json.dumps(covered, separators=(",", ":"))
    return "sha256:" + sha256(text.encode()).hexdigest()


def _tiers(clause: Clause) -> tuple[Tier, ...]:
    tiers = [_tier(name, clause.part(name)) for name in clause.names()]
    tiers.sort(key=lambda tier: -tier.from_impact)
    if not tiers or tiers[-1].from_impact > 0:
        raise ValueError(f"{clause.name} must have one that starts from 0")
    for graver, milder in pairwise(tiers):
        names = f"{clause.name}.{graver.name} and .{milder.name}"
        if graver.from_impact == milder.from_impact:
            raise ValueError(f"{names} must not start from the same impact")
        if not _as_strict(graver, milder):
            raise ValueError(f"{names}: the graver must not ask for less than the milder")
    return tuple(tiers)


def _as_strict(graver: Tier, milder: Tier) -> bool:
    one, other = graver.quorum, milder.quorum
    return (
        one.needed >= other.needed
        and one.each >= other.each
        and (one.rule is Rule.VETO or other.rule is Rule.MAJORITY)
        and graver.ttl_s <= milder.ttl_s
        and graver.panel <= milder.panel
    )


def _tier(name: str, clause: Clause) -> Tier:
    quorum = Quorum(
        needed=clause.count("needed", 1, VOTES_MAX),
        roles=tuple(sorted(_roles(clause, "roles"))),
        each=clause.flag("each"),
        rule=Rule(clause.one_of("rule", _RULES)),
    )
    tier = Tier(
        name=name,
        from_impact=clause.number("from", 0, 1),
        quorum=quorum,
        ttl_s=clause.number("ttl_s", 1, TTL_MAX_S),
        escalate_s=clause.number("escalate_s", 1, TTL_MAX_S),
        panel=clause.flag("panel"),
    )
    clause.close()
    if not quorum.roles:
        raise ValueError(f"{clause.name}.roles must name who decides")
    if quorum.each and quorum.needed < len(quorum.roles):
        raise ValueError(f"{clause.name}.needed is below the number of roles that must each vote")
    return tier


def _glass(clause: Clause) -> GlassLaw:
    law = GlassLaw(
        needed=clause.count("needed", 2, VOTES_MAX),
        roles=tuple(sorted(_roles(clause, "roles"))),
        afterwards_s=clause.number("afterwards_s", 60, TTL_MAX_S),
    )
    clause.close()
    if not law.roles:
        raise ValueError(f"{clause.name}.roles must name who may break the glass")
    return law


def _roles(clause: Clause, key: str) -> tuple[str, ...]:
    roles = clause.ordered(key)
    unknown = sorted(role for role in roles if not _decides(role))
    if unknown:
        raise ValueError(f"{clause.name}.{key} names roles that cannot decide: {unknown}")
    return roles


@dataclass(frozen=True, slots=True, kw_only=True)
class _Demand:
    """What one obligation asks for; `roles` is None when it names none."""

    needed: int
    roles: frozenset[str] | None
    ttl_s: float


def _demand(properties: Mapping[str, object]) -> _Demand | None:
    """Return what an obligation asks for; None when any of it cannot be understood."""
    needed, ttl_s = properties.get("quorum", 1), properties.get("ttl", TTL_MAX_S)
    roles = _named(properties["roles"]) if "roles" in properties else None
    if not properties.keys() <= _ASKS or ("roles" in properties and not roles):
        return None
    if not isinstance(needed, int) or isinstance(needed, bool) or needed < 1:
        return None
    if not isinstance(ttl_s, int | float) or isinstance(ttl_s, bool) or not ttl_s > 0:  # nor NaN
        return None
    # More people than can vote cannot be had, so nobody lets it go.
    return _Demand(needed=min(needed, VOTES_MAX), roles=roles, ttl_s=float(min(ttl_s, TTL_MAX_S)))


def _named(roles: object) -> frozenset[str] | None:
    if not isinstance(roles, list | tuple):
        return None
    known = frozenset(role for role in roles if isinstance(role, str) and _decides(role))
    return known if len(known) == len(roles) else None


def _quorum(tier: Tier, demands: Sequence[_Demand | None], law: ReviewLaw) -> tuple[Tier, Quorum]:
    """Return the tier that counts, and its quorum held to the roles that were asked for."""
    named = [demand.roles for demand in demands if demand is not None and demand.roles]
    if None not in demands:
        quorum = _held_to(named, tier.quorum, law.adds)
        if quorum is not None:
            return tier, quorum
    gravest = law.tiers[0]
    return gravest, _held_to(named, gravest.quorum, law.adds) or gravest.quorum


def _held_to(named: Sequence[frozenset[str]], quorum: Quorum, adds: Sequence[str]) -> Quorum | None:
    """Return the quorum with these roles only; None when nobody whom it trusts would be left.

    Trusted are its own roles and, above them, those that join as time goes on. Where each role
    must be among those who approve, the named ones must be too.
    """
    own, above = frozenset(quorum.roles), frozenset(adds)
    if not named:
        return quorum
    if not quorum.each:
        roles = own.intersection(*named) or above.intersection(*named)
        return replace(quorum, roles=tuple(sorted(roles))) if roles else None
    roles = own.union(*named)
    if not roles <= own | above:
        return None
    return replace(quorum, roles=tuple(sorted(roles)), needed=max(quorum.needed, len(roles)))


def _joining(adds: tuple[str, ...], demands: Sequence[_Demand | None]) -> tuple[str, ...]:
    """Return the roles that join as time goes on.

    Who is on call joins where no policy named roles: a shift is no trust that it asked for.
    """
    if not any(demand is not None and demand.roles for demand in demands):
        return adds
    return tuple(role for role in adds if role != ON_CALL)


def _decides(role: str) -> bool:
    return role == ON_CALL or decides(role)
