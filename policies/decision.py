"""The one answer, and what it is made of."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum


class Effect(StrEnum):
    """What may happen now: it goes, it waits for a person, or it does not go."""

    ALLOW = "allow"
    REVIEW = "review"
    DENY = "deny"


class Lane(StrEnum):
    """How much thought the decision took."""

    FAST = "fast"
    DELIBERATION = "deliberation"
    HUMAN = "human"


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """What one scan saw, and where; never the matched text itself.

    `kind` is pii, secret or injection; `detector` names the pattern; `path` is the RFC 6901
    pointer of the string inside `content`; `start` and `end` are offsets into that string
    (for injection found only after normalisation they span the whole string).
    """

    kind: str
    detector: str
    path: str
    start: int
    end: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """The opinion of one rule."""

    rule: str
    effect: Effect
    code: str
    message: str
    remedy: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Obligation:
    """A duty without which the effect does not hold (AuthZEN obligations profile)."""

    id: str
    type: str
    properties: Mapping[str, object] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Judgement:
    """What a judge has to say: a verdict per rule that spoke, and which law it spoke under.

    `revision` is `sha256:<hex>` of the policy bundle, `engine` is `opa-embedded` or `opa-server`.
    A judge that could not judge says so with a DENY verdict of its own reason code.
    """

    verdicts: tuple[Verdict, ...]
    obligations: tuple[Obligation, ...] = ()
    revision: str
    engine: str
    cached: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Impact:
    """How much could go wrong, 0.0 to 1.0, with the factors that made it so.

    `model` is the digest of the scorer's model, or None when structure alone was weighed.
    """

    score: float
    factors: Mapping[str, float]
    model: str | None = None
    degraded: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Reason:
    """Why, for the caller: a stable code, the rule that said so, and what would help."""

    code: str
    rule: str
    message: str
    remedy: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """The one answer to one message, as recorded. Every field is in the ledger.

    `owner` is who answers for the agent, where its token says so. `delivers` is False when the
    caller asked only for a decision. A decision that lets go what was held names its review and
    who approved it. `args_digest` covers
    `content.args` and `content_digest` the whole content, both `sha256:<hex>` over RFC 8785.
    """

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
    owner: str | None = None
    review_id: str | None = None
    approvers: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Receipt:
    """The promise handed to the caller: this leaf is, or within a second will be, in this log.

    `origin` names the tenant's log; `leaf_hash` is base64 of the RFC 6962 leaf hash; `entry_id`
    is the write-ahead position; `leaf_index` is known once the entry is in the signed tree.
    """

    origin: str
    leaf_hash: str
    entry_id: str
    leaf_index: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Recorded:
    """A decision that survives a power cut. `replayed` means an earlier one stands instead.

    `carried_out` means that its effect followed in the same breath, and nothing is left to do.
    """

    decision: Decision
    receipt: Receipt
    replayed: bool
    carried_out: bool = False
