"""Values for tests: each factory gives a sound one, and every keyword changes one field of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from typing import Any, Final, TypedDict, Unpack

import rfc8785

from cluster.constants import CONSTITUTIONAL_HASH
from policies.constitution import Constitution, Principle
from policies.decision import (
    Decision,
    Effect,
    Finding,
    Impact,
    Judgement,
    Lane,
    Obligation,
    Reason,
    Receipt,
    Recorded,
    Verdict,
)
from policies.impact import ImpactTable
from policies.message import Message, MessageType, Priority
from policies.panel import Panel
from policies.principal import Principal
from policies.review import (
    Claim,
    Closing,
    Glass,
    Ladder,
    Person,
    Quorum,
    Review,
    Rule,
    State,
    Vote,
)
from policies.review_law import ReviewLaw
from policies.settlement import SettlementLaw

NOW: Final = datetime(2026, 11, 23, 12, 0, tzinfo=UTC)
TENANT: Final = "acme"
SENDER: Final = "writer"
RECIPIENT: Final = "mailer"
REVISION: Final = "sha256:" + "1" * 64
CONSTITUTION_DIGEST: Final = "sha256:" + "2" * 64
CONTENT: Final[Mapping[str, object]] = {
    "action": "email.send",
    "resource": "inbox/42",
    "args": {"subject": "minutes"},
    "text": "the minutes of the meeting are attached",
}

IMPACT: Final[Mapping[str, object]] = {
    "weights": {
        "semantic": 0.30,
        "permission": 0.20,
        "volume": 0.10,
        "context": 0.10,
        "drift": 0.15,
        "priority": 0.10,
        "type": 0.05,
    },
    "permission": {
        "none": 0.1,
        "other": 0.5,
        "words": {"admin": 0.9, "delete": 0.9, "payment": 0.9, "read": 0.2, "get": 0.2},
    },
    "volume": {"window_s": 60, "steps": [[10, 0.1], [50, 0.4], [100, 0.7]], "above": 1.0},
    "context": {
        "base": 0.2,
        "night": {"from_hour": 1, "to_hour": 5, "adds": 0.3},
        "amount": {"words": ["amount", "price", "total"], "over": 10_000, "adds": 0.4},
    },
    "drift": {"tolerance": 0.3, "slope": 0.5},
    "priority": {"low": 0.1, "normal": 0.3, "high": 0.7, "critical": 1.0},
    "type": {
        "other": 0.2,
        "governance_request": 0.8,
        "constitutional_validation": 0.8,
        "task_request": 0.8,
    },
    "boost": {"urgent_floor": 0.9, "semantic_over": 0.8, "semantic_floor": 0.8},
}
SETTLEMENT: Final[Mapping[str, object]] = {"review_from": 0.8, "deliberate_from": 0.5}
REVIEWS: Final[Mapping[str, object]] = {
    "claim_s": 900,
    "open_max": 100,
    "escalation_adds": ["tenant_admin"],
    "break_glass": {"needed": 2, "roles": ["tenant_admin"], "afterwards_s": 86_400},
    "tiers": {
        "grave": {
            "from": 0.9,
            "needed": 3,
            "roles": ["reviewer", "tenant_admin"],
            "each": True,
            "rule": "veto",
            "ttl_s": 1800,
            "escalate_s": 300,
            "panel": False,
        },
        "light": {
            "from": 0.0,
            "needed": 1,
            "roles": ["reviewer"],
            "each": False,
            "rule": "veto",
            "ttl_s": 7200,
            "escalate_s": 600,
            "panel": True,
        },
    },
}


class PrincipalChanges(TypedDict, total=False):
    """The fields of a Principal that a test may change."""

    tenant: str
    agent: str
    roles: frozenset[str]
    scopes: frozenset[str]
    token_id: str
    expires_at_s: float
    owner: str | None


class MessageChanges(TypedDict, total=False):
    """The fields of a Message that a test may change."""

    id: str
    conversation_id: str
    session_id: str | None
    tenant: str
    sender: str
    recipient: str | None
    type: MessageType
    priority: Priority
    constitutional_hash: str
    content: Mapping[str, object]
    content_digest: str
    args_digest: str
    content_size: int
    metadata: Mapping[str, object]
    sent_at: datetime
    expires_at: datetime


class DecisionChanges(TypedDict, total=False):
    """The fields of a Decision that a test may change."""

    decision_id: str
    message_id: str
    conversation_id: str
    session_id: str | None
    tenant: str
    agent: str
    roles: tuple[str, ...]
    recipient: str | None
    message_type: str
    priority: str
    action: str
    tool: str
    resource: str
    content_digest: str
    args_digest: str
    effect: Effect
    lane: Lane
    reasons: tuple[Reason, ...]
    obligations: tuple[Obligation, ...]
    findings: tuple[Finding, ...]
    impact: Impact
    constitutional_hash: str
    constitution_digest: str
    policy_revision: str
    engine: str
    decided_at: datetime
    expires_at: datetime
    delivers: bool
    owner: str | None
    review_id: str | None
    approvers: tuple[str, ...]


class ReviewChanges(TypedDict, total=False):
    """The fields of a Review that a test may change."""

    review_id: str
    tenant: str
    decision_id: str
    message_id: str
    agent: str
    owner: str | None
    agent_roles: tuple[str, ...]
    recipient: str | None
    action: str
    tool: str
    resource: str
    action_digest: str
    policy_revision: str
    constitution_digest: str
    impact: Impact
    reasons: tuple[Reason, ...]
    tier: str
    quorum: Quorum
    ladder: Ladder
    delivers: bool
    opened_at: datetime
    expires_at: datetime
    state: State
    panel: Panel | None
    glass: Glass | None
    follows: str | None
    barred: frozenset[str]
    shape: str
    claim: Claim | None
    votes: tuple[Vote, ...]
    closing: Closing | None
    released_by: str | None
    version: int


def digest_of(value: Any) -> str:
    """`sha256:<hex>` over the RFC 8785 form, as `Message` and `Decision` carry it."""
    return "sha256:" + sha256(rfc8785.dumps(value)).hexdigest()


def a_principal(**changes: Unpack[PrincipalChanges]) -> Principal:
    """An agent called `writer` of the tenant `acme`, who may send."""
    principal = Principal(
        tenant=TENANT,
        agent=SENDER,
        roles=frozenset({"agent"}),
        scopes=frozenset({"messages:send", "messages:receive", "decisions:make"}),
        token_id="token-1",
        expires_at_s=(NOW + timedelta(hours=1)).timestamp(),
    )
    return replace(principal, **changes)


def a_message(**changes: Unpack[MessageChanges]) -> Message:
    """A command from `writer` to `mailer`; its digests and size follow the content."""
    content = changes.get("content", CONTENT)
    if "content_digest" not in changes:
        changes["content_digest"] = digest_of(content)
    if "args_digest" not in changes:
        changes["args_digest"] = digest_of(content.get("args", {}))
    if "content_size" not in changes:
        changes["content_size"] = len(rfc8785.dumps(content))  # type: ignore[arg-type]  # JSON
    message = Message(
        id="message-1",
        conversation_id="conversation-1",
        session_id=None,
        tenant=TENANT,
        sender=SENDER,
        recipient=RECIPIENT,
        type=MessageType.COMMAND,
        priority=Priority.NORMAL,
        constitutional_hash=CONSTITUTIONAL_HASH,
        content=CONTENT,
        content_digest="",
        args_digest="",
        content_size=0,
        metadata={},
        sent_at=NOW,
        expires_at=NOW + timedelta(hours=1),
    )
    return replace(message, **changes)


def a_finding(
    kind: str = "pii",
    detector: str = "email",
    *,
    path: str = "/text",
    start: int = 0,
    end: int = 8,
) -> Finding:
    """An e-mail address at the head of `/text`."""
    return Finding(kind=kind, detector=detector, path=path, start=start, end=end)


def a_verdict(
    effect: Effect = Effect.ALLOW,
    code: str = "policy.permitted",
    *,
    rule: str = "acgs.test.rule",
    message: str = "the rule spoke",
    remedy: str = "",
) -> Verdict:
    """One rule's opinion: it may go."""
    return Verdict(rule=rule, effect=effect, code=code, message=message, remedy=remedy)


def an_obligation(
    id: str = "obligation-1",  # noqa: A002  # the field's own name
    type: str = "redact",  # noqa: A002  # likewise
    *,
    properties: Mapping[str, object] | None = None,
) -> Obligation:
    """A duty to redact."""
    return Obligation(id=id, type=type, properties={} if properties is None else properties)


def a_judgement(
    *verdicts: Verdict,
    obligations: tuple[Obligation, ...] = (),
    revision: str = REVISION,
    engine: str = "opa-embedded",
    cached: bool = False,
) -> Judgement:
    """The verdicts given, or one that allows; `a_silent_judgement` has none."""
    return Judgement(
        verdicts=verdicts or (a_verdict(),),
        obligations=obligations,
        revision=revision,
        engine=engine,
        cached=cached,
    )


def a_silent_judgement() -> Judgement:
    """A judge that answered, and said nothing."""
    return Judgement(verdicts=(), revision=REVISION, engine="opa-embedded")


def an_impact(
    score: float = 0.2,
    *,
    factors: Mapping[str, float] | None = None,
    model: str | None = None,
    degraded: bool = False,
) -> Impact:
    """A low impact, weighed by structure alone."""
    made_of = {"permission": score} if factors is None else factors
    return Impact(score=score, factors=made_of, model=model, degraded=degraded)


def a_reason(
    code: str = "policy.permitted",
    *,
    rule: str = "acgs.test.rule",
    message: str = "the rule spoke",
    remedy: str = "",
) -> Reason:
    """Why the message may go."""
    return Reason(code=code, rule=rule, message=message, remedy=remedy)


def a_decision(**changes: Unpack[DecisionChanges]) -> Decision:
    """The answer to `a_message()`: allowed, on the fast lane."""
    decision = Decision(
        decision_id="decision-1",
        message_id="message-1",
        conversation_id="conversation-1",
        session_id=None,
        tenant=TENANT,
        agent=SENDER,
        roles=("agent",),
        recipient=RECIPIENT,
        message_type=MessageType.COMMAND.value,
        priority=Priority.NORMAL.word,
        action="email.send",
        tool="email.send",
        resource="inbox/42",
        content_digest=digest_of(CONTENT),
        args_digest=digest_of(CONTENT["args"]),
        effect=Effect.ALLOW,
        lane=Lane.FAST,
        reasons=(a_reason(),),
        obligations=(),
        findings=(),
        impact=an_impact(),
        constitutional_hash=CONSTITUTIONAL_HASH,
        constitution_digest=CONSTITUTION_DIGEST,
        policy_revision=REVISION,
        engine="opa-embedded",
        decided_at=NOW,
        expires_at=NOW + timedelta(hours=1),
        delivers=True,
    )
    return replace(decision, **changes)


def a_receipt(
    entry_id: str = "1763899200000-0",
    *,
    origin: str = "acgs.local/t/acme",
    leaf_hash: str = "n4bQgYhMfWWaL+qgxVrQFaO/TxsrC4Is0V1sFbDwCgg=",
    leaf_index: int | None = None,
) -> Receipt:
    """A promise that is not in the signed tree yet."""
    return Receipt(origin=origin, leaf_hash=leaf_hash, entry_id=entry_id, leaf_index=leaf_index)


def a_recorded(
    decision: Decision | None = None,
    *,
    receipt: Receipt | None = None,
    replayed: bool = False,
) -> Recorded:
    """A decision that survives a power cut, recorded for the first time."""
    return Recorded(
        decision=a_decision() if decision is None else decision,
        receipt=a_receipt() if receipt is None else receipt,
        replayed=replayed,
    )


def an_impact_table() -> ImpactTable:
    """The table that `IMPACT` gives: small, and with round numbers."""
    return ImpactTable.from_mapping(IMPACT)


def a_settlement_law(*, review_from: float = 0.8, deliberate_from: float = 0.5) -> SettlementLaw:
    """Held for people from 0.8 on."""
    return SettlementLaw(review_from=review_from, deliberate_from=deliberate_from)


def a_constitution(
    *,
    impact: Mapping[str, object] = IMPACT,
    settlement: Mapping[str, object] = SETTLEMENT,
    reviews: Mapping[str, object] = REVIEWS,
) -> Constitution:
    """One principle, and the thresholds of `IMPACT`, `SETTLEMENT` and `REVIEWS`."""
    return Constitution(
        constitutional_hash=CONSTITUTIONAL_HASH,
        version="1.0.0",
        digest=CONSTITUTION_DIGEST,
        principles=(
            Principle(
                id="P1-authenticity",
                title="Nobody speaks in another's name",
                text="A message carries the name that its token proves.",
                enforced_by=("acgs.test.rule",),
            ),
        ),
        impact=impact,
        settlement=settlement,
        reviews=reviews,
    )


def a_review_law() -> ReviewLaw:
    """Two tiers: `light` needs one reviewer; `grave`, from 0.9, three people of two roles."""
    return ReviewLaw.from_mapping(REVIEWS)


def a_person(name: str = "rita", *roles: str, owner: str | None = None) -> Person:
    """Rita, a reviewer who answers for herself."""
    return Person(name=name, owner=owner, roles=frozenset(roles or ("reviewer",)))


def a_quorum(needed: int = 1, *roles: str, each: bool = False, rule: Rule = Rule.VETO) -> Quorum:
    """One reviewer."""
    return Quorum(needed=needed, roles=roles or ("reviewer",), each=each, rule=rule)


def a_review(**changes: Unpack[ReviewChanges]) -> Review:
    """What `writer`, an agent of `olga`, asked for at NOW and one reviewer may let go for an hour.

    Tenant admins join the voters after ten minutes.
    """
    review = Review(
        review_id="decision-1",
        tenant=TENANT,
        decision_id="decision-1",
        message_id="message-1",
        agent=SENDER,
        owner="olga",
        agent_roles=("agent",),
        recipient=RECIPIENT,
        action="email.send",
        tool="email.send",
        resource="inbox/42",
        action_digest="sha256:" + "3" * 64,
        policy_revision=REVISION,
        constitution_digest=CONSTITUTION_DIGEST,
        impact=an_impact(),
        reasons=(a_reason("policy.held"),),
        tier="light",
        quorum=a_quorum(),
        ladder=Ladder(
            level=1,
            step_s=600.0,
            next_at=NOW + timedelta(seconds=600),
            adds=("tenant_admin",),
        ),
        glass=Glass(needed=2, roles=("tenant_admin",)),
        delivers=True,
        opened_at=NOW,
        expires_at=NOW + timedelta(hours=1),
    )
    return replace(review, **changes)
